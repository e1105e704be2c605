/**
 * Leader election by a Lease of coordination.k8s.io, with the rules of Kubernetes' own clients. Nobody's
 * wall clock is believed: a candidate measures on its own clock how long a holder has been silent, and
 * a leader counts its own time from before it asked for the renewal. Since a leader gives up (10 s) long
 * before others may take over (15 s after they last saw it renew), two never lead at once.
 */
import {
  type Clock,
  type Component,
  type Logger,
  sleep,
  type Timer,
  toError,
} from '../base/index.ts'
import { type GroupVersionResource, isApiError, type KubeObject } from '../kube/index.ts'
import type { KubeClient } from './types.ts'

export interface LeaderElectorOptions {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'update'>
  readonly namespace: string
  /** Of the Lease. */
  readonly name: string
  /** Who we are; no two candidates may have the same. */
  readonly identity: string
  readonly clock: Clock
  readonly logger: Logger
  /** After this silence others take over. Default 15 s. */
  readonly leaseDurationMs?: number
  /** After this time without a renewal a leader gives up. Default 10 s. */
  readonly renewDeadlineMs?: number
  /** Between two tries. Default 2 s. */
  readonly retryPeriodMs?: number
  /** A number from 0 to 1; default Math.random. */
  readonly random?: () => number
  /** Among candidates of different rank the higher one gets the Lease, handed over by its holder. */
  readonly rank?: number
  /** Called when we lead; `lost` aborts when no longer. */
  readonly onStarted: (lost: AbortSignal) => void
  /** Called when we don't lead any more; the Lease is given back when what it returns has settled. */
  readonly onStopped?: () => void | Promise<void>
}

interface LeaseSpec {
  holderIdentity?: string
  leaseDurationSeconds?: number
  acquireTime?: string
  renewTime?: string
  leaseTransitions?: number
}

type Lease = KubeObject<LeaseSpec>

const leases: GroupVersionResource = {
  group: 'coordination.k8s.io',
  version: 'v1',
  resource: 'leases',
}

/** Who should have the Lease instead, as `<rank> <identity>`; the holder reads it when it renews. */
const preferenceAnnotation = 'istio.io/preferred-holder'
const rankAnnotation = 'istio.io/holder-rank'
/** Candidates spread out, as those of Kubernetes do. */
const jitterFactor = 1.2

export class LeaderElector implements Component {
  readonly #options: Required<Omit<LeaderElectorOptions, 'onStopped'>> & LeaderElectorOptions
  readonly #abort = new AbortController()
  #running: Promise<void> | undefined
  /** What we saw last of the Lease, and when by our clocks it changed. */
  #seen: { readonly lease: Lease; readonly at: Moment } | undefined
  /** From before the last successful renewal. */
  #renewedAt: Moment | undefined
  #lost: AbortController | undefined

  constructor(options: LeaderElectorOptions) {
    this.#options = {
      leaseDurationMs: 15_000,
      renewDeadlineMs: 10_000,
      retryPeriodMs: 2_000,
      random: Math.random,
      rank: 0,
      ...options,
    }
  }

  /** Returns at once; being elected is told by `onStarted`. */
  async start(): Promise<void> {
    this.#running = this.#run()
  }

  /** Gives the Lease back, so that another takes over without waiting. */
  async stop(): Promise<void> {
    this.#abort.abort()
    await this.#running
  }

  /** True only while nobody else can lead, also when this process was frozen for a while. */
  get isLeader(): boolean {
    const { clock, renewDeadlineMs } = this.#options
    return (
      this.#lost !== undefined &&
      this.#renewedAt !== undefined &&
      longest(clock, this.#renewedAt) < renewDeadlineMs
    )
  }

  /** Who has the Lease, as far as we know. */
  get holder(): string | undefined {
    const holder = this.#seen?.lease.spec?.holderIdentity
    return holder === '' ? undefined : holder
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort
    while (!signal.aborted) {
      if (await this.#tryOnce()) await this.#lead()
      else await this.#pause()
    }
  }

  async #pause(): Promise<void> {
    const { clock, retryPeriodMs, random } = this.#options
    const delayMs = retryPeriodMs * (1 + jitterFactor * random())
    await sleep(clock, delayMs, this.#abort.signal).catch(() => {})
  }

  async #lead(): Promise<void> {
    const { clock, logger, name, identity, retryPeriodMs, onStarted, onStopped } = this.#options
    const { signal } = this.#abort
    const lost = new AbortController()
    this.#lost = lost
    logger.info('leading', { lease: name, identity })
    const deadline = this.#watchDeadline(lost)
    onStarted(lost.signal)
    const ended = AbortSignal.any([signal, lost.signal])
    while (!ended.aborted) {
      await sleep(clock, retryPeriodMs, ended).catch(() => {})
      if (ended.aborted) break
      // A renewal that hangs must not keep us from stopping in time.
      const renewed = await Promise.race([this.#tryOnce(), aborted(ended)])
      if (this.#shouldYield() || (!renewed && this.holder !== identity)) break
    }
    deadline.cancel()
    lost.abort()
    this.#lost = undefined
    logger.info('not leading any more', { lease: name, identity })
    try {
      await onStopped?.()
    } catch (error) {
      logger.error('stopping what the leader does failed', { error: toError(error).message })
    }
    if (this.holder === identity) await this.#release()
  }

  /** Gives up in time although a renewal hangs. */
  #watchDeadline(lost: AbortController): Timer {
    const { clock, renewDeadlineMs, retryPeriodMs, logger, name } = this.#options
    return clock.every(
      Math.min(retryPeriodMs, renewDeadlineMs) / 4,
      () => {
        if (this.isLeader || lost.signal.aborted) return
        logger.warn('the lease could not be renewed in time', { lease: name })
        lost.abort()
      },
      { background: true },
    )
  }

  /** One try to get or renew the Lease. Failures are everyday: the next try comes. */
  async #tryOnce(): Promise<boolean> {
    const { clock, logger, name, identity } = this.#options
    const asked = now(clock)
    try {
      const taken = await this.#acquireOrRenew()
      if (taken) this.#renewedAt = asked
      return taken
    } catch (error) {
      logger.debug('the lease could not be written', {
        lease: name,
        identity,
        error: toError(error).message,
      })
      return false
    }
  }

  async #acquireOrRenew(): Promise<boolean> {
    const { client, namespace, name, identity } = this.#options
    // While we lead, what we wrote last is what is there; a conflict tells otherwise.
    if (this.isLeader && this.holder === identity && (await this.#renew())) return true
    const present = await client.get<Lease>(leases, namespace, name)
    if (present === undefined) {
      try {
        this.#observe(await client.create<Lease>(leases, this.#wanted(undefined)))
        return true
      } catch (error) {
        if (isApiError(error, 'AlreadyExists')) return false
        throw error
      }
    }
    this.#observe(present)
    const holder = present.spec?.holderIdentity ?? ''
    if (holder !== identity && holder !== '' && this.#isValid(present)) {
      await this.#askForHandover(present)
      return false
    }
    if (holder !== identity && this.#isReserved(present)) return false
    if (holder === identity && this.#shouldYield()) return false
    return this.#renew()
  }

  /** Writes ourselves into the Lease as it was when we saw it; false when it changed since. */
  async #renew(): Promise<boolean> {
    const lease = this.#seen?.lease
    try {
      this.#observe(await this.#options.client.update<Lease>(leases, this.#wanted(lease)))
      return true
    } catch (error) {
      if (isApiError(error, 'Conflict') || isApiError(error, 'NotFound')) return false
      throw error
    }
  }

  #observe(lease: Lease): void {
    const known = this.#seen?.lease.spec
    const { holderIdentity, renewTime } = lease.spec ?? {}
    const same = known?.holderIdentity === holderIdentity && known?.renewTime === renewTime
    const at = same && this.#seen !== undefined ? this.#seen.at : now(this.#options.clock)
    this.#seen = { lease, at }
  }

  /** Whether its holder spoke recently, by our clock. */
  #isValid(lease: Lease): boolean {
    const { clock, leaseDurationMs } = this.#options
    const seconds = lease.spec?.leaseDurationSeconds
    const validMs = seconds === undefined ? leaseDurationMs : seconds * 1000
    return this.#seen !== undefined && elapsed(clock, this.#seen.at) < validMs
  }

  #wanted(present: Lease | undefined): Lease {
    const { namespace, name, identity, clock, leaseDurationMs, rank } = this.#options
    const { spec, metadata } = present ?? {}
    const time = microTime(clock.now())
    const kept = spec?.holderIdentity === identity
    const annotations: Record<string, string> = { ...metadata?.annotations }
    delete annotations[preferenceAnnotation]
    if (rank === 0) delete annotations[rankAnnotation]
    else annotations[rankAnnotation] = String(rank)
    const changes = (spec?.leaseTransitions ?? 0) + (present === undefined || kept ? 0 : 1)
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...metadata, name, namespace, annotations },
      spec: {
        ...spec,
        holderIdentity: identity,
        leaseDurationSeconds: Math.max(1, Math.round(leaseDurationMs / 1000)),
        acquireTime: kept ? (spec?.acquireTime ?? time) : time,
        renewTime: time,
        leaseTransitions: changes,
      },
    }
  }

  /** Leaves word for a holder of lower rank; it goes when it renews next. */
  async #askForHandover(lease: Lease): Promise<void> {
    const { client, rank, identity } = this.#options
    const { annotations = {} } = lease.metadata
    if (rank <= Number(annotations[rankAnnotation] ?? 0)) return
    const preferred = readPreference(lease)
    if (preferred !== undefined && preferred.rank >= rank) return
    const metadata = {
      ...lease.metadata,
      annotations: { ...annotations, [preferenceAnnotation]: `${rank} ${identity}` },
    }
    await client.update<Lease>(leases, { ...lease, metadata })
  }

  #shouldYield(): boolean {
    const { rank, identity } = this.#options
    const preferred = this.#seen === undefined ? undefined : readPreference(this.#seen.lease)
    return preferred !== undefined && preferred.identity !== identity && preferred.rank > rank
  }

  /** Whether a free Lease waits for somebody of higher rank, who spoke recently. */
  #isReserved(lease: Lease): boolean {
    const { clock, leaseDurationMs } = this.#options
    if (lease.spec?.holderIdentity !== '' || !this.#shouldYield()) return false
    return this.#seen !== undefined && elapsed(clock, this.#seen.at) < leaseDurationMs
  }

  async #release(): Promise<void> {
    const { client, clock, logger, name } = this.#options
    const lease = this.#seen?.lease
    if (lease === undefined) return
    const time = microTime(clock.now())
    const spec = {
      ...lease.spec,
      holderIdentity: '',
      leaseDurationSeconds: 1,
      acquireTime: time,
      renewTime: time,
    }
    try {
      this.#observe(await client.update<Lease>(leases, { ...lease, spec }))
    } catch (error) {
      // Others wait until it runs out instead.
      logger.debug('the lease could not be given back', {
        lease: name,
        error: toError(error).message,
      })
    }
  }
}

function readPreference(lease: Lease): { rank: number; identity: string } | undefined {
  const [rank = '', identity] = (lease.metadata.annotations?.[preferenceAnnotation] ?? '').split(
    ' ',
  )
  return identity === undefined ? undefined : { rank: Number(rank), identity }
}

/** Both clocks: the monotonic one may stand still while a machine sleeps, the other may be set. */
interface Moment {
  readonly wall: number
  readonly monotonic: number
}

function now(clock: Clock): Moment {
  return { wall: clock.now(), monotonic: clock.monotonic() }
}

/** How long a candidate has waited. */
function elapsed(clock: Clock, since: Moment): number {
  return clock.monotonic() - since.monotonic
}

/** For a leader the longer time is the safe one. */
function longest(clock: Clock, since: Moment): number {
  return Math.max(elapsed(clock, since), clock.now() - since.wall)
}

/** False as soon as the signal aborts. */
function aborted(signal: AbortSignal): Promise<false> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(false)
    else signal.addEventListener('abort', () => resolve(false), { once: true })
  })
}

/** RFC 3339 with microseconds, as the API wants it here. */
function microTime(ms: number): string {
  return new Date(ms).toISOString().replace(/Z$/, '000Z')
}
