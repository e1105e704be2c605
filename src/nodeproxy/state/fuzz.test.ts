/** Resources that no control plane should send, through the store; seeds are printed and can be repeated. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { type FuzzRandom, fuzzScale, fuzzSeeds, withSeed } from '../../../test/fuzz.ts'
import { create, fromBinary, security, toBinary, workload } from '../../proto/index.ts'
import { routeOutbound } from '../route.ts'
import { Store } from './store.ts'

const kept = [1, 20_261_121]
const ip = (random: FuzzRandom): Uint8Array => Uint8Array.of(10, 0, 0, random.below(8))
const name = (random: FuzzRandom): string => random.pick(['a', 'b', 'c', ''])
const key = (random: FuzzRandom): string => `ns/${name(random)}.ns.svc.cluster.local`

function randomWorkload(random: FuzzRandom): workload.Address {
  const services = Object.fromEntries(
    Array.from({ length: random.below(3) }, () => [
      key(random),
      { ports: [{ servicePort: 80, targetPort: random.pick([0, 8080, 70_000]) }] },
    ]),
  )
  const value = create(workload.WorkloadSchema, {
    uid: `Kubernetes//Pod/ns/${name(random)}`,
    name: name(random),
    namespace: 'ns',
    addresses: Array.from({ length: random.below(3) }, () => ip(random)),
    hostname: random.pick(['', 'db.example']),
    tunnelProtocol: random.below(3),
    authorizationPolicies: [random.pick(['ns/p', 'nowhere/none'])],
    services,
    capacity: random.below(3),
    ...(random.chance(20)
      ? { waypoint: { destination: gateway(random), hboneMtlsPort: 15_008 } }
      : {}),
  })
  return create(workload.AddressSchema, { type: { case: 'workload', value } })
}

function gateway(random: FuzzRandom) {
  return random.chance(50)
    ? { case: 'address' as const, value: { network: '', address: ip(random) } }
    : {
        case: 'hostname' as const,
        value: { namespace: 'ns', hostname: `${name(random)}.ns.svc.cluster.local` },
      }
}

function randomService(random: FuzzRandom): workload.Address {
  const value = create(workload.ServiceSchema, {
    name: name(random),
    namespace: 'ns',
    hostname: `${name(random)}.ns.svc.cluster.local`,
    addresses: [{ address: ip(random), network: '' }],
    ports: [{ servicePort: 80, targetPort: 8080 }],
    ...(random.chance(20) ? { waypoint: { destination: gateway(random) } } : {}),
  })
  return create(workload.AddressSchema, { type: { case: 'service', value } })
}

function randomPolicy(random: FuzzRandom): security.Authorization {
  const text = (kind: 'exact' | 'prefix' | 'suffix') => ({
    matchType: { case: kind, value: random.pick(['', '*', 'cluster.local/ns/a/sa/b']) },
  })
  const match = {
    principals: random.chance(50) ? [text(random.pick(['exact', 'prefix', 'suffix']))] : [],
    sourceIps: random.chance(50) ? [{ address: ip(random), length: random.below(200) }] : [],
    destinationPorts: random.chance(50) ? [random.below(100_000)] : [],
  }
  return create(security.AuthorizationSchema, {
    name: name(random),
    namespace: random.pick(['ns', 'other']),
    scope: random.below(4),
    action: random.below(3),
    rules: random.chance(80) ? [{ clauses: [{ matches: [match] }] }] : [],
  })
}

/** Takes one resource over as the xDS client does: what can't be read or honoured is refused. */
function feed(store: Store, random: FuzzRandom, refused: { count: number }): void {
  if (random.chance(30)) {
    const schema = security.AuthorizationSchema
    const policy = read(random, toBinary(schema, randomPolicy(random)), (b) =>
      fromBinary(schema, b),
    )
    take(refused, policy, (message) => store.putPolicy(message))
  } else {
    const schema = workload.AddressSchema
    const made = random.chance(60) ? randomWorkload(random) : randomService(random)
    const address = read(random, toBinary(schema, made), (bytes) => fromBinary(schema, bytes))
    take(refused, address, (message) => store.putAddress(message))
  }
}

/** The message, damaged half of the time; undefined when it is none any more. */
function read<T>(
  random: FuzzRandom,
  wire: Uint8Array,
  decode: (b: Uint8Array) => T,
): T | undefined {
  try {
    return decode(random.chance(50) ? random.damage(wire) : wire)
  } catch {
    return undefined
  }
}

function take<T>(refused: { count: number }, message: T | undefined, put: (m: T) => void): void {
  try {
    if (message === undefined) refused.count++
    else put(message)
  } catch (error) {
    assert.ok(error instanceof Error && error.message !== '')
    // A fault of our own would be one of these.
    const fault = error instanceof TypeError || error instanceof assert.AssertionError
    assert.ok(!fault, String(error.stack))
    refused.count++
  }
}

test('whatever is fed to the store is taken or refused; decisions stand, and all of it can go again', async () => {
  for (const seed of fuzzSeeds('resources', kept)) {
    await withSeed(seed, (random) => {
      for (let world = 0; world < 30 * fuzzScale; world++) {
        const store = new Store()
        const refused = { count: 0 }
        const known: string[] = []
        store.onChange((change) => {
          if (change.kind !== 'policy') known.push('uid' in change ? change.uid : change.key)
        })
        for (let round = 0; round < 100; round++) {
          feed(store, random, refused)
          if (random.chance(10)) store.removeAddress(random.pick([key(random), 'unknown']))
          useIt(store, random)
        }
        assert.ok(refused.count > 0 && refused.count < 100, `${refused.count} of 100 refused`)
        for (const name of known) store.removeAddress(name)
        for (const policy of store.policyMessages.keys()) store.removePolicy(policy)
        assert.deepEqual([...store.workloads.values()], [])
        assert.deepEqual([...store.services.values()], [])
        assert.equal(store.policyMessages.size, 0)
      }
    })
  }
})

function useIt(store: Store, random: FuzzRandom): void {
  const address = `10.0.0.${random.below(8)}`
  const client = store.workloadAt('', address)
  store.policies.decide({
    sourceIdentity: undefined,
    sourceIp: address,
    destinationIp: '10.0.0.1',
    destinationPort: random.below(65_536),
    destinationNamespace: 'ns',
    workloadPolicies: client?.policies ?? [],
  })
  if (client === undefined) return
  const port = random.pick([80, 8080, 15_008])
  const wanted = { address: `10.0.0.${random.below(8)}`, port }
  const route = routeOutbound({ store, client, ...wanted, random: () => random.below(100) / 100 })
  assert.ok(['refused', 'hbone', 'tcp'].includes(route.kind), route.kind)
}
