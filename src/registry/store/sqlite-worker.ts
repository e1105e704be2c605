/**
 * The worker that owns the SQLite database. The API of `node:sqlite` is synchronous and a commit
 * waits for the disk, so it must not run on the event loop that serves requests.
 */
import { readFileSync, statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { MeshError } from '../../base/index.ts'
import type { Failure, Reply, Request, WorkerOptions } from './messages.ts'
import type { Change, StoredObject, StoreStats } from './store.ts'

const formatVersion = 1
const pageBytes = 4096

/** Result codes of SQLite that mean something to a person; the low byte is the primary code. */
const sqlite = {
  busy: 5,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cantOpen: 14,
  notDatabase: 26,
}

const port = parentPort
const options = workerData as WorkerOptions
let database: DatabaseSync | undefined

function open(): number {
  const db = new DatabaseSync(options.path)
  database = db
  // The exclusive mode holds a file lock which the kernel drops with the process, however it ends.
  db.exec('PRAGMA locking_mode=EXCLUSIVE')
  const { user_version: found } = db.prepare('PRAGMA user_version').get() as {
    user_version: number
  }
  if (found > formatVersion) {
    throw new MeshError(
      'REGISTRY_FORMAT_NEWER',
      `${options.path} has format ${found}; this version reads formats up to ${formatVersion}`,
      { hint: 'Use the newer Weft that wrote it, or move the file away to start empty.' },
    )
  }
  db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL')
  db.exec(`PRAGMA max_page_count=${Math.max(16, Math.floor(options.maxBytes / pageBytes))}`)
  const check = db.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
  if (check.quick_check !== 'ok') throw corrupted(check.quick_check)
  db.exec(`BEGIN EXCLUSIVE;
    CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, bytes BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
    INSERT OR IGNORE INTO meta VALUES ('revision', 0);
    PRAGMA user_version=${formatVersion};
    COMMIT`)
  let batch: StoredObject[] = []
  const rows = db.prepare('SELECT key, revision, bytes FROM objects').iterate()
  for (const row of rows as Iterable<unknown>) {
    batch.push(row as StoredObject)
    if (batch.length >= options.rowsPerMessage) {
      send({ objects: batch }, batch)
      batch = []
    }
  }
  if (batch.length > 0) send({ objects: batch }, batch)
  const revision = db.prepare("SELECT value FROM meta WHERE name = 'revision'").get() as {
    value: number
  }
  return revision.value
}

function commit(changes: readonly Change[], revision: number): undefined {
  const db = opened()
  const put = db.prepare(
    `INSERT INTO objects VALUES (?, ?, ?)
     ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, bytes = excluded.bytes`,
  )
  const remove = db.prepare('DELETE FROM objects WHERE key = ?')
  db.exec('BEGIN IMMEDIATE')
  try {
    for (const change of changes) {
      if (change.bytes === undefined) remove.run(change.key)
      else put.run(change.key, change.revision, change.bytes)
    }
    db.prepare("UPDATE meta SET value = ? WHERE name = 'revision'").run(revision)
    db.exec('COMMIT')
  } catch (error) {
    // A full disk may have rolled back already.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
  return undefined
}

function stats(): StoreStats {
  const { page_count: pages } = opened().prepare('PRAGMA page_count').get() as {
    page_count: number
  }
  return { pages, bytes: pages * pageBytes }
}

function opened(): DatabaseSync {
  if (database === undefined) throw new MeshError('REGISTRY_CLOSED', 'the store is not open')
  return database
}

function handle(request: Request): number | StoreStats | undefined {
  switch (request.do) {
    case 'open':
      return open()
    case 'commit':
      return commit(request.changes, request.revision)
    case 'backup':
      opened().prepare('VACUUM INTO ?').run(request.path)
      return undefined
    case 'compact':
      opened().exec('VACUUM; PRAGMA wal_checkpoint(TRUNCATE)')
      return undefined
    case 'stats':
      return stats()
    case 'close':
      database?.close()
      database = undefined
      return undefined
  }
}

function corrupted(detail: string): MeshError {
  return new MeshError('REGISTRY_CORRUPT', `${options.path} is damaged: ${detail}`, {
    hint: 'Keep a copy of the file, then restore a backup over it, or move it away to start empty.',
  })
}

/** Who holds the lock, from the kernel's table; the process id as this PID namespace sees it. */
function lockHolder(): string {
  try {
    const inode = `:${statSync(options.path).ino}`
    for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
      const fields = line.trim().split(/\s+/)
      if (fields[5]?.endsWith(inode) === true && fields[4] !== '0') return `process ${fields[4]}`
    }
  } catch {
    // Not Linux, or no /proc: the holder stays unnamed.
  }
  return 'another process'
}

function explain(thrown: unknown): Failure {
  if (thrown instanceof MeshError) return thrown
  const { errcode, message } = thrown as { errcode?: number; message: string }
  const because = (code: string, text: string, hint: string): Failure => ({
    code,
    message: text,
    hint,
  })
  switch ((errcode ?? 0) & 0xff) {
    case sqlite.busy:
      return because(
        'REGISTRY_LOCKED',
        `${options.path} is in use by ${lockHolder()}`,
        'One registry writes a state directory at a time: stop the other one, or use another --name.',
      )
    case sqlite.full:
      return because(
        'REGISTRY_STORAGE_FULL',
        `no space is left for ${options.path}`,
        `Free disk space, or delete objects (the registry holds up to ${options.maxBytes} bytes).`,
      )
    case sqlite.corrupt:
    case sqlite.notDatabase:
      return corrupted(message)
    case sqlite.readOnly:
    case sqlite.cantOpen:
      return because(
        'REGISTRY_UNWRITABLE',
        `can't open ${options.path} for writing: ${message}`,
        'Check the owner and the permissions of the state directory.',
      )
    default:
      return because(
        'REGISTRY_IO',
        `${options.path}: ${message}`,
        'Check the disk and the system log.',
      )
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
    const { code, message, hint } = explain(thrown)
    send({ id: request.id, failure: { code, message, hint } })
  }
  if (request.do === 'close') port.close()
})
