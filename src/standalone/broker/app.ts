/**
 * The broker: the only process of a mesh on the host. It owns the ports, dials for the pods, asks
 * the host's name servers, and keeps the tree alive. It knows nothing of meshes.
 */
import { appendFileSync, closeSync, openSync, renameSync, rmSync, statSync } from 'node:fs'
import type { Server } from 'node:net'
import { Backoff, type Clock, type Logger, MeshError, toError } from '../../base/index.ts'
import { openStateDirectory } from '../state/directory.ts'
import { type MeshPaths, meshPaths } from '../state/paths.ts'
import { writeBrokerRecord } from '../state/record.ts'
import { type ControlRequest, serveControl } from './control.ts'
import { EgressDialer, ownAddresses } from './egress.ts'
import { DefinedImages } from './images.ts'
import { InitProcess } from './init-process.ts'
import { limits } from './limits.ts'
import { HostListeners } from './listeners.ts'
import { takeLock } from './lock.ts'
import {
  type BrokerConfig,
  type BrokerToInit,
  type BrokerToStarter,
  fromWireError,
  type InitToBroker,
  type MeshStatus,
  type ProgressEvent,
  toWireError,
  type WireError,
} from './protocol.ts'
import { HostResolver } from './resolver.ts'

export interface BrokerOptions {
  readonly config: BrokerConfig
  readonly clock: Clock
  readonly logger: Logger
  readonly tellStarter: (message: BrokerToStarter) => void
  /** Called once, when nothing is left to do. */
  readonly onEnd: (exitCode: number) => void
  readonly initEntry?: string
}

export class Broker {
  readonly #options: BrokerOptions
  readonly #paths: MeshPaths
  readonly #startedAt: number
  readonly #beganAt: number
  readonly #dialer: EgressDialer
  readonly #resolver = new HostResolver()
  readonly #listeners: HostListeners
  readonly #backoff = new Backoff({
    initialMs: limits.restartInitialMs,
    maxMs: limits.restartMaxMs,
  })
  readonly #watchers = new Set<(event: ProgressEvent) => void>()
  readonly #ready = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<void>()
  readonly #images: DefinedImages
  readonly #calls = new Map<number, (error: WireError | undefined) => void>()
  #state: MeshStatus['state'] = 'starting'
  #init: InitProcess | undefined
  #initStartedAt = 0
  #initEnded = Promise.withResolvers<void>()
  #control: Server | undefined
  #lock: Server | undefined
  #restarts = 0
  #nextId = 1
  #everReady = false
  /** The lock is ours, and with it the files that say so. */
  #owner = false

  constructor(options: BrokerOptions) {
    this.#options = options
    const { config, clock } = options
    this.#paths = meshPaths(config.stateHome, config.name)
    this.#startedAt = clock.now()
    this.#beganAt = clock.monotonic()
    this.#images = new DefinedImages(this.#paths.images)
    this.#dialer = new EgressDialer({ hostAccess: config.hostAccess, ownAddresses })
    this.#listeners = new HostListeners((message, server) => this.#init?.send(message, server))
    this.#ready.promise.catch(() => {})
  }

  /** Rejects, with nothing left behind, when the mesh can't be started. */
  async start(): Promise<void> {
    const { config } = this.#options
    const pid = process.pid
    const uid = process.getuid?.() ?? 0
    this.#lock = await takeLock(config.name, { pid, uid, stateDirectory: this.#paths.root })
    openStateDirectory(this.#paths)
    this.#owner = true
    this.#images.load()
    await this.#listeners.open('registry', config.registryPort, '--registry-port')
    await this.#listeners.open('ingress', config.ingressPort, '--ingress-port')
    this.#control = await serveControl(this.#paths.controlSocket, (request, progress) =>
      this.#handle(request, progress),
    )
    this.#writeRecord()
    this.#startInit()
    await this.#ready.promise
  }

  /** Ends everything; returns when nothing is left. */
  async stop(exitCode = 0): Promise<void> {
    if (this.#state === 'stopping') return this.#ended.promise
    this.#state = 'stopping'
    this.#ready.reject(new MeshError('BROKER_STOPPED', 'the mesh was stopped while it started'))
    this.#options.logger.info('stopping')
    this.#progress('stopping', 'started')
    if (this.#init?.send({ type: 'stop', deadlineMs: limits.stopDeadlineMs }) === true) {
      const init = this.#init
      const timer = this.#options.clock.after(limits.stopDeadlineMs + 2_000, () => init.kill())
      await this.#initEnded.promise
      timer.cancel()
    } else this.#init?.kill()
    this.#dialer.close()
    this.#listeners.close()
    if (this.#owner) rmSync(this.#paths.brokerRecord, { force: true })
    this.#progress('stopping', 'done')
    this.#ended.resolve()
    // The answer to `down` goes out before the socket does.
    await new Promise((resolve) => setImmediate(resolve))
    this.#control?.close()
    if (this.#owner) rmSync(this.#paths.controlSocket, { force: true })
    this.#lock?.close()
    this.#options.logger.info('stopped')
    this.#options.onEnd(exitCode)
  }

  /** The starter went away: before the mesh is ready, or in the foreground, that means stop. */
  starterGone(): void {
    if (this.#options.config.foreground || !this.#everReady) void this.stop(130)
  }

  status(): MeshStatus {
    const { config } = this.#options
    return {
      name: config.name,
      state: this.#state,
      pid: process.pid,
      mode: config.mode,
      version: config.version,
      startedAt: new Date(this.#startedAt).toISOString(),
      stateDirectory: this.#paths.root,
      kubeconfig: this.#paths.kubeconfig,
      registryUrl: `https://127.0.0.1:${config.registryPort}`,
      ingressUrl: `http://127.0.0.1:${config.ingressPort}`,
      listeners: this.#listeners.records(),
      startedWith: {
        hostAccess: config.hostAccess,
        hostPathPrefixes: config.hostPathPrefixes,
        catalogFile: config.catalogFile,
      },
      restarts: this.#restarts,
    }
  }

  async #handle(
    request: ControlRequest,
    progress: (event: ProgressEvent) => void,
  ): Promise<unknown> {
    switch (request.method) {
      case 'status':
        return this.status()
      case 'wait':
        this.#watchers.add(progress)
        try {
          await this.#ready.promise
        } finally {
          this.#watchers.delete(progress)
        }
        return this.status()
      case 'apply-samples':
        await this.#callInit((id) => ({ type: 'apply-samples', id, samples: request.samples }))
        return this.status()
      case 'define-image':
        this.#images.define(request.image)
        return this.#sendImages()
      case 'forget-image':
        this.#images.forget(request.name)
        return this.#sendImages()
      case 'down':
        this.#watchers.add(progress)
        void this.stop()
        await this.#ended.promise
        return { ...this.status(), state: 'stopped', pid: undefined }
      default:
        throw new MeshError('BROKER_METHOD', 'the broker does not know this request', {
          hint: 'The mesh was started by another version of Weft; use that one, or restart it.',
        })
    }
  }

  #sendImages(): Promise<void> {
    return this.#callInit((id) => ({ type: 'set-images', id, images: this.#images.list() }))
  }

  /** Asks init for something, and waits for its answer. */
  async #callInit(request: (id: number) => BrokerToInit): Promise<void> {
    await this.#ready.promise
    const id = this.#nextId++
    const error = await new Promise<WireError | undefined>((resolve) => {
      this.#calls.set(id, resolve)
      if (this.#init?.send(request(id)) === true) return
      const message = 'the mesh is recovering from a crash just now'
      resolve({ code: 'BROKER_RECOVERING', message, hint: 'Try again in a moment.' })
    })
    this.#calls.delete(id)
    if (error !== undefined) throw fromWireError(error)
  }

  #startInit(): void {
    const { config, logger, clock } = this.#options
    const logFd = openLog(this.#paths.initLog)
    this.#initStartedAt = clock.monotonic()
    this.#initEnded = Promise.withResolvers()
    this.#init = new InitProcess({
      mode: config.mode,
      logFd,
      logger,
      onMessage: (message) => this.#onMessage(message),
      onExit: (description) => this.#onInitExit(description),
      ...(this.#options.initEntry === undefined ? {} : { entry: this.#options.initEntry }),
    })
    closeSync(logFd)
    this.#init.send({
      type: 'start',
      config: {
        name: config.name,
        version: config.version,
        stateDirectory: this.#paths.root,
        mode: config.mode,
        registryPort: config.registryPort,
        samples: config.samples,
        hostPathPrefixes: config.hostPathPrefixes,
        hostAccess: config.hostAccess,
        catalogFile: config.catalogFile,
        images: this.#images.list(),
        toolFolders: config.toolFolders,
        restarted: this.#restarts > 0,
      },
    })
    this.#listeners.handOver()
  }

  #onMessage(message: InitToBroker): void {
    const init = this.#init
    switch (message.type) {
      case 'progress':
        return this.#progress(message.step, message.status, message.detail)
      case 'ready':
        return this.#onReady()
      case 'failed':
        return this.#onFailed(message.error)
      case 'listener-taken':
        return this.#listeners.taken(message.id)
      case 'listener-closed':
        this.#listeners.forget(message.port)
        return this.#writeRecord()
      case 'listen':
        void this.#listen(message)
        return
      case 'dial':
        return this.#dialer.dial(message.address, message.port, (socket, errno) => {
          const { id } = message
          if (socket === undefined) init?.send({ type: 'dial-failed', id, errno })
          else if (init?.send({ type: 'dialed', id }, socket) !== true) socket.destroy()
        })
      case 'dns':
        void this.#resolver.resolve(message.query).then((answer) => {
          init?.send({ type: 'dns-answer', id: message.id, answer })
        })
        return
      case 'answer':
        this.#calls.get(message.id)?.(message.error)
    }
  }

  async #listen(message: Extract<InitToBroker, { type: 'listen' }>): Promise<void> {
    try {
      await this.#listeners.openFor(message.id, message.name, message.port)
      this.#writeRecord()
    } catch (error) {
      this.#init?.send({ type: 'listen-failed', id: message.id, error: toWireError(error) })
    }
  }

  #onReady(): void {
    if (this.#state !== 'starting' && this.#state !== 'recovering') return
    this.#state = 'running'
    this.#everReady = true
    this.#options.logger.info('ready', {
      ms: Math.round(this.#options.clock.monotonic() - this.#beganAt),
    })
    this.#writeRecord()
    this.#options.tellStarter({ type: 'ready', status: this.status() })
    this.#ready.resolve()
  }

  #onFailed(error: WireError): void {
    this.#options.logger.error('init failed', { code: error.code, error: error.message })
    // The first start is the user's, who is told; later ones are tried again when init has ended.
    if (!this.#everReady) this.#ready.reject(fromWireError(error))
  }

  #onInitExit(description: string): void {
    const { logger, clock } = this.#options
    this.#initEnded.resolve()
    this.#init = undefined
    for (const answer of this.#calls.values()) {
      answer({ code: 'BROKER_RECOVERING', message: `init ${description}`, hint: 'Try again.' })
    }
    if (this.#state === 'stopping') return
    logger.warn('init is gone', { how: description })
    if (!this.#everReady) {
      this.#ready.reject(
        new MeshError('BROKER_INIT_ENDED', `the mesh's init process ${description}`, {
          hint: `Its last words are in ${this.#paths.initLog}.`,
        }),
      )
      return
    }
    this.#state = 'recovering'
    if (clock.monotonic() - this.#initStartedAt > limits.restartStableMs) this.#backoff.reset()
    clock.after(this.#backoff.next(), () => void this.#restart())
  }

  async #restart(): Promise<void> {
    if (this.#state !== 'recovering') return
    this.#restarts++
    try {
      await this.#listeners.reopen()
      this.#startInit()
    } catch (error) {
      this.#options.logger.warn('restart failed', { error: toError(error).message })
      this.#options.clock.after(this.#backoff.next(), () => void this.#restart())
    }
  }

  #progress(step: string, status: ProgressEvent['status'], detail?: string): void {
    const elapsedMs = Math.round(this.#options.clock.monotonic() - this.#beganAt)
    const event = { step, status, elapsedMs, ...(detail === undefined ? {} : { detail }) }
    this.#options.tellStarter({ type: 'progress', event })
    for (const watcher of this.#watchers) watcher(event)
  }

  #writeRecord(): void {
    const { config } = this.#options
    try {
      writeBrokerRecord(this.#paths, {
        name: config.name,
        pid: process.pid,
        uid: process.getuid?.() ?? 0,
        mode: config.mode,
        version: config.version,
        startedAt: new Date(this.#startedAt).toISOString(),
        listeners: this.#listeners.records(),
      })
    } catch (error) {
      // Before the mesh runs a full disk is the user's business; a running mesh survives it.
      if (!this.#everReady) throw error
      this.#options.logger.warn('broker.json not written', { error: toError(error).message })
    }
  }
}

/** Opens a log for appending; a large one is kept as `.1` first. */
export function openLog(path: string): number {
  try {
    if (statSync(path).size > limits.logBytes) renameSync(path, `${path}.1`)
  } catch {
    // There is none yet.
  }
  const fd = openSync(path, 'a', 0o600)
  appendFileSync(fd, '')
  return fd
}
