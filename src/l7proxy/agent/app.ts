/**
 * The agent beside a stock Envoy, put together: certificate → secrets on a socket → Envoy, which dials the control
 * plane → readiness and metrics. It ends with its Envoy; on SIGTERM it lets requests finish first.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Clock,
  type Component,
  type Logger,
  sleep,
  type Timer,
  toError,
} from '../../base/index.ts'
import { type CaClient, CertificateManager, createCaClient } from '../../identity/index.ts'
import { EnvoyAdmin, unreadiness } from './admin.ts'
import { bootstrap } from './bootstrap.ts'
import type { AgentConfig } from './config.ts'
import { limits } from './limits.ts'
import { EnvoyProcess } from './process.ts'
import { SecretServer } from './secrets.ts'
import { AgentStatus } from './status.ts'

export interface ProxyAgentOptions {
  readonly config: AgentConfig
  /** Of a stock Envoy. */
  readonly envoyPath: string
  readonly clock: Clock
  readonly logger: Logger
  readonly random: () => number
  /** Somebody on the loopback wants the proxy to end. */
  readonly quit: () => void
}

export class ProxyAgent implements Component {
  readonly #options: ProxyAgentOptions
  readonly #authority: CaClient
  readonly #certificates: CertificateManager
  readonly #secrets: SecretServer
  readonly #admin: EnvoyAdmin
  readonly #envoy: EnvoyProcess
  readonly #status: AgentStatus
  #watch: Timer | undefined
  #wasReady = false
  #told = ''
  #draining = false

  constructor(options: ProxyAgentOptions) {
    this.#options = options
    const { config, envoyPath, clock, logger, random, quit } = options
    const { certificateTtlMs, rootCaPath, tokenPath, clusterId, identity } = config
    this.#authority = createCaClient({
      address: config.caAddress,
      rootCa: rootCaPath,
      token: tokenPath,
      clusterId,
      impersonate: false,
    })
    this.#certificates = new CertificateManager({
      source: this.#authority,
      clock,
      logger,
      random,
      ...(certificateTtlMs === undefined ? {} : { ttlMs: certificateTtlMs }),
    })
    this.#secrets = new SecretServer({
      socketPath: config.secretSocket,
      identity,
      certificates: this.#certificates,
      rootCaPath,
      clock,
      logger,
    })
    this.#admin = new EnvoyAdmin(config.adminPort)
    this.#envoy = new EnvoyProcess({
      path: envoyPath,
      bootstrapPath: join(config.folder, 'envoy-rev.json'),
      concurrency: config.concurrency,
      drainMs: config.drainMs,
      logLevel: config.logLevel,
      componentLogLevel: config.componentLogLevel,
      clock,
      logger,
    })
    this.#status = new AgentStatus({
      readyPort: config.readyPort,
      metricsPort: config.metricsPort,
      admin: this.#admin,
      unready: () => this.unready(),
      quit,
      logger,
    })
  }

  /** Resolves when Envoy is over: with the reason, or with nothing after `stop`. */
  get ended(): Promise<Error | undefined> {
    return this.#envoy.ended
  }

  /** Of readiness and metrics. */
  get ports(): readonly number[] {
    return this.#status.ports
  }

  /** Returns when Envoy runs; readiness tells when it has its configuration. */
  async start(): Promise<void> {
    const { config, clock } = this.#options
    await this.#certificates.start()
    await this.#secrets.start()
    await this.#status.start()
    // The manager goes on trying, and tells what is in the way.
    this.#certificates.fetch(config.identity, 'warmup').catch(() => {})
    mkdirSync(config.folder, { recursive: true })
    const text = `${JSON.stringify(bootstrap(config), undefined, 1)}\n`
    writeFileSync(join(config.folder, 'envoy-rev.json'), text)
    await this.#envoy.start()
    const look = (): void => void this.unready()
    this.#watch = clock.every(limits.readinessPeriodMs, look, { background: true })
  }

  /** Unready at once; Envoy asks its clients to go elsewhere; after the drain time everything ends. */
  async stop(): Promise<void> {
    const { config, clock, logger } = this.#options
    this.#draining = true
    this.#watch?.cancel()
    try {
      await this.#admin.ask('/drain_listeners?graceful&skip_exit', 'POST')
      logger.info('Envoy drains', { ms: config.drainMs })
      await Promise.race([sleep(clock, config.drainMs), this.#envoy.ended])
    } catch (error) {
      logger.warn('Envoy could not be drained', { error: toError(error).message })
    }
    await this.#envoy.stop()
    await this.#status.stop()
    await this.#secrets.stop()
    await this.#certificates.stop()
    this.#authority.close()
  }

  /** Why there should be no traffic; undefined when there may. Changes are logged. */
  async unready(): Promise<string | undefined> {
    const reason = await this.#unreadyReason()
    const { logger } = this.#options
    if (reason === undefined) {
      // Once configured it has something to work with; from here on only its state matters.
      if (!this.#wasReady) logger.info('Envoy is ready')
      this.#wasReady = true
    } else if (reason !== this.#told) logger.info('Envoy is not ready', { reason })
    this.#told = reason ?? ''
    return reason
  }

  async #unreadyReason(): Promise<string | undefined> {
    if (this.#draining) return 'it drains'
    if (!this.#secrets.hasCertificate) {
      const [status] = this.#certificates.snapshot()
      return `the workload has no certificate${status?.error === undefined ? '' : `: ${status.error}`}`
    }
    try {
      return await unreadiness(this.#admin)
    } catch (error) {
      return toError(error).message
    }
  }
}
