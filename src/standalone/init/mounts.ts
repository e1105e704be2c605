/**
 * Init's own view of the file system: `/run` is a private tmpfs, which hides the host's sockets
 * (container engines, D-Bus, the user's session) from everything in the tree and holds ours.
 */
import { existsSync, mkdirSync, readlinkSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { bindMount, mount, unmount } from '../../linux/index.ts'

/** The mesh's run-time files inside the tree. */
export const runFolder = '/run/weft'

/** Of the host's `/run`, only where some systems keep their programs and libraries. */
const keptOfRun = ['current-system', 'booted-system', 'opengl-driver', 'wrappers']

/** @param scratch an existing folder which is covered for a moment */
export function setUpMounts(scratch: string): void {
  const kept = keptOfRun.filter((name) => existsSync(join('/run', name)))
  if (kept.length > 0) mount({ source: '/run', target: scratch, bind: true, recursive: true })
  mount({
    source: 'weft',
    target: '/run',
    type: 'tmpfs',
    noSuid: true,
    noDev: true,
    data: 'mode=0755,size=256m',
  })
  for (const name of kept) keep(join(scratch, name), join('/run', name))
  if (kept.length > 0) unmount(scratch, { detach: true })
  mkdirSync(join(runFolder, 'netns'), { recursive: true, mode: 0o711 })
}

function keep(from: string, to: string): void {
  try {
    symlinkSync(readlinkSync(from), to)
  } catch {
    mkdirSync(to)
    bindMount(from, to, { recursive: true })
  }
}
