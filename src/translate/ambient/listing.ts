/** The policies that a workload lists by key. Namespace and mesh policies are found by scope. */
import {
  type AuthorizationPolicy,
  type Snapshot,
  selectorPoliciesOf,
  type Workload,
} from '../../model/index.ts'
import { convertedName, staticStrictName } from './names.ts'
import { effectivePolicies, outcomeFor } from './peer-authentication.ts'

export function listedPolicies(snapshot: Snapshot, workload: Workload): string[] {
  const keys = selectorPoliciesOf(snapshot, workload)
    .filter(isSent)
    .map((policy) => `${policy.namespace}/${policy.name}`)
  const { strict, converted } = outcomeFor(effectivePolicies(snapshot, workload))
  if (strict) keys.push(`${snapshot.settings.rootNamespace}/${staticStrictName}`)
  if (converted !== undefined) keys.push(`${converted.namespace}/${convertedName(converted.name)}`)
  return keys.toSorted()
}

/** Whether a policy goes to node proxies at all: those with targets are for waypoints. */
export function isSent(policy: AuthorizationPolicy): boolean {
  const enforced = policy.action === 'ALLOW' || policy.action === 'DENY'
  return enforced && policy.targetRefs.length === 0 && !policy.dryRun
}
