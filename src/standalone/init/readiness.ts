/**
 * When the mesh is up: every Deployment and DaemonSet of the namespaces that matter is available,
 * their pods are ready, and those which belong to the mesh are redirected into it.
 */
import { type Clock, type Component, MeshError } from '../../base/index.ts'
import type { Informer } from '../../client/index.ts'
import type { KubeObject } from '../../kube/index.ts'
import { limits } from './limits.ts'

interface WorkloadStatus {
  readonly observedGeneration?: number
  readonly availableReplicas?: number
  readonly updatedReplicas?: number
  readonly desiredNumberScheduled?: number
  readonly numberAvailable?: number
}

interface ReadyPodSpec {
  readonly hostNetwork?: boolean
}

interface ReadyPodStatus {
  readonly phase?: string
  readonly conditions?: readonly { readonly type: string; readonly status: string }[]
  readonly containerStatuses?: readonly {
    readonly name: string
    readonly state?: {
      readonly waiting?: { readonly reason?: string; readonly message?: string }
      readonly terminated?: { readonly reason?: string; readonly message?: string }
    }
  }[]
}

export type WatchedWorkload = KubeObject<{ readonly replicas?: number }, WorkloadStatus>
export type WatchedPod = KubeObject<ReadyPodSpec, ReadyPodStatus>

export type WatchedGateway = KubeObject<
  unknown,
  { readonly conditions?: readonly { readonly type: string; readonly status: string }[] }
>

export interface ReadinessOptions {
  readonly deployments: Informer<WatchedWorkload>
  readonly daemonSets: Informer<WatchedWorkload>
  readonly pods: Informer<WatchedPod>
  readonly gateways: Informer<WatchedGateway>
  readonly namespaces: Informer
  readonly clock: Clock
}

const redirection = 'ambient.istio.io/redirection'
const mode = 'istio.io/dataplane-mode'

export class Readiness implements Component {
  readonly #options: ReadinessOptions
  readonly #listeners = new Set<() => void>()
  readonly #removers: (() => void)[] = []

  constructor(options: ReadinessOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const changed = (): void => {
      for (const listener of this.#listeners) listener()
    }
    const handlers = { added: changed, updated: changed, deleted: changed }
    const { deployments, daemonSets, pods, gateways, namespaces } = this.#options
    this.#removers.push(
      deployments.on(handlers),
      daemonSets.on(handlers),
      pods.on(handlers),
      gateways.on(handlers),
      namespaces.on(handlers),
    )
  }

  async stop(): Promise<void> {
    for (const remove of this.#removers) remove()
  }

  /**
   * Resolves when everything in the namespaces is up.
   * @param onProgress called with what is still missing, when that changes
   */
  wait(
    wanted: readonly string[],
    deadlineMs: number,
    onProgress: (missing: readonly string[]) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      let shown = ''
      // The first word after a moment: a start that goes well needs none.
      let shownAt = this.#options.clock.monotonic()
      const finish = (error?: Error): void => {
        timer.cancel()
        this.#listeners.delete(check)
        if (error === undefined) resolve()
        else reject(error)
      }
      const check = (): void => {
        const missing = this.missing(wanted)
        if (missing.length === 0) return finish()
        const text = missing.join(', ')
        const now = this.#options.clock.monotonic()
        if (text === shown || now - shownAt < limits.readyNotePeriodMs) return
        onProgress(missing)
        shown = text
        shownAt = now
      }
      const timer = this.#options.clock.after(deadlineMs, () => {
        const missing = this.missing(wanted)
        finish(
          new MeshError(
            'INIT_NOT_READY',
            `not ready after ${deadlineMs / 1000} s: ${missing.join('; ')}`,
            {
              hint: 'Look at "weft logs" and "weft kubectl get events -A"; the mesh was stopped.',
            },
          ),
        )
      })
      this.#listeners.add(check)
      check()
    })
  }

  /** What is not up yet, each with the reason where one is known. */
  missing(wanted: readonly string[]): string[] {
    const inside = (object: KubeObject): boolean => wanted.includes(object.metadata.namespace ?? '')
    const { deployments, daemonSets, pods, gateways } = this.#options
    const missing: string[] = []
    for (const one of deployments.list().filter(inside)) {
      const replicas = one.spec?.replicas ?? 1
      if (!observed(one) || (one.status?.availableReplicas ?? 0) < replicas)
        missing.push(`deployment ${one.metadata.name}${this.#reason(one)}`)
    }
    for (const one of daemonSets.list().filter(inside)) {
      const desired = one.status?.desiredNumberScheduled ?? 1
      if (!observed(one) || (one.status?.numberAvailable ?? 0) < desired)
        missing.push(`daemonset ${one.metadata.name}${this.#reason(one)}`)
    }
    for (const gateway of gateways.list().filter(inside)) {
      const programmed = gateway.status?.conditions?.find(({ type }) => type === 'Programmed')
      if (programmed?.status !== 'True') missing.push(`gateway ${gateway.metadata.name}`)
    }
    for (const pod of pods.list().filter(inside)) {
      const ended = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
      if (ended || pod.metadata.deletionTimestamp !== undefined || !this.#enrolled(pod)) continue
      if (pod.metadata.annotations?.[redirection] !== 'enabled')
        missing.push(`mesh around ${pod.metadata.name}`)
    }
    return missing
  }

  #enrolled(pod: WatchedPod): boolean {
    const own = pod.metadata.labels?.[mode]
    if (pod.spec?.hostNetwork === true || own === 'none') return false
    if (own === 'ambient') return true
    const namespace = this.#options.namespaces.get(pod.metadata.namespace ?? '')
    return namespace?.metadata.labels?.[mode] === 'ambient'
  }

  /** Why a workload's pods are not up: the container's own words. */
  #reason(workload: WatchedWorkload): string {
    for (const pod of this.#options.pods.list()) {
      if (pod.metadata.namespace !== workload.metadata.namespace) continue
      if (!pod.metadata.name.startsWith(`${workload.metadata.name}-`)) continue
      for (const { name, state } of pod.status?.containerStatuses ?? []) {
        const why = state?.waiting ?? state?.terminated
        if (why?.reason === undefined || why.reason === 'ContainerCreating') continue
        return ` (container ${name}: ${why.reason}${why.message === undefined ? '' : `, ${why.message}`})`
      }
    }
    return ''
  }
}

function observed(object: WatchedWorkload): boolean {
  return (object.status?.observedGeneration ?? 0) >= (object.metadata.generation ?? 1)
}
