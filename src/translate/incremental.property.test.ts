/**
 * The promise everything incremental rests on: after any history of events, an updated model is the
 * model built from scratch, and what an update did not touch translates to the same bytes.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import {
  buildSnapshot,
  defaultMeshSettings,
  Model,
  type ModelEvent,
  type Snapshot,
  type Touched,
} from '../model/index.ts'
import { anyEvent, oneOf, start } from './arbitraries.ts'
import {
  convertedPolicyName,
  staticStrictKey,
  type TranslatedResource,
  translateCluster,
  translateEndpoints,
  translateGateway,
  translatePeerAuthentication,
  translatePolicy,
  translateService,
  translateStaticStrict,
  translateWorkload,
} from './index.ts'

/** Every resource by `<set>|<key>`: the set that must be touched when it changes. */
function translateAll(snapshot: Snapshot): Map<string, TranslatedResource> {
  const all = new Map<string, TranslatedResource>()
  const add = (set: string, key: string, resource: TranslatedResource | undefined): void => {
    if (resource !== undefined) all.set(`${set}|${key}|${resource.name}`, resource)
  }
  for (const key of snapshot.services.keys()) add('services', key, translateService(snapshot, key))
  for (const uid of snapshot.workloads.keys())
    add('workloads', uid, translateWorkload(snapshot, uid))
  for (const key of snapshot.objects.AuthorizationPolicy.keys()) {
    add('policies', key, translatePolicy(snapshot, key))
  }
  for (const key of snapshot.objects.PeerAuthentication.keys()) {
    const resource = translatePeerAuthentication(snapshot, key)
    add('peerAuthentications', key, resource)
    if (resource !== undefined) assert.equal(resource.name, convertedPolicyName(key))
  }
  const strict = translateStaticStrict(snapshot)
  if (strict !== undefined) assert.equal(strict.name, staticStrictKey(snapshot))
  for (const service of snapshot.services.values()) {
    const key = `${service.namespace}/${service.hostname}`
    for (const { port } of service.ports) {
      const ref = { name: `c|${key}|${port}`, service: key, port }
      add('endpoints', key, translateEndpoints(snapshot, ref))
      const cluster = translateCluster(snapshot, ref)
      if (cluster !== undefined) all.set(`services|${key}|cluster ${port}`, cluster)
    }
  }
  for (const key of snapshot.objects.Gateway.keys()) {
    const translated = translateGateway(snapshot, key)
    for (const resource of [...(translated?.listeners ?? []), ...(translated?.routes ?? [])]) {
      add('gateways', key, resource)
    }
  }
  return all
}

function isTouched(touched: Touched, name: string): boolean {
  const [set = '', key = ''] = name.split('|')
  const keys: Readonly<Record<string, ReadonlySet<string>>> = { ...touched }
  return keys[set]?.has(key) === true
}

/** Maps keep no order, so comparisons go by sorted entries. */
function plain(snapshot: Snapshot): unknown {
  const sorted = (map: { entries(): Iterable<[string, unknown]> }): unknown =>
    [...map.entries()].toSorted(([left], [right]) => (left < right ? -1 : 1))
  return {
    objects: Object.entries(snapshot.objects).map(([kind, map]) => [kind, sorted(map)]),
    workloads: sorted(snapshot.workloads),
    services: sorted(snapshot.services),
    indexes: Object.entries(snapshot.indexes).map(([name, map]) => [name, sorted(map)]),
  }
}

function check(history: readonly (readonly ModelEvent[])[]): void {
  const model = new Model(defaultMeshSettings)
  const latest = new Map<string, ModelEvent>()
  let before = translateAll(model.snapshot)
  for (const batch of history) {
    const old = model.snapshot
    const frozen = plain(old)
    const { touched, snapshot } = model.update(batch)
    for (const event of batch) latest.set(`${event.kind}|${event.key}`, event)
    assert.deepEqual(plain(old), frozen, 'an update changed the snapshot before it')
    const after = translateAll(snapshot)
    for (const name of new Set([...before.keys(), ...after.keys()])) {
      if (before.get(name)?.version === after.get(name)?.version) continue
      assert.ok(isTouched(touched, name), `${name} changed without being touched`)
    }
    before = after
  }
  const scratch = buildSnapshot(defaultMeshSettings, [...latest.values()])
  assert.deepEqual(plain(model.snapshot), plain(scratch))
  const fresh = translateAll(scratch)
  assert.equal(fresh.size, before.size)
  for (const [name, resource] of fresh)
    assert.equal(before.get(name)?.version, resource.version, name)
}

test('after any history, incremental equals from scratch and every difference was touched', () => {
  const history = fc.array(fc.array(anyEvent, { minLength: 1, maxLength: 4 }), { maxLength: 12 })
  const histories = fc
    .tuple(oneOf([], start('All'), start('Selector')), history)
    .map(([first, events]) => [first, ...events])
  fc.assert(fc.property(histories, check), { numRuns: Number(process.env.FC_RUNS ?? 250) })
})

test('an event that repeats what is known changes nothing', () => {
  const model = new Model(defaultMeshSettings)
  const [event] = fc.sample(
    anyEvent.filter((candidate) => candidate.value !== undefined),
    1,
  )
  assert.ok(event)
  assert.equal(model.update([event]).changed, true)
  const { revision } = model.snapshot
  assert.equal(model.update([structuredClone(event)]).changed, false)
  assert.equal(model.snapshot.revision, revision)
})
