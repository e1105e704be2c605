/**
 * The promise everything incremental rests on: after any history of events, an updated model is the
 * model built from scratch, and what an update did not touch translates to the same bytes.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import { isDeepStrictEqual } from 'node:util'
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
  translateGateway,
  translatePeerAuthentication,
  translatePolicy,
  translateService,
  translateStaticStrict,
  translateWaypointAllow,
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
  for (const key of snapshot.objects.Gateway.keys()) {
    add('gateways', key, translateWaypointAllow(snapshot, key))
    const translated = translateGateway(snapshot, key)
    for (const resource of [...(translated?.listeners ?? []), ...(translated?.routes ?? [])]) {
      add('gateways', key, resource)
    }
  }
  return all
}

function isTouched(touched: Touched, name: string): boolean {
  const [set = '', key = ''] = name.split('|')
  const { mesh, ...sets } = touched
  const keys: Readonly<Record<string, ReadonlySet<string>>> = sets
  return keys[set]?.has(key) === true || (mesh && set === 'gateways')
}

/** Maps keep no order, so comparisons go by sorted entries. */
function plain(snapshot: Snapshot): unknown {
  const sorted = (map: { entries(): Iterable<[string, unknown]> }): unknown =>
    [...map.entries()].toSorted(([left], [right]) => (left < right ? -1 : 1))
  return {
    mesh: snapshot.mesh,
    settings: snapshot.settings,
    objects: Object.entries(snapshot.objects).map(([kind, map]) => [kind, sorted(map)]),
    workloads: sorted(snapshot.workloads),
    services: sorted(snapshot.services),
    indexes: Object.entries(snapshot.indexes).map(([name, map]) => [name, sorted(map)]),
  }
}

/** Objects that translations of proxies read as they are: each that differs is named. */
function checkObjects(old: Snapshot, next: Snapshot, touched: Touched): void {
  const sets: Readonly<Record<string, ReadonlySet<string>>> = {
    Namespace: new Set([...touched.namespaces].map((key) => `Namespace/${key}`)),
    Secret: touched.secrets,
    ConfigMap: touched.secrets,
  }
  const told = new Set(['Pod', 'Service', 'EndpointSlice', 'Node', 'MeshConfig'])
  const kinds = Object.keys(next.objects).filter((kind) => !told.has(kind))
  for (const kind of kinds as (keyof Snapshot['objects'])[]) {
    const [before, after] = [old.objects[kind], next.objects[kind]]
    for (const key of new Set([...before.keys(), ...after.keys()])) {
      if (before.get(key) === after.get(key)) continue
      const name = `${kind}/${key}`
      assert.ok((sets[kind] ?? touched.configs).has(name), `${name} changed without being touched`)
    }
  }
  for (const index of ['boundWorkloads', 'selectedWorkloads'] as const) {
    const [before, after] = [old.indexes[index], next.indexes[index]]
    for (const key of new Set([...before.keys(), ...after.keys()])) {
      if (isDeepStrictEqual(before.get(key), after.get(key))) continue
      assert.ok(touched.endpoints.has(key), `${index} of ${key} changed without being touched`)
    }
  }
  if (!isDeepStrictEqual(old.mesh, next.mesh)) assert.ok(touched.mesh, 'the mesh changed')
}

function check(history: readonly (readonly ModelEvent[])[], autoAllowWaypoints: boolean): void {
  const settings = { ...defaultMeshSettings, autoAllowWaypoints }
  const model = new Model(settings)
  const latest = new Map<string, ModelEvent>()
  let before = translateAll(model.snapshot)
  for (const batch of history) {
    const old = model.snapshot
    const frozen = plain(old)
    const { touched, snapshot } = model.update(batch)
    for (const event of batch) latest.set(`${event.kind}|${event.key}`, event)
    assert.deepEqual(plain(old), frozen, 'an update changed the snapshot before it')
    checkObjects(old, snapshot, touched)
    const after = translateAll(snapshot)
    for (const name of new Set([...before.keys(), ...after.keys()])) {
      if (before.get(name)?.version === after.get(name)?.version) continue
      assert.ok(isTouched(touched, name), `${name} changed without being touched`)
    }
    before = after
  }
  const scratch = buildSnapshot(settings, [...latest.values()])
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
  fc.assert(fc.property(histories, fc.boolean(), check), {
    numRuns: Number(process.env.FC_RUNS ?? 250),
  })
})

test('an event that repeats what is known changes nothing', () => {
  const model = new Model(defaultMeshSettings)
  const [event] = fc.sample(
    // Credentials are no plain values: a clone has no private key, and is another one.
    anyEvent.filter(({ kind, value }) => value !== undefined && kind !== 'Secret'),
    1,
  )
  assert.ok(event)
  assert.equal(model.update([event]).changed, true)
  const { revision } = model.snapshot
  assert.equal(model.update([structuredClone(event)]).changed, false)
  assert.equal(model.snapshot.revision, revision)
})
