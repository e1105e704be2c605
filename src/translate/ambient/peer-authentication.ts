/**
 * PeerAuthentication as the node proxy understands it: DENY policies that match connections
 * without an identity. The whole conversion table is here; `listing.ts` says who lists which.
 */
import {
  type MutualTlsMode,
  type PeerAuthentication,
  peerAuthenticationsOf,
  type Snapshot,
  selects,
  type Workload,
} from '../../model/index.ts'
import { create, security } from '../../proto/index.ts'
import { configPath, policyProvenance } from '../provenance.ts'
import { convertedName, staticStrictName } from './names.ts'

/** The policies that decide for one workload, one a level. Several at a level: the oldest wins. */
export interface EffectivePolicies {
  readonly mesh: PeerAuthentication | undefined
  readonly namespace: PeerAuthentication | undefined
  readonly workload: PeerAuthentication | undefined
}

export function effectivePolicies(snapshot: Snapshot, workload: Workload): EffectivePolicies {
  const { rootNamespace } = snapshot.settings
  const inherited = inheritedPolicies(snapshot, workload.namespace)
  if (workload.namespace === rootNamespace) return { ...inherited, workload: undefined }
  const own = peerAuthenticationsOf(snapshot, workload.namespace).filter(
    (policy) => policy.selector !== undefined && selects(policy.selector, workload.labels),
  )
  return { ...inherited, workload: oldest(own) }
}

/** The levels above a workload policy of the namespace. */
function inheritedPolicies(
  snapshot: Snapshot,
  namespace: string,
): { mesh: PeerAuthentication | undefined; namespace: PeerAuthentication | undefined } {
  const { rootNamespace } = snapshot.settings
  const wide = (name: string): PeerAuthentication | undefined =>
    oldest(peerAuthenticationsOf(snapshot, name).filter((policy) => policy.selector === undefined))
  return {
    mesh: wide(rootNamespace),
    namespace: namespace === rootNamespace ? undefined : wide(namespace),
  }
}

function oldest(policies: readonly PeerAuthentication[]): PeerAuthentication | undefined {
  let best: PeerAuthentication | undefined
  for (const policy of policies) {
    if (best === undefined || policy.createdAt < best.createdAt) best = policy
  }
  return best
}

/** What the levels above say, UNSET inheriting from the mesh. */
function parentIsStrict(policies: Pick<EffectivePolicies, 'mesh' | 'namespace'>): boolean {
  const { namespace, mesh } = policies
  const mode = namespace === undefined || namespace.mode === 'UNSET' ? mesh?.mode : namespace.mode
  return mode === 'STRICT'
}

const isOpen = (mode: MutualTlsMode): boolean => mode === 'PERMISSIVE' || mode === 'DISABLE'

export interface PeerAuthenticationOutcome {
  /** The workload refuses everything without identity: it lists the static policy. */
  readonly strict: boolean
  /** The converted policy it lists, because some ports differ. */
  readonly converted: PeerAuthentication | undefined
}

/** Which of the two kinds of policy a workload lists. */
export function outcomeFor(policies: EffectivePolicies): PeerAuthenticationOutcome {
  const parentStrict = parentIsStrict(policies)
  const own = policies.workload
  if (own === undefined) return { strict: parentStrict, converted: undefined }
  const has = (test: (mode: MutualTlsMode) => boolean): boolean =>
    own.portModes.some(({ mode }) => test(mode))
  if (own.mode === 'STRICT') {
    return has(isOpen) ? { strict: false, converted: own } : { strict: true, converted: undefined }
  }
  if (own.mode === 'UNSET' && parentStrict) {
    // Only PERMISSIVE is looked for: a port with DISABLE alone stays strict.
    return has((mode) => mode === 'PERMISSIVE')
      ? { strict: false, converted: own }
      : { strict: true, converted: undefined }
  }
  return { strict: false, converted: has((mode) => mode === 'STRICT') ? own : undefined }
}

/** The converted policy of one PeerAuthentication; undefined when there is nothing to say. */
export function convertPeerAuthentication(
  snapshot: Snapshot,
  policy: PeerAuthentication,
): security.Authorization | undefined {
  if (policy.namespace === snapshot.settings.rootNamespace) return undefined
  if (policy.selector === undefined || policy.portModes.length === 0) return undefined
  const parentStrict = parentIsStrict(inheritedPolicies(snapshot, policy.namespace))
  const strict = policy.mode === 'STRICT' || (policy.mode === 'UNSET' && parentStrict)
  const rules = strict ? exemptions(policy) : strictPorts(policy)
  if (rules.length === 0) return undefined
  return create(security.AuthorizationSchema, {
    name: convertedName(policy.name),
    namespace: policy.namespace,
    scope: security.Scope.WORKLOAD_SELECTOR,
    action: security.Action.DENY,
    rules,
    extensions: [
      policyProvenance(
        configPath({
          group: 'security.istio.io',
          version: 'v1',
          kind: 'PeerAuthentication',
          namespace: policy.namespace,
          name: policy.name,
        }),
        [],
      ),
    ],
  })
}

/** Strict but for some ports: one rule, "no identity AND none of the open ports". */
function exemptions(policy: PeerAuthentication): security.Rule[] {
  const open = policy.portModes.filter(({ mode }) => isOpen(mode))
  if (open.length === 0) return []
  const clauses = open.map(({ port }) =>
    clause(create(security.MatchSchema, { notDestinationPorts: [port] })),
  )
  return [create(security.RuleSchema, { clauses: [clause(withoutIdentity()), ...clauses] })]
}

/** Open but for some ports: a rule for each strict one. */
function strictPorts(policy: PeerAuthentication): security.Rule[] {
  return policy.portModes
    .filter(({ mode }) => mode === 'STRICT')
    .map(({ port }) => create(security.RuleSchema, { clauses: [clause(withoutIdentity([port]))] }))
}

function clause(match: security.Match): security.Clause {
  return create(security.ClauseSchema, { matches: [match] })
}

function withoutIdentity(destinationPorts: number[] = []): security.Match {
  const anyIdentity = create(security.StringMatchSchema, {
    matchType: { case: 'presence', value: { $typeName: 'google.protobuf.Empty' } },
  })
  return create(security.MatchSchema, { notPrincipals: [anyIdentity], destinationPorts })
}

/** The policy that all fully strict workloads share. */
export function staticStrictPolicy(rootNamespace: string): security.Authorization {
  return create(security.AuthorizationSchema, {
    name: staticStrictName,
    namespace: rootNamespace,
    scope: security.Scope.WORKLOAD_SELECTOR,
    action: security.Action.DENY,
    rules: [create(security.RuleSchema, { clauses: [clause(withoutIdentity())] })],
  })
}
