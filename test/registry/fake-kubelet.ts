/**
 * The part of a node without processes: it takes every pod, and what becomes of it follows from its first
 * container's image: `run` gets ready, `succeed` and `exit-<code>` end, `wait` stays as it is.
 */
import { silentLogger, systemClock } from '../../src/base/index.ts'
import { createInformer, type Informer, type KubeClient } from '../../src/client/index.ts'
import { isApiError, type KubeObject, resources } from '../../src/kube/index.ts'

export type TestPod = KubeObject<
  {
    nodeName?: string
    hostname?: string
    subdomain?: string
    hostNetwork?: boolean
    volumes?: { name: string; persistentVolumeClaim?: { claimName: string } }[]
    containers: { name: string; image: string; env?: { name: string }[] }[]
  },
  { phase?: string; podIP?: string; conditions?: { type: string; status: string }[] }
>

export const nodeName = 'test-node'

export class FakeKubelet {
  readonly #client: KubeClient
  readonly #pods: Informer<TestPod>
  /** Pods in the order in which they appeared, with what happened to them. */
  readonly history: string[] = []
  /** Pods that are being deleted stay until this is false. */
  holdDeletions = false
  #addresses = 0

  constructor(client: KubeClient) {
    this.#client = client
    const logger = silentLogger
    this.#pods = createInformer({ client, clock: systemClock, logger, gvr: resources.pods })
  }

  async start(): Promise<void> {
    await this.#client.create(resources.nodes, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: nodeName, labels: { 'kubernetes.io/os': 'linux' } },
    })
    await this.#pods.start()
    const look = (pod: TestPod): void =>
      void this.#look(pod).catch((error: unknown) => {
        if (!isApiError(error)) throw error
      })
    this.#pods.on({
      added: (pod) => {
        this.history.push(`+${pod.metadata.name}`)
        look(pod)
      },
      updated: look,
      deleted: (pod) => this.history.push(`-${pod.metadata.name}`),
    })
  }

  stop(): Promise<void> {
    return this.#pods.stop()
  }

  list(app: string): TestPod[] {
    return this.#pods
      .list()
      .filter(({ metadata }) => metadata.labels?.['app'] === app)
      .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
  }

  names(app: string): string[] {
    return this.list(app).map(({ metadata }) => metadata.name)
  }

  images(app: string): (string | undefined)[] {
    return this.list(app).map(({ spec }) => spec?.containers[0]?.image)
  }

  /** Lets go of the pods that are being deleted. */
  async release(): Promise<void> {
    this.holdDeletions = false
    for (const pod of this.#pods.list()) await this.#look(pod).catch(() => {})
  }

  async setReady(pod: TestPod, ready: boolean): Promise<void> {
    await this.#status(pod, this.#running(pod, ready))
  }

  async #look(pod: TestPod): Promise<void> {
    const { metadata, spec, status } = pod
    const { namespace, name } = metadata
    if (metadata.deletionTimestamp !== undefined) {
      if (this.holdDeletions) return
      if (status?.phase === 'Running') await this.#status(pod, ended('Failed', 143))
      // A finalizer may hold it a little longer; then another change brings it here again.
      return this.#client.delete(resources.pods, namespace, name, { gracePeriodSeconds: 0 })
    }
    if (spec?.nodeName === undefined) {
      await this.#client.createSubresource(resources.pods, namespace, name, 'binding', {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name },
        target: { kind: 'Node', name: nodeName },
      })
      return
    }
    if (status?.phase !== 'Pending' || status.podIP !== undefined) return
    const image = spec.containers[0]?.image ?? ''
    if (image.startsWith('run')) await this.#status(pod, this.#running(pod, true))
    if (image.startsWith('slow')) await this.#status(pod, this.#running(pod, false))
    if (image.startsWith('succeed')) await this.#status(pod, ended('Succeeded', 0))
    const code = /^exit-(\d+)/.exec(image)?.[1]
    if (code !== undefined) await this.#status(pod, ended('Failed', Number(code)))
  }

  #running(pod: TestPod, ready: boolean): object {
    const podIP = pod.status?.podIP ?? `10.9.0.${++this.#addresses}`
    const lastTransitionTime = new Date().toISOString()
    return {
      phase: 'Running',
      podIP,
      podIPs: [{ ip: podIP }],
      startTime: lastTransitionTime,
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime }],
    }
  }

  async #status(pod: TestPod, status: object): Promise<void> {
    const { namespace, name } = pod.metadata
    await this.#client.patch(
      resources.pods,
      namespace,
      name,
      'merge',
      { status },
      { subresource: 'status' },
    )
  }
}

function ended(phase: string, exitCode: number): object {
  const finishedAt = new Date().toISOString()
  const state = { terminated: { exitCode, finishedAt } }
  return {
    phase,
    podIP: '10.9.9.9',
    containerStatuses: [
      { name: 'c', image: 'x', imageID: '', ready: false, restartCount: 0, state },
    ],
  }
}
