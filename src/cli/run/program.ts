/**
 * Where the command of `weft run` is on this machine, and what of the machine its pod must see. A pod shares
 * the system's folders (`/usr` ...) and gets the current one; everything else has to be mounted.
 */
import { accessSync, constants, realpathSync, statSync } from 'node:fs'
import { basename, delimiter, isAbsolute, join, resolve } from 'node:path'
import { MeshError } from '../../base/index.ts'
import type { ImageMount } from '../../standalone/index.ts'

export interface LocalProgram {
  readonly command: readonly string[]
  readonly mounts: readonly ImageMount[]
}

export interface ProgramPlace {
  /** The folder that the pod sees and starts in. */
  readonly dir: string
  /** The user's PATH. */
  readonly searchPath: string
}

/** Folders which every pod has already. */
const systemFolders = ['/bin', '/sbin', '/lib', '/lib64', '/usr', '/nix', '/gnu']
/** Comes with every pod, also when the machine has no Node. */
const carried = 'node'

/** The command with the path of its program, and the mount which that needs. Rejects what can't be run. */
export function localProgram(words: readonly string[], place: ProgramPlace): LocalProgram {
  const [program = '', ...args] = words
  const path = program.includes('/') ? resolve(place.dir, program) : search(program, place)
  if (path === undefined) {
    if (program === carried) return { command: words, mounts: [] }
    throw new MeshError('CLI_NO_PROGRAM', `there is no program "${program}" on the PATH`, {
      hint: 'Name it by its path, like ./server; a shell line needs a shell: weft run -- sh -c "...".',
    })
  }
  if (!isExecutable(path)) {
    throw new MeshError('CLI_NO_PROGRAM', `${path} does not exist or is not executable`, {
      hint: `Is it a script? Name its interpreter: weft run -- node ${program}`,
    })
  }
  const command = [program.includes('/') && !isAbsolute(program) ? program : path, ...args]
  if (isInside(path, place.dir) || systemFolders.some((folder) => isInside(path, folder))) {
    return { command, mounts: [] }
  }
  return { command: [path, ...args], mounts: [{ host: realpathSync(path), path }] }
}

/** `HOST[:PATH][:rw]` of `--mount`. */
export function parseMount(text: string, dir: string): ImageMount {
  const parts = text.split(':')
  const writable =
    parts.length > 1 && ['rw', 'ro'].includes(parts.at(-1) ?? '') ? parts.pop() : 'ro'
  const [host = '', path, ...rest] = parts
  const source = resolve(dir, host)
  const target = path === undefined || path === '' ? source : path
  if (host === '' || rest.length > 0 || !isAbsolute(target)) {
    throw new MeshError('CLI_MOUNT', `--mount ${text} is not HOST[:PATH][:rw]`, {
      hint: 'For example: --mount ~/models:/models, or --mount ./data:rw.',
    })
  }
  if (statSync(source, { throwIfNoEntry: false }) === undefined) {
    throw new MeshError('CLI_MOUNT', `--mount ${text}: ${source} does not exist`)
  }
  return { host: source, path: target, ...(writable === 'rw' ? { writable: true } : {}) }
}

/** A name for the pod, from the program's: a DNS label that starts with a letter, as Services want it. */
export function podNameOf(program: string): string {
  const name = basename(program)
    .replace(/\.\w+$/, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 40)
    .replace(/-+$/, '')
  return /^[a-z]/.test(name) ? name : `run${name === '' ? '' : `-${name}`}`
}

/** Whether `path` is `folder` or in it. */
export function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`)
}

function search(program: string, { dir, searchPath }: ProgramPlace): string | undefined {
  return searchPath
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(resolve(dir, folder), program))
    .find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
