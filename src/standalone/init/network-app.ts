/** The node's network as one part: relay, rules, cluster DNS, loopback ports, in start order. */
import { type Clock, type Component, type Logger, startAll, stopAll } from '../../base/index.ts'
import type { Informer, KubeClient } from '../../client/index.ts'
import { ClusterDns } from '../network/cluster-dns.ts'
import type { HostDoor, HostListener } from '../network/door.ts'
import { LoadBalancers } from '../network/load-balancer.ts'
import type { EgressRelay } from '../network/relay.ts'
import { createRules } from '../network/rules.ts'
import type { EndpointSlice, Service } from '../network/service-table.ts'
import { ServiceRules, slicesByService } from '../network/services.ts'

export interface NetworkAppOptions {
  readonly services: Informer<Service>
  readonly slices: Informer<EndpointSlice>
  readonly client: KubeClient
  readonly door: HostDoor
  readonly relay: EgressRelay
  readonly ingress: HostListener
  readonly hostAccess: boolean
  /** Where tools are; tests hide some. */
  readonly findTool?: (name: string) => string | undefined
  readonly clock: Clock
  readonly logger: Logger
}

/** Everything that needs the registry; its informers are started by this part too. */
export function createNetworkApp(options: NetworkAppOptions): Component {
  const { services, slices, client, door, relay, ingress, hostAccess, clock } = options
  const logger = options.logger.child('network')
  slicesByService(slices)
  const dns = new ClusterDns({ services, slices, door, hostAccess, logger })
  const rules = new ServiceRules({
    services,
    slices,
    rules: createRules(relay.port, options.findTool),
    clock,
    logger,
  })
  const balancers = new LoadBalancers({ services, client, door, ingress, clock, logger })
  const parts: Component[] = [services, slices, rules, dns, balancers]
  return {
    start: (signal) => startAll(parts, signal),
    stop: (deadlineMs) => stopAll(parts, deadlineMs),
  }
}
