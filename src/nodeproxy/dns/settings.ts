/** How names are answered: the same for all pods of the node. */
import type { NameServer } from '../../dns/index.ts'
import type { DnsMetrics } from './metrics.ts'

export interface DnsSettings {
  readonly domain: string
  readonly preferredNamespace: string | undefined
  readonly ipv6: boolean
  readonly nameServers: () => readonly NameServer[]
  readonly metrics: DnsMetrics
}
