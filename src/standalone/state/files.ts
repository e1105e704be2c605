/** Small state files: replaced as a whole, or not at all, whatever happens in between. */
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { errnoOf, MeshError, toError } from '../../base/index.ts'

/** An error of writing state, in words of the operator. */
export function stateError(path: string, thrown: unknown): MeshError {
  if (thrown instanceof MeshError) return thrown
  const hints: Record<string, string> = {
    ENOSPC: `Free some space on the file system of ${dirname(path)}, then run the same command again.`,
    EDQUOT: `Your disk quota is used up where ${dirname(path)} is; free some space.`,
    EROFS: 'Choose a writable place with XDG_STATE_HOME.',
    EACCES: 'Choose a directory of your own with XDG_STATE_HOME, or another --name.',
    EPERM: 'Choose a directory of your own with XDG_STATE_HOME, or another --name.',
  }
  const code = errnoOf(thrown) ?? 'EIO'
  const full = code === 'ENOSPC' || code === 'EDQUOT'
  return new MeshError(
    full ? 'STATE_DISK_FULL' : 'STATE_WRITE',
    `can't write ${path}: ${full ? 'the disk is full' : toError(thrown).message}; what was there before is unchanged`,
    { cause: thrown, hint: hints[code] ?? 'See the message of the system above.' },
  )
}

/** Writes beside the file, syncs, and renames over it. */
export function writeStateFile(path: string, content: string, mode = 0o600): void {
  const draft = `${path}.new`
  try {
    const file = openSync(draft, 'w', mode)
    try {
      const bytes = Buffer.from(content)
      // A short write is how a full disk shows itself first.
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(draft, path)
  } catch (error) {
    rmSync(draft, { force: true })
    throw stateError(path, error)
  }
}

/** The file's text, or undefined when there is none. */
export function readStateFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw new MeshError('STATE_READ', `can't read ${path}: ${toError(error).message}`, {
      cause: error,
      hint: 'The mesh belongs to another user, or the file is damaged; choose another --name.',
    })
  }
}
