/**
 * The kubelet of standalone mode: gives every pod the one node, runs a worker for each, keeps volumes
 * true and the Node object alive. Pods of an earlier run of the process tree are taken up again.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Clock,
  type Component,
  type Logger,
  startAll,
  stopAll,
  type Timer,
  toError,
} from '../../base/index.ts'
import { createInformer, type Informer, type KubeClient, WorkQueue } from '../../client/index.ts'
import { EventRecorder } from '../../controllers/index.ts'
import { type GroupVersionResource, type KubeObject, resources } from '../../kube/index.ts'
import type { PodBackend } from '../../registry/index.ts'
import type { ImageCatalogue } from '../images/index.ts'
import { RuntimeBackend } from './backend.ts'
import { ContainerBuilder } from './builder.ts'
import type { BuiltinRunners } from './builtin.ts'
import type { EnvSources } from './env.ts'
import type { ContainerLauncher } from './launcher.ts'
import { limits } from './limits.ts'
import type { PodNetwork } from './network.ts'
import { NodeReporter } from './node.ts'
import { nodeLabels, Scheduler } from './scheduler.ts'
import {
  type DataObject,
  namespaceOf,
  type Pod,
  podKey,
  type Service,
  specOf,
  uidOf,
} from './types.ts'
import { type MeasuredContainer, UsageSampler } from './usage.ts'
import { type EventSink, PodWorker, type WorkerContext } from './worker.ts'

export interface PodRuntimeOptions {
  readonly client: KubeClient
  readonly network: PodNetwork
  readonly catalogue: ImageCatalogue
  /** `launcher` makes processes; tests bring their own. */
  readonly launcher: ContainerLauncher & { prepare?(): Promise<void> }
  readonly builtins?: BuiltinRunners
  /** Of the mesh; pods are in `pods/<uid>`. */
  readonly stateDir: string
  /** Private tmpfs of the tree, `/run/weft`. */
  readonly runDir: string
  readonly nodeName: string
  readonly clock: Clock
  readonly logger: Logger
  /** Root mode: workloads get a uid of their own. */
  readonly root: boolean
  readonly allowHostPaths?: readonly string[]
  /** Probes come from here; absent: the kernel chooses. */
  readonly probeSourceAddress?: string
  /** Cluster DNS. */
  readonly dnsServer?: string
  readonly clusterDomain?: string
  readonly meshNamespace?: string
  readonly version?: string
  /** Default: written to the registry. */
  readonly events?: EventSink
}

export class PodRuntime implements Component {
  readonly #options: PodRuntimeOptions
  readonly #logger: Logger
  readonly #pods: Informer<Pod>
  readonly #configMaps: Informer<DataObject>
  readonly #secrets: Informer<DataObject>
  readonly #services: Informer<Service>
  readonly #workers = new Map<string, PodWorker>()
  readonly #endings = new Set<Promise<void>>()
  /** Namespaces in which a ConfigMap or Secret has changed. */
  readonly #stale = new Set<string>()
  readonly #node: NodeReporter
  readonly #scheduling: WorkQueue
  readonly #context: WorkerContext
  #ticker: Timer | undefined
  readonly backend: PodBackend

  constructor(options: PodRuntimeOptions) {
    this.#options = options
    const { client, clock, network, catalogue, nodeName } = options
    this.#logger = options.logger.child('runtime')
    const logger = this.#logger
    const informer = <T extends KubeObject>(gvr: GroupVersionResource): Informer<T> =>
      createInformer<T>({ client, gvr, clock, logger })
    this.#pods = informer(resources.pods)
    this.#configMaps = informer(resources.configmaps)
    this.#secrets = informer(resources.secrets)
    this.#services = informer(resources.services)
    const events =
      options.events ?? new EventRecorder({ client, clock, logger, component: 'kubelet' })
    const root = options.root
    this.#context = {
      client,
      clock,
      logger,
      network,
      catalogue,
      builder: this.#newBuilder(),
      events,
      sources: this.#sources(),
      stateDir: options.stateDir,
      runDir: options.runDir,
      root,
      allowHostPaths: options.allowHostPaths ?? [],
      probeSourceAddress: options.probeSourceAddress,
    }
    const version = options.version ?? '0'
    this.#node = new NodeReporter({
      client,
      clock,
      logger,
      nodeName,
      hostIp: network.hostIp,
      version,
    })
    const scheduler = new Scheduler({
      client,
      nodeName,
      nodeLabels: nodeLabels(nodeName),
      events,
      logger,
      now: () => clock.now(),
      load: () => this.#workers.size,
      podsMax: limits.podsMax,
    })
    this.#scheduling = new WorkQueue({
      name: 'scheduler',
      clock,
      logger,
      concurrency: limits.containersStarting,
      work: async (key) => {
        const pod = this.#pods.get(key)
        if (pod !== undefined) await scheduler.schedule(pod)
      },
    })
    this.backend = new RuntimeBackend({
      worker: (uid) => this.#workers.get(uid),
      logFolder: (uid, container) => join(options.stateDir, 'pods', uid, container),
      clock,
      sampler: new UsageSampler({ clock, nodeName, containers: () => this.#processes() }),
    })
  }

  async start(signal?: AbortSignal): Promise<void> {
    const { launcher, stateDir, runDir, clock } = this.#options
    mkdirSync(join(stateDir, 'pods'), { recursive: true, mode: 0o700 })
    mkdirSync(join(runDir, 'pods'), { recursive: true, mode: 0o700 })
    await launcher.prepare?.()
    await startAll(
      [this.#node, this.#configMaps, this.#secrets, this.#services, this.#scheduling],
      signal,
    )
    await this.#pods.start(signal)
    await this.#removeLeftovers()
    this.#pods.on({
      added: (pod) => this.#see(pod),
      updated: (pod) => this.#see(pod),
      deleted: (pod) => this.#lost(pod),
    })
    let syncedAt = clock.now()
    const syncIfDue = (): void => {
      if (Math.abs(clock.now() - syncedAt) < limits.volumeSyncMs) return
      syncedAt = clock.now()
      this.#refreshVolumes()
    }
    this.#ticker = clock.every(limits.volumeSyncCheckMs, syncIfDue, { background: true })
    const refresh = {
      added: ({ metadata }: KubeObject) => {
        for (const worker of this.#workers.values()) {
          if (namespaceOf(worker.pod) === metadata.namespace) worker.sourceAppeared()
        }
      },
      updated: ({ metadata }: KubeObject) => this.#refreshSoon(metadata.namespace ?? ''),
    }
    this.#configMaps.on(refresh)
    this.#secrets.on(refresh)
  }

  /** Ends all containers; the pods stay in the registry and start again with the next run. */
  async stop(deadlineMs = 5_000): Promise<void> {
    this.#ticker?.cancel()
    await stopAll([
      this.#pods,
      this.#scheduling,
      this.#configMaps,
      this.#secrets,
      this.#services,
      this.#node,
    ])
    const graceMs = Math.max(0, deadlineMs - 1_000)
    await Promise.all([...this.#workers.values()].map((worker) => worker.shutDown(graceMs)))
    await Promise.all(this.#endings)
    this.#workers.clear()
  }

  /** The worker of a pod, for those who look inside (node agent, tests). */
  worker(uid: string): PodWorker | undefined {
    return this.#workers.get(uid)
  }

  *#processes(): Generator<MeasuredContainer> {
    for (const [podUid, worker] of this.#workers) {
      for (const each of worker.processes()) yield { podUid, ...each }
    }
  }

  #see(pod: Pod): void {
    const { nodeName } = specOf(pod)
    if (nodeName === undefined || nodeName === '') return this.#scheduling.add(podKey(pod))
    if (nodeName !== this.#options.nodeName) return
    const uid = uidOf(pod)
    let worker = this.#workers.get(uid)
    const { phase } = pod.status ?? {}
    const ended = phase === 'Succeeded' || phase === 'Failed'
    if (worker === undefined) {
      worker = new PodWorker(pod, this.#context)
      this.#workers.set(uid, worker)
      if (pod.metadata.deletionTimestamp === undefined && !ended) worker.start()
    } else worker.update(pod)
    if (pod.metadata.deletionTimestamp !== undefined)
      this.#track(uid, worker.terminate(graceOf(pod)))
  }

  #lost(pod: Pod): void {
    const uid = uidOf(pod)
    const worker = this.#workers.get(uid)
    if (worker !== undefined) this.#track(uid, worker.removed())
  }

  #track(uid: string, ending: Promise<void>): void {
    const tracked = ending
      .catch((error: unknown) =>
        this.#logger.error('ending a pod failed', { uid, error: toError(error).message }),
      )
      .then(() => {
        this.#endings.delete(tracked)
        this.#workers.delete(uid)
      })
    this.#endings.add(tracked)
  }

  /** Folders of pods that were deleted while nothing ran. */
  async #removeLeftovers(): Promise<void> {
    const present = new Set(this.#pods.list().map(uidOf))
    const { stateDir, runDir } = this.#options
    for (const base of [join(stateDir, 'pods'), join(runDir, 'pods')]) {
      for (const uid of await readdir(base)) {
        if (!present.has(uid)) await rm(join(base, uid), { recursive: true, force: true })
      }
    }
  }

  /** A burst of changes becomes one round, for the pods of the namespaces concerned. */
  #refreshSoon(namespace: string): void {
    this.#stale.add(namespace)
    if (this.#stale.size > 1) return
    this.#options.clock.after(
      limits.volumeChangeDelayMs,
      () => {
        this.#refreshVolumes(new Set(this.#stale))
        this.#stale.clear()
      },
      { background: true },
    )
  }

  /** @param namespaces absent: all, because tokens get old everywhere */
  #refreshVolumes(namespaces?: ReadonlySet<string>): void {
    for (const worker of this.#workers.values()) {
      if (namespaces === undefined || namespaces.has(namespaceOf(worker.pod))) {
        void worker.refreshVolumes()
      }
    }
  }

  #newBuilder(): ContainerBuilder {
    const { launcher, builtins = {}, clock, nodeName, root } = this.#options
    const { dnsServer = '10.96.0.10', clusterDomain = 'cluster.local' } = this.#options
    const { meshNamespace = 'istio-system' } = this.#options
    return new ContainerBuilder({
      launcher,
      builtins,
      sources: this.#sources(),
      rules: { root, meshNamespace },
      dns: { server: dnsServer, domain: clusterDomain, nodeResolvConf: nodeResolvConf() },
      nodeName,
      clock,
      logger: this.#logger,
    })
  }

  /** From the caches; on a miss from the server, because a pod may be faster than a watch. */
  #sources(): EnvSources {
    const { client } = this.#options
    return {
      configMap: async (namespace, name) =>
        this.#configMaps.get(`${namespace}/${name}`) ??
        client.get<DataObject>(resources.configmaps, namespace, name),
      secret: async (namespace, name) =>
        this.#secrets.get(`${namespace}/${name}`) ??
        client.get<DataObject>(resources.secrets, namespace, name),
      services: (namespace) =>
        this.#services
          .list()
          .filter(
            ({ metadata }) =>
              metadata.namespace === namespace ||
              (metadata.namespace === 'default' && metadata.name === 'kubernetes'),
          ),
    }
  }
}

function graceOf(pod: Pod): number {
  const { deletionGracePeriodSeconds } = pod.metadata
  return deletionGracePeriodSeconds ?? specOf(pod).terminationGracePeriodSeconds ?? 30
}

function nodeResolvConf(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8')
  } catch {
    return ''
  }
}
