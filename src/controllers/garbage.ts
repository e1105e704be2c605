/**
 * Garbage collection by ownerReferences. A graph of all objects' metadata is kept by informers, one a resource,
 * also for CRDs. An object goes when all its owners are gone; `foregroundDeletion` waits for
 * the dependents that block, `orphan` cuts them loose.
 */
import type { Component } from '../base/index.ts'
import { toError } from '../base/index.ts'
import { createInformer, type Informer, WorkQueue } from '../client/index.ts'
import { type GroupVersionResource, type KubeObject, resources } from '../kube/index.ts'
import type { ControllerContext } from './context.ts'
import { servedResources } from './discovery.ts'
import { ignoreMissing } from './namespace.ts'

interface Node {
  readonly gvr: GroupVersionResource
  object: KubeObject
}

/** Kinds that are never owned and change all the time. */
const ignored = new Set(['events', 'leases', 'componentstatuses'])

export class GarbageCollector implements Component {
  readonly #context: ControllerContext
  readonly #nodes = new Map<string, Node>()
  readonly #dependents = new Map<string, Set<string>>()
  readonly #informers = new Map<string, Informer>()
  readonly #kinds = new Map<string, GroupVersionResource>()
  readonly #queue: WorkQueue
  readonly #crds: Informer
  #stopped = false

  constructor(context: ControllerContext) {
    this.#context = context
    this.#crds = context.informers.of(resources.customresourcedefinitions)
    this.#queue = new WorkQueue({
      name: 'garbage collector',
      work: (uid) => this.#sync(uid),
      clock: context.clock,
      logger: context.logger,
      concurrency: 4,
    })
  }

  async start(): Promise<void> {
    await this.#discover()
    const again = (): void => {
      this.#context.clock.after(
        200,
        () => {
          if (!this.#stopped)
            this.#discover().catch((error) => this.#warn('discovery failed', error))
        },
        { background: true },
      )
    }
    this.#crds.on({ added: again, deleted: again })
    await this.#queue.start()
    for (const uid of this.#nodes.keys()) this.#queue.add(uid)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#queue.stop()
    await Promise.all([...this.#informers.values()].map((informer) => informer.stop()))
  }

  async #discover(): Promise<void> {
    const served = await servedResources(this.#context.client)
    const wanted = new Set<string>()
    const starting: Promise<void>[] = []
    for (const { gvr, kind, verbs } of served) {
      if (ignored.has(gvr.resource) || !verbs.includes('watch') || !verbs.includes('delete'))
        continue
      const key = `${gvr.group}/${gvr.resource}`
      wanted.add(key)
      this.#kinds.set(`${gvr.group}/${kind}`, gvr)
      if (this.#informers.has(key)) continue
      const informer = createInformer({ ...this.#context, gvr, metadataOnly: true })
      this.#informers.set(key, informer)
      informer.on({
        added: (object) => this.#observe(gvr, object),
        updated: (object) => this.#observe(gvr, object),
        deleted: (object) => this.#forget(object),
      })
      starting.push(informer.start())
    }
    for (const [key, informer] of this.#informers) {
      if (wanted.has(key)) continue
      this.#informers.delete(key)
      void informer.stop()
    }
    await Promise.all(starting)
  }

  #observe(gvr: GroupVersionResource, object: KubeObject): void {
    const { uid } = object.metadata
    if (uid === undefined) return
    this.#unlink(uid)
    this.#nodes.set(uid, { gvr, object })
    for (const owner of object.metadata.ownerReferences ?? []) {
      let set = this.#dependents.get(owner.uid)
      if (set === undefined) this.#dependents.set(owner.uid, (set = new Set()))
      set.add(uid)
    }
    const { ownerReferences, deletionTimestamp } = object.metadata
    if (ownerReferences !== undefined || deletionTimestamp !== undefined) this.#queue.add(uid)
  }

  #forget(object: KubeObject): void {
    const { uid } = object.metadata
    if (uid === undefined) return
    this.#unlink(uid)
    this.#nodes.delete(uid)
    for (const dependent of this.#dependents.get(uid) ?? []) this.#queue.add(dependent)
    for (const owner of object.metadata.ownerReferences ?? []) {
      if (this.#nodes.get(owner.uid)?.object.metadata.deletionTimestamp) this.#queue.add(owner.uid)
    }
  }

  #unlink(uid: string): void {
    for (const owner of this.#nodes.get(uid)?.object.metadata.ownerReferences ?? []) {
      const set = this.#dependents.get(owner.uid)
      set?.delete(uid)
      if (set?.size === 0) this.#dependents.delete(owner.uid)
    }
  }

  async #sync(uid: string): Promise<void> {
    const node = this.#nodes.get(uid)
    if (node === undefined) return
    const { metadata } = node.object
    if (metadata.deletionTimestamp !== undefined) {
      if (metadata.finalizers?.includes('orphan')) return this.#orphan(uid, node)
      if (metadata.finalizers?.includes('foregroundDeletion')) return this.#foreground(uid, node)
      return
    }
    const owners = metadata.ownerReferences ?? []
    if (owners.length === 0) return
    for (const owner of owners) {
      const present = this.#nodes.get(owner.uid)
      const goingFirst = present?.object.metadata.finalizers?.includes('foregroundDeletion')
      if (present !== undefined && !(goingFirst && present.object.metadata.deletionTimestamp))
        return
      // The cache may lag: only a look at the server proves that the owner is gone.
      if (present === undefined && (await this.#exists(owner, metadata.namespace))) {
        return this.#queue.addAfter(uid, 500)
      }
    }
    const blocking = owners.some((owner) => this.#nodes.has(owner.uid))
    await this.#context.client
      .delete(node.gvr, metadata.namespace, metadata.name, {
        propagationPolicy: blocking ? 'Foreground' : 'Background',
        preconditions: { uid },
      })
      .catch(ignoreMissing)
  }

  async #exists(
    owner: { apiVersion: string; kind: string; name: string; uid: string },
    namespace: string | undefined,
  ): Promise<boolean> {
    const group = owner.apiVersion.includes('/') ? (owner.apiVersion.split('/')[0] ?? '') : ''
    const gvr = this.#kinds.get(`${group}/${owner.kind}`)
    // An unknown kind proves nothing: keep the dependent.
    if (gvr === undefined) return true
    const { client } = this.#context
    const found =
      (await client.get(gvr, namespace, owner.name).catch(() => undefined)) ??
      (await client.get(gvr, undefined, owner.name).catch(() => undefined))
    return found?.metadata.uid === owner.uid
  }

  async #foreground(uid: string, node: Node): Promise<void> {
    const dependents = [...(this.#dependents.get(uid) ?? [])]
    const blocking = dependents.filter((dependent) =>
      this.#nodes
        .get(dependent)
        ?.object.metadata.ownerReferences?.some(
          (o) => o.uid === uid && o.blockOwnerDeletion === true,
        ),
    )
    if (blocking.length === 0) return this.#dropFinalizer(node, 'foregroundDeletion')
    for (const dependent of dependents) this.#queue.add(dependent)
  }

  async #orphan(uid: string, node: Node): Promise<void> {
    for (const dependent of this.#dependents.get(uid) ?? []) {
      const { gvr, object } = this.#nodes.get(dependent) ?? {}
      if (gvr === undefined || object === undefined) continue
      const left = object.metadata.ownerReferences?.filter((owner) => owner.uid !== uid) ?? []
      const { namespace, name, resourceVersion } = object.metadata
      const body = { metadata: { resourceVersion, ownerReferences: left.length > 0 ? left : null } }
      await this.#context.client.patch(gvr, namespace, name, 'merge', body).catch(ignoreMissing)
    }
    await this.#dropFinalizer(node, 'orphan')
  }

  async #dropFinalizer(node: Node, finalizer: string): Promise<void> {
    const { namespace, name, resourceVersion, finalizers = [] } = node.object.metadata
    const body = {
      metadata: { resourceVersion, finalizers: finalizers.filter((f) => f !== finalizer) },
    }
    await this.#context.client.patch(node.gvr, namespace, name, 'merge', body).catch(ignoreMissing)
  }

  #warn(message: string, error: unknown): void {
    this.#context.logger.warn(message, { error: toError(error).message })
  }
}
