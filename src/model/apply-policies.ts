/** Updates by policies: the policy itself, and the workloads that list it. */
import type { Draft } from './draft.ts'
import type { AuthorizationPolicy, PeerAuthentication } from './policy-types.ts'
import type { Labels } from './types.ts'

export function applyAuthorizationPolicy(
  draft: Draft,
  key: string,
  previous: AuthorizationPolicy | undefined,
  next: AuthorizationPolicy | undefined,
): void {
  draft.touched.policies.add(key)
  draft.moveIndex('selectorPolicies', key, selectorNamespace(previous), selectorNamespace(next))
  // A change of rules alone leaves the workloads' lists of policies as they are.
  if (listing(previous) === listing(next)) return
  for (const policy of [previous, next]) {
    if (policy?.selector !== undefined) touchSelected(draft, policy.namespace, policy.selector)
  }
}

function selectorNamespace(policy: AuthorizationPolicy | undefined): string[] {
  return policy?.selector === undefined ? [] : [policy.namespace]
}

/** What decides by which workloads a policy is listed. */
function listing(policy: AuthorizationPolicy | undefined): string {
  if (policy?.selector === undefined) return ''
  const { selector, action, dryRun, targetRefs } = policy
  return JSON.stringify([
    Object.keys(selector)
      .toSorted()
      .map((label) => [label, selector[label]]),
    action,
    dryRun,
    targetRefs.length,
  ])
}

function touchSelected(draft: Draft, namespace: string, selector: Labels): void {
  const isRoot = namespace === draft.settings.rootNamespace
  const namespaces = isRoot ? draft.reverse.workloadsByNamespace.values() : [namespace]
  for (const name of namespaces) {
    for (const uid of draft.selected(name, selector)) draft.touched.workloads.add(uid)
  }
}

export function applyPeerAuthentication(
  draft: Draft,
  key: string,
  previous: PeerAuthentication | undefined,
  next: PeerAuthentication | undefined,
): void {
  const { touched, reverse } = draft
  const namespace = (next ?? previous)?.namespace ?? ''
  touched.peerAuthentications.add(key)
  draft.moveIndex(
    'peerAuthentications',
    key,
    previous === undefined ? [] : [namespace],
    next === undefined ? [] : [namespace],
  )
  reverse.portPeerAuthentications.move(key, inheriting(previous), inheriting(next))
  for (const policy of [previous, next]) {
    if (policy === undefined) continue
    if (policy.selector !== undefined) {
      for (const uid of draft.selected(namespace, policy.selector)) touched.workloads.add(uid)
    } else if (namespace === draft.settings.rootNamespace) {
      for (const uid of draft.workloads.keys()) touched.workloads.add(uid)
      for (const other of draft.objects.PeerAuthentication.keys()) {
        touched.peerAuthentications.add(other)
      }
    } else {
      for (const uid of reverse.workloadsByNamespace.get(namespace)) touched.workloads.add(uid)
      for (const other of reverse.portPeerAuthentications.get(namespace)) {
        touched.peerAuthentications.add(other)
      }
    }
  }
}

function inheriting(policy: PeerAuthentication | undefined): string[] {
  return policy === undefined || policy.portModes.length === 0 ? [] : [policy.namespace]
}
