/** What the proxy takes from the control plane: addresses and policies, into the store. */
import type { Clock, Logger } from '../base/index.ts'
import { fromBinary, security, typeUrl, workload } from '../proto/index.ts'
import { createDeltaClient, type DeltaClient, type DeltaType } from '../xdsclient/index.ts'
import type { ProxyConfig } from './config.ts'
import type { Store } from './state/store.ts'

export interface ControlPlaneOptions {
  readonly address: string
  readonly config: ProxyConfig
  readonly store: Store
  readonly logger: Logger
  readonly clock: Clock
}

export function connectControlPlane(options: ControlPlaneOptions): DeltaClient {
  const { address, config, store, logger, clock } = options
  return createDeltaClient({
    address,
    ...(config.xdsServerName === undefined ? {} : { serverName: config.xdsServerName }),
    rootCa: config.xdsRoot,
    token: config.token,
    node: config.node,
    clusterId: config.clusterId,
    headers: config.headers.xds,
    types: storeTypes(store),
    logger,
    clock,
    onConnected: () => logger.info('connected to the control plane', { address }),
  })
}

/** The two resource types of a node proxy, both wildcard. */
export function storeTypes(store: Store): DeltaType[] {
  return [
    {
      typeUrl: typeUrl.address,
      wildcard: true,
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
