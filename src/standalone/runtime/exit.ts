/** The end of processes: codes as shells count them, and signals to what may be gone already. */
import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import type { Exit } from './launcher.ts'

/** The code as shells count it, after the output has been read to its end. */
export function exitOf(child: ChildProcess, outputs: readonly Readable[]): Promise<Exit> {
  const { promise, resolve } = Promise.withResolvers<Exit>()
  let exit: Exit | undefined
  let open = outputs.length
  const done = (): void => {
    if (exit !== undefined && open === 0) resolve(exit)
  }
  for (const output of outputs) {
    output.once('close', () => {
      open--
      done()
    })
  }
  const end = (code: number | null, signal: NodeJS.Signals | null): void => {
    const number = signal === null ? undefined : constants.signals[signal]
    exit = { code: code ?? 128 + (number ?? 0), signal: number }
    done()
    for (const output of outputs) destroyWhenIdle(output)
  }
  child.once('exit', end)
  child.once('error', () => end(1, null))
  return promise
}

/** A process that still holds the output open must not hold us up; what was read already is not lost. */
function destroyWhenIdle(output: Readable): void {
  const timer = setInterval(() => {
    if (output.readableLength === 0 && !output.isPaused()) output.destroy()
  }, 1_000)
  timer.unref()
  output.once('close', () => clearInterval(timer))
}

/** The only child of a process. */
export function childOf(pid: number | undefined): number | undefined {
  if (pid === undefined) return undefined
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    const child = Number(text.trim().split(' ')[0])
    return child > 0 ? child : undefined
  } catch {
    return undefined
  }
}

/**
 * Ends the command that `nsenter` waits for, unless it has ended: numbers are used again. `nsenter` itself must
 * live to reap it: as an unreaped orphan it would hold up the end of the container.
 */
export function killTree(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  sendSignal(childOf(child.pid) ?? child.pid, 'SIGKILL')
}

export function sendSignal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It is gone already.
  }
}
