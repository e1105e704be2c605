/**
 * Init is PID 1 of the tree: processes whose parent died become its children, and libuv reaps only
 * those it has spawned. Without this the process table would slowly fill with zombies.
 */
import { readdirSync, readFileSync } from 'node:fs'
import type { Clock, Component, Timer } from '../../base/index.ts'
import { reap, waitAnyChild } from '../../linux/index.ts'

export interface ReaperOptions {
  readonly clock: Clock
  readonly periodMs?: number
  /** A zombie younger than this may be Node's own child, which Node is about to reap itself. */
  readonly settleMs?: number
}

/** Looks for ended orphans now and then and reaps them. */
export function reapOrphans({
  clock,
  periodMs = 5_000,
  settleMs = 2_000,
}: ReaperOptions): Component {
  const seen = new Map<number, number>()
  let timer: Timer | undefined
  const look = (): void => {
    // The common case costs one system call.
    if (waitAnyChild() === undefined) {
      seen.clear()
      return
    }
    const now = clock.monotonic()
    const zombies = new Set(zombieChildren(process.pid))
    for (const pid of seen.keys()) if (!zombies.has(pid)) seen.delete(pid)
    for (const pid of zombies) {
      const since = seen.get(pid)
      if (since === undefined) seen.set(pid, now)
      else if (now - since >= settleMs && reap(pid)) seen.delete(pid)
    }
  }
  return {
    start: async () => {
      timer = clock.every(periodMs, look, { background: true })
    },
    stop: async () => timer?.cancel(),
  }
}

/** Children of a process which have ended and wait to be reaped. */
function zombieChildren(parent: number): number[] {
  const zombies: number[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      // `pid (name) state ppid`: the name may contain anything, so look from its end.
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (state === 'Z' && Number(ppid) === parent) zombies.push(Number(name))
    } catch {
      // It has gone meanwhile.
    }
  }
  return zombies
}
