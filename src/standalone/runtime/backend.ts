/** What kubectl does with running pods: logs, exec, attach, port-forward. The registry speaks the wire. */
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { type Duplex, PassThrough, type Readable, Writable } from 'node:stream'
import type { Clock } from '../../base/index.ts'
import { connectTcp } from '../../linux/index.ts'
import type {
  ExecOptions,
  ExecSession,
  LogOptions,
  PodBackend,
  PodReference,
  UsageReport,
} from '../../registry/index.ts'
import type { ContainerRunner, Launched } from './container.ts'
import { containerError, podNotHere } from './errors.ts'
import { limits } from './limits.ts'
import { readLog } from './log-reader.ts'
import { logPath } from './logs.ts'
import type { UsageSampler } from './usage.ts'
import type { PodWorker } from './worker.ts'

export interface BackendOptions {
  readonly worker: (uid: string) => PodWorker | undefined
  /** `<state>/pods/<uid>/<container>`. */
  readonly logFolder: (uid: string, container: string) => string
  readonly clock: Clock
  readonly sampler: UsageSampler
}

export class RuntimeBackend implements PodBackend {
  readonly #options: BackendOptions

  constructor(options: BackendOptions) {
    this.#options = options
  }

  async logs(pod: PodReference, options: LogOptions): Promise<Readable> {
    const { container } = this.#find(pod, options.container)
    const attempt = options.previous ? container.attempt - 1 : container.attempt
    const { clock, logFolder } = this.#options
    const folder = logFolder(pod.uid, container.name)
    if (attempt < 0 || (options.previous && !existsSync(logPath(folder, attempt)))) {
      if (options.previous) {
        throw containerError(
          'NO_PREVIOUS_LOG',
          `previous terminated container "${container.name}" in pod "${pod.name}" not found`,
        )
      }
      const { waiting } = container.status().state
      throw containerError(
        'CONTAINER_WAITING',
        `container "${container.name}" in pod "${pod.name}" is waiting to start: ` +
          (waiting?.reason ?? 'ContainerCreating'),
      )
    }
    const live = options.previous ? undefined : container.live?.log
    return readLog({ folder, attempt, live }, options, clock)
  }

  async exec(pod: PodReference, options: ExecOptions): Promise<ExecSession> {
    const { live } = this.#running(pod, options.container)
    const { command, stdin, tty } = options
    if (command.length === 0)
      throw containerError(
        'CONTAINER_NOT_FOUND',
        'you must specify at least one command for the container',
      )
    return live.process.exec({ command, stdin, tty })
  }

  async attach(pod: PodReference, options: Omit<ExecOptions, 'command'>): Promise<ExecSession> {
    const { container, live } = this.#running(pod, options.container)
    const { process } = live
    const out = tap(process.stdout)
    const err = process.stderr === undefined ? undefined : tap(process.stderr)
    const detached = Promise.withResolvers<number>()
    // How the container ended is in the pod's status; that the client saw all of it is success.
    void process.exit.then(() => detached.resolve(0))
    const input = options.stdin ? process.stdin : undefined
    const stdin = input === undefined ? undefined : shared(input, container.stdinOnce)
    return {
      stdin,
      stdout: out,
      stderr: err,
      resize: (columns, rows) => process.resize(columns, rows),
      exitCode: detached.promise,
      kill: () => {
        out.destroy()
        err?.destroy()
        stdin?.end()
        detached.resolve(0)
      },
    }
  }

  async portForward(pod: PodReference, port: number): Promise<Duplex> {
    const worker = this.#worker(pod)
    if (worker.hostNetwork) return connectHere(port)
    const { sandbox } = worker
    if (sandbox === undefined)
      throw containerError('CONTAINER_ENDED', `pod "${pod.name}" is not running`)
    return connectTcp({
      host: '127.0.0.1',
      port,
      netnsFd: sandbox.netnsFd,
      connectTimeoutMs: 10_000,
    })
  }

  usage(): Promise<UsageReport> {
    return this.#options.sampler.usage()
  }

  #worker(pod: PodReference): PodWorker {
    const worker = this.#options.worker(pod.uid)
    if (worker === undefined) throw podNotHere(pod.namespace, pod.name)
    return worker
  }

  #find(pod: PodReference, name: string): { container: ContainerRunner } {
    const container = this.#worker(pod).container(name)
    if (container === undefined) {
      throw containerError(
        'CONTAINER_NOT_FOUND',
        `container ${name} is not valid for pod ${pod.name}`,
      )
    }
    return { container }
  }

  #running(pod: PodReference, name: string): { container: ContainerRunner; live: Launched } {
    const { container } = this.#find(pod, name)
    const { live } = container
    if (live === undefined) {
      throw containerError(
        'CONTAINER_ENDED',
        `container "${container.name}" in pod "${pod.name}" is not running`,
      )
    }
    return { container, live }
  }
}

/** A copy of the output from now on. Who reads too slowly loses bytes; the container is never held up. */
function tap(source: Readable): PassThrough {
  const copy = new PassThrough()
  const onData = (chunk: Buffer): void => {
    if (copy.writableLength < limits.logBufferBytesMax) copy.write(chunk)
  }
  source.on('data', onData)
  source.once('close', () => copy.end())
  copy.once('close', () => source.off('data', onData))
  return copy
}

/** One client's way to the container's input, which stays open for the next one unless `once`. */
function shared(input: NodeJS.WritableStream, once: boolean): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, callback) {
      if (input.writable) input.write(chunk, (error) => callback(error))
      else callback(new Error("the container's input is closed"))
    },
    final(callback) {
      if (once) input.end()
      callback()
    },
  })
}

function connectHere(port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
    socket.once('error', reject)
  })
}
