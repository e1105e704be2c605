/** Ends one running container: preStop hook, TERM, and KILL when the time is over. */
import type { Clock, Timer } from '../../base/index.ts'
import { type ActionTarget, runAction } from './actions.ts'
import type { RunningContainer } from './launcher.ts'
import type { Handler } from './types.ts'

export interface TerminationOptions {
  readonly process: RunningContainer
  readonly clock: Clock
  readonly preStop: Handler | undefined
  readonly target: ActionTarget
  readonly onHookFailure: (output: string) => void
}

export class Termination {
  readonly #options: TerminationOptions
  #killAt = Number.POSITIVE_INFINITY
  #timer: Timer | undefined

  constructor(options: TerminationOptions) {
    this.#options = options
  }

  /** Resolves when the container has ended. */
  async run(graceMs: number): Promise<void> {
    const { process, preStop } = this.#options
    this.shorten(graceMs)
    if (preStop !== undefined && graceMs > 0) {
      await Promise.race([this.#hook(preStop, graceMs), process.exit])
    }
    process.signal('SIGTERM')
    await process.exit
    this.#timer?.cancel()
  }

  /** KILL at the latest after this time from now on; an earlier KILL stays. */
  shorten(graceMs: number): void {
    const { clock, process } = this.#options
    const killAt = clock.monotonic() + graceMs
    if (killAt >= this.#killAt) return
    this.#killAt = killAt
    this.#timer?.cancel()
    if (graceMs <= 0) process.kill()
    else this.#timer = clock.after(graceMs, () => process.kill())
  }

  async #hook(handler: Handler, graceMs: number): Promise<void> {
    const { clock, target, onHookFailure } = this.#options
    if (handler.sleep !== undefined) {
      const ms = Math.min(handler.sleep.seconds * 1000, graceMs)
      await new Promise<void>((resolve) => clock.after(ms, resolve))
      return
    }
    const result = await runAction(handler, target, graceMs)
    if (!result.ok) onHookFailure(result.output)
  }
}
