/**
 * Network namespaces. `setns` moves one thread; because sockets keep the namespace in which they
 * were made, stepping into a pod's namespace for a few synchronous calls is enough to own listeners
 * there, and one event loop serves any number of pods.
 */
import assert from 'node:assert'
import { closeSync, fstatSync, openSync, unlinkSync } from 'node:fs'
import { errnoOf, MeshError, toError } from '../base/index.ts'
import { check, lastError } from './errors.ts'
import { abi, libc } from './libc.ts'
import { bindMount, unmount } from './mounts.ts'

const ownPath = '/proc/thread-self/ns/net'

/** Where this thread is now, when inside `withNetns`. */
let inside: number | undefined
let home: number | undefined

/** Opens a namespace by path: `/proc/<pid>/ns/net` or a bind mount. The caller owns the descriptor. */
export function openNetns(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw new MeshError(
      'LINUX_NETNS_OPEN',
      `can't open the network namespace ${path}: ${toError(error).message}`,
      {
        cause: error,
        hint:
          errnoOf(error) === 'ENOENT'
            ? 'The process or the bind mount is gone.'
            : 'Run as the user that owns the process, or as root.',
      },
    )
  }
}

/** A new descriptor of the namespace in which this thread is. */
export function currentNetns(): number {
  return openNetns(ownPath)
}

/**
 * Runs `action` inside the namespace and comes back. Sockets opened and child processes spawned by it
 * belong to that namespace. It must be synchronous: after an `await` other code would run in there.
 */
export function withNetns<T>(fd: number, action: () => T): T {
  const previous = inside ?? (home ??= currentNetns())
  check(libc().setns(fd, abi.CLONE_NEWNET), 'setns', `network namespace (fd ${fd})`)
  inside = fd
  try {
    const result = action()
    assert(
      !(result instanceof Promise),
      'withNetns takes a synchronous function: it is already back when a promise settles',
    )
    return result
  } finally {
    inside = previous === home ? undefined : previous
    returnTo(previous)
  }
}

function returnTo(fd: number): void {
  if (libc().setns(fd, abi.CLONE_NEWNET) === 0) return
  // Going on would open every further socket in a pod's namespace.
  process.stderr.write(
    `${lastError('setns', 'the way back to the own network namespace').message}\n`,
  )
  process.abort()
}

/**
 * Makes a network namespace with `lo` up and returns its descriptor, owned by the caller.
 * @param bindPath a new file that keeps the namespace alive by name, until `removeNetns`
 */
export function createNetns(bindPath?: string): number {
  const previous = inside ?? (home ??= currentNetns())
  check(libc().unshare(abi.CLONE_NEWNET), 'unshare', 'a new network namespace')
  let fd: number | undefined
  try {
    fd = openNetns(ownPath)
    raiseLoopback()
    if (bindPath !== undefined) {
      closeSync(openSync(bindPath, 'wx', 0o600))
      bindMount(ownPath, bindPath)
    }
    return fd
  } catch (error) {
    if (fd !== undefined) closeSync(fd)
    throw error
  } finally {
    returnTo(previous)
  }
}

function raiseLoopback(): void {
  const fd = check(
    libc().socket(abi.AF_INET, abi.SOCK_DGRAM | abi.SOCK_CLOEXEC, 0),
    'socket',
    'setting lo up',
  )
  try {
    // struct ifreq: the name in 16 bytes, then a union of which the flags take two.
    const request = Buffer.alloc(40)
    request.write('lo')
    check(libc().ioctl(fd, abi.SIOCGIFFLAGS, request), 'ioctl', 'interface lo')
    request.writeUInt16LE(request.readUInt16LE(16) | abi.IFF_UP, 16)
    check(libc().ioctl(fd, abi.SIOCSIFFLAGS, request), 'ioctl', 'interface lo')
  } finally {
    closeSync(fd)
  }
}

/** Removes the bind mount of `createNetns`; the namespace ends with its last descriptor and process. */
export function removeNetns(bindPath: string): void {
  try {
    unmount(bindPath, { detach: true })
  } catch (error) {
    if (errnoOf(error) !== 'LINUX_EINVAL' && errnoOf(error) !== 'LINUX_ENOENT') throw error
  }
  try {
    unlinkSync(bindPath)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
  }
}

/** The inode: two descriptors are of one namespace when it is equal. */
export function inodeOf(fd: number): bigint {
  return fstatSync(fd, { bigint: true }).ino
}

export function closeFd(fd: number): void {
  closeSync(fd)
}

/** A second descriptor of the same file, closed on exec. */
export function dupFd(fd: number): number {
  return check(libc().fcntl(fd, abi.F_DUPFD_CLOEXEC, 3), 'fcntl', `fd ${fd}`)
}
