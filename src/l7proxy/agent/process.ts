/** Envoy as a child process: started once; when it ends, so does the agent, and the pod starts both again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { type Clock, type Logger, toError } from '../../base/index.ts'
import { envoyEnded, envoyNotStarted } from './errors.ts'
import { limits } from './limits.ts'

export interface EnvoyProcessOptions {
  readonly path: string
  readonly bootstrapPath: string
  readonly concurrency: number
  readonly drainMs: number
  readonly logLevel: string
  readonly componentLogLevel: string
  readonly clock: Clock
  readonly logger: Logger
}

export class EnvoyProcess {
  readonly #options: EnvoyProcessOptions
  readonly #ended = Promise.withResolvers<Error | undefined>()
  #child: ChildProcess | undefined
  #stopping = false

  constructor(options: EnvoyProcessOptions) {
    this.#options = options
  }

  /** Resolves when the process is over: with the reason, or with nothing when we asked for it. */
  get ended(): Promise<Error | undefined> {
    return this.#ended.promise
  }

  /** Its log and its access log are ours. */
  start(): Promise<void> {
    const { path, logger } = this.#options
    const child = spawn(path, this.#arguments(), { stdio: ['ignore', 'inherit', 'inherit'] })
    this.#child = child
    child.once('exit', (code, signal) => {
      this.#ended.resolve(this.#stopping ? undefined : envoyEnded(code, signal))
    })
    return new Promise((resolve, reject) => {
      child.once('spawn', () => {
        logger.info('started Envoy', { path, pid: child.pid })
        resolve()
      })
      child.once('error', (error) => {
        const failure = envoyNotStarted(path, toError(error))
        this.#ended.resolve(failure)
        reject(failure)
      })
    })
  }

  async stop(): Promise<void> {
    this.#stopping = true
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    const timer = this.#options.clock.after(limits.exitGraceMs, () => child.kill('SIGKILL'))
    await this.ended
    timer.cancel()
  }

  #arguments(): string[] {
    const { bootstrapPath, concurrency, drainMs, logLevel, componentLogLevel } = this.#options
    const level = componentLogLevel === '' ? [] : ['--component-log-level', componentLogLevel]
    return [
      '--config-path',
      bootstrapPath,
      // No second Envoy takes over from this one; its shared memory would only be in the way.
      '--disable-hot-restart',
      '--concurrency',
      String(concurrency),
      // All connections are asked to go at once: the pod's time is short.
      '--drain-strategy',
      'immediate',
      '--drain-time-s',
      String(Math.max(1, Math.ceil(drainMs / 1000))),
      '--log-level',
      logLevel,
      ...level,
      '--log-format',
      '%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v',
    ]
  }
}
