/** AuthorizationPolicy, PeerAuthentication and RequestAuthentication (security.istio.io), raw. */
import type {
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationSource,
} from '../policy-types.ts'
import type { LabelSelector, TargetReference } from './common.ts'

/** What every policy says about where it holds. */
export interface PolicyAttachment {
  readonly selector?: LabelSelector
  /** The older, single form. */
  readonly targetRef?: TargetReference
  readonly targetRefs?: readonly TargetReference[]
}

export interface AuthorizationPolicySpec extends PolicyAttachment {
  readonly action?: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM'
  readonly provider?: { readonly name?: string }
  readonly rules?: readonly AuthorizationRuleSpec[]
}

export interface AuthorizationRuleSpec {
  readonly from?: readonly { readonly source?: AuthorizationSource }[]
  readonly to?: readonly { readonly operation?: AuthorizationOperation }[]
  readonly when?: readonly Partial<AuthorizationCondition>[]
}

export interface PeerAuthenticationSpec {
  readonly selector?: LabelSelector
  readonly mtls?: MutualTls
  /** By port number of the workload. */
  readonly portLevelMtls?: Readonly<Record<string, MutualTls>>
}

export interface MutualTls {
  readonly mode?: 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT'
}

export interface RequestAuthenticationSpec extends PolicyAttachment {
  readonly jwtRules?: readonly JwtRule[]
}

export interface JwtRule {
  readonly issuer?: string
  readonly audiences?: readonly string[]
  readonly jwksUri?: string
  /** The same as `jwksUri`, in the name of the protobuf field. */
  readonly jwks_uri?: string
  readonly jwks?: string
  readonly fromHeaders?: readonly { readonly name?: string; readonly prefix?: string }[]
  readonly fromParams?: readonly string[]
  readonly fromCookies?: readonly string[]
  readonly outputPayloadToHeader?: string
  readonly outputClaimToHeaders?: readonly { readonly header?: string; readonly claim?: string }[]
  readonly forwardOriginalToken?: boolean
  readonly timeout?: string
  readonly spaceDelimitedClaims?: readonly string[]
}
