/**
 * Backups as files, for commands that run beside the registry or without it: checking one, taking one of a stopped
 * registry, and putting one in place of the database. A backup is a database of its own, made by the store.
 */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { MeshError } from '../../base/index.ts'
import { limits } from '../limits.ts'
import {
  checkFormat,
  closeDatabase,
  explain,
  lastRevision,
  lockHolder,
  openDatabase,
  pragma,
} from './database.ts'

export interface BackupInfo {
  readonly path: string
  readonly bytes: number
  readonly objects: number
  /** The registry's version at the moment of the backup. */
  readonly revision: number
}

export interface Restored extends BackupInfo {
  /** Where the registry goes on counting: above everything that clients have seen. */
  readonly newRevision: number
  /** Where the database that was replaced is kept; undefined when there was none. */
  readonly kept: string | undefined
}

/** Opens a backup for reading, checks all of it, and says what is in it. The file is not changed. */
export function inspectBackup(path: string): BackupInfo {
  return withBackup(path, (db) => {
    const { objects } = db.prepare('SELECT count(*) AS objects FROM objects').get() as {
      objects: number
    }
    return { path, bytes: statSync(path).size, objects, revision: lastRevision(db) }
  })
}

/** Copies the database of a stopped registry into a new file. A running one makes REGISTRY_LOCKED. */
export function backupDatabase(database: string, path: string): BackupInfo {
  let db: DatabaseSync | undefined
  try {
    if (!existsSync(database)) throw noDatabase(database)
    db = openDatabase(database)
    db.prepare('VACUUM INTO ?').run(path)
  } catch (error) {
    throw explain(database, error)
  } finally {
    if (db !== undefined) closeDatabase(db)
  }
  return inspectBackup(path)
}

/**
 * Puts a backup in place of the database of a stopped registry; the old one is kept beside it. Versions go on far
 * above all that were given out, so that none is used twice and every watch has to list again.
 * @param suffix of the name under which the old database is kept
 */
export function restoreDatabase(path: string, database: string, suffix: string): Restored {
  const backup = inspectBackup(path)
  const kept = existsSync(database) ? `${database}.${suffix}` : undefined
  const fresh = `${database}.restoring`
  const old = kept === undefined ? undefined : holdOld(database)
  try {
    const newRevision = Math.max(old?.revision ?? 0, backup.revision) + limits.restoreRevisionGap
    rmSync(fresh, { force: true })
    withBackup(path, (db) => db.prepare('VACUUM INTO ?').run(fresh))
    setRevision(fresh, newRevision)
    if (kept !== undefined) keep(database, kept)
    renameSync(fresh, database)
    syncFolder(dirname(database))
    return { ...backup, newRevision, kept }
  } catch (error) {
    rmSync(fresh, { force: true })
    throw explain(database, error)
  } finally {
    old?.release()
  }
}

function withBackup<T>(path: string, work: (db: DatabaseSync) => T): T {
  if (!existsSync(path)) {
    throw new MeshError('REGISTRY_BACKUP_MISSING', `there is no file ${path}`, {
      hint: 'Name a file that "weft registry backup" made.',
    })
  }
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(path, { readOnly: true })
    checkFormat(db, path)
    const tables = db
      .prepare("SELECT count(*) AS count FROM sqlite_schema WHERE name IN ('objects', 'meta')")
      .get() as { count: number }
    if (tables.count !== 2) throw notBackup(path, 'it is a database without objects')
    const check = pragma(db, 'integrity_check(1)')
    if (check !== 'ok') throw notBackup(path, String(check))
    return work(db)
  } catch (error) {
    if (error instanceof MeshError) throw error
    throw notBackup(path, explain(path, error).message)
  } finally {
    db?.close()
  }
}

interface HeldDatabase {
  /** Undefined when the file is too damaged to tell. */
  readonly revision: number | undefined
  release(): void
}

/**
 * Takes the lock of the present database, so that no registry starts while it is replaced, and brings everything
 * into the one file that will be renamed. A damaged one is replaced as it is.
 */
function holdOld(database: string): HeldDatabase {
  let db: DatabaseSync | undefined
  try {
    db = openDatabase(database)
    const revision = lastRevision(db)
    db.exec('PRAGMA journal_mode=DELETE')
    const held = db
    return { revision, release: () => held.close() }
  } catch (error) {
    db?.close()
    const failure = explain(database, error)
    if (failure.code === 'REGISTRY_LOCKED') throw running(failure)
    if (failure.code !== 'REGISTRY_CORRUPT') throw failure
    if (lockHolder(database) !== undefined) throw running(failure)
    return { revision: undefined, release: () => {} }
  }
}

/** A damaged database still has its log, which must not be taken for the new one's. */
function keep(database: string, kept: string): void {
  for (const ending of ['-wal', '-shm', '']) {
    if (existsSync(database + ending)) renameSync(database + ending, kept + ending)
  }
}

function setRevision(path: string, revision: number): void {
  const db = openDatabase(path)
  db.prepare("UPDATE meta SET value = ? WHERE name = 'revision'").run(revision)
  closeDatabase(db)
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  fsyncSync(folder)
  closeSync(folder)
}

function running(cause: MeshError): MeshError {
  return new MeshError('REGISTRY_RUNNING', `the registry is running: ${cause.message}`, {
    hint: 'Stop it first with: weft down',
    cause,
  })
}

function noDatabase(path: string): MeshError {
  return new MeshError('REGISTRY_EMPTY', `there is no database ${path}`, {
    hint: 'The mesh has not been started yet, or --name is another one.',
  })
}

function notBackup(path: string, why: string): MeshError {
  return new MeshError('REGISTRY_NOT_A_BACKUP', `${path} can't be restored: ${why}`, {
    hint: 'Name a file that "weft registry backup" made; nothing was changed.',
  })
}
