/**
 * Puts a document of the authority into every namespace as a ConfigMap, where proxies mount it, and puts
 * it back when somebody changes or deletes it: the root certificate, and the operator's revocation lists.
 */
import type { Clock, Component, Logger } from '../base/index.ts'
import { createInformer, type Informer, type KubeClient, WorkQueue } from '../client/index.ts'
import { isApiError, type KubeObject, resources } from '../kube/index.ts'
import type { CertificateAuthority } from './authority.ts'

export interface DistributionOptions {
  readonly client: KubeClient
  /** Of all namespaces; started by its owner. */
  readonly namespaces: Informer<KubeObject>
  readonly clock: Clock
  readonly logger: Logger
  /** Which namespaces get it (discovery selectors); default all but those of Kubernetes itself. */
  readonly scope?: NamespaceScope
}

export interface NamespaceScope {
  includes(namespace: KubeObject): boolean
  /** Calls back when the answers may have changed; returns the remover. */
  onChange(listener: () => void): () => void
}

interface Document {
  readonly what: string
  readonly configMapName: string
  readonly dataKey: string
  /** Undefined: there is nothing to distribute, and what is there stays. */
  readonly content: () => string | undefined
  readonly onChange: (listener: () => void) => () => void
}

interface ConfigMap extends KubeObject {
  data?: Record<string, string>
}

const labels = { 'istio.io/config': 'true' }

/** No mesh workloads run there. */
const kubernetesNamespaces = new Set([
  'kube-system',
  'kube-public',
  'kube-node-lease',
  'local-path-storage',
])

/** ConfigMap `istio-ca-root-cert`, key `root-cert.pem`. */
export function distributeRoots(
  options: DistributionOptions & {
    readonly authority: Pick<CertificateAuthority, 'rootsPem' | 'onChange'>
    /** PILOT_CA_CERT_CONFIGMAP */
    readonly configMapName?: string
  },
): Component {
  const { authority, configMapName = 'istio-ca-root-cert' } = options
  return new Distribution(options, {
    what: 'root certificate',
    configMapName,
    dataKey: 'root-cert.pem',
    content: () => authority.rootsPem,
    onChange: (listener) => authority.onChange(listener),
  })
}

/** ConfigMap `istio-ca-crl`, key `ca-crl.pem`. */
export function distributeRevocations(
  options: DistributionOptions & {
    readonly authority: Pick<CertificateAuthority, 'crlPem' | 'onChange'>
  },
): Component {
  const { authority } = options
  return new Distribution(options, {
    what: 'revocation list',
    configMapName: 'istio-ca-crl',
    dataKey: 'ca-crl.pem',
    content: () => authority.crlPem,
    onChange: (listener) => authority.onChange(listener),
  })
}

class Distribution implements Component {
  readonly #options: DistributionOptions
  readonly #document: Document
  readonly #queue: WorkQueue
  /** A fresh one with each start. */
  #configMaps: Informer<ConfigMap> | undefined
  readonly #removers: (() => void)[] = []

  constructor(options: DistributionOptions, document: Document) {
    const { clock, logger } = options
    this.#options = options
    this.#document = document
    this.#queue = new WorkQueue({
      name: document.what,
      work: (namespace) => this.#reconcile(namespace),
      clock,
      logger,
      concurrency: 4,
    })
  }

  /** Returns when the watches run; the ConfigMaps follow within moments. */
  async start(signal?: AbortSignal): Promise<void> {
    const { client, namespaces, scope, clock, logger } = this.#options
    const { configMapName, onChange } = this.#document
    const configMaps = createInformer<ConfigMap>({
      client,
      gvr: resources.configmaps,
      fieldSelector: `metadata.name=${configMapName}`,
      clock,
      logger,
    })
    this.#configMaps = configMaps
    await configMaps.start(signal)
    await this.#queue.start()
    const enqueue = (object: KubeObject): void => this.#queue.add(object.metadata.name)
    const enqueueAll = (): void => namespaces.list().forEach(enqueue)
    const enqueueOwner = (object: KubeObject): void => {
      if (object.metadata.name === configMapName) this.#queue.add(object.metadata.namespace ?? '')
    }
    this.#removers.push(
      namespaces.on({ added: enqueue, updated: enqueue }),
      configMaps.on({ added: enqueueOwner, updated: enqueueOwner, deleted: enqueueOwner }),
      onChange(enqueueAll),
      ...(scope === undefined ? [] : [scope.onChange(enqueueAll)]),
    )
  }

  async stop(): Promise<void> {
    for (const remove of this.#removers.splice(0)) remove()
    await this.#queue.stop()
    await this.#configMaps?.stop()
  }

  async #reconcile(namespace: string): Promise<void> {
    const { namespaces, scope } = this.#options
    const owner = namespaces.get(namespace)
    if (owner === undefined || owner.metadata.deletionTimestamp !== undefined) return
    if (kubernetesNamespaces.has(namespace) || scope?.includes(owner) === false) return
    const content = this.#document.content()
    if (content === undefined) return
    try {
      await this.#write(namespace, content)
    } catch (error) {
      // Gone in the meantime, or already made by another replica: the watch says what is left to do.
      const settled = isApiError(error, 'NotFound') || isApiError(error, 'AlreadyExists')
      const terminating = isApiError(error, 'Forbidden') && namespaces.get(namespace) === undefined
      if (!settled && !terminating) throw error
    }
  }

  async #write(namespace: string, content: string): Promise<void> {
    const { client } = this.#options
    const { configMapName: name, dataKey } = this.#document
    const present = this.#configMaps?.get(`${namespace}/${name}`)
    const labelled = Object.entries(labels).every(
      ([key, value]) => present?.metadata.labels?.[key] === value,
    )
    if (present?.data?.[dataKey] === content && labelled) return
    const data = { [dataKey]: content }
    if (present === undefined) {
      await client.create<ConfigMap>(resources.configmaps, {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name, namespace, labels },
        data,
      })
    } else {
      const patch = { metadata: { labels }, data }
      await client.patch(resources.configmaps, namespace, name, 'merge', patch)
    }
  }
}
