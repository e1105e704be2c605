import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { MeshError, silentLogger, systemClock } from '../../base/index.ts'
import type { KubeObject } from '../../kube/index.ts'
import { fieldsFor } from '../fields.ts'
import type { Entry } from './entry.ts'
import { ObjectStore, StaleWrite } from './objects.ts'
import { SqliteStore } from './sqlite-store.ts'
import type { Change, Store } from './store.ts'

const dir = mkdtempSync(join(tmpdir(), 'weft-store-'))
after(() => rmSync(dir, { recursive: true, force: true }))

let files = 0
const newPath = (): string => join(dir, `${++files}.db`)

function objectStore(store: Store): ObjectStore {
  return new ObjectStore({
    store,
    clock: systemClock,
    logger: silentLogger,
    fieldsOf: (id) => fieldsFor(id),
  })
}

const map = (name: string, value = ''): KubeObject =>
  ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'n' },
    data: { value },
  }) as KubeObject

const dataOf = (entry: Entry | undefined): unknown =>
  (entry?.parse() as { data?: unknown } | undefined)?.data

const place = (name: string) => ({ namespace: 'n', name })

async function failure(work: Promise<unknown>): Promise<MeshError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof MeshError, String(error))
  return error
}

test('objects and the revision survive a restart, deletions too', async () => {
  const path = newPath()
  const first = objectStore(new SqliteStore(path))
  await first.start()
  const bucket = first.bucket('/configmaps')
  const a = await first.write(bucket, place('a'), undefined, map('a', '1'))
  const b = await first.write(bucket, place('b'), undefined, map('b'))
  await first.write(bucket, place('a'), a, map('a', '2'))
  await first.write(bucket, place('b'), b, undefined)
  await first.stop()
  const second = objectStore(new SqliteStore(path))
  await second.start()
  assert.equal(second.revision, 4)
  const [entry, ...others] = second.bucket('/configmaps').list()
  assert.deepEqual(others, [])
  assert.deepEqual([entry?.name, entry?.revision, dataOf(entry)], ['a', 3, { value: '2' }])
  await second.stop()
})

test('the revision goes on counting after everything was deleted', async () => {
  const path = newPath()
  for (let round = 1; round <= 3; round++) {
    const store = objectStore(new SqliteStore(path))
    await store.start()
    const bucket = store.bucket('/configmaps')
    const entry = await store.write(bucket, place('a'), undefined, map('a'))
    await store.write(bucket, place('a'), entry, undefined)
    assert.equal(store.revision, round * 2)
    await store.stop()
  }
})

test('writers build on the newest state, readers see only what is committed', async () => {
  const store = objectStore(new SqliteStore(newPath()))
  await store.start()
  const bucket = store.bucket('/configmaps')
  const writing = store.write(bucket, place('a'), undefined, map('a', '1'))
  assert.equal(bucket.get('n', 'a'), undefined)
  const pending = bucket.latest('n', 'a')
  assert.ok(pending)
  assert.throws(() => store.write(bucket, place('a'), undefined, map('a')), StaleWrite)
  const second = store.write(bucket, place('a'), pending, map('a', '2'))
  assert.equal((await writing).revision, 1)
  assert.equal((await second).revision, 2)
  assert.equal(bucket.get('n', 'a')?.revision, 2)
  assert.equal(bucket.latest('n', 'a'), bucket.get('n', 'a'))
  await store.stop()
})

test('a second process is refused, and told who holds the file', async () => {
  const path = newPath()
  const first = new SqliteStore(path)
  await first.open(() => {})
  const error = await failure(new SqliteStore(path).open(() => {}))
  assert.equal(error.code, 'REGISTRY_LOCKED')
  assert.match(error.message, new RegExp(`in use by process ${process.pid}`))
  await first.close()
})

test('a newer format and a damaged file are refused with what to do, and left as they are', async () => {
  const newer = newPath()
  const database = new DatabaseSync(newer)
  database.exec('PRAGMA user_version=99')
  database.close()
  const tooNew = await failure(new SqliteStore(newer).open(() => {}))
  assert.equal(tooNew.code, 'REGISTRY_FORMAT_NEWER')
  const garbage = newPath()
  writeFileSync(garbage, 'this is no database '.repeat(500))
  const damaged = await failure(new SqliteStore(garbage).open(() => {}))
  assert.equal(damaged.code, 'REGISTRY_CORRUPT')
  assert.match(damaged.hint ?? '', /backup/)
  assert.match(readFileSync(garbage, 'utf8'), /^this is no database/)
})

test('damage in the middle of the file is found at start', async () => {
  const path = newPath()
  const store = objectStore(new SqliteStore(path))
  await store.start()
  const bucket = store.bucket('/configmaps')
  for (let index = 0; index < 50; index++) {
    await store.write(bucket, place(`a${index}`), undefined, map(`a${index}`, 'x'.repeat(3_000)))
  }
  await store.stop()
  const bytes = readFileSync(path)
  bytes.fill(0xff, 8_192, 20_480)
  writeFileSync(path, bytes)
  assert.equal((await failure(new SqliteStore(path).open(() => {}))).code, 'REGISTRY_CORRUPT')
})

test('a full disk fails the writes, keeps the reads, and writes go on when there is space', async () => {
  const store = objectStore(new SqliteStore(newPath(), 200_000))
  await store.start()
  const bucket = store.bucket('/configmaps')
  let stored = 0
  const error = await failure(
    (async () => {
      for (;;) {
        await store.write(
          bucket,
          place(`a${stored}`),
          undefined,
          map(`a${stored}`, 'x'.repeat(5_000)),
        )
        stored++
      }
    })(),
  )
  assert.equal(error.code, 'REGISTRY_STORAGE_FULL')
  assert.equal(bucket.size, stored)
  assert.equal(bucket.latest('n', `a${stored}`), undefined)
  await store.write(bucket, place('a0'), bucket.get('n', 'a0'), undefined)
  await store.write(bucket, place('a1'), bucket.get('n', 'a1'), undefined)
  await store.write(bucket, place('b'), undefined, map('b'))
  assert.ok(bucket.get('n', 'b'))
  await store.stop()
})

test('after a failed sync nothing is written any more, and all that was queued fails', async () => {
  const committed: Change[] = []
  let broken = false
  const engine: Store = {
    open: () => Promise.resolve(0),
    commit: (changes) => {
      if (broken) return Promise.reject(new MeshError('REGISTRY_IO', 'the disk is gone'))
      committed.push(...changes)
      return Promise.resolve()
    },
    backup: () => Promise.resolve(),
    compact: () => Promise.resolve(),
    stats: () => Promise.resolve({ bytes: 0, pages: 0, freePages: 0, logBytes: 0 }),
    close: () => Promise.resolve(),
  }
  const store = objectStore(engine)
  await store.start()
  const bucket = store.bucket('/configmaps')
  await store.write(bucket, place('a'), undefined, map('a'))
  broken = true
  const lost = [failure(store.write(bucket, place('b'), undefined, map('b')))]
  lost.push(failure(store.write(bucket, place('c'), undefined, map('c'))))
  for (const error of await Promise.all(lost)) assert.equal(error.code, 'REGISTRY_BROKEN')
  broken = false
  assert.throws(() => store.write(bucket, place('d'), undefined, map('d')), /can't write/)
  assert.deepEqual(
    bucket.list().map(({ name }) => name),
    ['a'],
  )
  assert.equal(committed.length, 1)
})

test('a backup is a whole registry of its own', async () => {
  const store = objectStore(new SqliteStore(newPath()))
  await store.start()
  await store.write(store.bucket('/configmaps'), place('a'), undefined, map('a'))
  const copy = newPath()
  await store.backup(copy)
  const restored = objectStore(new SqliteStore(copy))
  await restored.start()
  assert.equal(restored.bucket('/configmaps').size, 1)
  await restored.stop()
  await store.stop()
})

test('whatever writers do at once, every listener sees one history that ends in the state', async () => {
  const step = fc.record({
    name: fc.constantFrom('a', 'b', 'c'),
    remove: fc.boolean(),
    wait: fc.boolean(),
  })
  const store = objectStore(new SqliteStore(newPath()))
  await store.start()
  let round = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const bucket = store.bucket(`test/r${++round}`)
      const seen = new Map<string, number>()
      let last = store.revision
      bucket.listen((event) => {
        assert.ok(event.revision > last)
        last = event.revision
        const known = seen.get(event.entry.name)
        assert.equal(event.previous?.revision, known)
        if (event.type === 'DELETED') seen.delete(event.entry.name)
        else seen.set(event.entry.name, event.revision)
      })
      const writes: Promise<unknown>[] = []
      for (const { name, remove, wait } of steps) {
        const latest = bucket.latest('n', name)
        if (remove && latest === undefined) continue
        writes.push(store.write(bucket, place(name), latest, remove ? undefined : map(name)))
        if (wait) await Promise.all(writes)
      }
      await Promise.all(writes)
      const state = bucket.list().map((entry) => [entry.name, entry.revision])
      assert.deepEqual(Object.fromEntries(seen), Object.fromEntries(state))
    }),
    { numRuns: 40 },
  )
  await store.stop()
})
