/**
 * Folders in memory, each with a size of its own: a pod that fills its termination message or its
 * memory volume must not take the room of the others, or of the runtime itself.
 */
import { mkdirSync, rmdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { errnoOf } from '../../base/index.ts'
import { mount, unmount } from '../../linux/index.ts'

/** Makes the folder and mounts a tmpfs there. */
export function makeMemoryFolder(path: string, bytes: number): void {
  mkdirSync(path, { recursive: true, mode: 0o755 })
  const data = `mode=0755,size=${bytes}`
  mount({ source: 'weft', target: path, type: 'tmpfs', noSuid: true, noDev: true, data })
}

/** Takes it away with everything in it, mounts included; a path that is not there is no error. */
export async function removeMemoryFolder(path: string): Promise<void> {
  try {
    unmount(path, { detach: true })
    rmdirSync(path)
  } catch (error) {
    if (errnoOf(error) === 'LINUX_ENOENT' || errnoOf(error) === 'ENOENT') return
    // Not a mount: a plain folder that an earlier failure left.
    await rm(path, { recursive: true, force: true })
  }
}
