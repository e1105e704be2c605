/** Runs one probe again and again, and says when its verdict changes. */
import { type Clock, sleep } from '../../base/index.ts'
import type { ActionResult } from './actions.ts'
import type { Probe } from './types.ts'

export type ProbeKind = 'startup' | 'readiness' | 'liveness'

export interface ProberOptions {
  readonly kind: ProbeKind
  readonly probe: Probe
  readonly clock: Clock
  /** Runs the action once. */
  readonly check: (timeoutMs: number) => Promise<ActionResult>
  /** At every change of the verdict; failures come again with each further failed round. */
  readonly onVerdict: (ok: boolean, output: string) => void
  /** At every failed try, for the event. */
  readonly onFailure: (output: string) => void
}

const retryMinMs = 100
/** Between early tries: this part of the time waited so far, so that no start is noticed much late. */
const retryShare = 1 / 8

/** Ends when the signal aborts. */
export async function runProbe(options: ProberOptions, signal: AbortSignal): Promise<void> {
  const { kind, probe, clock } = options
  const periodMs = (probe.periodSeconds ?? 10) * 1000
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000
  const round = new Rounds(options)
  const { initialDelaySeconds = 0 } = probe
  if (initialDelaySeconds > 0) await sleep(clock, initialDelaySeconds * 1000, signal)
  const startMs = clock.monotonic()
  let roundStart = startMs
  while (!signal.aborted) {
    const result = await options.check(timeoutMs)
    if (signal.aborted) return
    const now = clock.monotonic()
    if (!result.ok && kind !== 'liveness' && !round.everOk) {
      // A program that is just starting answers soon: look again early, and count only whole periods.
      const left = roundStart + periodMs - now
      const retryMs = Math.max(retryMinMs, (now - startMs) * retryShare)
      if (left > retryMs) {
        await sleep(clock, retryMs, signal)
        continue
      }
      if (left > 0) await sleep(clock, left, signal)
    }
    round.add(result)
    if (result.ok || round.everOk || kind === 'liveness') await sleep(clock, periodMs, signal)
    roundStart = clock.monotonic()
  }
}

/** Counts results against the thresholds. */
class Rounds {
  readonly #options: ProberOptions
  #successes = 0
  #failures = 0
  #verdict: boolean | undefined
  everOk = false

  constructor(options: ProberOptions) {
    this.#options = options
  }

  add(result: ActionResult): void {
    const { probe, onVerdict, onFailure } = this.#options
    if (result.ok) {
      this.everOk = true
      this.#failures = 0
      this.#successes++
      if (this.#successes >= (probe.successThreshold ?? 1)) this.#decide(true, result.output)
      return
    }
    this.#successes = 0
    this.#failures++
    onFailure(result.output)
    if (this.#failures < (probe.failureThreshold ?? 3)) return
    // Each further failure is told again: a liveness failure must not be lost when a restart fails.
    this.#verdict = false
    onVerdict(false, result.output)
  }

  #decide(verdict: boolean, output: string): void {
    if (this.#verdict === verdict) return
    this.#verdict = verdict
    this.#options.onVerdict(verdict, output)
  }
}
