/**
 * Turns one Authorization into closures. The emptiness rules are the protocol's: a policy without
 * rules never matches, a rule without clauses always, a clause without matches is true, and a match
 * with nothing in it is no match.
 */
import { security } from '../../proto/index.ts'
import { originOf } from './origin.ts'
import type { L4Miss, L4Origin } from './types.ts'
import {
  type Attributes,
  compilePorts,
  compileRanges,
  compileServiceAccounts,
  compileStrings,
  invalid,
  type Predicate,
} from './values.ts'

/** One attribute of a match with its name, for the explanation of a miss. */
interface Condition {
  readonly attribute: string
  readonly holds: Predicate<Attributes>
}

/** AND. Undefined: an empty match, which never holds. */
type CompiledMatch = readonly Condition[] | undefined
/** OR; empty is true. */
type CompiledClause = readonly CompiledMatch[]
/** AND; empty is true. */
type CompiledRule = readonly CompiledClause[]

export interface CompiledPolicy {
  readonly key: string
  readonly namespace: string
  readonly scope: 'global' | 'namespace' | 'workload'
  readonly action: 'ALLOW' | 'DENY'
  readonly dryRun: boolean
  /** The index of the first rule that matches, or -1. */
  matches(attributes: Attributes): number
  /** For a request that matches no rule: what failed in each. */
  misses(attributes: Attributes): L4Miss[]
  /** The object behind it. @param rule index of the rule that matched, or -1 */
  origin(rule: number): L4Origin | undefined
}

const scopes: Readonly<Record<number, CompiledPolicy['scope']>> = {
  [security.Scope.GLOBAL]: 'global',
  [security.Scope.NAMESPACE]: 'namespace',
  [security.Scope.WORKLOAD_SELECTOR]: 'workload',
}

const actions: Readonly<Record<number, CompiledPolicy['action']>> = {
  [security.Action.ALLOW]: 'ALLOW',
  [security.Action.DENY]: 'DENY',
}

/** Throws a MeshError when a part of the policy can't be enforced as written. */
export function compilePolicy(authorization: security.Authorization): CompiledPolicy {
  const key = policyKey(authorization)
  const scope = scopes[authorization.scope]
  const action = actions[authorization.action]
  if (scope === undefined) throw invalid(key, `the unknown scope ${authorization.scope}`)
  if (action === undefined) throw invalid(key, `the unknown action ${authorization.action}`)
  const rules = authorization.rules.map((rule) => compileRule(rule, key))
  return {
    key,
    namespace: authorization.namespace,
    scope,
    action,
    dryRun: authorization.dryRun,
    matches: (attributes) => rules.findIndex((rule) => ruleHolds(rule, attributes)),
    origin: (rule) => originOf(authorization, rule),
    misses: (attributes) => rules.flatMap((rule, index) => explainMiss(rule, index, attributes)),
  }
}

export function policyKey(policy: { readonly namespace: string; readonly name: string }): string {
  return `${policy.namespace}/${policy.name}`
}

function compileRule(rule: security.Rule, where: string): CompiledRule {
  return rule.clauses.map((clause) => clause.matches.map((match) => compileMatch(match, where)))
}

function compileMatch(match: security.Match, where: string): CompiledMatch {
  const conditions: Condition[] = []
  const add = (attribute: string, used: boolean, make: () => Predicate<Attributes>): void => {
    if (used) conditions.push({ attribute, holds: make() })
  }
  const strings = (
    name: string,
    positive: readonly security.StringMatch[],
    negative: readonly security.StringMatch[],
    read: (attributes: Attributes) => string | undefined,
  ): void => {
    add(name, positive.length > 0, () => on(compileStrings(positive, where), read))
    add(`not_${name}`, negative.length > 0, () => not(on(compileStrings(negative, where), read)))
  }
  const ranges = (
    name: string,
    positive: readonly security.Address[],
    negative: readonly security.Address[],
    read: (attributes: Attributes) => Uint8Array,
  ): void => {
    add(name, positive.length > 0, () => on(compileRanges(positive, where), read))
    add(`not_${name}`, negative.length > 0, () => not(on(compileRanges(negative, where), read)))
  }
  // Cheap attributes first.
  const port = (attributes: Attributes): number => attributes.destinationPort
  const ports = match.destinationPorts
  const notPorts = match.notDestinationPorts
  add('destination_ports', ports.length > 0, () => on(compilePorts(ports), port))
  add('not_destination_ports', notPorts.length > 0, () => not(on(compilePorts(notPorts), port)))
  strings('principals', match.principals, match.notPrincipals, (a) => a.principal)
  strings('namespaces', match.namespaces, match.notNamespaces, (a) => a.namespace)
  const accounts = match.serviceAccounts
  const notAccounts = match.notServiceAccounts
  add('service_accounts', accounts.length > 0, () => compileServiceAccounts(accounts))
  add('not_service_accounts', notAccounts.length > 0, () =>
    not(compileServiceAccounts(notAccounts)),
  )
  ranges('source_ips', match.sourceIps, match.notSourceIps, (a) => a.sourceIp())
  ranges('destination_ips', match.destinationIps, match.notDestinationIps, (a) => a.destinationIp())
  return conditions.length > 0 ? conditions : undefined
}

function on<T>(
  predicate: Predicate<T>,
  read: (attributes: Attributes) => T,
): Predicate<Attributes> {
  return (attributes) => predicate(read(attributes))
}

function not(predicate: Predicate<Attributes>): Predicate<Attributes> {
  return (attributes) => !predicate(attributes)
}

function matchHolds(match: CompiledMatch, attributes: Attributes): boolean {
  return match !== undefined && match.every((condition) => condition.holds(attributes))
}

function clauseHolds(clause: CompiledClause, attributes: Attributes): boolean {
  return clause.length === 0 || clause.some((match) => matchHolds(match, attributes))
}

function ruleHolds(rule: CompiledRule, attributes: Attributes): boolean {
  return rule.every((clause) => clauseHolds(clause, attributes))
}

function explainMiss(rule: CompiledRule, index: number, attributes: Attributes): L4Miss[] {
  const clause = rule.findIndex((candidate) => !clauseHolds(candidate, attributes))
  if (clause < 0) return []
  const failed = (rule[clause] ?? []).map((match) => {
    if (match === undefined) return 'nothing'
    return match.find((condition) => !condition.holds(attributes))?.attribute ?? 'nothing'
  })
  return [{ rule: index, clause, attributes: failed }]
}
