/**
 * The SQLite file: its format, its lock and what can be wrong with it. Used by the worker that serves a running
 * registry and by the commands that work on a stopped one.
 */
import { readFileSync, statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { MeshError } from '../../base/index.ts'
import { limits } from '../limits.ts'

export const formatVersion = 1
/** "Weft" in ASCII, in the header of the file, so that backups are known from other databases. */
export const applicationId = 0x57656674
export const pageBytes = 4096

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

/** The value of a pragma that answers with one number or word. */
export function pragma(db: DatabaseSync, name: string): number | string | undefined {
  const row = db.prepare(`PRAGMA ${name}`).get() as Record<string, number | string> | undefined
  return row === undefined ? undefined : Object.values(row)[0]
}

/** A value of the table `meta`; undefined when files of this age don't have it. */
export function metaValue(db: DatabaseSync, name: string): number | undefined {
  const row = db.prepare('SELECT value FROM meta WHERE name = ?').get(name)
  return (row as { value: number } | undefined)?.value
}

/**
 * Opens the file for this process alone, makes it when it is not there, and checks that it is whole. The exclusive
 * mode holds a file lock which the kernel drops with the process, however it ends. Errors are SQLite's own
 * or a MeshError; `explain` makes sentences of both.
 */
export function openDatabase(path: string): DatabaseSync {
  const db = new DatabaseSync(path)
  try {
    db.exec('PRAGMA locking_mode=EXCLUSIVE')
    checkFormat(db, path)
    // Before anything is written, so that a damaged file stays as it is.
    const check = pragma(db, 'quick_check(1)')
    if (check !== 'ok') throw corrupted(path, String(check))
    // Has to be said before the first page is written.
    if (pragma(db, 'page_count') === 0) db.exec('PRAGMA auto_vacuum=INCREMENTAL')
    db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL')
    // `closed` is the revision of an orderly end; anything else there means that the last run crashed.
    db.exec(`BEGIN EXCLUSIVE;
      CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, bytes BLOB NOT NULL);
      CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
      INSERT OR IGNORE INTO meta VALUES ('revision', 0), ('promised', 0), ('closed', 0);
      PRAGMA user_version=${formatVersion};
      PRAGMA application_id=${applicationId};
      COMMIT`)
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

/** Refuses what a newer Weft, or something else, has written. */
export function checkFormat(db: DatabaseSync, path: string): void {
  const found = Number(pragma(db, 'user_version'))
  if (found > formatVersion) {
    throw new MeshError(
      'REGISTRY_FORMAT_NEWER',
      `${path} has format ${found}; this version reads formats up to ${formatVersion}`,
      { hint: 'Use the newer Weft that wrote it, or move the file away to start empty.' },
    )
  }
  const owner = Number(pragma(db, 'application_id'))
  if (owner !== applicationId && owner !== 0) {
    throw new MeshError('REGISTRY_FOREIGN', `${path} is a database of another program`, {
      hint: 'Name the right file; this one was left as it is.',
    })
  }
}

/** The first revision that may be given out after this one was, whatever was lost in a crash. */
export function lastRevision(db: DatabaseSync): number {
  const revision = metaValue(db, 'revision') ?? 0
  const orderly = metaValue(db, 'closed') === revision
  return orderly ? revision : Math.max(revision, metaValue(db, 'promised') ?? 0)
}

/** Notes that everything is written, and closes. */
export function closeDatabase(db: DatabaseSync): void {
  try {
    db.exec('PRAGMA synchronous=FULL')
    db.exec(`UPDATE meta SET value = (SELECT value FROM meta WHERE name = 'revision')
      WHERE name = 'closed'`)
  } finally {
    db.close()
  }
}

function corrupted(path: string, detail: string): MeshError {
  return new MeshError('REGISTRY_CORRUPT', `${path} is damaged: ${detail}`, {
    hint:
      'Restore a backup with "weft registry restore FILE" (the damaged file is kept aside), ' +
      'or move the file away to start empty.',
  })
}

/** Who holds the lock, from the kernel's table: the process id as this PID namespace sees it. */
export function lockHolder(path: string): string | undefined {
  try {
    const inode = `:${statSync(path).ino}`
    for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
      const fields = line.trim().split(/\s+/)
      if (fields[5]?.endsWith(inode) !== true) continue
      return fields[4] === '0' ? 'another process' : `process ${fields[4]}`
    }
  } catch {
    // Not Linux, or no /proc: the holder stays unnamed.
  }
  return undefined
}

/** A sentence and a hint for whatever was thrown while working on the file. */
export function explain(path: string, thrown: unknown): MeshError {
  if (thrown instanceof MeshError) return thrown
  const { errcode, message } = thrown as { errcode?: number; message: string }
  const because = (code: string, text: string, hint: string): MeshError =>
    new MeshError(code, text, { hint, cause: thrown })
  switch ((errcode ?? 0) & 0xff) {
    case sqlite.busy:
      return because(
        'REGISTRY_LOCKED',
        `${path} is in use by ${lockHolder(path) ?? 'another process'}`,
        'One registry writes a state directory at a time: stop the other one, or use another --name.',
      )
    case sqlite.full:
      return because(
        'REGISTRY_STORAGE_FULL',
        `no space is left for ${path}`,
        `Free disk space, or delete objects (the registry holds up to ${limits.stateBytesMax} bytes of them).`,
      )
    case sqlite.corrupt:
    case sqlite.notDatabase:
      return corrupted(path, message)
    case sqlite.readOnly:
    case sqlite.cantOpen:
      return because(
        'REGISTRY_UNWRITABLE',
        `can't open ${path} for writing: ${message}`,
        'Check the owner and the permissions of the state directory.',
      )
    default:
      return because('REGISTRY_IO', `${path}: ${message}`, 'Check the disk and the system log.')
  }
}
