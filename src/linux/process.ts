/**
 * Processes as a PID 1 sees them. libuv waits only for the children it has spawned, so orphans that
 * are re-parented to us stay zombies until someone reaps exactly those.
 */
import { check, lastError } from './errors.ts'
import { abi, libc } from './libc.ts'
import type { EndedChild } from './types.ts'

/**
 * A child that has ended and waits to be reaped, without reaping it: the caller decides whether it
 * is one of Node's own (leave it, Node reaps it in a moment) or an orphan (`reap` it).
 */
export function waitAnyChild(): EndedChild | undefined {
  const info = Buffer.alloc(128)
  const result = libc().waitid(abi.P_ALL, 0, info, abi.WEXITED | abi.WNOHANG | abi.WNOWAIT)
  if (result < 0) {
    const error = lastError('waitid', 'any child')
    if (error.errno === 'ECHILD') return undefined
    throw error
  }
  // siginfo_t of 64-bit Linux: code at 8, then from 16 on pid, uid, status.
  const pid = info.readInt32LE(16)
  if (pid === 0) return undefined
  const exited = info.readInt32LE(8) === 1
  const status = info.readInt32LE(24)
  return exited ? { pid, exitCode: status } : { pid, signal: status }
}

/** Takes the ended child off the process table; false when it is not (or no longer) there. */
export function reap(pid: number): boolean {
  const result = libc().waitpid(pid, Buffer.alloc(4), abi.WNOHANG)
  if (result >= 0) return result === pid
  const error = lastError('waitpid', `pid ${pid}`)
  if (error.errno === 'ECHILD') return false
  throw error
}

/** False: other processes of the same user can neither read our memory nor open our descriptors. */
export function setDumpable(dumpable: boolean): void {
  check(libc().prctl(abi.PR_SET_DUMPABLE, dumpable ? 1 : 0, 0, 0, 0), 'prctl', 'PR_SET_DUMPABLE')
}

/** Orphaned descendants become children of this process instead of PID 1. */
export function setChildSubreaper(on: boolean): void {
  check(
    libc().prctl(abi.PR_SET_CHILD_SUBREAPER, on ? 1 : 0, 0, 0, 0),
    'prctl',
    'PR_SET_CHILD_SUBREAPER',
  )
}

/** The kernel sends `signal` to this process when the thread that started it ends; 0: none. */
export function setParentDeathSignal(signal: number): void {
  check(libc().prctl(abi.PR_SET_PDEATHSIG, signal, 0, 0, 0), 'prctl', 'PR_SET_PDEATHSIG')
}
