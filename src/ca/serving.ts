/**
 * The certificate with which istiod serves 15012 (and later its webhooks), kept fresh: renewed at
 * half of its life by the wall clock, and whenever the authority changes.
 */
import { type Clock, type Component, type Logger, type Timer, toError } from '../base/index.ts'
import type { ServingCertificate } from '../grpc/index.ts'
import type { CertificateAuthority } from './authority.ts'
import { notReady } from './errors.ts'
import { limits } from './limits.ts'

export interface ServingKeeperOptions {
  readonly authority: Pick<CertificateAuthority, 'issueServing' | 'rootsPem' | 'onChange'>
  readonly dnsNames: readonly string[]
  /** Default: a day. */
  readonly ttlMs?: number
  readonly clock: Clock
  readonly logger: Logger
}

/** The names under which the control plane is reached (reference: ambient 2.4). */
export function servingNames(namespace: string, revision?: string): string[] {
  const services = ['istiod', 'istiod-remote', 'istio-pilot']
  if (revision !== undefined && revision !== '' && revision !== 'default')
    services.push(`istiod-${revision}`)
  return services.map((service) => `${service}.${namespace}.svc`)
}

export class ServingKeeper implements Component {
  readonly #options: ServingKeeperOptions
  readonly #listeners = new Set<(certificate: ServingCertificate) => void>()
  #current: ServingCertificate | undefined
  #renewAt = 0
  #renewing: Promise<void> | undefined
  #timer: Timer | undefined
  #unsubscribe: (() => void) | undefined

  constructor(options: ServingKeeperOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { authority, clock } = this.#options
    await this.#renew()
    this.#unsubscribe = authority.onChange(() => this.#renewSoon())
    this.#timer = clock.every(
      limits.servingCheckMs,
      () => {
        if (clock.now() >= this.#renewAt) this.#renewSoon()
      },
      { background: true },
    )
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    this.#timer?.cancel()
    await this.#renewing
  }

  get current(): ServingCertificate {
    if (this.#current === undefined) throw notReady()
    return this.#current
  }

  /** Calls back with each renewed certificate; returns the remover. */
  onChange(listener: (certificate: ServingCertificate) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #renewSoon(): void {
    const { logger } = this.#options
    this.#renewing ??= this.#renew()
      .catch((error: unknown) =>
        logger.error('renewing the serving certificate failed; it is tried again', {
          error: toError(error).message,
        }),
      )
      .finally(() => (this.#renewing = undefined))
  }

  async #renew(): Promise<void> {
    const { authority, dnsNames, ttlMs } = this.#options
    const issued = await authority.issueServing(dnsNames, ttlMs)
    this.#renewAt = issued.notBefore + (issued.notAfter - issued.notBefore) / 2
    this.#current = {
      keyPem: issued.keyPem,
      chainPem: issued.chainPem,
      clientRootsPem: authority.rootsPem,
    }
    for (const listener of this.#listeners) listener(this.#current)
  }
}
