/**
 * Writes the files of an API-backed volume so that readers see either all of the old or all of the
 * new content: a new folder, then one rename of the `..data` link (as a kubelet does).
 */
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { dirname, join, posix } from 'node:path'
import { errnoOf } from '../../base/index.ts'
import { volumeError } from './errors.ts'

export interface PayloadFile {
  readonly content: Buffer
  readonly mode: number
}

export type Payload = ReadonlyMap<string, PayloadFile>

export interface Owner {
  readonly uid: number
  readonly gid: number
}

export class PayloadWriter {
  readonly #folder: string
  readonly #owner: Owner | undefined
  #written: Payload | undefined

  /** @param owner who gets the files; absent in rootless mode, where there is only one user */
  constructor(folder: string, owner: Owner | undefined) {
    this.#folder = folder
    this.#owner = owner
  }

  /** True when something changed. */
  async write(payload: Payload): Promise<boolean> {
    for (const path of payload.keys()) checkPath(path)
    if (this.#written !== undefined && samePayload(this.#written, payload)) return false
    await mkdir(this.#folder, { recursive: true, mode: 0o755 })
    const name = `..${Date.now().toString(36)}_${Math.random().toString(36).slice(2, 8)}`
    await this.#writeAll(join(this.#folder, name), payload)
    const data = join(this.#folder, '..data')
    const previous = await readlink(data).catch(() => undefined)
    await symlink(name, `${data}_next`)
    await rename(`${data}_next`, data)
    await this.#linkNames(payload)
    if (previous !== undefined)
      await rm(join(this.#folder, previous), { recursive: true, force: true })
    this.#written = payload
    return true
  }

  async #writeAll(folder: string, payload: Payload): Promise<void> {
    await mkdir(folder, { mode: 0o755 })
    for (const [path, { content, mode }] of payload) {
      const file = join(folder, path)
      if (path.includes('/')) await mkdir(dirname(file), { recursive: true, mode: 0o755 })
      await writeFile(file, content)
      // The group reads what the owner reads: containers of a pod may run as different users.
      await chmod(file, this.#owner === undefined ? mode : mode | ((mode & 0o400) >> 3))
      if (this.#owner !== undefined) await chown(file, this.#owner.uid, this.#owner.gid)
    }
  }

  /** Users see `name -> ..data/name`; names that are gone lose their link. */
  async #linkNames(payload: Payload): Promise<void> {
    const tops = new Set([...payload.keys()].map((path) => path.split('/', 1)[0] ?? path))
    for (const path of this.#written?.keys() ?? []) {
      const top = path.split('/', 1)[0] ?? path
      if (!tops.has(top)) await rm(join(this.#folder, top), { force: true })
    }
    for (const top of tops) {
      const link = join(this.#folder, top)
      const there = await lstat(link).catch((error: unknown) => {
        if (errnoOf(error) === 'ENOENT') return undefined
        throw error
      })
      if (there === undefined) await symlink(`..data/${top}`, link)
    }
  }
}

function checkPath(path: string): void {
  const clean = posix.normalize(path)
  if (path === '' || posix.isAbsolute(path) || clean !== path || clean.split('/').includes('..')) {
    throw volumeError(path, 'items[].path must be a relative path without ".."')
  }
}

function samePayload(left: Payload, right: Payload): boolean {
  if (left.size !== right.size) return false
  for (const [path, file] of right) {
    const other = left.get(path)
    if (other === undefined || other.mode !== file.mode || !other.content.equals(file.content)) {
      return false
    }
  }
  return true
}
