/** What keeps a registry that runs for months small: bounded histories, a bounded file, a bounded state. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Clock, FakeClock, MeshError, silentLogger, systemClock } from '../../base/index.ts'
import type { KubeObject } from '../../kube/index.ts'
import { fieldsFor } from '../fields.ts'
import { limits } from '../limits.ts'
import type { Bucket } from './bucket.ts'
import { ObjectStore } from './objects.ts'
import { SqliteStore } from './sqlite-store.ts'
import type { Durability, Store } from './store.ts'

const dir = mkdtempSync(join(tmpdir(), 'weft-life-'))
after(() => rmSync(dir, { recursive: true, force: true }))

const soak = process.env.WEFT_SOAK === '1'
let files = 0
const newPath = (): string => join(dir, `${++files}.db`)

function objectStore(
  store: Store,
  more: { clock?: Clock; stateBytesMax?: number } = {},
): ObjectStore {
  return new ObjectStore({
    store,
    clock: systemClock,
    logger: silentLogger,
    fieldsOf: (id) => fieldsFor(id),
    ...more,
  })
}

const place = (name: string) => ({ namespace: 'n', name })
const object = (name: string, value = ''): KubeObject =>
  ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'n' },
    data: { value },
  }) as KubeObject

/** Writes the newest state over itself, `count` times. */
async function churn(store: ObjectStore, bucket: Bucket, name: string, count: number) {
  for (let round = 0; round < count; round++) {
    await store.write(bucket, place(name), bucket.latest('n', name), object(name, `${round}`))
  }
}

test('changes are kept for five minutes, also when nothing new happens', async () => {
  const clock = new FakeClock()
  const store = objectStore(new SqliteStore(newPath()), { clock })
  await store.start()
  const bucket = store.bucket('/configmaps')
  await churn(store, bucket, 'a', 3)
  clock.advance(limits.historyAgeMs - limits.housekeepingPeriodMs)
  assert.equal(bucket.since(1)?.length, 2)
  await churn(store, bucket, 'b', 1)
  clock.advance(2 * limits.housekeepingPeriodMs)
  assert.equal(bucket.since(1), undefined)
  assert.deepEqual(
    bucket.since(3)?.map(({ entry }) => entry.name),
    ['b'],
  )
  clock.advance(limits.historyAgeMs)
  assert.equal(bucket.since(3), undefined)
  assert.equal(bucket.history.bytes, 0)
  await store.stop()
})

test('histories of large objects are bounded by their bytes', async () => {
  const store = objectStore(new SqliteStore(newPath()))
  await store.start()
  const bucket = store.bucket('/secrets')
  const large = 'x'.repeat(1_400_000)
  for (let round = 0; round < 60; round++) {
    await store.write(bucket, place('s'), bucket.latest('n', 's'), object('s', large + round))
  }
  assert.ok(bucket.history.bytes <= limits.historyBytesMax)
  assert.equal(bucket.since(1), undefined)
  assert.equal(bucket.since(store.revision - 10)?.length, 10)
  await store.stop()
})

test('the file does not grow under the heartbeats of Leases', { timeout: 600_000 }, async () => {
  const clock = new FakeClock()
  const engine = new SqliteStore(newPath())
  const store = objectStore(engine, { clock })
  await store.start()
  const bucket = store.bucket('coordination.k8s.io/leases')
  const names = Array.from({ length: 50 }, (_, index) => `lease-${index}`)
  const rounds = soak ? 20_000 : 200
  await Promise.all(names.map((name) => churn(store, bucket, name, 10)))
  const { bytes: before } = await engine.stats()
  for (let round = 0; round < rounds; round += 20) {
    await Promise.all(names.map((name) => churn(store, bucket, name, 20)))
    clock.advance(limits.housekeepingPeriodMs)
  }
  const { bytes, logBytes } = await engine.stats()
  assert.ok(bytes <= before + 64 * 1024, `${before} bytes became ${bytes}`)
  assert.ok(logBytes <= 2 * limits.checkpointPages * 4_096, `the log has ${logBytes} bytes`)
  await store.stop()
})

test('what was deleted gives its space back', async () => {
  const clock = new FakeClock()
  const engine = new SqliteStore(newPath())
  const store = objectStore(engine, { clock })
  await store.start()
  const bucket = store.bucket('/configmaps')
  const names = Array.from({ length: 300 }, (_, index) => `c${index}`)
  const write = (name: string, value: KubeObject | undefined) =>
    store.write(bucket, place(name), bucket.latest('n', name), value)
  await Promise.all(names.map((name) => write(name, object(name, 'x'.repeat(100_000)))))
  const full = await engine.stats()
  await Promise.all(names.map((name) => write(name, undefined)))
  for (let step = 0; step < 8; step++) {
    clock.advance(limits.housekeepingPeriodMs)
    await engine.stats()
  }
  const { bytes, freePages } = await engine.stats()
  assert.ok(full.bytes > 30e6 && bytes < 6e6, `${full.bytes} bytes became ${bytes}`)
  assert.ok(freePages <= limits.freePagesKept)
  await store.stop()
})

test('events and leases do not wait for the disk, everything else does', async () => {
  const commits: Durability[] = []
  const engine: Store = {
    open: () => Promise.resolve(0),
    commit: (_changes, _revision, durability) => {
      commits.push(durability)
      return Promise.resolve()
    },
    backup: () => Promise.resolve(),
    compact: () => Promise.resolve(),
    stats: () => Promise.resolve({ bytes: 0, pages: 0, freePages: 0, logBytes: 0 }),
    close: () => Promise.resolve(),
  }
  const store = objectStore(engine)
  await store.start()
  const write = (id: string, name: string) =>
    store.write(store.bucket(id), place(name), undefined, object(name))
  await write('/events', 'a')
  await write('coordination.k8s.io/leases', 'a')
  await write('/configmaps', 'a')
  await Promise.all([write('/events', 'b'), write('/secrets', 'b')])
  assert.deepEqual(commits, ['relaxed', 'relaxed', 'synced', 'synced'])
  await store.stop()
})

test('a version is not used again after a power cut has lost relaxed writes', async () => {
  const path = newPath()
  const cut = newPath()
  const engine = new SqliteStore(path)
  await engine.open(() => {})
  const bytes = Buffer.from('{}')
  await engine.commit([{ key: '/c/n/a', revision: 1, bytes }], 1, 'synced')
  await engine.commit([{ key: '/events/n/a', revision: 2, bytes }], 2, 'relaxed')
  // What the disk has when the power goes, in the worst case: all that was synced.
  for (const ending of ['', '-wal']) copyFileSync(path + ending, cut + ending)
  for (let revision = 3; revision <= 50; revision++) {
    await engine.commit([{ key: '/events/n/a', revision, bytes }], revision, 'relaxed')
  }
  await engine.close()
  const again = new SqliteStore(cut)
  const found: string[] = []
  const revision = await again.open((objects) => found.push(...objects.map(({ key }) => key)))
  assert.ok(found.includes('/c/n/a'))
  assert.ok(revision >= 50, `goes on at ${revision}`)
  await again.close()
  const orderly = new SqliteStore(path)
  assert.equal(await orderly.open(() => {}), 50)
  await orderly.close()
})

test('beyond its bounds the registry refuses what grows it, and that only', async () => {
  const store = objectStore(new SqliteStore(newPath()), { stateBytesMax: 20_000 })
  await store.start()
  const bucket = store.bucket('/configmaps')
  const write = (name: string, length: number | undefined) =>
    store.write(
      bucket,
      place(name),
      bucket.latest('n', name),
      length === undefined ? undefined : object(name, 'x'.repeat(length)),
    )
  await write('a', 8_000)
  await write('b', 8_000)
  const full = (thrown: unknown): boolean =>
    thrown instanceof MeshError && thrown.code === 'REGISTRY_STORAGE_FULL'
  assert.throws(() => write('c', 8_000), full)
  assert.throws(() => write('a', 13_000), full)
  await write('a', 7_000)
  await write('b', undefined)
  await write('c', 8_000)
  assert.equal(bucket.size, 2)
  await store.stop()
})
