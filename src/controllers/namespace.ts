/**
 * Namespaces: a new one gets its `default` ServiceAccount and the ConfigMap `kube-root-ca.crt`; a
 * deleted one is emptied, resource by resource, and then released by its finalizer.
 */
import type { Component } from '../base/index.ts'
import { type Informer, WorkQueue } from '../client/index.ts'
import { ApiError, type KubeObject, resources } from '../kube/index.ts'
import type { ControllerContext } from './context.ts'
import { servedResources } from './discovery.ts'

/** How soon an object that still has finalizers is looked at again. */
const retryMs = 300

export class NamespaceController implements Component {
  readonly #context: ControllerContext
  readonly #caPem: string
  readonly #namespaces: Informer<KubeObject>
  readonly #accounts: Informer<KubeObject>
  readonly #configMaps: Informer<KubeObject & { data?: Record<string, string> }>
  readonly #queue: WorkQueue

  /** @param caPem the root that clients of the API server trust */
  constructor(context: ControllerContext, caPem: string) {
    this.#context = context
    this.#caPem = caPem
    this.#namespaces = context.informers.of(resources.namespaces)
    this.#accounts = context.informers.of(resources.serviceaccounts)
    this.#configMaps = context.informers.of(resources.configmaps)
    this.#queue = new WorkQueue({
      name: 'namespace controller',
      work: (name) => this.#sync(name),
      clock: context.clock,
      logger: context.logger,
      concurrency: 4,
    })
  }

  async start(): Promise<void> {
    const enqueue = (namespace: KubeObject): void => this.#queue.add(namespace.metadata.name)
    const restore = (object: KubeObject): void => {
      const { name, namespace } = object.metadata
      if ((name === 'default' || name === 'kube-root-ca.crt') && namespace)
        this.#queue.add(namespace)
    }
    this.#namespaces.on({ added: enqueue, updated: enqueue })
    this.#accounts.on({ deleted: restore })
    this.#configMaps.on({ deleted: restore })
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  async #sync(name: string): Promise<void> {
    const namespace = this.#namespaces.get(name)
    if (namespace === undefined) return
    if (namespace.metadata.deletionTimestamp !== undefined) await this.#empty(namespace)
    else await this.#provide(name)
  }

  async #provide(namespace: string): Promise<void> {
    const { client } = this.#context
    if (this.#accounts.get(`${namespace}/default`) === undefined) {
      await ignoringExisting(
        client.create(resources.serviceaccounts, {
          apiVersion: 'v1',
          kind: 'ServiceAccount',
          metadata: { name: 'default', namespace },
        }),
      )
    }
    const data = { 'ca.crt': this.#caPem }
    const present = this.#configMaps.get(`${namespace}/kube-root-ca.crt`)
    if (present === undefined) {
      await ignoringExisting(
        client.create(resources.configmaps, {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { name: 'kube-root-ca.crt', namespace },
          data,
        } as KubeObject),
      )
    } else if (present.data?.['ca.crt'] !== this.#caPem) {
      await client.patch(resources.configmaps, namespace, 'kube-root-ca.crt', 'merge', { data })
    }
  }

  async #empty(namespace: KubeObject): Promise<void> {
    const { client } = this.#context
    const { name } = namespace.metadata
    const served = await servedResources(client)
    let remaining = 0
    for (const { gvr, namespaced, verbs } of served) {
      if (!namespaced || !verbs.includes('delete') || !verbs.includes('list')) continue
      const list = await client.list(gvr, { namespace: name, metadataOnly: true })
      remaining += list.items.length
      for (const object of list.items) {
        if (object.metadata.deletionTimestamp !== undefined) continue
        await client
          .delete(gvr, name, object.metadata.name, { propagationPolicy: 'Background' })
          .catch(ignoreMissing)
      }
    }
    if (remaining > 0) return this.#queue.addAfter(name, retryMs)
    const path = `/api/v1/namespaces/${name}/finalize`
    const answer = await client.raw('PUT', path, { ...namespace, spec: { finalizers: [] } })
    if (answer.code >= 300 && answer.code !== 404 && answer.code !== 409) {
      throw new Error(`finalizing answered ${answer.code}: ${answer.body.toString().slice(0, 200)}`)
    }
  }
}

async function ignoringExisting(creation: Promise<unknown>): Promise<void> {
  try {
    await creation
  } catch (error) {
    if (!(error instanceof ApiError) || error.status.code !== 409) throw error
  }
}

export function ignoreMissing(error: unknown): void {
  if (!(error instanceof ApiError) || error.status.code !== 404) throw error
}
