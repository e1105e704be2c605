/** AuthorizationPolicy and PeerAuthentication, with the field names users write. */
import type {
  AuthorizationPolicySpec,
  ConfigObject,
  PeerAuthenticationSpec,
} from './istio/index.ts'
import type { Labels } from './types.ts'

export interface AuthorizationSource {
  readonly principals?: readonly string[]
  readonly notPrincipals?: readonly string[]
  readonly requestPrincipals?: readonly string[]
  readonly notRequestPrincipals?: readonly string[]
  readonly namespaces?: readonly string[]
  readonly notNamespaces?: readonly string[]
  readonly serviceAccounts?: readonly string[]
  readonly notServiceAccounts?: readonly string[]
  readonly ipBlocks?: readonly string[]
  readonly notIpBlocks?: readonly string[]
  readonly remoteIpBlocks?: readonly string[]
  readonly notRemoteIpBlocks?: readonly string[]
  readonly trustDomains?: readonly string[]
  readonly notTrustDomains?: readonly string[]
}

export interface AuthorizationOperation {
  readonly hosts?: readonly string[]
  readonly notHosts?: readonly string[]
  readonly ports?: readonly string[]
  readonly notPorts?: readonly string[]
  readonly methods?: readonly string[]
  readonly notMethods?: readonly string[]
  readonly paths?: readonly string[]
  readonly notPaths?: readonly string[]
}

export interface AuthorizationCondition {
  readonly key: string
  readonly values?: readonly string[]
  readonly notValues?: readonly string[]
}

export interface AuthorizationRule {
  readonly from?: readonly { readonly source?: AuthorizationSource }[]
  readonly to?: readonly { readonly operation?: AuthorizationOperation }[]
  readonly when?: readonly AuthorizationCondition[]
}

export interface PolicyTargetRef {
  readonly group: string
  readonly kind: string
  readonly name: string
  readonly namespace: string
}

export interface AuthorizationPolicy {
  readonly name: string
  readonly namespace: string
  readonly createdAt: number
  readonly generation: number
  /** Undefined: no selector in the spec. An empty one selects everything in its scope. */
  readonly selector: Labels | undefined
  readonly targetRefs: readonly PolicyTargetRef[]
  readonly action: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM'
  readonly dryRun: boolean
  /** Of action CUSTOM; else empty. */
  readonly provider: string
  readonly rules: readonly AuthorizationRule[]
  /** As the user wrote it, for what the form above leaves out. */
  readonly config: ConfigObject<AuthorizationPolicySpec>
}

export type MutualTlsMode = 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT'

export interface PeerAuthentication {
  readonly name: string
  readonly namespace: string
  readonly createdAt: number
  readonly generation: number
  /** Undefined when absent or empty: the policy is for the namespace or the mesh. */
  readonly selector: Labels | undefined
  readonly mode: MutualTlsMode
  /** Ordered by port. */
  readonly portModes: readonly { readonly port: number; readonly mode: MutualTlsMode }[]
  readonly config: ConfigObject<PeerAuthenticationSpec>
}
