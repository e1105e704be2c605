/** The compiled engine against an evaluator written from the specification, sentence by sentence. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { parseIp } from '../../base/index.ts'
import { create, security } from '../../proto/index.ts'
import { createL4Engine, type L4Request } from '../index.ts'

const { ALLOW, DENY } = security.Action
const { GLOBAL, NAMESPACE, WORKLOAD_SELECTOR } = security.Scope

function naiveString(matcher: security.StringMatch, value: string | undefined): boolean {
  if (value === undefined) return false
  const { case: kind, value: wanted } = matcher.matchType
  if (kind === 'exact') return value === wanted
  if (kind === 'prefix') return value.startsWith(wanted)
  if (kind === 'suffix') return value.endsWith(wanted)
  return value.length > 0
}

function bits(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
}

function naiveAddress(range: security.Address, text: string): boolean {
  const value = parseIp(text)
  if (value === undefined || value.length !== range.address.length) return false
  return bits(value).slice(0, range.length) === bits(range.address).slice(0, range.length)
}

function naiveMatch(match: security.Match, request: L4Request): boolean {
  const who = request.sourceIdentity
  const principal =
    who === undefined
      ? undefined
      : `${who.trustDomain}/ns/${who.namespace}/sa/${who.serviceAccount}`
  const account = (a: security.ServiceAccountMatch): boolean =>
    who !== undefined && a.namespace === who.namespace && a.serviceAccount === who.serviceAccount
  const checks: [unknown[], boolean, unknown[], boolean][] = [
    [
      match.principals,
      match.principals.some((m) => naiveString(m, principal)),
      match.notPrincipals,
      match.notPrincipals.some((m) => naiveString(m, principal)),
    ],
    [
      match.namespaces,
      match.namespaces.some((m) => naiveString(m, who?.namespace)),
      match.notNamespaces,
      match.notNamespaces.some((m) => naiveString(m, who?.namespace)),
    ],
    [
      match.serviceAccounts,
      match.serviceAccounts.some(account),
      match.notServiceAccounts,
      match.notServiceAccounts.some(account),
    ],
    [
      match.sourceIps,
      match.sourceIps.some((r) => naiveAddress(r, request.sourceIp)),
      match.notSourceIps,
      match.notSourceIps.some((r) => naiveAddress(r, request.sourceIp)),
    ],
    [
      match.destinationIps,
      match.destinationIps.some((r) => naiveAddress(r, request.destinationIp)),
      match.notDestinationIps,
      match.notDestinationIps.some((r) => naiveAddress(r, request.destinationIp)),
    ],
    [
      match.destinationPorts,
      match.destinationPorts.includes(request.destinationPort),
      match.notDestinationPorts,
      match.notDestinationPorts.includes(request.destinationPort),
    ],
  ]
  if (checks.every(([list, , notList]) => list.length === 0 && notList.length === 0)) return false
  return checks.every(
    ([list, any, notList, anyNot]) =>
      (list.length === 0 || any) && (notList.length === 0 || !anyNot),
  )
}

function naiveMatches(policy: security.Authorization, request: L4Request): boolean {
  return policy.rules.some((rule) =>
    rule.clauses.every(
      (clause) =>
        clause.matches.length === 0 || clause.matches.some((match) => naiveMatch(match, request)),
    ),
  )
}

function naiveDecide(policies: security.Authorization[], request: L4Request): boolean {
  const relevant = policies.filter((policy) => {
    if (policy.dryRun) return false
    if (policy.scope === GLOBAL) return true
    if (policy.scope === NAMESPACE) return policy.namespace === request.destinationNamespace
    return request.workloadPolicies.includes(`${policy.namespace}/${policy.name}`)
  })
  const deny = relevant.filter((policy) => policy.action === DENY)
  if (deny.some((policy) => naiveMatches(policy, request))) return false
  const allow = relevant.filter((policy) => policy.action === ALLOW)
  return allow.length === 0 || allow.some((policy) => naiveMatches(policy, request))
}

const name = fc.constantFrom('a', 'b', 'ab')
const address = fc.constantFrom('10.0.0.1', '10.0.1.1', '10.128.0.1', 'fd00::1', 'fd00::1:0:1')
const port = fc.constantFrom(80, 443, 9080)
const identity = fc.record({
  trustDomain: fc.constantFrom('cluster.local', 'td'),
  namespace: name,
  serviceAccount: name,
})
const text = fc.oneof(
  name,
  identity.map((who) => `${who.trustDomain}/ns/${who.namespace}/sa/${who.serviceAccount}`),
  fc.constantFrom('cluster.local/', '/sa/a', ''),
)
const string = fc
  .tuple(fc.constantFrom('exact' as const, 'prefix' as const, 'suffix' as const), text)
  .map(([kind, value]) => ({ matchType: { case: kind, value } }))
const anyString = fc.oneof(
  { weight: 4, arbitrary: string },
  { weight: 1, arbitrary: fc.constant({ matchType: { case: 'presence' as const, value: {} } }) },
)
const range = fc.tuple(address, fc.constantFrom(0, 8, 9, 23, 24, 32)).map(([ip, length]) => {
  const bytes = parseIp(ip) ?? new Uint8Array()
  return { address: bytes, length: bytes.length === 4 ? length : length * 4 }
})
const sparse = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.oneof(
    { weight: 5, arbitrary: fc.constant<T[]>([]) },
    { weight: 2, arbitrary: fc.array(arbitrary, { maxLength: 3 }) },
  )
const account = fc.record({ namespace: name, serviceAccount: name })
const match = fc.record({
  principals: sparse(anyString),
  notPrincipals: sparse(anyString),
  namespaces: sparse(anyString),
  notNamespaces: sparse(anyString),
  serviceAccounts: sparse(account),
  notServiceAccounts: sparse(account),
  sourceIps: sparse(range),
  notSourceIps: sparse(range),
  destinationIps: sparse(range),
  notDestinationIps: sparse(range),
  destinationPorts: sparse(port),
  notDestinationPorts: sparse(port),
})
const few = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.array(arbitrary, { maxLength: 2 })
const clause = fc.record({ matches: few(match) })
const rule = fc.record({ clauses: few(clause) })
const policy = fc.record({
  namespace: name,
  scope: fc.constantFrom(GLOBAL, NAMESPACE, WORKLOAD_SELECTOR),
  action: fc.constantFrom(ALLOW, DENY),
  dryRun: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.boolean()),
  rules: few(rule),
})
const request: fc.Arbitrary<L4Request> = fc.record({
  sourceIdentity: fc.option(identity, { nil: undefined }),
  sourceIp: address,
  destinationIp: address,
  destinationPort: port,
  destinationNamespace: name,
  workloadPolicies: sparse(fc.constantFrom('a/p0', 'a/p1', 'b/p1', 'ab/p2', 'a/gone')),
})

test('the compiled engine decides as the specification reads', () => {
  fc.assert(
    fc.property(fc.array(policy, { maxLength: 4 }), request, (inits, asked) => {
      const policies = inits.map((init, index) =>
        create(security.AuthorizationSchema, { ...init, name: `p${index}` }),
      )
      const engine = createL4Engine()
      for (const item of policies) engine.upsert(item)
      const decision = engine.decide(asked, { provenance: true })
      assert.equal(decision.allowed, naiveDecide(policies, asked))
      assert.equal(engine.decide(asked).reason, decision.reason)
      const decider = decision.considered?.find((item) => item.policy === decision.policy)
      assert.equal(decider?.matchedRule, decision.rule)
      if (decision.withDryRun !== undefined) {
        const forced = policies.map((item) => ({ ...item, dryRun: false }))
        assert.equal(decision.withDryRun.allowed, naiveDecide(forced, asked))
      }
    }),
    { numRuns: 1500 },
  )
})
