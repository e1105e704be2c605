/** Objects into the registry, as `kubectl apply` would: made when absent, else changed to fit. */
import { MeshError } from '../../base/index.ts'
import type { KubeClient } from '../../client/index.ts'
import { ApiError, type GroupVersionResource, type KubeObject } from '../../kube/index.ts'

interface ResourceType {
  readonly gvr: GroupVersionResource
  readonly namespaced: boolean
}

/** Writes objects, asking the registry's discovery for the resources of their kinds. */
export class Applier {
  readonly #client: KubeClient
  readonly #groups = new Map<string, Promise<ReadonlyMap<string, ResourceType>>>()

  constructor(client: KubeClient) {
    this.#client = client
  }

  /**
   * @param mode `create` leaves alone what is there already: it belongs to the user by now
   */
  async apply(object: KubeObject, mode: 'create' | 'update' = 'update'): Promise<void> {
    const { gvr, namespaced } = await this.#typeOf(object)
    const { namespace, name } = object.metadata
    const place = namespaced ? (namespace ?? 'default') : undefined
    try {
      await this.#client.create(
        gvr,
        place === undefined
          ? object
          : { ...object, metadata: { ...object.metadata, namespace: place } },
        { fieldManager: 'weft' },
      )
    } catch (error) {
      if (!(error instanceof ApiError) || error.status.reason !== 'AlreadyExists') throw error
      if (mode === 'update') {
        await this.#client.patch(gvr, place, name, 'merge', object, { fieldManager: 'weft' })
      }
    }
  }

  async #typeOf(object: KubeObject): Promise<ResourceType> {
    const { apiVersion, kind } = object
    let types = this.#groups.get(apiVersion)
    if (types === undefined) {
      types = this.#discover(apiVersion)
      this.#groups.set(apiVersion, types)
      // CRDs of the group may come later.
      types.catch(() => this.#groups.delete(apiVersion))
    }
    const type = (await types).get(kind)
    if (type !== undefined) return type
    this.#groups.delete(apiVersion)
    throw unknownKind(object)
  }

  async #discover(apiVersion: string): Promise<ReadonlyMap<string, ResourceType>> {
    const [group = '', version = apiVersion] = apiVersion.includes('/')
      ? apiVersion.split('/')
      : ['']
    const path = group === '' ? `/api/${version}` : `/apis/${apiVersion}`
    const answer = await this.#client.raw('GET', path)
    if (answer.code !== 200) return new Map()
    // The discovery document's shape is part of the Kubernetes API.
    const list = JSON.parse(answer.body.toString()) as {
      resources?: { name: string; kind: string; namespaced: boolean }[]
    }
    const types = (list.resources ?? [])
      .filter(({ name }) => !name.includes('/'))
      .map(({ name, kind, namespaced }): [string, ResourceType] => [
        kind,
        { gvr: { group, version, resource: name }, namespaced },
      ])
    return new Map(types)
  }
}

function unknownKind({ apiVersion, kind, metadata }: KubeObject): MeshError {
  return new MeshError(
    'INIT_UNKNOWN_KIND',
    `${kind} "${metadata.name}": the registry does not know kind ${kind} of ${apiVersion}`,
    { hint: 'Check apiVersion and kind; a CRD has to be applied before its objects.' },
  )
}
