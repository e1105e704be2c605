/** Writes `ambient.istio.io/redirection`, by which the control plane knows that a pod takes HBONE. */
import type { KubeClient } from '../client/index.ts'
import { ApiError, resources } from '../kube/index.ts'
import { redirectionAnnotation } from './eligibility.ts'
import type { Pod } from './types.ts'

export class RedirectionAnnotator {
  readonly #client: KubeClient

  constructor(client: KubeClient) {
    this.#client = client
  }

  /**
   * Sets the annotation, or removes it (null), when the object at hand differs. Returns the changed
   * object; undefined when nothing was to do or the pod is gone.
   */
  async write(pod: Pod, value: 'enabled' | 'pending' | null): Promise<Pod | undefined> {
    const { namespace, name, uid, annotations } = pod.metadata
    if ((annotations?.[redirectionAnnotation] ?? null) === value) return undefined
    // The uid keeps us from marking a younger pod of the same name.
    const body = { metadata: { uid, annotations: { [redirectionAnnotation]: value } } }
    try {
      // The status subresource, because only that is the kubelet's and ours to write.
      const subresource = { subresource: 'status' }
      return await this.#client.patch<Pod>(
        resources.pods,
        namespace,
        name,
        'merge',
        body,
        subresource,
      )
    } catch (error) {
      if (error instanceof ApiError && isGone(error.status.code)) return undefined
      throw error
    }
  }
}

/** Not there, or another one under its name. */
function isGone(code: number): boolean {
  return code === 404 || code === 409
}
