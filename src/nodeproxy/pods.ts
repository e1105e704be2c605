/**
 * The pods of this node, as the agent announces them over ZDS. A pod whose proxy fails to start is
 * refused to the agent, which offers it again, and counts as pending for readiness.
 */
import { type Logger, toError } from '../base/index.ts'
import type { WorkloadCertificate } from '../identity/index.ts'
import { closeFd, inodeOf } from '../linux/index.ts'
import type { GaugeChild, MetricsRegistry } from '../metrics/index.ts'
import type { ZdsHandler, ZdsWorkloadInfo } from '../zds/index.ts'
import type { ProxyParts } from './pod.ts'
import { PodProxy } from './pod-proxy.ts'

interface Entry {
  readonly proxy: PodProxy
  /** Of the namespace: another one means that the sandbox was made anew. */
  readonly inode: bigint
}

interface Gauges {
  readonly active: GaugeChild
  readonly pending: GaugeChild
  readonly started: { inc(): void }
  readonly stopped: { inc(): void }
}

export class Pods implements ZdsHandler {
  readonly #parts: ProxyParts
  readonly #logger: Logger
  readonly #gauges: Gauges
  readonly #entries = new Map<string, Entry>()
  readonly #pending = new Set<string>()
  /** What each identity's last certificate told to trust. */
  readonly #roots = new Map<string, string>()
  /** Pods mentioned since the agent connected; undefined after its snapshot. */
  #mentioned: Set<string> | undefined
  readonly #snapshot = Promise.withResolvers<void>()
  #snapshotDone = false
  #draining = false

  constructor(parts: ProxyParts, registry: MetricsRegistry) {
    this.#parts = parts
    parts.certificates.onChange((certificate) => this.#rootsChanged(certificate))
    this.#logger = parts.logger.child('pods')
    const gauge = (name: string, help: string): GaugeChild =>
      registry.gauge(`workload_manager_${name}`, help).child()
    const counter = (name: string, help: string): { inc(): void } =>
      registry.counter(`workload_manager_${name}_total`, help).child()
    this.#gauges = {
      active: gauge('active_proxy_count', 'Pods whose listeners are open.'),
      pending: gauge('pending_proxy_count', 'Pods whose listeners could not be opened yet.'),
      started: counter('proxies_started', 'Pod proxies started.'),
      stopped: counter('proxies_stopped', 'Pod proxies stopped.'),
    }
  }

  /** What readiness waits for; undefined when nothing. */
  get pendingReason(): string | undefined {
    if (!this.#snapshotDone) return 'the node agent has not sent its pods'
    if (this.#pending.size > 0) return `${this.#pending.size} pods have no listeners yet`
    return undefined
  }

  /** Resolves with the agent's first snapshot. */
  get ready(): Promise<void> {
    return this.#snapshot.promise
  }

  proxies(): Iterable<PodProxy> {
    return [...this.#entries.values()].map((entry) => entry.proxy)
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
    const known = this.#entries.get(uid)
    if (known !== undefined) {
      if (known.inode === inode) return closeFd(netnsFd)
      this.#logger.info('the namespace of a pod was replaced', { uid, pod: info.name })
      this.#remove(uid, 'the sandbox of the pod was replaced')
    }
    const proxy = new PodProxy({ uid, info, netnsFd, parts: this.#parts })
    try {
      await proxy.start()
    } catch (error) {
      this.#setPending(uid, true)
      const reason = toError(error).message
      this.#logger.error('a pod proxy could not be started', { uid, pod: info.name, error: reason })
      throw error
    }
    this.#entries.set(uid, { proxy, inode })
    this.#setPending(uid, false)
    this.#gauges.active.set(this.#entries.size)
    this.#gauges.started.inc()
    this.#logger.info('pod enrolled', { uid, namespace: info.namespace, pod: info.name })
    this.#prefetch(proxy)
  }

  async keep(uid: string): Promise<void> {
    this.#mentioned?.add(uid)
  }

  async del(uid: string): Promise<void> {
    this.#setPending(uid, false)
    if (this.#remove(uid, 'the pod was removed')) this.#logger.info('pod removed', { uid })
  }

  async snapshotSent(): Promise<void> {
    const mentioned = this.#mentioned ?? new Set()
    this.#mentioned = undefined
    for (const uid of this.#entries.keys()) {
      if (mentioned.has(uid)) continue
      this.#logger.info('pod is gone since the last connection of the agent', { uid })
      this.#remove(uid, 'the pod was removed')
    }
    for (const uid of this.#pending) if (!mentioned.has(uid)) this.#setPending(uid, false)
    this.#snapshotDone = true
    this.#snapshot.resolve()
  }

  /** Releases all listeners; connections go on. */
  drain(): void {
    this.#draining = true
    for (const { proxy } of this.#entries.values()) proxy.stopListening()
  }

  close(reason: string): void {
    this.#draining = true
    for (const uid of this.#entries.keys()) this.#remove(uid, reason)
  }

  #rootsChanged({ identity, rootsPem }: WorkloadCertificate): void {
    const before = this.#roots.get(identity)
    this.#roots.set(identity, rootsPem)
    if (before === undefined || before === rootsPem) return
    this.#logger.info('the roots of the mesh have changed; connections are made anew', { identity })
    for (const { proxy } of this.#entries.values()) {
      if (proxy.pod.identity === identity) proxy.renewConnections(identity)
    }
  }

  #remove(uid: string, reason: string): boolean {
    const entry = this.#entries.get(uid)
    if (entry === undefined) return false
    this.#entries.delete(uid)
    const { identity } = entry.proxy.pod
    entry.proxy.close(reason)
    this.#gauges.active.set(this.#entries.size)
    this.#gauges.stopped.inc()
    if (identity !== undefined && !this.#isUsed(identity)) {
      this.#parts.certificates.forget(identity)
      this.#roots.delete(identity)
    }
    return true
  }

  #isUsed(identity: string): boolean {
    for (const { proxy } of this.#entries.values()) {
      if (proxy.pod.identity === identity) return true
    }
    return false
  }

  #setPending(uid: string, pending: boolean): void {
    if (pending) this.#pending.add(uid)
    else this.#pending.delete(uid)
    this.#gauges.pending.set(this.#pending.size)
  }

  /** So that the first connection does not wait for the certificate authority. */
  #prefetch({ pod }: PodProxy): void {
    pod
      .ownWorkload()
      .then((workload) => this.#parts.certificates.fetch(workload.spiffe, 'warmup'))
      .catch((error: unknown) => {
        this.#logger.debug('no certificate ahead of need', { error: toError(error).message })
      })
  }
}
