/**
 * One key and certificate for each identity, renewed at half of its life. While renewing fails the
 * old one is used until it expires. Ages are judged by the wall clock every few seconds instead of by
 * one long timer, because timers stand still while a laptop sleeps.
 */
import {
  Backoff,
  type Clock,
  type Component,
  type Logger,
  MeshError,
  type Timer,
  toError,
} from '../base/index.ts'
import {
  createCsr,
  generateEcKeyPair,
  type KeyPair,
  parseCertificate,
  parseSpiffeId,
  splitPem,
} from '../x509/index.ts'
import { unavailable, wrongAnswer } from './errors.ts'
import { limits } from './limits.ts'
import { moreUrgent, Slots, type Ticket } from './slots.ts'
import type {
  CertificateSource,
  FetchPriority,
  IdentityStatus,
  WorkloadCertificate,
} from './types.ts'

export interface CertificateManagerOptions {
  readonly source: CertificateSource
  readonly clock: Clock
  readonly logger: Logger
  /** SECRET_TTL */
  readonly ttlMs?: number
  readonly random?: () => number
}

interface Attempt {
  readonly result: Promise<WorkloadCertificate>
  readonly ticket: Ticket
}

interface Entry {
  readonly identity: string
  readonly backoff: Backoff
  certificate: WorkloadCertificate | undefined
  attempt: Attempt | undefined
  error: MeshError | undefined
  /** Monotonic time before which a failed entry is left alone. */
  retryAt: number
  retryTimer: Timer | undefined
}

export class CertificateManager implements Component {
  readonly #options: CertificateManagerOptions
  readonly #entries = new Map<string, Entry>()
  readonly #slots = new Slots(limits.concurrencyMax)
  readonly #listeners = new Set<(certificate: WorkloadCertificate) => void>()
  #timer: Timer | undefined
  #wall = 0
  #monotonic = 0

  constructor(options: CertificateManagerOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { clock } = this.#options
    this.#wall = clock.now()
    this.#monotonic = clock.monotonic()
    this.#timer = clock.every(limits.checkPeriodMs, () => this.#check(), { background: true })
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    for (const identity of this.#entries.keys()) this.forget(identity)
  }

  /**
   * The certificate of an identity, fetched when there is none. Rejects with the reason when the
   * last attempt failed and the next is not yet due; keeps trying in the background all the same.
   */
  fetch(identity: string, priority: FetchPriority = 'realtime'): Promise<WorkloadCertificate> {
    const entry = this.#entry(identity)
    if (entry instanceof MeshError) return Promise.reject(entry)
    const usable = this.#usable(entry)
    if (usable !== undefined) return Promise.resolve(usable)
    if (entry.attempt !== undefined) {
      entry.attempt.ticket.priority = moreUrgent(entry.attempt.ticket.priority, priority)
      return entry.attempt.result
    }
    if (entry.error !== undefined && this.#options.clock.monotonic() < entry.retryAt) {
      return Promise.reject(entry.error)
    }
    return this.#attempt(entry, priority)
  }

  /** The certificate if there is one which has not expired. */
  current(identity: string): WorkloadCertificate | undefined {
    const entry = this.#entries.get(identity)
    return entry && this.#usable(entry)
  }

  /** Calls back with every new certificate, renewed ones included; returns the remover. */
  onChange(listener: (certificate: WorkloadCertificate) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Drops an identity that no local workload has any more; who waits for it is refused. */
  forget(identity: string): void {
    const entry = this.#entries.get(identity)
    entry?.retryTimer?.cancel()
    this.#entries.delete(identity)
  }

  /** Every identity with its state, for the admin page. */
  snapshot(): IdentityStatus[] {
    return [...this.#entries.values()].map((entry) => {
      const certificate = this.#usable(entry)
      const waiting = entry.error === undefined || entry.attempt !== undefined
      const state = certificate ? 'available' : waiting ? 'initializing' : 'unavailable'
      return { identity: entry.identity, state, certificate, error: entry.error?.message }
    })
  }

  #entry(identity: string): Entry | MeshError {
    const known = this.#entries.get(identity)
    if (known !== undefined) return known
    if (parseSpiffeId(identity) === undefined) return unavailable(identity, 'it is no SPIFFE id')
    if (this.#entries.size >= limits.identitiesMax) {
      return unavailable(identity, `this proxy has ${limits.identitiesMax} identities already`)
    }
    const { random } = this.#options
    const entry: Entry = {
      identity,
      backoff: new Backoff({
        initialMs: limits.backoffInitialMs,
        maxMs: limits.backoffMaxMs,
        ...(random && { random }),
      }),
      certificate: undefined,
      attempt: undefined,
      error: undefined,
      retryAt: 0,
      retryTimer: undefined,
    }
    this.#entries.set(identity, entry)
    return entry
  }

  #usable(entry: Entry): WorkloadCertificate | undefined {
    const { certificate } = entry
    return certificate && certificate.notAfter > this.#options.clock.now() ? certificate : undefined
  }

  #attempt(entry: Entry, priority: FetchPriority): Promise<WorkloadCertificate> {
    entry.retryTimer?.cancel()
    const slot = Promise.withResolvers<void>()
    const ticket: Ticket = { priority, go: slot.resolve }
    this.#slots.acquire(ticket)
    const result = slot.promise
      .then(() => this.#request(entry))
      .finally(() => this.#slots.release())
      .then(
        (certificate) => this.#succeed(entry, certificate),
        (error: unknown) => this.#fail(entry, toError(error)),
      )
    entry.attempt = { result, ticket }
    // Background attempts have nobody who looks at the result; failures are logged in #fail.
    result.catch(() => {})
    return result
  }

  async #request(entry: Entry): Promise<WorkloadCertificate> {
    const { source, clock, ttlMs = limits.ttlMs } = this.#options
    const { identity } = entry
    if (this.#entries.get(identity) !== entry)
      throw unavailable(identity, 'it is not needed any more')
    const keys = await generateEcKeyPair()
    const chain = await source.request(await createCsr(keys, [identity]), identity, ttlMs)
    return readChain(identity, keys, chain, clock.now())
  }

  #succeed(entry: Entry, certificate: WorkloadCertificate): WorkloadCertificate {
    entry.attempt = undefined
    if (this.#entries.get(entry.identity) !== entry) {
      throw unavailable(entry.identity, 'it is not needed any more')
    }
    entry.certificate = certificate
    entry.error = undefined
    entry.backoff.reset()
    this.#options.logger.debug('got a certificate', {
      identity: entry.identity,
      until: new Date(certificate.notAfter).toISOString(),
    })
    for (const listener of this.#listeners) {
      try {
        listener(certificate)
      } catch (error) {
        // The certificate is good all the same.
        this.#options.logger.error('taking over a certificate failed', { error: String(error) })
      }
    }
    return certificate
  }

  #fail(entry: Entry, error: Error): never {
    const { clock, logger } = this.#options
    const { identity } = entry
    entry.attempt = undefined
    const own = error instanceof MeshError && error.code.startsWith('IDENTITY_')
    entry.error = own ? (error as MeshError) : unavailable(identity, error.message, error)
    if (this.#entries.get(identity) === entry) {
      const delayMs = entry.backoff.next()
      entry.retryAt = clock.monotonic() + delayMs
      entry.retryTimer = clock.after(delayMs, () => this.#retry(entry), { background: true })
      logger.warn('fetching a certificate failed', {
        identity,
        error: error.message,
        retryMs: Math.round(delayMs),
        until: entry.certificate && new Date(entry.certificate.notAfter).toISOString(),
      })
    }
    throw entry.error
  }

  #retry(entry: Entry): void {
    if (entry.attempt !== undefined || this.#entries.get(entry.identity) !== entry) return
    if (!this.#wantsRenewal(entry)) return
    void this.#attempt(entry, this.#usable(entry) ? 'background' : 'warmup')
  }

  /** Half of the life is over, there is none yet, or the clock went back before its begin. */
  #wantsRenewal(entry: Entry): boolean {
    const { certificate } = entry
    if (certificate === undefined) return true
    const { notBefore, notAfter } = certificate
    const now = this.#options.clock.now()
    return now < notBefore || now >= notBefore + (notAfter - notBefore) / 2
  }

  #check(): void {
    const { clock, logger } = this.#options
    const wall = clock.now()
    const monotonic = clock.monotonic()
    const jumpMs = wall - this.#wall - (monotonic - this.#monotonic)
    this.#wall = wall
    this.#monotonic = monotonic
    const jumped = Math.abs(jumpMs) > limits.clockJumpMs
    if (jumped)
      logger.info('the clock jumped; certificates are checked anew', { jumpMs: Math.round(jumpMs) })
    for (const entry of this.#entries.values()) {
      if (entry.attempt !== undefined || !this.#wantsRenewal(entry)) continue
      if (jumped) entry.backoff.reset()
      else if (entry.error !== undefined && monotonic < entry.retryAt) continue
      void this.#attempt(entry, this.#usable(entry) ? 'background' : 'warmup')
    }
  }
}

/** Checks an answer of the authority. The last element may hold several roots: all are trusted. */
function readChain(
  identity: string,
  keys: KeyPair,
  chain: readonly string[],
  nowMs: number,
): WorkloadCertificate {
  const [leafPem] = chain
  const last = chain.at(-1)
  if (leafPem === undefined || last === undefined || chain.length < 2) {
    throw wrongAnswer(identity, 'it comes without a root certificate')
  }
  const roots = splitPem(last)
  const above = chain.slice(1, -1).flatMap((pem) => splitPem(pem))
  const [leaf, ...more] = splitPem(leafPem)
  if (leaf === undefined || roots.length === 0) throw wrongAnswer(identity, 'it is not PEM')
  const info = parseCertificate(leaf)
  if (info.uriSans.length !== 1 || info.uriSans[0] !== identity) {
    throw wrongAnswer(identity, `it is for ${info.uriSans.join(', ') || 'nobody'}`)
  }
  if (info.notAfter <= nowMs) {
    throw wrongAnswer(
      identity,
      `it expired at ${new Date(info.notAfter).toISOString()}; is this clock right?`,
    )
  }
  return {
    identity,
    keyPem: keys.privatePem,
    chainPem: [leaf, ...more, ...above].join(''),
    rootsPem: roots.join(''),
    notBefore: info.notBefore,
    notAfter: info.notAfter,
    serial: info.serial,
  }
}
