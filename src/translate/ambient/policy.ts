/** Policies as `istio.security.Authorization` resources, and what their authors should be told. */
import type { AuthorizationPolicy, Snapshot } from '../../model/index.ts'
import { security, typeUrl } from '../../proto/index.ts'
import { encodeResource } from '../encode.ts'
import type { TranslatedResource } from '../types.ts'
import { convertAuthorizationPolicy } from './authorization.ts'
import { convertedName, staticStrictName } from './names.ts'
import { convertPeerAuthentication, staticStrictPolicy } from './peer-authentication.ts'

/** @param key `<namespace>/<name>` of an AuthorizationPolicy, which is also the resource's name */
export function translatePolicy(snapshot: Snapshot, key: string): TranslatedResource | undefined {
  const policy = snapshot.objects.AuthorizationPolicy.get(key)
  if (policy === undefined) return undefined
  return resourceOf(convertAuthorizationPolicy(snapshot, policy).authorization)
}

/** The resource name that a PeerAuthentication's converted policy has, if it has one. */
export function convertedPolicyName(peerAuthenticationKey: string): string {
  const slash = peerAuthenticationKey.indexOf('/')
  const namespace = peerAuthenticationKey.slice(0, slash)
  return `${namespace}/${convertedName(peerAuthenticationKey.slice(slash + 1))}`
}

/** @param key `<namespace>/<name>` of a PeerAuthentication */
export function translatePeerAuthentication(
  snapshot: Snapshot,
  key: string,
): TranslatedResource | undefined {
  const policy = snapshot.objects.PeerAuthentication.get(key)
  return policy === undefined ? undefined : resourceOf(convertPeerAuthentication(snapshot, policy))
}

export function staticStrictKey(snapshot: Snapshot): string {
  return `${snapshot.settings.rootNamespace}/${staticStrictName}`
}

/** Sent as soon as there is any PeerAuthentication, whether or not somebody lists it already. */
export function translateStaticStrict(snapshot: Snapshot): TranslatedResource | undefined {
  if (snapshot.objects.PeerAuthentication.size === 0) return undefined
  return resourceOf(staticStrictPolicy(snapshot.settings.rootNamespace))
}

function resourceOf(message: security.Authorization | undefined): TranslatedResource | undefined {
  if (message === undefined) return undefined
  const name = `${message.namespace}/${message.name}`
  return encodeResource({
    name,
    typeUrl: typeUrl.authorization,
    schema: security.AuthorizationSchema,
    message,
  })
}

export interface PolicyCondition {
  readonly type: 'ZtunnelAccepted'
  readonly status: 'True' | 'False'
  readonly reason: string
  readonly message: string
}

/** The status condition of an AuthorizationPolicy; undefined when it is not for node proxies. */
export function policyCondition(
  snapshot: Snapshot,
  policy: AuthorizationPolicy,
): PolicyCondition | undefined {
  if (policy.targetRefs.length > 0) return undefined
  const name = `${policy.namespace}/${policy.name}`
  const refused = (message: string): PolicyCondition => ({
    type: 'ZtunnelAccepted',
    status: 'False',
    reason: 'UnsupportedValue',
    message,
  })
  if (policy.dryRun && snapshot.settings.dryRunPolicies !== true)
    return refused(`AuthorizationPolicy ${name}: dry-run is not supported by ztunnel`)
  if (policy.action === 'AUDIT' || policy.action === 'CUSTOM') {
    return refused(
      `AuthorizationPolicy ${name}: ztunnel does not support the action ${policy.action}; ` +
        'attach the policy to a waypoint with targetRefs',
    )
  }
  const { authorization, unsupported } = convertAuthorizationPolicy(snapshot, policy)
  if (unsupported.length === 0) {
    return {
      type: 'ZtunnelAccepted',
      status: 'True',
      reason: 'Accepted',
      message: 'attached to ztunnel',
    }
  }
  const found = unsupported.join(', ')
  return {
    type: 'ZtunnelAccepted',
    status: 'True',
    reason: 'UnsupportedValue',
    message: `ztunnel does not support HTTP attributes (found: ${found}). ${effect(policy, authorization)}`,
  }
}

function effect(
  policy: AuthorizationPolicy,
  authorization: security.Authorization | undefined,
): string {
  const waypoint = 'Deploy a waypoint and attach the policy to it with targetRefs.'
  if (policy.action === 'ALLOW') {
    return `Rules with them are left out, so less is allowed than written. ${waypoint}`
  }
  const works = authorization?.rules.some((rule) =>
    rule.clauses.every((clause) => clause.matches.some(hasContent)),
  )
  return works === true
    ? `They are left out of this DENY, so more is denied than written. ${waypoint}`
    : `Nothing is left of this DENY: it has no effect. ${waypoint}`
}

function hasContent(match: security.Match): boolean {
  return Object.values(match).some((value) => Array.isArray(value) && value.length > 0)
}
