/** Mounts of this process's mount namespace, without a `mount` program. */
import { check } from './errors.ts'
import { abi, libc } from './libc.ts'

export interface MountOptions {
  /** Absent for flags-only changes (remount, propagation). */
  readonly source?: string
  readonly target: string
  /** Filesystem type: `tmpfs`, `proc` ...; absent for a bind mount. */
  readonly type?: string
  readonly bind?: boolean
  /** With everything mounted below. */
  readonly recursive?: boolean
  readonly readOnly?: boolean
  readonly noSuid?: boolean
  readonly noDev?: boolean
  readonly noExec?: boolean
  readonly remount?: boolean
  readonly propagation?: 'private' | 'slave'
  /** Filesystem options: `size=16m,mode=0700`. */
  readonly data?: string
}

/** mount(2). A read-only bind takes two calls: the kernel ignores the flag on the first. */
export function mount(options: MountOptions): void {
  const flags =
    (options.bind === true ? abi.MS_BIND : 0) |
    (options.recursive === true ? abi.MS_REC : 0) |
    (options.noSuid === true ? abi.MS_NOSUID : 0) |
    (options.noDev === true ? abi.MS_NODEV : 0) |
    (options.noExec === true ? abi.MS_NOEXEC : 0) |
    (options.remount === true ? abi.MS_REMOUNT : 0) |
    (options.propagation === 'private' ? abi.MS_PRIVATE : 0) |
    (options.propagation === 'slave' ? abi.MS_SLAVE : 0)
  const readOnly = options.readOnly === true ? abi.MS_RDONLY : 0
  const { source = null, target, type = null, data = null } = options
  check(libc().mount(source, target, type, flags | readOnly, data), 'mount', target)
  if (readOnly !== 0 && options.bind === true && options.remount !== true) {
    check(
      libc().mount(null, target, null, flags | readOnly | abi.MS_REMOUNT, null),
      'mount',
      target,
    )
  }
}

/** Makes `source` (file or folder) visible at `target`, which exists. */
export function bindMount(
  source: string,
  target: string,
  options: { readonly readOnly?: boolean; readonly recursive?: boolean } = {},
): void {
  mount({ source, target, bind: true, ...options })
}

/** @param options.detach take it out of the tree now, even when it is in use */
export function unmount(target: string, options: { readonly detach?: boolean } = {}): void {
  check(libc().umount2(target, options.detach === true ? abi.MNT_DETACH : 0), 'umount2', target)
}
