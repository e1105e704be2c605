/**
 * The set of layer 4 policies and the decision over them: any DENY that matches denies; with no ALLOW
 * policy in scope all is allowed; else one ALLOW must match. Dry-run policies never change that;
 * they are evaluated on the side. Policies are compiled when they arrive; a decision only walks
 * arrays that were sorted by action when the set last changed.
 */
import { sabotaged } from '../../base/index.ts'
import type { security } from '../../proto/index.ts'
import { type CompiledPolicy, compilePolicy } from './compile.ts'
import type {
  L4Considered,
  L4Decision,
  L4DryRun,
  L4Identity,
  L4Options,
  L4Request,
  L4Verdict,
} from './types.ts'
import { type Attributes, addressBytes } from './values.ts'

export interface L4Engine {
  /** Compiles and takes over a policy; throws a MeshError when it can't be enforced as written. */
  upsert(authorization: security.Authorization): void
  /** @param key `<namespace>/<name>` */
  remove(key: string): boolean
  has(key: string): boolean
  keys(): IterableIterator<string>
  decide(request: L4Request, options?: L4Options): L4Decision
}

/** Policies that apply to a request, sorted by what they do. */
interface Candidates {
  readonly deny: CompiledPolicy[]
  readonly allow: CompiledPolicy[]
  readonly dryRun: CompiledPolicy[]
}

const allowedNoPolicy: L4Verdict = { allowed: true, reason: 'allowed-no-policy' }
const deniedNoMatch: L4Verdict = { allowed: false, reason: 'denied-no-match' }

/** An empty set of policies: everything is allowed. */
export function createL4Engine(): L4Engine {
  return new Engine()
}

class Engine implements L4Engine {
  readonly #policies = new Map<string, CompiledPolicy>()
  /** Global and namespace policies by destination namespace, made when first asked. */
  readonly #byNamespace = new Map<string, Candidates>()

  upsert(authorization: security.Authorization): void {
    if (sabotaged('l4-authorization')) return
    const policy = compilePolicy(authorization)
    this.#policies.set(policy.key, policy)
    this.#byNamespace.clear()
  }

  remove(key: string): boolean {
    this.#byNamespace.clear()
    return this.#policies.delete(key)
  }

  has(key: string): boolean {
    return this.#policies.has(key)
  }

  keys(): IterableIterator<string> {
    return this.#policies.keys()
  }

  decide(request: L4Request, options: L4Options = {}): L4Decision {
    const unknown: string[] = []
    const candidates = this.#candidates(request, unknown)
    const attributes = attributesOf(request)
    const verdict = evaluate(candidates, attributes)
    if (candidates.dryRun.length === 0 && options.provenance !== true) return verdict
    return {
      ...verdict,
      ...(candidates.dryRun.length === 0 ? {} : dryRun(candidates, attributes)),
      ...(options.provenance === true
        ? {
            ...this.#origin(verdict),
            considered: consider(candidates, attributes),
            unknownPolicies: unknown,
          }
        : {}),
    }
  }

  #origin({ policy, rule = -1 }: L4Verdict): Pick<L4Decision, 'origin'> {
    const origin = policy === undefined ? undefined : this.#policies.get(policy)?.origin(rule)
    return origin === undefined ? {} : { origin }
  }

  #candidates(request: L4Request, unknown: string[]): Candidates {
    const shared = this.#sharedCandidates(request.destinationNamespace)
    if (request.workloadPolicies.length === 0) return shared
    const own = emptyCandidates()
    for (const key of request.workloadPolicies) {
      const policy = this.#policies.get(key)
      // A key may come before its policy: the protocol says to skip it.
      if (policy === undefined) unknown.push(key)
      else if (policy.scope === 'workload') sortIn(own, policy)
    }
    return {
      deny: shared.deny.concat(own.deny),
      allow: shared.allow.concat(own.allow),
      dryRun: shared.dryRun.concat(own.dryRun),
    }
  }

  #sharedCandidates(namespace: string): Candidates {
    const known = this.#byNamespace.get(namespace)
    if (known !== undefined) return known
    const candidates = emptyCandidates()
    const keys = [...this.#policies.keys()].toSorted()
    for (const key of keys) {
      const policy = this.#policies.get(key)
      if (policy === undefined) continue
      const applies =
        policy.scope === 'global' ||
        (policy.scope === 'namespace' && policy.namespace === namespace)
      if (applies) sortIn(candidates, policy)
    }
    this.#byNamespace.set(namespace, candidates)
    return candidates
  }
}

function emptyCandidates(): Candidates {
  return { deny: [], allow: [], dryRun: [] }
}

function sortIn(candidates: Candidates, policy: CompiledPolicy): void {
  if (policy.dryRun) candidates.dryRun.push(policy)
  else if (policy.action === 'DENY') candidates.deny.push(policy)
  else candidates.allow.push(policy)
}

function dryRun(
  candidates: Candidates,
  attributes: Attributes,
): Required<Pick<L4Decision, 'dryRun' | 'withDryRun'>> {
  const deny = candidates.dryRun.filter((policy) => policy.action === 'DENY')
  const allow = candidates.dryRun.filter((policy) => policy.action === 'ALLOW')
  const inForce: Candidates = {
    deny: candidates.deny.concat(deny),
    allow: candidates.allow.concat(allow),
    dryRun: [],
  }
  return {
    dryRun: candidates.dryRun.map((policy): L4DryRun => {
      const rule = policy.matches(attributes)
      const { key, action } = policy
      return rule < 0 ? { policy: key, action } : { policy: key, action, matchedRule: rule }
    }),
    withDryRun: evaluate(inForce, attributes),
  }
}

function evaluate({ deny, allow }: Candidates, attributes: Attributes): L4Verdict {
  for (const policy of deny) {
    const rule = policy.matches(attributes)
    if (rule >= 0) return { allowed: false, reason: 'denied-by', policy: policy.key, rule }
  }
  if (allow.length === 0) return allowedNoPolicy
  for (const policy of allow) {
    const rule = policy.matches(attributes)
    if (rule >= 0) return { allowed: true, reason: 'allowed', policy: policy.key, rule }
  }
  return deniedNoMatch
}

function consider(candidates: Candidates, attributes: Attributes): L4Considered[] {
  const all = [...candidates.deny, ...candidates.allow, ...candidates.dryRun]
  return all.map((policy) => {
    const rule = policy.matches(attributes)
    const origin = policy.origin(rule)
    return {
      policy: policy.key,
      action: policy.action,
      dryRun: policy.dryRun,
      ...(origin === undefined ? {} : { origin }),
      ...(rule < 0 ? {} : { matchedRule: rule }),
      misses: rule < 0 ? policy.misses(attributes) : [],
    }
  })
}

function attributesOf(request: L4Request): Attributes {
  const identity = request.sourceIdentity
  let sourceIp: Uint8Array | undefined
  let destinationIp: Uint8Array | undefined
  return {
    principal: identity === undefined ? undefined : principalOf(identity),
    namespace: identity?.namespace,
    serviceAccount: identity?.serviceAccount,
    destinationPort: request.destinationPort,
    sourceIp: () => (sourceIp ??= addressBytes(request.sourceIp)),
    destinationIp: () => (destinationIp ??= addressBytes(request.destinationIp)),
  }
}

function principalOf({ trustDomain, namespace, serviceAccount }: L4Identity): string {
  return `${trustDomain}/ns/${namespace}/sa/${serviceAccount}`
}
