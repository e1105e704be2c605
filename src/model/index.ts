/** The mesh as immutable snapshots with incremental indexes; pure. */

export { meshConfigMap } from './apply-configs.ts'
export type { RouteKind } from './apply-gateways.ts'
export {
  type AddressClaim,
  type AddressPools,
  type AllocatedAddress,
  addressClaim,
  allocateAddresses,
  defaultAddressPools,
} from './auto-address.ts'
export { Credential, type CredentialParts } from './credential.ts'
export * from './events.ts'
export * from './gateway-types.ts'
export { hostMatches, isWildcard, resolveHost } from './hosts.ts'
export type * from './istio/index.ts'
export { labelKey, selects } from './labels.ts'
export {
  defaultMeshConfig,
  matchesSelector,
  mergeProxyConfig,
  selectsNamespace,
} from './mesh-defaults.ts'
export { buildSnapshot, Model } from './model.ts'
export { PersistentMap } from './persistent-map.ts'
export * from './policy-types.ts'
export * from './queries.ts'
export type { KeyIndex, ObjectMaps, Snapshot, SnapshotIndexes } from './snapshot.ts'
export { emptySnapshot } from './snapshot.ts'
export * from './types.ts'
export * from './visibility.ts'
