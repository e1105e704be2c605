/**
 * What only one control plane of a mesh may do: each task has a Lease with Istio's name in the system
 * namespace, and runs while we have it. Several replicas and revisions side by side share the work.
 */
import { type Clock, type Component, type Logger, toError } from '../base/index.ts'
import { type KubeClient, LeaderElector } from '../client/index.ts'

export interface LeaderTimes {
  readonly leaseDurationMs: number
  readonly renewDeadlineMs: number
  readonly retryPeriodMs: number
}

/** Istio's: each renewal is a write, and there are five Leases. Tests are in more of a hurry. */
export const leaderTimes: LeaderTimes = {
  leaseDurationMs: 30_000,
  renewDeadlineMs: 15_000,
  retryPeriodMs: 7_500,
}

export interface LeadingOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** Of the Lease. */
  readonly name: string
  /** The pod's name. */
  readonly identity: string
  /** Whether others hand the Lease over to us: the default revision goes first. */
  readonly preferred?: boolean
  readonly times?: LeaderTimes
  readonly clock: Clock
  readonly logger: Logger
  /** Started when we lead and stopped when we don't, again and again. */
  readonly parts: readonly Component[]
}

/** The Leases. `gatewayDeployment` is one for each revision: each deploys its own Gateways. */
export const leases = {
  namespaces: 'istio-namespace-controller-election',
  status: 'istio-status-leader',
  addresses: 'istio-ip-autoallocate',
  gatewayClasses: 'istio-gateway-status-leader',
  validation: (revision: string) => `istio-validation-controller-election-${revision}`,
  gatewayDeployment: (revision: string) => `istio-gateway-deployment-${revision}`,
} as const

export class WhileLeading implements Component {
  readonly #elector: LeaderElector
  readonly #parts: readonly Component[]
  readonly #logger: Logger
  #running: Component[] = []
  #starting: Promise<void> = Promise.resolve()

  constructor(options: LeadingOptions) {
    const { parts, preferred = false, times = leaderTimes, ...rest } = options
    this.#parts = parts
    this.#logger = options.logger
    this.#elector = new LeaderElector({
      ...rest,
      ...times,
      rank: preferred ? 1 : 0,
      onStarted: (lost) => {
        this.#starting = this.#startParts(lost)
      },
      onStopped: () => this.#stopParts(),
    })
  }

  get isLeader(): boolean {
    return this.#elector.isLeader
  }

  start(): Promise<void> {
    return this.#elector.start()
  }

  stop(): Promise<void> {
    return this.#elector.stop()
  }

  async #startParts(lost: AbortSignal): Promise<void> {
    for (const part of this.#parts) {
      if (lost.aborted) return
      this.#running.push(part)
      try {
        await part.start(lost)
      } catch (error) {
        if (lost.aborted) return
        this.#logger.error('starting what the leader does failed', {
          error: toError(error).message,
        })
      }
    }
  }

  /** Waits for writes in progress: the Lease is given back after them. */
  async #stopParts(): Promise<void> {
    await this.#starting
    for (const part of this.#running.splice(0).toReversed()) await part.stop()
  }
}
