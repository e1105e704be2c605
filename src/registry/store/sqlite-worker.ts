/**
 * The worker that owns the SQLite database. The API of `node:sqlite` is synchronous and a commit
 * waits for the disk, so it must not run on the event loop that serves requests.
 */
import { statSync } from 'node:fs'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { MeshError } from '../../base/index.ts'
import { limits } from '../limits.ts'
import {
  closeDatabase,
  explain,
  lastRevision,
  openDatabase,
  pageBytes,
  pragma,
} from './database.ts'
import type { Reply, Request, WorkerOptions } from './messages.ts'
import type { Change, Durability, StoredObject, StoreStats } from './store.ts'

/** The open database with its prepared statements. */
interface Opened {
  readonly db: DatabaseSync
  readonly put: StatementSync
  readonly remove: StatementSync
  readonly setMeta: StatementSync
  /** Whether commits wait for the disk. */
  synced: boolean
  /** Relaxed commits may use revisions up to this one; it is on disk. */
  promised: number
}

const port = parentPort
const options = workerData as WorkerOptions
let current: Opened | undefined

function open(): number {
  const db = openDatabase(options.path)
  const revision = lastRevision(db)
  const setMeta = db.prepare('UPDATE meta SET value = ? WHERE name = ?')
  setMeta.run(-1, 'closed')
  current = {
    db,
    put: db.prepare(
      `INSERT INTO objects VALUES (?, ?, ?)
       ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, bytes = excluded.bytes`,
    ),
    remove: db.prepare('DELETE FROM objects WHERE key = ?'),
    setMeta,
    synced: true,
    promised: 0,
  }
  db.exec(`PRAGMA max_page_count=${Math.max(16, Math.floor(options.fileBytesMax / pageBytes))}`)
  db.exec(`PRAGMA wal_autocheckpoint=${limits.checkpointPages}`)
  // After a checkpoint the log starts again from its beginning; what a large commit left behind is cut off.
  db.exec(`PRAGMA journal_size_limit=${limits.checkpointPages * pageBytes}`)
  sendObjects(db)
  return revision
}

function sendObjects(db: DatabaseSync): void {
  let batch: StoredObject[] = []
  const rows = db.prepare('SELECT key, revision, bytes FROM objects').iterate()
  for (const row of rows as Iterable<unknown>) {
    batch.push(row as StoredObject)
    if (batch.length < options.rowsPerMessage) continue
    send({ objects: batch }, batch)
    batch = []
  }
  if (batch.length > 0) send({ objects: batch }, batch)
}

function commit(changes: readonly Change[], revision: number, durability: Durability): undefined {
  const store = opened()
  const { db, put, remove, setMeta } = store
  // Revisions of relaxed commits may be lost with them. A synced promise keeps them from being used again.
  const promise = durability === 'relaxed' && revision > store.promised
  const promised = revision + limits.unsyncedRevisions
  syncCommits(store, durability === 'synced' || promise)
  db.exec('BEGIN IMMEDIATE')
  try {
    for (const change of changes) {
      if (change.bytes === undefined) remove.run(change.key)
      else put.run(change.key, change.revision, change.bytes)
    }
    setMeta.run(revision, 'revision')
    if (promise) setMeta.run(promised, 'promised')
    db.exec('COMMIT')
  } catch (error) {
    // A full disk may have rolled back already.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
  if (promise) store.promised = promised
  return undefined
}

/** In WAL mode NORMAL syncs only at checkpoints; the log keeps the order, so a synced commit syncs all before it. */
function syncCommits(store: Opened, synced: boolean): void {
  if (store.synced === synced) return
  store.db.exec(`PRAGMA synchronous=${synced ? 'FULL' : 'NORMAL'}`)
  store.synced = synced
}

function compact(): undefined {
  const { db } = opened()
  const spare = Number(pragma(db, 'freelist_count')) - limits.freePagesKept
  if (spare > 0) db.exec(`PRAGMA incremental_vacuum(${Math.min(spare, limits.freePagesPerStep)})`)
  db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  return undefined
}

function stats(): StoreStats {
  const { db } = opened()
  const pages = Number(pragma(db, 'page_count'))
  const logBytes = statSync(`${options.path}-wal`, { throwIfNoEntry: false })?.size ?? 0
  const freePages = Number(pragma(db, 'freelist_count'))
  return { pages, bytes: pages * pageBytes, freePages, logBytes }
}

function opened(): Opened {
  if (current === undefined) throw new MeshError('REGISTRY_CLOSED', 'the store is not open')
  return current
}

function handle(request: Request): number | StoreStats | undefined {
  switch (request.do) {
    case 'open':
      return open()
    case 'commit':
      return commit(request.changes, request.revision, request.durability)
    case 'backup':
      opened().db.prepare('VACUUM INTO ?').run(request.path)
      return undefined
    case 'compact':
      return compact()
    case 'stats':
      return stats()
    case 'close':
      if (current !== undefined) closeDatabase(current.db)
      current = undefined
      return undefined
  }
}

function send(reply: Reply, transferred: readonly StoredObject[] = []): void {
  port?.postMessage(
    reply,
    transferred.map((object) => object.bytes.buffer as ArrayBuffer),
  )
}

port?.on('message', (request: Request) => {
  try {
    send({ id: request.id, result: handle(request) })
  } catch (thrown) {
    const { code, message, hint } = explain(options.path, thrown)
    send({ id: request.id, failure: { code, message, hint } })
  }
  if (request.do === 'close') port.close()
})
