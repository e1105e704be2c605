/**
 * Which children (pods, ReplicaSets) belong to which owner. Children are found by the uid of their controller;
 * those that match the selector and have no controller are adopted, those that match no more are
 * released. Only what changed is looked at: a child wakes its owner, an orphan the owners which select it.
 */
import type { Informer } from '../client/index.ts'
import { objectKey } from '../client/index.ts'
import {
  controllerOf,
  controllerReference,
  type GroupVersionResource,
  isApiError,
  type KubeObject,
  type LabelSelector,
  labelSelectorMatches,
  matchesLabels,
  selectorOf,
} from '../kube/index.ts'
import type { ControllerContext } from './context.ts'

export interface OwnedOptions<Owner extends KubeObject, Child extends KubeObject> {
  readonly context: ControllerContext
  /** The owner's kind. */
  readonly kind: string
  readonly ownerResource: GroupVersionResource
  readonly childResource: GroupVersionResource
  readonly selectorOf: (owner: Owner) => LabelSelector | undefined
  /** Called with the owner's key whenever it must be looked at. */
  readonly wake: (key: string) => void
  /** Called for each change of a child that has an owner of this kind, before `wake`. */
  readonly onChild?: (key: string, child: Child, change: 'added' | 'updated' | 'deleted') => void
}

const byController = 'controller'
const orphansOf = 'orphans'
const inNamespace = 'namespace'

export class Owned<Owner extends KubeObject, Child extends KubeObject> {
  readonly #options: OwnedOptions<Owner, Child>
  readonly owners: Informer<Owner>
  readonly children: Informer<Child>

  constructor(options: OwnedOptions<Owner, Child>) {
    this.#options = options
    const { informers } = options.context
    this.owners = informers.of<Owner>(options.ownerResource)
    this.children = informers.of<Child>(options.childResource)
    this.owners.addIndex(inNamespace, (owner) => [owner.metadata.namespace ?? ''])
    // Controllers that share an informer make the same indexes.
    this.children.addIndex(byController, (child) => {
      const owner = controllerOf(child)
      return owner === undefined ? [] : [owner.uid]
    })
    this.children.addIndex(orphansOf, (child) =>
      controllerOf(child) === undefined ? [child.metadata.namespace ?? ''] : [],
    )
  }

  /** Starts to follow both kinds. */
  listen(): void {
    const { wake } = this.#options
    const owner = (object: Owner): void => wake(objectKey(object))
    this.owners.on({ added: owner, updated: owner, deleted: owner })
    this.children.on({
      added: (child) => this.#changed(child, 'added'),
      updated: (child, previous) => {
        this.#changed(child, 'updated')
        if (controllerOf(previous)?.uid !== controllerOf(child)?.uid) {
          this.#changed(previous, 'deleted')
        }
      },
      deleted: (child) => this.#changed(child, 'deleted'),
    })
  }

  /** What the owner controls, as the cache has it. */
  of(owner: Owner): Child[] {
    const { uid } = owner.metadata
    return uid === undefined ? [] : this.children.byIndex(byController, uid)
  }

  /** The owner's children, after adoption and release. */
  async claim(owner: Owner): Promise<Child[]> {
    const selector = selectorOf(this.#options.selectorOf(owner))
    if (selector === undefined || selector.length === 0) return this.of(owner)
    const kept: Child[] = []
    for (const child of this.of(owner)) {
      if (matchesLabels(selector, child.metadata.labels)) kept.push(child)
      else if (child.metadata.deletionTimestamp === undefined) await this.#release(owner, child)
    }
    if (owner.metadata.deletionTimestamp !== undefined) return kept
    for (const child of this.children.byIndex(orphansOf, owner.metadata.namespace ?? '')) {
      if (child.metadata.deletionTimestamp !== undefined) continue
      if (!matchesLabels(selector, child.metadata.labels)) continue
      const adopted = await this.#adopt(owner, child)
      if (adopted !== undefined) kept.push(adopted)
    }
    return kept
  }

  async #adopt(owner: Owner, child: Child): Promise<Child | undefined> {
    const { context, ownerResource, childResource } = this.#options
    const { namespace, name, uid } = child.metadata
    // The cache may lag: an owner that is gone must not take anything with it.
    const present = await context.client.get(ownerResource, namespace, owner.metadata.name)
    if (present?.metadata.uid !== owner.metadata.uid) return undefined
    if (present?.metadata.deletionTimestamp !== undefined) return undefined
    const body = { metadata: { uid, ownerReferences: [controllerReference(owner)] } }
    return context.client
      .patch<Child>(childResource, namespace, name, 'strategic', body)
      .catch(ignoreGone)
  }

  async #release(owner: Owner, child: Child): Promise<void> {
    const { context, childResource } = this.#options
    const { namespace, name, uid } = child.metadata
    const reference = { $patch: 'delete', uid: owner.metadata.uid }
    const body = { metadata: { uid, ownerReferences: [reference] } }
    await context.client
      .patch<Child>(childResource, namespace, name, 'strategic', body)
      .catch(ignoreGone)
  }

  #changed(child: Child, change: 'added' | 'updated' | 'deleted'): void {
    const { kind, wake, onChild } = this.#options
    const owner = controllerOf(child)
    const { namespace = '' } = child.metadata
    if (owner !== undefined) {
      if (owner.kind !== kind) return
      const key = `${namespace}/${owner.name}`
      onChild?.(key, child, change)
      wake(key)
      return
    }
    if (change === 'deleted') return
    for (const candidate of this.owners.byIndex(inNamespace, namespace)) {
      if (labelSelectorMatches(this.#options.selectorOf(candidate), child.metadata.labels)) {
        wake(objectKey(candidate))
      }
    }
  }
}

/** Whoever is gone, or became another, needs no change. */
function ignoreGone(error: unknown): undefined {
  if (isApiError(error) && [404, 409, 422].includes(error.status.code)) return undefined
  throw error
}
