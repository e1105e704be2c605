/** There is one node: a pod goes there unless it asks for what the node is not. */
import { type Logger, toError } from '../../base/index.ts'
import type { KubeClient } from '../../client/index.ts'
import { ApiError, resources } from '../../kube/index.ts'
import { kubeTime, namespaceOf, type Pod, specOf } from './types.ts'
import type { EventSink } from './worker.ts'

export interface SchedulerOptions {
  readonly client: KubeClient
  readonly nodeName: string
  readonly nodeLabels: Readonly<Record<string, string>>
  readonly events: EventSink
  readonly logger: Logger
  readonly now: () => number
  /** Pods on the node now. */
  readonly load: () => number
  readonly podsMax: number
}

export class Scheduler {
  readonly #options: SchedulerOptions

  constructor(options: SchedulerOptions) {
    this.#options = options
  }

  /** Binds a pod that has no node; what speaks against it becomes a condition and an event. */
  async schedule(pod: Pod): Promise<void> {
    const { nodeName, events, logger } = this.#options
    const spec = specOf(pod)
    if (spec.nodeName !== undefined && spec.nodeName !== '') return
    if (pod.metadata.deletionTimestamp !== undefined) return
    const { schedulerName = 'default-scheduler', schedulingGates = [] } = spec
    if (schedulerName !== 'default-scheduler' || schedulingGates.length > 0) return
    const obstacle = this.#obstacle(pod)
    try {
      if (obstacle !== undefined) return await this.#refuse(pod, obstacle)
      await this.#bind(pod)
      events.record(
        pod,
        'Normal',
        'Scheduled',
        `Successfully assigned ${namespaceOf(pod)}/${pod.metadata.name} to ${nodeName}`,
      )
    } catch (error) {
      if (error instanceof ApiError && [404, 409].includes(error.status.code)) return
      logger.warn('a pod could not be scheduled', {
        pod: pod.metadata.name,
        error: toError(error).message,
      })
      throw error
    }
  }

  #obstacle(pod: Pod): string | undefined {
    const { nodeLabels, load, podsMax } = this.#options
    for (const [key, value] of Object.entries(specOf(pod).nodeSelector ?? {})) {
      if (nodeLabels[key] !== value) return "node(s) didn't match Pod's node affinity/selector"
    }
    return load() >= podsMax ? 'Too many pods' : undefined
  }

  async #refuse(pod: Pod, obstacle: string): Promise<void> {
    const { client, events, now } = this.#options
    const message = `0/1 nodes are available: 1 ${obstacle}.`
    events.record(pod, 'Warning', 'FailedScheduling', message)
    const known = pod.status?.conditions ?? []
    if (known.some(({ type, message: said }) => type === 'PodScheduled' && said === message)) return
    const condition = {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message,
      lastProbeTime: null,
      lastTransitionTime: kubeTime(now()),
    }
    const others = known.filter(({ type }) => type !== 'PodScheduled')
    await client.patch(
      resources.pods,
      namespaceOf(pod),
      pod.metadata.name,
      'merge',
      {
        status: { conditions: [...others, condition] },
      },
      { subresource: 'status' },
    )
  }

  async #bind(pod: Pod): Promise<void> {
    const { client, nodeName } = this.#options
    const { name } = pod.metadata
    const namespace = namespaceOf(pod)
    const binding = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name, namespace, uid: pod.metadata.uid },
      target: { apiVersion: 'v1', kind: 'Node', name: nodeName },
    }
    await client.createSubresource(resources.pods, namespace, name, 'binding', binding)
  }
}

/** The labels that every node has. */
export function nodeLabels(nodeName: string): Record<string, string> {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch
  return {
    'kubernetes.io/hostname': nodeName,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': arch,
    'node-role.kubernetes.io/control-plane': '',
  }
}
