/** The policies that a workload lists by key. Namespace and mesh policies are found by scope. */
import {
  type AuthorizationPolicy,
  type Snapshot,
  selectorPoliciesOf,
  type Workload,
} from '../../model/index.ts'
import { convertedName, staticStrictName } from './names.ts'
import { effectivePolicies, outcomeFor } from './peer-authentication.ts'
import { waypointAllowNames } from './waypoint-allow.ts'

export function listedPolicies(snapshot: Snapshot, workload: Workload): string[] {
  const keys = selectorPoliciesOf(snapshot, workload)
    .filter((policy) => isSent(snapshot, policy))
    .map((policy) => `${policy.namespace}/${policy.name}`)
  const { strict, converted } = outcomeFor(effectivePolicies(snapshot, workload))
  if (strict) keys.push(`${snapshot.settings.rootNamespace}/${staticStrictName}`)
  if (converted !== undefined) keys.push(`${converted.namespace}/${convertedName(converted.name)}`)
  keys.push(...waypointAllowNames(snapshot, workload))
  return keys.toSorted()
}

/** Whether a policy goes to node proxies at all: those with targets are for waypoints. */
export function isSent(snapshot: Snapshot, policy: AuthorizationPolicy): boolean {
  const enforced = policy.action === 'ALLOW' || policy.action === 'DENY'
  if (!enforced || policy.targetRefs.length > 0) return false
  return !policy.dryRun || snapshot.settings.dryRunPolicies === true
}
