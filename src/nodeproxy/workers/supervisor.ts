/**
 * Pods served by several threads. The main thread keeps what must exist once (control plane, certificates,
 * the agent's connection and its descriptors) and tells every worker of it. A worker that dies takes its
 * listeners and connections along and nothing else; it is started again with all there is.
 */
import { Worker } from 'node:worker_threads'
import {
  Backoff,
  type Clock,
  type Component,
  type Logger,
  type LogLevel,
  MeshError,
  type Timer,
  toError,
} from '../../base/index.ts'
import type { CertificateManager, Revocations, WorkloadCertificate } from '../../identity/index.ts'
import { closeFd, inodeOf } from '../../linux/index.ts'
import type { CounterChild, MetricsRegistry } from '../../metrics/index.ts'
import type { ZdsHandler, ZdsWorkloadInfo } from '../../zds/index.ts'
import type { PodDump } from '../config-dump.ts'
import { workerLimits } from '../limits.ts'
import type {
  FromWorker,
  ResourceUpdate,
  ToWorker,
  WorkerRequest,
  WorkerSettings,
} from './messages.ts'
import { type FamilySnapshot, mergeMetrics, snapshotMetrics } from './metrics.ts'

type Answer = Extract<FromWorker, { kind: 'answer' }>

export interface SupervisorOptions {
  readonly count: number
  readonly settings: Omit<WorkerSettings, 'index'>
  readonly certificates: CertificateManager
  readonly revocations: Revocations
  readonly registry: MetricsRegistry
  /** Asks the control plane for a name, in on-demand mode. */
  readonly demand: (name: string) => Promise<void>
  readonly clock: Clock
  readonly logger: Logger
  readonly write: (line: string) => void
  /** The thread's program; default `worker.ts`. */
  readonly entry?: URL
  /** Megabytes of heap of one worker. */
  readonly heapMegabytes?: number
}

interface HeldPod {
  readonly info: ZdsWorkloadInfo
  readonly netnsFd: number
  readonly inode: bigint
}

interface Seat {
  readonly index: number
  readonly backoff: Backoff
  thread: Worker | undefined
  /** It has the state and all pods. */
  ready: boolean
  startedAt: number
  timer: Timer | undefined
  readonly waiting: Map<number, PromiseWithResolvers<Answer>>
}

export class WorkerSupervisor implements ZdsHandler, Component {
  readonly #options: SupervisorOptions
  readonly #logger: Logger
  readonly #seats: Seat[]
  readonly #pods = new Map<string, HeldPod>()
  readonly #resources = new Map<string, ResourceUpdate>()
  readonly #restarts: CounterChild
  readonly #active: { set(value: number): void }
  readonly #removers: (() => void)[] = []
  readonly #snapshot = Promise.withResolvers<void>()
  readonly #levels = new Map<string | undefined, LogLevel>()
  #batch: ResourceUpdate[] = []
  #mentioned: Set<string> | undefined
  #snapshotDone = false
  #draining = false
  #stopped = false
  #nextId = 1

  constructor(options: SupervisorOptions) {
    const { registry, count } = options
    this.#options = options
    this.#logger = options.logger.child('workers')
    this.#restarts = registry
      .counter('workload_manager_worker_restarts_total', 'Worker threads started again.')
      .child()
    this.#active = registry
      .gauge('workload_manager_active_proxy_count', 'Pods whose listeners are open.')
      .child()
    this.#seats = Array.from({ length: count }, (_, index) => ({
      index,
      backoff: new Backoff({
        initialMs: workerLimits.restartInitialMs,
        maxMs: workerLimits.restartMaxMs,
      }),
      thread: undefined,
      ready: false,
      startedAt: 0,
      timer: undefined,
      waiting: new Map(),
    }))
  }

  async start(): Promise<void> {
    const renewed = (certificate: WorkloadCertificate): void =>
      this.#tell({ kind: 'renewed', certificate })
    const { certificates, revocations } = this.#options
    this.#removers.push(
      certificates.onChange(renewed),
      revocations.onChange(() => this.#tell({ kind: 'revocations', pem: revocations.pem })),
    )
    for (const seat of this.#seats) this.#launch(seat)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const remove of this.#removers.splice(0)) remove()
    for (const { timer } of this.#seats) timer?.cancel()
    await Promise.all(this.#seats.flatMap(({ thread }) => thread?.terminate() ?? []))
    for (const { netnsFd } of this.#pods.values()) closeFd(netnsFd)
    this.#pods.clear()
  }

  get ready(): Promise<void> {
    return this.#snapshot.promise
  }

  get pendingReason(): string | undefined {
    if (!this.#snapshotDone) return 'the node agent has not sent its pods'
    const missing = this.#seats.filter((seat) => !seat.ready).length
    return missing === 0 ? undefined : `${missing} worker threads have no listeners yet`
  }

  /** Notes a resource; `flush` hands over what was noted. */
  update(update: ResourceUpdate): void {
    const key = `${update.typeUrl}|${update.name}`
    if (update.bytes === undefined) this.#resources.delete(key)
    else this.#resources.set(key, update)
    this.#batch.push(update)
  }

  flush(): void {
    const updates = this.#batch
    this.#batch = []
    if (updates.length > 0) this.#tell({ kind: 'resources', updates })
  }

  setLevel(level: LogLevel, scope: string | undefined): void {
    if (scope === undefined) this.#levels.clear()
    this.#levels.set(scope, level)
    this.#tell({ kind: 'level', level, scope })
  }

  connected(): void {
    this.#mentioned = new Set()
  }

  async add(uid: string, info: ZdsWorkloadInfo, netnsFd: number): Promise<void> {
    this.#mentioned?.add(uid)
    if (this.#draining) {
      closeFd(netnsFd)
      throw new Error('this proxy is shutting down')
    }
    const inode = inodeOf(netnsFd)
    const known = this.#pods.get(uid)
    if (known?.inode === inode) return closeFd(netnsFd)
    // A worker that starts meanwhile gets it with all the others.
    this.#pods.set(uid, { info, netnsFd, inode })
    try {
      await this.#askAll({ kind: 'add', uid, info, netnsFd })
    } catch (error) {
      await this.#drop(uid)
      throw error
    } finally {
      if (known !== undefined) closeFd(known.netnsFd)
    }
    this.#active.set(this.#pods.size)
  }

  async keep(uid: string): Promise<void> {
    this.#mentioned?.add(uid)
  }

  async del(uid: string): Promise<void> {
    await this.#drop(uid)
  }

  async snapshotSent(): Promise<void> {
    const mentioned = this.#mentioned ?? new Set()
    this.#mentioned = undefined
    const gone = [...this.#pods.keys()].filter((uid) => !mentioned.has(uid))
    await Promise.all(gone.map((uid) => this.#drop(uid)))
    this.#snapshotDone = true
    this.#snapshot.resolve()
  }

  drain(): void {
    this.#draining = true
    this.#tell({ kind: 'drain' })
  }

  close(reason: string): void {
    this.#draining = true
    this.#tell({ kind: 'close', reason })
  }

  /** Open connections of all workers. */
  async openConnections(): Promise<number> {
    const answers = await this.#collect({ kind: 'connections' })
    return answers.reduce((sum, { open = 0 }) => sum + open, 0)
  }

  /** The pods and their connections, for /config_dump. */
  async dump(): Promise<PodDump[]> {
    const answers = await this.#collect({ kind: 'connections' })
    const all = answers.flatMap(({ connections = [] }) => connections)
    return Array.from(this.#pods, ([uid, { info }]) => {
      const own = all.filter((entry) => entry.uid === uid)
      const inbound = own.flatMap((entry) => entry.inbound)
      const outbound = own.flatMap((entry) => entry.outbound)
      return { uid, info, connections: { inbound, outbound } }
    })
  }

  /** The main thread's series and those of all workers as one. */
  async metrics(): Promise<MetricsRegistry> {
    const answers = await this.#collect({ kind: 'metrics' })
    const parts: (readonly FamilySnapshot[])[] = [snapshotMetrics(this.#options.registry)]
    for (const { metrics } of answers) if (metrics !== undefined) parts.push(metrics)
    return mergeMetrics(parts)
  }

  async #drop(uid: string): Promise<void> {
    const pod = this.#pods.get(uid)
    if (pod === undefined) return
    this.#pods.delete(uid)
    this.#active.set(this.#pods.size)
    try {
      await this.#askAll({ kind: 'del', uid })
    } finally {
      closeFd(pod.netnsFd)
    }
  }

  #launch(seat: Seat): void {
    const { settings, clock, heapMegabytes = workerLimits.heapMegabytes } = this.#options
    const { entry = new URL('./worker.ts', import.meta.url) } = this.#options
    const thread = new Worker(entry, {
      workerData: { ...settings, index: seat.index } satisfies WorkerSettings,
      resourceLimits: { maxOldGenerationSizeMb: heapMegabytes },
      name: `worker-${seat.index}`,
    })
    seat.thread = thread
    seat.startedAt = clock.monotonic()
    thread.on('message', (message: FromWorker) => this.#receive(seat, message))
    thread.on('error', (error) => {
      this.#logger.error('a worker failed', { worker: seat.index, error: toError(error).message })
    })
    thread.on('exit', () => this.#exited(seat, thread))
  }

  #exited(seat: Seat, thread: Worker): void {
    if (seat.thread !== thread) return
    seat.thread = undefined
    seat.ready = false
    for (const waiter of seat.waiting.values()) waiter.reject(workerGone(seat.index))
    seat.waiting.clear()
    if (this.#stopped) return
    const { clock } = this.#options
    if (clock.monotonic() - seat.startedAt > workerLimits.restartMaxMs) seat.backoff.reset()
    const delayMs = seat.backoff.next()
    this.#logger.error('a worker ended; its connections are lost, the others go on', {
      worker: seat.index,
      restartMs: Math.round(delayMs),
    })
    this.#restarts.inc()
    if (!this.#draining) seat.timer = clock.after(delayMs, () => this.#launch(seat))
  }

  #receive(seat: Seat, message: FromWorker): void {
    switch (message.kind) {
      case 'ready':
        return void this.#furnish(seat)
      case 'lines':
        return this.#options.write(message.text)
      case 'fetch':
        return void this.#fetch(seat, message)
      case 'forget':
        return this.#options.certificates.forget(message.identity)
      case 'demand': {
        const { thread } = seat
        const done: ToWorker = { kind: 'demanded', id: message.id }
        return void this.#options.demand(message.name).then(() => thread?.postMessage(done))
      }
      case 'answer': {
        const waiter = seat.waiting.get(message.id)
        seat.waiting.delete(message.id)
        if (message.error === undefined) waiter?.resolve(message)
        else waiter?.reject(new Error(message.error))
      }
    }
  }

  /** State first: a listener without policies would let everybody in. */
  async #furnish(seat: Seat): Promise<void> {
    const { thread } = seat
    const post = (message: ToWorker): void => thread?.postMessage(message)
    post({ kind: 'resources', updates: [...this.#resources.values()] })
    post({ kind: 'revocations', pem: this.#options.revocations.pem })
    for (const [scope, level] of this.#levels) post({ kind: 'level', level, scope })
    seat.ready = true
    const pods = [...this.#pods].map(([uid, { info, netnsFd }]) =>
      this.#ask(seat, { kind: 'add', uid, info, netnsFd }).catch((error: unknown) => {
        const reason = toError(error).message
        this.#logger.error('a worker could not serve a pod', { uid, pod: info.name, error: reason })
      }),
    )
    await Promise.all(pods)
  }

  async #fetch(seat: Seat, message: Extract<FromWorker, { kind: 'fetch' }>): Promise<void> {
    const { id, identity, priority } = message
    const { thread } = seat
    const post = (answer: ToWorker): void => thread?.postMessage(answer)
    try {
      const certificate = await this.#options.certificates.fetch(identity, priority)
      post({ kind: 'certificate', id, certificate })
    } catch (error) {
      post({ kind: 'certificate', id, error: toError(error).message })
    }
  }

  #tell(message: ToWorker): void {
    for (const { thread, ready } of this.#seats) if (ready) thread?.postMessage(message)
  }

  #ask(seat: Seat, request: WorkerRequest): Promise<Answer> {
    const { thread } = seat
    if (thread === undefined) return Promise.reject(workerGone(seat.index))
    const id = this.#nextId++
    const waiter = Promise.withResolvers<Answer>()
    seat.waiting.set(id, waiter)
    thread.postMessage({ kind: 'request', id, request } satisfies ToWorker)
    return waiter.promise
  }

  /** Rejects when one refuses; one that is being started again learns of it then. */
  async #askAll(request: WorkerRequest): Promise<void> {
    const seats = this.#seats.filter((seat) => seat.ready)
    await Promise.all(
      seats.map((seat) =>
        this.#ask(seat, request).catch((error: unknown) => {
          if (!(error instanceof MeshError && error.code === 'NODEPROXY_WORKER')) throw error
        }),
      ),
    )
  }

  async #collect(request: WorkerRequest): Promise<Answer[]> {
    const seats = this.#seats.filter((seat) => seat.ready)
    const answers = await Promise.allSettled(seats.map((seat) => this.#ask(seat, request)))
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  }
}

function workerGone(index: number): MeshError {
  return new MeshError('NODEPROXY_WORKER', `worker ${index} ended`, { retryable: true })
}
