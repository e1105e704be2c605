/**
 * Puts a wanted object into the cluster. A hash of what we wrote last is kept on the object, so that
 * an unchanged wish costs no write and values that others own (defaults, allocated IPs) are left
 * alone. Objects which are not marked as managed by us belong to somebody else and stay as they are.
 */
import type { KubeClient } from '../client/index.ts'
import { type GroupVersionResource, isApiError, type KubeObject } from '../kube/index.ts'
import { contentVersion } from '../translate/index.ts'

const hashAnnotation = 'gateway.istio.io/applied-hash'

export type ApplyOutcome = 'created' | 'changed' | 'unchanged' | 'foreign'

export interface ApplyOptions {
  readonly client: KubeClient
  readonly fieldManager: string
  /** The label that marks our objects. */
  readonly managedLabel: string
}

export async function applyObject(
  gvr: GroupVersionResource,
  wanted: KubeObject,
  options: ApplyOptions,
): Promise<ApplyOutcome> {
  const { client, fieldManager, managedLabel } = options
  const { namespace, name } = wanted.metadata
  const hash = contentVersion(new TextEncoder().encode(JSON.stringify(wanted)))
  const annotations = { ...wanted.metadata.annotations, [hashAnnotation]: hash }
  const marked = { ...wanted, metadata: { ...wanted.metadata, annotations } }
  const present = await client.get(gvr, namespace, name)
  if (present === undefined) {
    try {
      await client.create(gvr, marked, { fieldManager })
      return 'created'
    } catch (error) {
      if (!isApiError(error, 'AlreadyExists')) throw error
      return applyObject(gvr, wanted, options)
    }
  }
  if (present.metadata.labels?.[managedLabel] === undefined) return 'foreign'
  if (present.metadata.annotations?.[hashAnnotation] === hash) return 'unchanged'
  await client.patch(gvr, namespace, name, 'merge', marked, { fieldManager })
  return 'changed'
}
