/**
 * What the configuration of an L7 proxy depends on, and nothing else: proxies with equal views get
 * the same bytes, so everything is translated once per view however many proxies share it.
 */
import type { Labels, Locality } from '../../model/index.ts'

export type IpFamily = 'ipv4' | 'ipv6'

export interface ProxyView {
  readonly kind: 'sidecar' | 'gateway' | 'waypoint'
  readonly namespace: string
  readonly labels: Labels
  readonly serviceAccount: string
  /** `<namespace>/<name>` of the Gateway API object it serves; undefined for others. */
  readonly gateway: string | undefined
  readonly network: string
  readonly clusterId: string
  /** Undefined when its node has none: then no endpoint is nearer than another. */
  readonly locality: Locality | undefined
  /** Name of its node; only services which prefer their own node look at it. */
  readonly node: string
  readonly ipFamilies: readonly IpFamily[]
  readonly interception: 'REDIRECT' | 'TPROXY' | 'NONE'
  /** ISTIO_VERSION of its node; EnvoyFilters look at it. */
  readonly version: string
  /** Of its node's metadata what some EnvoyFilter looks at. */
  readonly metadata: Labels
  /** Whether it has the internal listeners that tunnel to ambient workloads. */
  readonly sendsHbone: boolean
}

export function proxyView(
  given: Partial<ProxyView> & Pick<ProxyView, 'kind' | 'namespace'>,
): ProxyView {
  return {
    labels: {},
    serviceAccount: 'default',
    gateway: undefined,
    network: '',
    clusterId: 'Kubernetes',
    locality: undefined,
    node: '',
    ipFamilies: ['ipv4'],
    interception: 'REDIRECT',
    version: '',
    metadata: {},
    sendsHbone: true,
    ...given,
  }
}

/** Views are immutable and asked for their keys often. */
const knownKeys = new WeakMap<ProxyView, string>()

/** Equal for equal views, whatever the order of labels. */
export function viewKey(view: ProxyView): string {
  const known = knownKeys.get(view)
  if (known !== undefined) return known
  const key = keyOf(view)
  knownKeys.set(view, key)
  return key
}

function keyOf(view: ProxyView): string {
  const { region = '', zone = '', subzone = '' } = view.locality ?? {}
  return JSON.stringify([
    view.kind,
    view.namespace,
    sorted(view.labels),
    view.serviceAccount,
    view.gateway ?? null,
    view.network,
    view.clusterId,
    `${region}/${zone}/${subzone}`,
    view.node,
    view.ipFamilies,
    view.interception,
    view.sendsHbone,
    view.version,
    sorted(view.metadata),
  ])
}

function sorted(labels: Labels): [string, string][] {
  return Object.entries(labels).toSorted(([left], [right]) => (left < right ? -1 : 1))
}

/**
 * The view of the proxies that are deployed for a Gateway. The node proxy captures what leaves their
 * pods and tunnels it, so they need not do it themselves.
 */
export function gatewayView(gateway: string, labels: Labels = {}): ProxyView {
  const namespace = gateway.slice(0, gateway.indexOf('/'))
  return proxyView({ kind: 'gateway', namespace, gateway, labels, sendsHbone: false })
}
