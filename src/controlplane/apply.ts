/**
 * Puts a wanted object into the cluster by server-side apply: the fields we write are ours and come back when
 * somebody changes them; all others (defaults, allocated IPs, what users add) are left alone. What was written
 * and how the object looked then is remembered, so that an unchanged wish for an unchanged object costs nothing.
 * Objects which are not marked as managed by us belong to somebody else and stay as they are.
 */
import type { KubeClient } from '../client/index.ts'
import { type GroupVersionResource, isApiError, type KubeObject } from '../kube/index.ts'
import { contentVersion } from '../translate/index.ts'

export type ApplyOutcome = 'created' | 'changed' | 'unchanged' | 'foreign'

export interface ApplierOptions {
  readonly client: KubeClient
  readonly fieldManager: string
  /** The label that marks our objects. */
  readonly managedLabel: string
}

interface Remembered {
  readonly wanted: string
  readonly present: string
}

export class Applier {
  readonly #options: ApplierOptions
  readonly #remembered = new Map<string, Remembered>()

  constructor(options: ApplierOptions) {
    this.#options = options
  }

  /** @param cached the object as the cache has it; undefined to ask the server */
  async apply(
    gvr: GroupVersionResource,
    wanted: KubeObject,
    cached: KubeObject | undefined,
  ): Promise<ApplyOutcome> {
    const { client, fieldManager, managedLabel } = this.#options
    const { namespace, name } = wanted.metadata
    const key = `${gvr.resource}/${namespace ?? ''}/${name}`
    const known = this.#remembered.get(key)
    const digest = digestOf(wanted)
    if (cached !== undefined && known?.wanted === digest && known.present === shapeOf(cached)) {
      return 'unchanged'
    }
    const present = cached ?? (await client.get(gvr, namespace, name))
    if (present !== undefined && present.metadata.labels?.[managedLabel] === undefined) {
      this.#remembered.delete(key)
      return 'foreign'
    }
    const applied = await client.patch(gvr, namespace, name, 'apply', wanted, {
      fieldManager,
      force: true,
    })
    this.#remembered.set(key, { wanted: digest, present: shapeOf(applied) })
    if (present === undefined) return 'created'
    return shapeOf(present) === shapeOf(applied) ? 'unchanged' : 'changed'
  }

  /** Deletes an object of ours that is no longer wanted. */
  async remove(gvr: GroupVersionResource, namespace: string, name: string): Promise<boolean> {
    const { client, managedLabel } = this.#options
    this.#remembered.delete(`${gvr.resource}/${namespace}/${name}`)
    const present = await client.get(gvr, namespace, name)
    if (present?.metadata.labels?.[managedLabel] === undefined) return false
    try {
      await client.delete(gvr, namespace, name)
      return true
    } catch (error) {
      if (isApiError(error, 'NotFound')) return false
      throw error
    }
  }

  forget(): void {
    this.#remembered.clear()
  }
}

function digestOf(value: unknown): string {
  return contentVersion(new TextEncoder().encode(JSON.stringify(value)))
}

/** What users and controllers can change of an object, without what its status brings. */
function shapeOf(object: KubeObject): string {
  const { metadata, ...rest } = object
  const { labels, annotations, ownerReferences, uid } = metadata
  const { status: _, ...body } = rest
  return digestOf([labels, annotations, ownerReferences, uid, body])
}
