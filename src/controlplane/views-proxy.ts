/**
 * Which view a connected proxy has: from what its node says, with the namespace and account that its identity
 * proves, and from what the mesh knows of its pod where the node says nothing.
 */
import { type Locality, localityOf, type Snapshot, type Workload } from '../model/index.ts'
import { type IpFamily, type ProxyView, proxyView } from '../translate/index.ts'
import type { ProxyNode } from '../xds/index.ts'

const gatewayNameLabel = 'gateway.networking.k8s.io/gateway-name'

const kinds: Readonly<Record<string, ProxyView['kind']>> = {
  sidecar: 'sidecar',
  router: 'gateway',
  waypoint: 'waypoint',
}

/** Undefined for proxies without a view, such as node proxies. */
export function viewOf(proxy: ProxyNode, snapshot: Snapshot): ProxyView | undefined {
  const kind = Object.hasOwn(kinds, proxy.type) ? kinds[proxy.type] : undefined
  if (kind === undefined) return undefined
  const { metadata, namespace } = proxy
  const workload = workloadOf(proxy, snapshot)
  // What the API server says of a pod is worth more than what comes out of it.
  const labels = { ...labelsOf(metadata.LABELS), ...workload?.labels }
  const { [gatewayNameLabel]: gateway } = labels
  return proxyView({
    kind,
    namespace,
    labels,
    serviceAccount: accountOf(proxy) || workload?.serviceAccount || 'default',
    gateway: kind === 'sidecar' || !gateway ? undefined : `${namespace}/${gateway}`,
    network: textOf(metadata.NETWORK) || workload?.network || '',
    clusterId: proxy.cluster,
    locality: proxy.locality ?? localityFor(workload, proxy, snapshot),
    node: textOf(metadata.NODE_NAME) || workload?.node || '',
    ipFamilies: familiesOf(proxy),
    interception: interceptionOf(metadata.INTERCEPTION_MODE),
    version: textOf(metadata.ISTIO_VERSION),
    metadata: matchedMetadata(metadata, snapshot),
    // Waypoints are nothing without tunnels; others say whether their bootstrap has what it takes.
    sendsHbone: kind === 'waypoint' || isTrue(metadata.ENABLE_HBONE),
  })
}

/** All of the metadata would make every proxy a view of its own. */
function matchedMetadata(metadata: ProxyNode['metadata'], snapshot: Snapshot) {
  const found: Record<string, string> = {}
  for (const { spec } of snapshot.objects.EnvoyFilter.values()) {
    for (const { match } of spec.configPatches ?? []) {
      for (const key of Object.keys(match?.proxy?.metadata ?? {})) {
        const value = textOf(metadata[key])
        if (value !== '') found[key] = value
      }
    }
  }
  return found
}

/** The workload that the proxy is in or stands for. */
function workloadOf(proxy: ProxyNode, snapshot: Snapshot): Workload | undefined {
  return snapshot.workloads.get(workloadUid(proxy))
}

export function workloadUid({ name, namespace, cluster }: ProxyNode): string {
  return `${cluster}//Pod/${namespace}/${name}`
}

function localityFor(
  workload: Workload | undefined,
  { metadata }: ProxyNode,
  snapshot: Snapshot,
): Locality | undefined {
  if (workload !== undefined) return localityOf(snapshot, workload)
  return snapshot.objects.Node.get(textOf(metadata.NODE_NAME))?.locality
}

/** The account that was proved; on the plaintext port the one that is claimed. */
function accountOf({ identity, metadata }: ProxyNode): string {
  const proved = identity?.slice(identity.lastIndexOf('/') + 1)
  return proved ?? textOf(metadata.SERVICE_ACCOUNT)
}

function labelsOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {}
  const entries: [string, unknown][] = Object.entries(value)
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}

function familiesOf({ metadata, ip }: ProxyNode): readonly IpFamily[] {
  const own = textOf(metadata.INSTANCE_IPS).split(',')
  const addresses = own.some((address) => address !== '') ? own : [ip]
  const families = (['ipv4', 'ipv6'] as const).filter((family) =>
    addresses.some(
      (address) =>
        address !== '' && address.includes(':') === (family === 'ipv6') && !isLink(address),
    ),
  )
  return families.length === 0 ? ['ipv4'] : families
}

/** Every interface has such an address of IPv6; it says nothing. */
function isLink(address: string): boolean {
  return address.toLowerCase().startsWith('fe80:')
}

function interceptionOf(value: unknown): ProxyView['interception'] {
  return value === 'TPROXY' || value === 'NONE' ? value : 'REDIRECT'
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function isTrue(value: unknown): boolean {
  return value === true || value === 'true'
}
