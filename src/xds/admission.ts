/** How many streams may open a second: a bucket that fills steadily, with a short queue in front. */
import { type Clock, sleep } from '../base/index.ts'
import { GrpcError, grpcStatus } from '../grpc/index.ts'
import type { XdsLimits } from './limits.ts'

export class Admission {
  readonly #clock: Clock
  readonly #limits: Pick<XdsLimits, 'connectionsPerSecond' | 'admissionWaitMs'>
  /** Below zero: so many wait already. */
  #tokens: number
  #tokensAt: number

  constructor(clock: Clock, limits: Pick<XdsLimits, 'connectionsPerSecond' | 'admissionWaitMs'>) {
    this.#clock = clock
    this.#limits = limits
    this.#tokens = limits.connectionsPerSecond
    this.#tokensAt = clock.monotonic()
  }

  /** Resolves when it is the stream's turn; rejects with RESOURCE_EXHAUSTED when that is too far away. */
  async enter(): Promise<void> {
    const { connectionsPerSecond, admissionWaitMs } = this.#limits
    const now = this.#clock.monotonic()
    const refill = ((now - this.#tokensAt) / 1000) * connectionsPerSecond
    this.#tokens = Math.min(connectionsPerSecond, this.#tokens + refill)
    this.#tokensAt = now
    const waitMs = ((1 - this.#tokens) / connectionsPerSecond) * 1000
    if (waitMs > admissionWaitMs) {
      throw new GrpcError(grpcStatus.resourceExhausted, 'request rate limit exceeded', {
        hint: 'PILOT_MAX_REQUESTS_PER_SECOND is the number of streams that may open in a second.',
      })
    }
    this.#tokens--
    if (waitMs > 0) await sleep(this.#clock, waitMs)
  }
}
