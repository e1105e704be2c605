/**
 * The life of one pod on this node: sandbox, volumes, init containers, containers, end. Containers
 * look after themselves (`container.ts`); the worker gives the order and writes the status.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Backoff, type Clock, type Logger, sleep, type Timer, toError } from '../../base/index.ts'
import type { KubeClient } from '../../client/index.ts'
import { ApiError, resources } from '../../kube/index.ts'
import type { ImageCatalogue } from '../images/index.ts'
import type { ContainerBuilder } from './builder.ts'
import { ContainerRunner } from './container.ts'
import type { RunningContainer } from './launcher.ts'
import { limits } from './limits.ts'
import { makeMemoryFolder, removeMemoryFolder } from './memory-folder.ts'
import type { PodNetwork, PodSandbox } from './network.ts'
import { podUser } from './security.ts'
import { podStatus } from './status.ts'
import { StatusWriter } from './status-writer.ts'
import { PodTokens } from './tokens.ts'
import {
  type Container,
  type ContainerStatus,
  isSidecar,
  kubeTime,
  namespaceOf,
  type Pod,
  type PodStatus,
  specOf,
  uidOf,
} from './types.ts'
import { PodVolumes, type PreparedVolume, type VolumeSources } from './volumes.ts'

export interface EventSink {
  record(
    object: Pod,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
    fieldPath?: string,
  ): void
}

export interface WorkerContext {
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
  readonly network: PodNetwork
  readonly catalogue: ImageCatalogue
  readonly builder: ContainerBuilder
  readonly events: EventSink
  readonly sources: VolumeSources
  readonly stateDir: string
  readonly runDir: string
  readonly root: boolean
  readonly allowHostPaths: readonly string[]
  readonly probeSourceAddress: string | undefined
}

export class PodWorker {
  readonly #context: WorkerContext
  readonly #init: readonly ContainerRunner[]
  readonly #main: readonly ContainerRunner[]
  readonly #writer: StatusWriter
  readonly #startTime: string
  readonly #halt = new AbortController()
  readonly #refused = new Set<string>()
  readonly #volumes: PodVolumes
  #prepared: ReadonlyMap<string, PreparedVolume> = new Map()
  #pod: Pod
  #sandbox: PodSandbox | undefined
  readonly #sidecarRuns: Promise<void>[] = []
  #failed: PodStatus | undefined
  #running: Promise<void> | undefined
  #ending: Promise<void> | undefined
  #deadline: Timer | undefined
  #gone = false
  /** Ends the pause before the next attempt. */
  #early: AbortController | undefined
  #hasRunFolder = false

  constructor(pod: Pod, context: WorkerContext) {
    this.#pod = pod
    this.#context = context
    const { clock, client, logger } = context
    this.#startTime = pod.status?.startTime ?? kubeTime(clock.now())
    const spec = specOf(pod)
    const status = pod.status ?? {}
    this.#init = (spec.initContainers ?? []).map((container) =>
      this.#runner(
        container,
        isSidecar(container) ? 'sidecar' : 'init',
        status.initContainerStatuses,
      ),
    )
    this.#main = spec.containers.map((container) =>
      this.#runner(container, 'main', status.containerStatuses),
    )
    this.#writer = new StatusWriter({
      client,
      clock,
      logger,
      pod: () => this.#pod,
      status: () => this.status(),
    })
    this.#volumes = this.#newVolumes()
    // What has ended keeps the status with which it ended.
    if (status.phase === 'Succeeded' || status.phase === 'Failed') this.#writer.stop()
  }

  get pod(): Pod {
    return this.#pod
  }

  get sandbox(): PodSandbox | undefined {
    return this.#sandbox
  }

  get hostNetwork(): boolean {
    return specOf(this.#pod).hostNetwork === true
  }

  /** The container of that name, or the first when the name is empty. */
  container(name: string): ContainerRunner | undefined {
    if (name === '') return this.#main[0]
    return [...this.#main, ...this.#init].find((runner) => runner.name === name)
  }

  /** The processes that run now, by container. */
  *processes(): Generator<{ readonly container: string; readonly pid: number }> {
    for (const { name, live } of [...this.#main, ...this.#init]) {
      const pid = live?.process.pid
      if (pid !== undefined) yield { container: name, pid }
    }
  }

  status(): PodStatus {
    const { clock, network } = this.#context
    const statuses = (runners: readonly ContainerRunner[]): ContainerStatus[] =>
      runners.map((runner) => runner.status())
    const { reason = '', message = '' } = this.#failed ?? {}
    return podStatus({
      pod: this.#pod,
      nowMs: clock.now(),
      hostIp: network.hostIp,
      podIp: this.#podIp,
      startTime: this.#startTime,
      init: statuses(this.#init),
      main: statuses(this.#main),
      failed: this.#failed === undefined ? undefined : { reason, message },
      terminating: this.#pod.metadata.deletionTimestamp !== undefined,
    })
  }

  start(): void {
    this.#armDeadline()
    this.#running ??= this.#run().catch((error: unknown) => {
      if (this.#halt.signal.aborted) return
      this.#context.logger.error('a pod worker failed', {
        pod: this.#pod.metadata.name,
        error: toError(error).stack ?? '',
      })
    })
  }

  /** A newer object from the registry. */
  update(pod: Pod): void {
    const labels = JSON.stringify([this.#pod.metadata.labels, this.#pod.metadata.annotations])
    this.#pod = pod
    const changed = JSON.stringify([pod.metadata.labels, pod.metadata.annotations]) !== labels
    if (changed) void this.refreshVolumes()
    // Readiness gates are conditions which others write.
    if ((specOf(pod).readinessGates ?? []).length > 0) this.#writer.changed()
  }

  async refreshVolumes(): Promise<void> {
    if (this.#prepared.size > 0 && !this.#gone) await this.#volumes.refresh(this.#pod)
  }

  /** Something that volumes come from was made: what failed for want of it need not wait. */
  sourceAppeared(): void {
    this.#early?.abort()
  }

  /** Deleted through the API: ends the containers, cleans up, removes the object. */
  terminate(graceSeconds: number): Promise<void> {
    if (this.#ending === undefined) this.#ending = this.#end(graceSeconds, true)
    else void this.#stopContainers(graceSeconds * 1000)
    return this.#ending
  }

  /** The object is gone from the registry (force deletion). */
  removed(): Promise<void> {
    this.#gone = true
    this.#writer.stop()
    const graceSeconds = Math.min(
      limits.orphanGraceSeconds,
      specOf(this.#pod).terminationGracePeriodSeconds ?? 30,
    )
    if (this.#ending === undefined) this.#ending = this.#end(graceSeconds, true)
    else void this.#stopContainers(graceSeconds * 1000)
    return this.#ending
  }

  /** The runtime stops; the object stays as it is, so that the next run takes it up again. */
  async shutDown(graceMs: number): Promise<void> {
    this.#writer.stop()
    this.#gone = true
    this.#ending ??= this.#end(graceMs / 1000, false)
    await this.#ending
  }

  async #run(): Promise<void> {
    if (this.#main.every((runner) => runner.exitCode !== undefined)) return this.#finish()
    this.#writer.changed()
    await this.#makeSandbox()
    await this.#makeVolumes()
    if (!(await this.#runInit())) return this.#finish()
    for (const runner of this.#main) runner.setWaiting('ContainerCreating')
    await Promise.all(this.#main.map((runner) => runner.run()))
    if (!this.#halt.signal.aborted) await this.#finish()
  }

  /** True when the containers may start. */
  async #runInit(): Promise<boolean> {
    const waiting = this.#init.length > 0 ? 'PodInitializing' : 'ContainerCreating'
    for (const runner of [...this.#init, ...this.#main]) runner.setWaiting(waiting)
    for (const runner of this.#init) {
      this.#halt.signal.throwIfAborted()
      const run = runner.run()
      this.#sidecarRuns.push(run)
      if (runner.role === 'sidecar') {
        await Promise.race([runner.startedOnce, run, aborted(this.#halt.signal)])
        continue
      }
      await run
      if (runner.exitCode !== 0) return false
    }
    this.#halt.signal.throwIfAborted()
    return true
  }

  async #makeSandbox(): Promise<void> {
    const { network } = this.#context
    if (this.hostNetwork) return
    await this.#persist('FailedCreatePodSandBox', 'Failed to create pod sandbox: ', async () => {
      const { name } = this.#pod.metadata
      const request = { uid: uidOf(this.#pod), namespace: namespaceOf(this.#pod), name }
      this.#sandbox = await network.setup(request)
    })
    this.#writer.changed()
  }

  async #makeVolumes(): Promise<void> {
    await this.#persist('FailedMount', 'MountVolume.SetUp failed for ', async () => {
      if (!this.#hasRunFolder) makeMemoryFolder(this.#runFolder, limits.podRunBytes)
      this.#hasRunFolder = true
      this.#prepared = await this.#volumes.prepare()
    })
  }

  /** Tries until it works or the pod is to end; each failure is an event. */
  async #persist(reason: string, prefix: string, action: () => Promise<void>): Promise<void> {
    const { clock } = this.#context
    const backoff = new Backoff({ initialMs: 500, maxMs: 120_000, jitter: 0 })
    const { signal } = this.#halt
    for (;;) {
      signal.throwIfAborted()
      try {
        return await action()
      } catch (error) {
        signal.throwIfAborted()
        const { message, hint } = toError(error) as Error & { hint?: string }
        this.#event(
          'Warning',
          reason,
          `${prefix}${message}${hint === undefined ? '' : `. ${hint}`}`,
        )
        const early = new AbortController()
        this.#early = early
        await sleep(clock, backoff.next(), AbortSignal.any([signal, early.signal])).catch(() => {})
      }
    }
  }

  /** All containers have ended by themselves: sidecars follow, the network is given back. */
  async #finish(): Promise<void> {
    const graceMs = this.#graceSeconds() * 1000
    for (const runner of this.#init.toReversed()) await runner.stop(graceMs)
    await this.#writer.flush()
    if (this.#halt.signal.aborted) return
    this.#deadline?.cancel()
    await this.#tearDownNetwork()
  }

  async #end(graceSeconds: number, cleanUp: boolean): Promise<void> {
    const { stateDir } = this.#context
    this.#halt.abort(new Error('the pod is being ended'))
    this.#deadline?.cancel()
    await this.#stopContainers(graceSeconds * 1000)
    await this.#running
    await Promise.all(this.#sidecarRuns)
    if (!this.#gone) await this.#writer.flush()
    this.#writer.stop()
    await this.#tearDownNetwork()
    const uid = uidOf(this.#pod)
    await removeMemoryFolder(this.#runFolder)
    if (!cleanUp) return
    await rm(join(stateDir, 'pods', uid), { recursive: true, force: true })
    if (!this.#gone) await this.#deleteObject()
  }

  /** Containers first, then sidecars from last to first, all within one grace period. */
  async #stopContainers(graceMs: number): Promise<void> {
    const { clock } = this.#context
    const until = clock.monotonic() + graceMs
    const others = this.#init.filter((runner) => runner.role === 'init')
    await Promise.all([...this.#main, ...others].map((runner) => runner.stop(graceMs)))
    for (const runner of this.#init.toReversed()) {
      await runner.stop(Math.max(0, until - clock.monotonic()))
    }
  }

  async #tearDownNetwork(): Promise<void> {
    if (this.#sandbox === undefined) return
    const { network, logger } = this.#context
    this.#sandbox = undefined
    await network.teardown(uidOf(this.#pod)).catch((error: unknown) => {
      logger.warn('a pod network could not be taken down', {
        pod: this.#pod.metadata.name,
        error: toError(error).message,
      })
    })
  }

  async #deleteObject(): Promise<void> {
    const { client, clock, logger } = this.#context
    const { name } = this.#pod.metadata
    const backoff = new Backoff({ initialMs: 200, maxMs: 5_000 })
    for (let attempt = 0; attempt < 10 && !this.#gone; attempt++) {
      try {
        return await client.delete(resources.pods, namespaceOf(this.#pod), name, {
          gracePeriodSeconds: 0,
          preconditions: { uid: uidOf(this.#pod) },
        })
      } catch (error) {
        if (error instanceof ApiError && [404, 409].includes(error.status.code)) return
        logger.warn('an ended pod could not be deleted', {
          pod: name,
          error: toError(error).message,
        })
        await sleep(clock, backoff.next())
      }
    }
  }

  #armDeadline(): void {
    const { clock } = this.#context
    const { activeDeadlineSeconds } = specOf(this.#pod)
    if (activeDeadlineSeconds === undefined) return
    const leftMs = Date.parse(this.#startTime) + activeDeadlineSeconds * 1000 - clock.now()
    this.#deadline = clock.after(
      Math.max(0, leftMs),
      () => {
        const message = 'Pod was active on the node longer than the specified deadline'
        this.#failed = { reason: 'DeadlineExceeded', message }
        this.#event('Normal', 'DeadlineExceeded', message)
        this.#writer.changed()
        void this.#stopContainers(this.#graceSeconds() * 1000)
      },
      { background: true },
    )
  }

  #runner(
    spec: Container,
    role: 'init' | 'sidecar' | 'main',
    statuses: readonly ContainerStatus[] = [],
  ): ContainerRunner {
    const { clock, logger, catalogue, probeSourceAddress } = this.#context
    return new ContainerRunner({
      spec,
      role,
      restartPolicy: role === 'sidecar' ? 'Always' : (specOf(this.#pod).restartPolicy ?? 'Always'),
      clock,
      logger,
      previous: statuses.find((status) => status.name === spec.name),
      waitingReason: 'ContainerCreating',
      resolveImage: (image) => catalogue.resolve(image),
      imageHint: (image) => catalogue.unknownImageHint(image),
      launch: (program, attempt) =>
        this.#context.builder.start({
          pod: this.#pod,
          container: spec,
          role,
          program,
          attempt,
          addresses: { podIp: this.#podIp ?? '', hostIp: this.#context.network.hostIp },
          netnsFd: this.#sandbox?.netnsFd,
          volumes: this.#prepared,
          stateFolder: join(this.#context.stateDir, 'pods', uidOf(this.#pod)),
          refuse: (sentence) => this.#refuse(sentence),
        }),
      actionTarget: (process: RunningContainer) => ({
        container: spec,
        podIp: this.#podIp ?? '127.0.0.1',
        localAddress: this.hostNetwork ? undefined : probeSourceAddress,
        process,
      }),
      graceSeconds: () => this.#graceSeconds(),
      event: (type, reason, message) => {
        const list = role === 'main' ? 'containers' : 'initContainers'
        this.#context.events.record(this.#pod, type, reason, message, `spec.${list}{${spec.name}}`)
      },
      changed: () => this.#writer.changed(),
    })
  }

  #newVolumes(): PodVolumes {
    const { client, clock, logger, stateDir, root, sources, allowHostPaths, network } =
      this.#context
    return new PodVolumes({
      pod: this.#pod,
      sources,
      tokens: new PodTokens(client, clock),
      addresses: () => ({ podIp: this.#podIp ?? '', hostIp: network.hostIp }),
      runFolder: this.#runFolder,
      stateFolder: join(stateDir, 'pods', uidOf(this.#pod)),
      // Containers of a pod rarely differ in their user; the main one's is the volumes'.
      owner: root ? podUser(this.#pod, specOf(this.#pod).containers[0]) : undefined,
      allowHostPaths,
      logger,
    })
  }

  get #runFolder(): string {
    return join(this.#context.runDir, 'pods', uidOf(this.#pod))
  }

  get #podIp(): string | undefined {
    if (this.hostNetwork) return this.#context.network.hostIp
    return this.#sandbox?.ip ?? this.#lastIp
  }

  /** An ended pod keeps the address that it had. */
  get #lastIp(): string | undefined {
    const ended = this.#main.every((runner) => runner.exitCode !== undefined)
    return ended ? this.#pod.status?.podIP : undefined
  }

  #graceSeconds(): number {
    return specOf(this.#pod).terminationGracePeriodSeconds ?? 30
  }

  #refuse(sentence: string): void {
    if (this.#refused.has(sentence)) return
    this.#refused.add(sentence)
    this.#event('Warning', 'NotEnforced', sentence)
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#context.events.record(this.#pod, type, reason, message)
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
