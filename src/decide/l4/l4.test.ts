import assert from 'node:assert/strict'
import test from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { parseIp } from '../../base/index.ts'
import { AnySchema, create, fromJson, StructSchema, security, toBinary } from '../../proto/index.ts'
import { createL4Engine, type L4Decision, type L4Request } from '../index.ts'

type PolicyInit = MessageInitShape<typeof security.AuthorizationSchema>

const { ALLOW, DENY } = security.Action
const { GLOBAL, NAMESPACE, WORKLOAD_SELECTOR } = security.Scope

function policy(init: PolicyInit): security.Authorization {
  return create(security.AuthorizationSchema, { name: 'p', namespace: 'ns', ...init })
}

const productpage = {
  trustDomain: 'cluster.local',
  namespace: 'bookinfo',
  serviceAccount: 'bookinfo-productpage',
}

const call: L4Request = {
  sourceIdentity: productpage,
  sourceIp: '10.244.0.11',
  destinationIp: '10.244.0.12',
  destinationPort: 9080,
  destinationNamespace: 'bookinfo',
  workloadPolicies: [],
}

function decide(policies: PolicyInit[], request: Partial<L4Request> = {}): L4Decision {
  const engine = createL4Engine()
  for (const init of policies) engine.upsert(policy(init))
  return engine.decide({ ...call, ...request })
}

const everything = { clauses: [] }
const exact = (value: string) => ({ matchType: { case: 'exact' as const, value } })
const presence = { matchType: { case: 'presence' as const, value: {} } }

function rule(...matches: MessageInitShape<typeof security.MatchSchema>[]) {
  return { clauses: [{ matches }] }
}

test('without policies everything is allowed', () => {
  assert.deepEqual(decide([]), { allowed: true, reason: 'allowed-no-policy' })
})

test('an ALLOW policy without rules denies all, a DENY policy without rules nothing', () => {
  const scope = GLOBAL
  assert.deepEqual(decide([{ scope, action: ALLOW }]), {
    allowed: false,
    reason: 'denied-no-match',
  })
  assert.equal(decide([{ scope, action: DENY }]).reason, 'allowed-no-policy')
})

test('a rule without clauses matches everything, an empty match nothing', () => {
  const scope = GLOBAL
  assert.equal(decide([{ scope, action: DENY, rules: [everything] }]).reason, 'denied-by')
  assert.equal(decide([{ scope, action: DENY, rules: [{ clauses: [{}] }] }]).reason, 'denied-by')
  assert.equal(decide([{ scope, action: DENY, rules: [rule({})] }]).reason, 'allowed-no-policy')
})

test('a DENY that matches wins over an ALLOW that matches, and both are named', () => {
  const allow = { name: 'a', scope: GLOBAL, action: ALLOW, rules: [everything] }
  const deny = {
    name: 'd',
    scope: GLOBAL,
    action: DENY,
    rules: [rule({ destinationPorts: [1] }), rule({ destinationPorts: [9080] })],
  }
  assert.deepEqual(decide([allow]), { allowed: true, reason: 'allowed', policy: 'ns/a', rule: 0 })
  assert.deepEqual(decide([allow, deny]), {
    allowed: false,
    reason: 'denied-by',
    policy: 'ns/d',
    rule: 1,
  })
})

test('a namespace policy governs its namespace, a selector policy the workloads that list it', () => {
  const denyAll = { action: DENY, rules: [everything] }
  assert.equal(decide([{ ...denyAll, scope: NAMESPACE, namespace: 'other' }]).allowed, true)
  assert.equal(decide([{ ...denyAll, scope: NAMESPACE, namespace: 'bookinfo' }]).allowed, false)
  const selector = { ...denyAll, scope: WORKLOAD_SELECTOR }
  assert.equal(decide([selector]).allowed, true)
  assert.equal(decide([selector], { workloadPolicies: ['ns/p'] }).allowed, false)
})

test('a listed policy that has not arrived is skipped', () => {
  assert.equal(decide([], { workloadPolicies: ['ns/unknown'] }).reason, 'allowed-no-policy')
})

test('STRICT refuses plaintext by the absence of a principal and accepts any identity', () => {
  const strict = {
    name: 'istio_converted_static_strict',
    namespace: 'istio-system',
    scope: WORKLOAD_SELECTOR,
    action: DENY,
    rules: [rule({ notPrincipals: [presence] })],
  }
  const workloadPolicies = ['istio-system/istio_converted_static_strict']
  assert.equal(decide([strict], { workloadPolicies }).allowed, true)
  assert.equal(decide([strict], { workloadPolicies, sourceIdentity: undefined }).allowed, false)
})

test('without identity positive matches fail and negative ones hold', () => {
  const plain = { sourceIdentity: undefined }
  const deny = (match: MessageInitShape<typeof security.MatchSchema>) =>
    decide([{ scope: GLOBAL, action: DENY, rules: [rule(match)] }], plain).allowed
  assert.equal(deny({ principals: [presence] }), true)
  assert.equal(deny({ namespaces: [presence] }), true)
  assert.equal(deny({ notNamespaces: [exact('bookinfo')] }), false)
  const account = { namespace: 'bookinfo', serviceAccount: 'x' }
  assert.equal(deny({ serviceAccounts: [account] }), true)
  assert.equal(deny({ notServiceAccounts: [account] }), false)
})

test('a dry-run policy changes nothing but is reported', () => {
  const decision = decide([{ scope: GLOBAL, action: DENY, dryRun: true, rules: [everything] }])
  assert.deepEqual(decision, {
    allowed: true,
    reason: 'allowed-no-policy',
    dryRun: [{ policy: 'ns/p', action: 'DENY', matchedRule: 0 }],
    withDryRun: { allowed: false, reason: 'denied-by', policy: 'ns/p', rule: 0 },
  })
})

test('a removed or replaced policy decides no more', () => {
  const engine = createL4Engine()
  engine.upsert(policy({ scope: GLOBAL, action: DENY, rules: [everything] }))
  assert.equal(engine.decide(call).allowed, false)
  engine.upsert(policy({ scope: GLOBAL, action: DENY, rules: [rule({ destinationPorts: [1] })] }))
  assert.equal(engine.decide(call).allowed, true)
  engine.upsert(policy({ scope: GLOBAL, action: DENY, rules: [everything] }))
  assert.equal(engine.remove('ns/p'), true)
  assert.equal(engine.decide(call).allowed, true)
})

test('a policy which cannot be enforced as written is refused and the old one stays', () => {
  const engine = createL4Engine()
  engine.upsert(policy({ scope: GLOBAL, action: DENY, rules: [everything] }))
  const bad: PolicyInit[] = [
    // From a newer control plane: numbers which this version has no name for.
    { scope: 9 as security.Scope },
    { action: 9 as security.Action },
    { rules: [rule({ sourceIps: [{ address: new Uint8Array(5), length: 8 }] })] },
    { rules: [rule({ sourceIps: [{ address: parseIp('10.0.0.0'), length: 33 }] })] },
    { rules: [rule({ principals: [{}] })] },
  ]
  for (const init of bad) {
    assert.throws(() => engine.upsert(policy(init)), { code: 'L4_POLICY_INVALID' })
  }
  assert.equal(engine.decide(call).allowed, false)
})

test('provenance names what was considered and why each rule missed', () => {
  const engine = createL4Engine()
  engine.upsert(
    policy({
      scope: GLOBAL,
      action: ALLOW,
      rules: [
        rule({ destinationPorts: [80] }, { principals: [exact('x')] }),
        {
          clauses: [
            { matches: [{ destinationPorts: [9080] }] },
            { matches: [{ sourceIps: [{ address: parseIp('10.9.0.0'), length: 16 }] }] },
          ],
        },
      ],
    }),
  )
  const decision = engine.decide({ ...call, workloadPolicies: ['a/b'] }, { provenance: true })
  assert.deepEqual(decision.considered, [
    {
      policy: 'ns/p',
      action: 'ALLOW',
      dryRun: false,
      misses: [
        { rule: 0, clause: 0, attributes: ['destination_ports', 'principals'] },
        { rule: 1, clause: 1, attributes: ['source_ips'] },
      ],
    },
  ])
  assert.deepEqual(decision.unknownPolicies, ['a/b'])
})

test('provenance leads to the rule of the object that the user wrote', () => {
  const engine = createL4Engine()
  const note = fromJson(StructSchema, { config: '/apis/x/y', rules: [0, 3] })
  const config = create(AnySchema, { value: toBinary(StructSchema, note) })
  const rules = [rule({ destinationPorts: [1] }), everything]
  const extensions = [{ name: 'weft.provenance', config }]
  engine.upsert(policy({ scope: GLOBAL, action: DENY, rules, extensions }))
  const { origin, considered } = engine.decide(call, { provenance: true })
  assert.deepEqual(origin, { config: '/apis/x/y', rule: 3 })
  assert.deepEqual(considered?.[0]?.origin, origin)
  const broken = create(AnySchema, { value: Uint8Array.of(0xff, 1) })
  const unreadable = [{ name: 'weft.provenance', config: broken }]
  engine.upsert(policy({ scope: GLOBAL, action: DENY, rules, extensions: unreadable }))
  const decision = engine.decide(call, { provenance: true })
  assert.equal(decision.origin, undefined)
  assert.equal(decision.allowed, false)
})
