/**
 * A thread that carries connections: listeners of its own in every pod (SO_REUSEPORT lets the kernel
 * share connections out), and a copy of the control plane's state. It asks the main thread for
 * certificates and for nothing else, so that a busy thread slows no other.
 */
import { Writable } from 'node:stream'
import { parentPort, workerData } from 'node:worker_threads'
import { createLogger, LogControl, systemClock, toError } from '../../base/index.ts'
import { Revocations } from '../../identity/index.ts'
import { openNetns } from '../../linux/index.ts'
import { MetricsRegistry } from '../../metrics/index.ts'
import { AccessLog, TrafficMetrics } from '../../telemetry/index.ts'
import { dumpConnections } from '../config-dump.ts'
import { ConnectionManager } from '../connections.ts'
import { storeTypes } from '../control-plane.ts'
import { DnsMetrics } from '../dns/metrics.ts'
import { readNameServers } from '../dns/upstream.ts'
import { seriesExpiryMs } from '../limits.ts'
import { createLineWriter } from '../line-writer.ts'
import { OnDemand } from '../on-demand.ts'
import { Pods } from '../pods.ts'
import { registerConnectionMetrics } from '../process-metrics.ts'
import { RevocationGuard } from '../revocation-guard.ts'
import { Store } from '../state/store.ts'
import { RemoteCertificates } from './certificates.ts'
import type {
  FromWorker,
  ResourceUpdate,
  ToWorker,
  WorkerRequest,
  WorkerSettings,
} from './messages.ts'
import { snapshotMetrics } from './metrics.ts'

type Answer = Omit<Extract<FromWorker, { kind: 'answer' }>, 'kind' | 'id'>

class ConnectionWorker {
  readonly #post: (message: FromWorker) => void
  readonly #store = new Store()
  readonly #types = storeTypes(this.#store)
  readonly #registry = new MetricsRegistry()
  readonly #connections = new ConnectionManager()
  readonly #logControl: LogControl
  readonly #certificates: RemoteCertificates
  readonly #revocations = new Revocations()
  readonly #demands = new Map<number, () => void>()
  #nextDemand = 1
  readonly #pods: Pods
  /** Lines to the main thread, gathered. */
  readonly write: (line: string) => void

  constructor(settings: WorkerSettings, post: (message: FromWorker) => void) {
    this.#post = post
    const clock = systemClock
    const out = new Writable({
      write(chunk: Buffer, _encoding, done) {
        post({ kind: 'lines', text: chunk.toString() })
        done()
      },
    })
    this.write = createLineWriter(out, clock).write
    const { logFormat: format, logLevel, logLevels, dns } = settings
    this.#logControl = new LogControl(logLevel)
    for (const [scope, level] of logLevels) this.#logControl.setLevel(level, scope)
    const now = (): number => clock.now()
    const logger = createLogger('ztunnel', { write: this.write, now, format }, this.#logControl)
    this.#certificates = new RemoteCertificates(clock, post)
    const accessLog = new AccessLog({
      logger: logger.child('access'),
      write: this.write,
      now,
      format,
    })
    const metrics = new TrafficMetrics(this.#registry)
    this.#pods = new Pods(
      {
        store: this.#store,
        certificates: this.#certificates,
        revocations: new RevocationGuard(this.#revocations, this.#registry),
        connections: this.#connections,
        metrics,
        accessLog,
        clock,
        logger,
        random: Math.random,
        originalSource: settings.originalSource,
        localhostTunnel: settings.localhostTunnel,
        http2: settings.http2,
        onDemand: settings.onDemand === undefined ? undefined : this.#onDemand(settings.onDemand),
        dns: dns.capture
          ? { ...dns, nameServers: readNameServers, metrics: new DnsMetrics(this.#registry) }
          : undefined,
      },
      // The main thread counts pods; here they would be counted once for each thread.
      new MetricsRegistry(),
    )
    this.#store.onChange((change) => this.#connections.onStoreChange(change))
    registerConnectionMetrics(this.#registry, this.#connections)
    clock.every(seriesExpiryMs, () => this.#registry.expire(), { background: true })
  }

  receive(message: ToWorker): void {
    switch (message.kind) {
      case 'resources':
        return this.#apply(message.updates)
      case 'renewed':
        return this.#certificates.renewed(message.certificate)
      case 'certificate':
        return this.#certificates.answer(message.id, message.certificate, message.error ?? '')
      case 'revocations':
        return this.#revocations.replace(message.pem)
      case 'demanded':
        this.#demands.get(message.id)?.()
        return void this.#demands.delete(message.id)
      case 'level':
        return this.#logControl.setLevel(message.level, message.scope)
      case 'drain':
        return this.#pods.drain()
      case 'close':
        this.#pods.close(message.reason)
        return this.#connections.closeAll(message.reason)
      case 'request':
        return void this.#answer(message.id, message.request)
    }
  }

  #onDemand(clusterId: string): OnDemand {
    const ask = (name: string): Promise<void> => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const id = this.#nextDemand++
      this.#demands.set(id, resolve)
      this.#post({ kind: 'demand', id, name })
      return promise
    }
    return new OnDemand({ store: this.#store, clock: systemClock, clusterId, ask })
  }

  /** All of one response in one turn, so that no connection sees half of it. */
  #apply(updates: readonly ResourceUpdate[]): void {
    for (const { typeUrl, name, bytes } of updates) {
      const type = this.#types.find((candidate) => candidate.typeUrl === typeUrl)
      if (bytes === undefined) type?.onRemoved(name)
      // The main thread has taken it over before, so it can be read.
      else type?.onResource(name, bytes, '')
    }
  }

  async #answer(id: number, request: WorkerRequest): Promise<void> {
    let answer: Answer
    try {
      answer = await this.#perform(request)
    } catch (error) {
      answer = { error: toError(error).message || 'failed without a reason' }
    }
    this.#post({ kind: 'answer', id, ...answer })
  }

  async #perform(request: WorkerRequest): Promise<Answer> {
    switch (request.kind) {
      case 'add': {
        // Opened by Node: it closes the descriptor when this thread ends, however that happens.
        const netnsFd = openNetns(`/proc/self/fd/${request.netnsFd}`)
        await this.#pods.add(request.uid, request.info, netnsFd)
        return {}
      }
      case 'del':
        await this.#pods.del(request.uid)
        return {}
      case 'metrics':
        return { metrics: snapshotMetrics(this.#registry) }
      case 'connections': {
        const pods = Array.from(this.#pods.proxies(), ({ pod }) => pod.uid)
        const shown = pods.map((uid) => ({ uid, ...dumpConnections(this.#connections.of(uid)) }))
        return { open: this.#connections.size, connections: shown }
      }
    }
  }
}

if (parentPort !== null) {
  const port = parentPort
  const post = (message: FromWorker): void => port.postMessage(message)
  // Given by the supervisor, which starts this file.
  const worker = new ConnectionWorker(workerData as WorkerSettings, post)
  port.on('message', (message: ToWorker) => worker.receive(message))
  // As in the main thread: a defect in one connection must not end the others.
  process.on('uncaughtException', (error) => {
    worker.write(`${new Date().toISOString()}\terror\tztunnel\tuncaught error\t${error.stack}\n`)
  })
  post({ kind: 'ready' })
}
