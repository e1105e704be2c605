/** What the proxy takes from the control plane: addresses and policies, into the store. */
import type { Clock, Logger } from '../base/index.ts'
import type { MetricsRegistry } from '../metrics/index.ts'
import { fromBinary, security, typeUrl, workload } from '../proto/index.ts'
import { createDeltaClient, type DeltaClient, type DeltaType } from '../xdsclient/index.ts'
import type { ProxyConfig } from './config.ts'
import type { Store } from './state/store.ts'
import type { ResourceUpdate } from './workers/messages.ts'

/** Who else wants the resources as they came. */
export interface ResourceFollower {
  update(update: ResourceUpdate): void
  /** All of one response were given. */
  flush(): void
}

export interface ControlPlaneOptions {
  readonly address: string
  readonly config: ProxyConfig
  readonly store: Store
  readonly metrics: MetricsRegistry
  readonly follower: ResourceFollower | undefined
  readonly logger: Logger
  readonly clock: Clock
}

export function connectControlPlane(options: ControlPlaneOptions): DeltaClient {
  const { address, config, store, logger, clock } = options
  const counted = new XdsMetrics(options.metrics)
  const types = storeTypes(store, config.onDemand).map((type) =>
    observed(type, counted, options.follower),
  )
  return createDeltaClient({
    address,
    ...(config.xdsServerName === undefined ? {} : { serverName: config.xdsServerName }),
    rootCa: config.xdsRoot,
    token: config.token,
    node: config.node,
    clusterId: config.clusterId,
    headers: config.headers.xds,
    types,
    logger,
    clock,
    onConnected: () => {
      counted.connected = true
      logger.info('connected to the control plane', { address })
    },
    onDisconnected: (reason) => counted.disconnected(reason),
  })
}

/** The two resource types of a node proxy. Policies are always all of them. */
export function storeTypes(store: Store, onDemand = false): DeltaType[] {
  return [
    {
      typeUrl: typeUrl.address,
      wildcard: !onDemand,
      // Copied: parsed byte fields are views into the response.
      onResource: (_name, bytes) => {
        store.putAddress(fromBinary(workload.AddressSchema, bytes.slice()))
      },
      onRemoved: (name) => store.removeAddress(name),
    },
    {
      typeUrl: typeUrl.authorization,
      wildcard: true,
      onResource: (_name, bytes) => {
        store.putPolicy(fromBinary(security.AuthorizationSchema, bytes.slice()))
      },
      onRemoved: (name) => store.removePolicy(name),
    },
  ]
}

/** Passes on what the store has taken over; what it refuses reaches nobody. */
function observed(
  type: DeltaType,
  metrics: XdsMetrics,
  follower: ResourceFollower | undefined,
): DeltaType {
  const { typeUrl: url } = type
  let bytesOfResponse = 0
  return {
    ...type,
    onResource(name, bytes, version) {
      bytesOfResponse += bytes.length
      type.onResource(name, bytes, version)
      follower?.update({ typeUrl: url, name, bytes: bytes.slice() })
    },
    onRemoved(name) {
      type.onRemoved(name)
      follower?.update({ typeUrl: url, name, bytes: undefined })
    },
    onBatchEnd() {
      metrics.received(url, bytesOfResponse)
      bytesOfResponse = 0
      follower?.flush()
    },
  }
}

/** `istio_xds_*`: what came, and how streams ended. */
class XdsMetrics {
  connected = false
  readonly #messages
  readonly #bytes
  readonly #terminations

  constructor(registry: MetricsRegistry) {
    const options = { labels: ['url'], expires: false }
    this.#messages = registry.counter('istio_xds_message_total', 'Responses received.', options)
    this.#bytes = registry.counter(
      'istio_xds_message_bytes_total',
      'Bytes of the resources in them.',
      options,
    )
    this.#terminations = registry.counter(
      'istio_xds_connection_terminations_total',
      'Streams to the control plane that ended.',
      { labels: ['reason'], expires: false },
    )
  }

  received(url: string, bytes: number): void {
    this.#messages.child(url).inc()
    this.#bytes.child(url).inc(bytes)
  }

  disconnected(text: string): void {
    const ended = text.startsWith('OK') ? 'Complete' : 'Error'
    this.#terminations.child(this.connected ? ended : 'ConnectionError').inc()
    this.connected = false
  }
}
