/** What routes may say about filters, by the type of the configuration. */
import type { Any } from '@bufbuild/protobuf/wkt'
import {
  cors,
  extAuthz,
  fault,
  headerToMetadata,
  httpRbac,
  jwtAuthn,
  localRateLimit,
  setFilterState,
} from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import { unpack } from '../values.ts'
import { type CorsPolicy, compileCorsPolicy } from './cors.ts'
import { type AuthorizeOverride, compileAuthorizeOverride } from './ext-authz.ts'
import { compileFault, type Fault } from './fault.ts'
import { compileStateValues, type StateSetter } from './filter-state.ts'
import { compileHeaderRules, type HeaderRules } from './header-to-metadata.ts'
import { compileLimiter, type Limiter } from './local-rate-limit.ts'
import { compileHttpRules, type RbacRules } from './rbac.ts'

export type PerRoute =
  | { readonly kind: 'cors'; readonly policy: CorsPolicy }
  | { readonly kind: 'fault'; readonly fault: Fault }
  /** Undefined: the filter does nothing here. */
  | { readonly kind: 'rbac'; readonly rules: RbacRules | undefined }
  | { readonly kind: 'jwt'; readonly disabled: boolean; readonly requirement: string }
  | { readonly kind: 'authorize'; readonly override: AuthorizeOverride }
  | { readonly kind: 'limiter'; readonly limiter: Limiter }
  | { readonly kind: 'header-to-metadata'; readonly rules: HeaderRules }
  | { readonly kind: 'filter-state'; readonly set: StateSetter }

/** Undefined: the type is not known. */
export function compilePerRoute(any: Any, place: Place): PerRoute | undefined {
  const policy = unpack(any, cors.CorsPolicySchema, place)
  if (policy !== undefined) return { kind: 'cors', policy: compileCorsPolicy(policy, place) }
  const faults = unpack(any, fault.HTTPFaultSchema, place)
  if (faults !== undefined) return { kind: 'fault', fault: compileFault(faults, place) }
  const rules = unpack(any, httpRbac.RBACPerRouteSchema, place)
  if (rules !== undefined) {
    const { rbac } = rules
    const at = place.at('rbac')
    return { kind: 'rbac', rules: rbac === undefined ? undefined : compileHttpRules(rbac, at) }
  }
  const jwt = unpack(any, jwtAuthn.PerRouteConfigSchema, place)
  if (jwt !== undefined) {
    const { requirementSpecifier: specifier } = jwt
    const requirement = specifier.case === 'requirementName' ? specifier.value : ''
    return { kind: 'jwt', disabled: specifier.case === 'disabled' && specifier.value, requirement }
  }
  const authorize = unpack(any, extAuthz.ExtAuthzPerRouteSchema, place)
  if (authorize !== undefined) {
    return { kind: 'authorize', override: compileAuthorizeOverride(authorize, place) }
  }
  const limit = unpack(any, localRateLimit.LocalRateLimitSchema, place)
  if (limit !== undefined) return { kind: 'limiter', limiter: compileLimiter(limit, place) }
  const header = unpack(any, headerToMetadata.ConfigSchema, place)
  if (header !== undefined) {
    return { kind: 'header-to-metadata', rules: compileHeaderRules(header, place) }
  }
  const state = unpack(any, setFilterState.ConfigSchema, place)
  if (state !== undefined) {
    return { kind: 'filter-state', set: compileStateValues(state.onRequestHeaders, place) }
  }
  return undefined
}
