/**
 * The state directory: made private, checked before anything is touched, and refused when it
 * belongs to someone else or was written by a newer Weft.
 */
import { chmodSync, lstatSync, mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import { userInfo } from 'node:os'
import { errnoOf, MeshError } from '../../base/index.ts'
import { readStateFile, stateError, writeStateFile } from './files.ts'
import type { MeshPaths } from './paths.ts'
import { userName } from './users.ts'

/** Raised when a release writes something that an older one can't read. */
export const stateFormat = 1

/** A registry database, certificates and logs need about this much to begin with. */
const neededBytes = 16 * 1024 * 1024
/** Limit of the kernel for the path of a unix socket, its end included. */
const socketPathBytes = 108

/** Whether there is a state directory for this mesh, checked as far as reading needs it. */
export function stateExists(paths: MeshPaths): boolean {
  return inspect(paths) === 'usable'
}

/**
 * Makes the directory or checks the one that is there. Nothing is changed when it is refused.
 * @param uid the user that will run the mesh
 */
export function openStateDirectory(paths: MeshPaths, uid: number = userInfo().uid): void {
  if (Buffer.byteLength(paths.controlSocket) >= socketPathBytes) {
    throw new MeshError('STATE_PATH', `${paths.controlSocket} is too long for a unix socket`, {
      hint: 'Set XDG_STATE_HOME to a shorter path, or choose a shorter --name.',
    })
  }
  const found = inspect(paths, uid)
  try {
    mkdirSync(paths.root, { recursive: true, mode: 0o700 })
    chmodSync(paths.root, 0o700)
    for (const folder of [paths.logs, paths.pki, paths.pods]) {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
    }
  } catch (error) {
    throw stateError(paths.root, error)
  }
  const space = statfsSync(paths.root)
  if (space.bavail * space.bsize < neededBytes) {
    throw new MeshError('STATE_DISK_FULL', `less than 16 MB are free where ${paths.root} is`, {
      hint: 'Free some space or set XDG_STATE_HOME to a place with more; nothing was changed.',
    })
  }
  if (found !== 'usable') writeStateFile(paths.format, `${stateFormat}\n`)
}

function inspect(paths: MeshPaths, uid?: number): 'absent' | 'empty' | 'usable' {
  let stat: ReturnType<typeof lstatSync>
  try {
    stat = lstatSync(paths.root)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'absent'
    throw stateError(paths.root, error)
  }
  if (stat === undefined || !stat.isDirectory()) {
    throw new MeshError('STATE_NOT_A_DIRECTORY', `${paths.root} is not a directory`, {
      hint: 'Move it away, or choose another --name.',
    })
  }
  if (uid !== undefined && stat.uid !== uid) {
    const owner = userName(stat.uid)
    throw new MeshError(
      'STATE_OWNER',
      `${paths.root} belongs to ${owner}, and you are ${userName(uid)}`,
      { hint: `Run as ${owner}, choose another --name, or set XDG_STATE_HOME.` },
    )
  }
  const text = readStateFile(paths.format)
  if (text === undefined) {
    const names = readdirSync(paths.root).filter((name) => !['logs', 'pki', 'pods'].includes(name))
    if (names.length === 0) return 'empty'
    throw new MeshError(
      'STATE_FORMAT',
      `${paths.root} has files but no "format": not a Weft state directory`,
      {
        hint: 'Move the directory away, or choose another --name.',
      },
    )
  }
  checkFormat(paths, text)
  return 'usable'
}

function checkFormat(paths: MeshPaths, text: string): void {
  const version = /^\d+\s*$/.test(text) ? Number(text) : Number.NaN
  if (version === stateFormat) return
  if (version > stateFormat) {
    throw new MeshError(
      'STATE_NEWER',
      `${paths.root} was written by a newer Weft (format ${version}; this one knows ${stateFormat})`,
      { hint: 'Update Weft, or use another --name. Nothing was changed.' },
    )
  }
  throw new MeshError(
    'STATE_FORMAT',
    `${paths.format} has no known format: "${text.trim().slice(0, 20)}"`,
    {
      hint: 'Restore the file from a backup, or use another --name. Nothing was changed.',
    },
  )
}

/** Removes everything of the mesh. */
export function purgeState(paths: MeshPaths): void {
  try {
    rmSync(paths.root, { recursive: true, force: true })
  } catch (error) {
    throw stateError(paths.root, error)
  }
}
