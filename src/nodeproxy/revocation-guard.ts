/**
 * Certificate revocation in the data path: peers are looked at when their handshake ends, and all that
 * are connected again whenever the lists change.
 */
import type { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { TLSSocket } from 'node:tls'
import { type Clock, type Component, type Logger, type Timer, toError } from '../base/index.ts'
import type { Revocations } from '../identity/index.ts'
import type { MetricsRegistry } from '../metrics/index.ts'
import type { Reporter } from '../telemetry/index.ts'
import { ConnectionError } from './errors.ts'
import { crlPeriodMs } from './limits.ts'

interface Watched {
  /** Kept, because a socket that HTTP/2 has taken over does not tell any more. */
  readonly leaf: X509Certificate
  readonly rootsPem: string
  readonly reporter: Reporter
}

export class RevocationGuard {
  readonly #revocations: Revocations
  readonly #open = new Map<TLSSocket, Watched>()
  readonly #rejections

  constructor(revocations: Revocations, registry: MetricsRegistry) {
    this.#revocations = revocations
    this.#rejections = registry.counter(
      'istio_crl_policy_rejections_total',
      'Connections refused or ended because a certificate of the peer is revoked.',
      { labels: ['reporter'], expires: false },
    )
    const untracked = registry.gauge(
      'istio_crl_untracked_connections',
      'Connections whose certificates could not be looked at again when the lists change.',
      { labels: ['reporter'], expires: false },
    )
    for (const reporter of ['source', 'destination'] as const) {
      this.#rejections.child(reporter)
      untracked.child(reporter).set(0)
    }
    revocations.onChange(() => this.#checkAll())
  }

  /** Throws when the peer's certificate is revoked; else goes on looking until the connection ends. */
  admit(socket: TLSSocket, rootsPem: string, reporter: Reporter): void {
    const leaf = socket.getPeerX509Certificate()
    // Without one the callers' own checks have refused it.
    if (leaf === undefined) return
    const watched = { leaf, rootsPem, reporter }
    const refusal = this.#refusal(watched)
    if (refusal !== undefined) throw refusal
    this.#open.set(socket, watched)
    socket.once('close', () => this.#open.delete(socket))
  }

  #checkAll(): void {
    for (const [socket, watched] of this.#open) {
      const refusal = this.#refusal(watched)
      if (refusal !== undefined) socket.destroy(refusal)
    }
  }

  #refusal({ leaf, rootsPem, reporter }: Watched): ConnectionError | undefined {
    const serial = this.#revocations.revokedIn(leaf, rootsPem)
    if (serial === undefined) return undefined
    this.#rejections.child(reporter).inc()
    return new ConnectionError(
      'NODEPROXY_REVOKED',
      `certificate ${serial} of the peer is revoked`,
      {
        flag: 'CERT_REVOKED',
      },
    )
  }
}

export interface CrlFileOptions {
  readonly path: string
  readonly revocations: Revocations
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * The lists of a file, read again every few seconds: a mounted ConfigMap changes by swapped links,
 * which file watches miss. A broken or absent file changes nothing and is said once.
 */
export class CrlFile implements Component {
  readonly #options: CrlFileOptions
  #timer: Timer | undefined
  #complaint = ''

  constructor(options: CrlFileOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#read()
    this.#timer = this.#options.clock.every(crlPeriodMs, () => this.#read(), { background: true })
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
  }

  #read(): void {
    const { path, revocations, logger } = this.#options
    try {
      const pem = readFileSync(path, 'utf8')
      if (pem === revocations.pem) return
      revocations.replace(pem)
      this.#complaint = ''
      logger.info('certificate revocation lists are in force', { path })
    } catch (error) {
      const { message } = toError(error)
      if (message !== this.#complaint) {
        logger.error('the certificate revocation list was not taken over; the last one counts', {
          path,
          error: message,
        })
      }
      this.#complaint = message
    }
  }
}
