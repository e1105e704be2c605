/**
 * Puts the root certificate into every namespace as ConfigMap `istio-ca-root-cert`, where proxies
 * mount it, and puts it back when somebody changes or deletes it.
 */
import type { Clock, Component, Logger } from '../base/index.ts'
import { createInformer, type Informer, type KubeClient, WorkQueue } from '../client/index.ts'
import { isApiError, type KubeObject, resources } from '../kube/index.ts'
import type { CertificateAuthority } from './authority.ts'

export interface RootCertControllerOptions {
  readonly client: KubeClient
  /** Of all namespaces; started by its owner. */
  readonly namespaces: Informer<KubeObject>
  readonly authority: Pick<CertificateAuthority, 'rootsPem' | 'onChange'>
  readonly clock: Clock
  readonly logger: Logger
  /** PILOT_CA_CERT_CONFIGMAP */
  readonly configMapName?: string
}

interface ConfigMap extends KubeObject {
  data?: Record<string, string>
}

const dataKey = 'root-cert.pem'
const labels = { 'istio.io/config': 'true' }

export class RootCertController implements Component {
  readonly #options: RootCertControllerOptions
  readonly #name: string
  readonly #queue: WorkQueue
  readonly #configMaps: Informer<ConfigMap>
  readonly #removers: (() => void)[] = []

  constructor(options: RootCertControllerOptions) {
    const { client, clock, logger, configMapName = 'istio-ca-root-cert' } = options
    this.#options = options
    this.#name = configMapName
    this.#queue = new WorkQueue({
      name: 'root certificate',
      work: (namespace) => this.#reconcile(namespace),
      clock,
      logger,
      concurrency: 4,
    })
    this.#configMaps = createInformer<ConfigMap>({
      client,
      gvr: resources.configmaps,
      fieldSelector: `metadata.name=${configMapName}`,
      clock,
      logger,
    })
  }

  /** Returns when the watches run; the ConfigMaps follow within moments. */
  async start(signal?: AbortSignal): Promise<void> {
    const { namespaces, authority } = this.#options
    await this.#configMaps.start(signal)
    await this.#queue.start()
    const enqueue = (object: KubeObject): void => this.#queue.add(object.metadata.name)
    const enqueueOwner = (object: KubeObject): void => {
      if (object.metadata.name === this.#name) this.#queue.add(object.metadata.namespace ?? '')
    }
    this.#removers.push(
      namespaces.on({ added: enqueue, updated: enqueue }),
      this.#configMaps.on({ added: enqueueOwner, updated: enqueueOwner, deleted: enqueueOwner }),
      authority.onChange(() => {
        for (const namespace of namespaces.list()) enqueue(namespace)
      }),
    )
  }

  async stop(): Promise<void> {
    for (const remove of this.#removers.splice(0)) remove()
    await this.#queue.stop()
    await this.#configMaps.stop()
  }

  async #reconcile(namespace: string): Promise<void> {
    const { namespaces, client, authority } = this.#options
    const owner = namespaces.get(namespace)
    if (owner === undefined || owner.metadata.deletionTimestamp !== undefined) return
    const root = authority.rootsPem
    const present = this.#configMaps.get(`${namespace}/${this.#name}`)
    const labelled = Object.entries(labels).every(
      ([key, value]) => present?.metadata.labels?.[key] === value,
    )
    if (present?.data?.[dataKey] === root && labelled) return
    try {
      if (present === undefined) {
        await client.create<ConfigMap>(resources.configmaps, {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { name: this.#name, namespace, labels },
          data: { [dataKey]: root },
        })
      } else {
        const patch = { metadata: { labels }, data: { [dataKey]: root } }
        await client.patch(resources.configmaps, namespace, this.#name, 'merge', patch)
      }
    } catch (error) {
      // Gone in the meantime, or already made by another replica: the watch says what is left to do.
      const settled = isApiError(error, 'NotFound') || isApiError(error, 'AlreadyExists')
      const terminating = isApiError(error, 'Forbidden') && namespaces.get(namespace) === undefined
      if (!settled && !terminating) throw error
    }
  }
}
