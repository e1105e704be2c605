/** The parent's side of registry-process.ts. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Ready } from './registry-process.ts'

const program = fileURLToPath(new URL('./registry-process.ts', import.meta.url))

/** The kernel counts in hundredths of a second. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

export class RegistryChild {
  readonly #child: ChildProcess
  readonly ready: Ready
  /** From the start of the process until it answered. */
  readonly startMs: number

  private constructor(child: ChildProcess, ready: Ready, startMs: number) {
    this.#child = child
    this.ready = ready
    this.startMs = startMs
  }

  /** Rejects with what the process wrote to standard error when it does not come up. */
  static async start(
    dir: string,
    flags: readonly string[] = [],
    haste = 1,
  ): Promise<RegistryChild> {
    const begun = performance.now()
    const child = fork(program, [dir, String(haste)], {
      execArgv: ['--disable-warning=ExperimentalWarning', ...flags],
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    })
    let complaint = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      complaint += chunk.toString()
    })
    const ended = once(child, 'close').then(() => Promise.reject(new Error(complaint)))
    ended.catch(() => {})
    const [ready] = (await Promise.race([once(child, 'message'), ended])) as [Ready]
    return new RegistryChild(child, ready, performance.now() - begun)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** CPU time of all its threads so far; machines are shared, and this isn't. */
  cpuMs(): number {
    return cpuMsOf(this.pid)
  }

  /** Resident memory, after a garbage collection when started with `--expose-gc`. */
  async rssBytes(): Promise<number> {
    const answer = once(this.#child, 'message')
    this.#child.send('memory')
    const [{ rssBytes }] = (await answer) as [{ rssBytes: number }]
    return rssBytes
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    if (!this.running) return
    const closed = once(this.#child, 'close')
    this.#child.kill(signal)
    await closed
  }
}
