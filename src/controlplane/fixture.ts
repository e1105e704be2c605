/**
 * For tests: a Kubernetes API in memory behind the client's interface, with watches, merge patches (apply is
 * one here), leases and token reviews. Tokens are `<namespace>:<service account>:<pod>`.
 */
import { isDeepStrictEqual } from 'node:util'
import type { KubeClient, ListOptions, WatchEvent } from '../client/index.ts'
import {
  failure,
  type GroupVersionResource,
  type KubeList,
  type KubeObject,
} from '../kube/index.ts'
import { mergePatch } from '../patch/index.ts'

interface Happened extends WatchEvent<KubeObject> {
  readonly resource: string
  readonly version: number
}

interface Watcher {
  readonly resource: string
  push(event: WatchEvent<KubeObject>): void
}

/** With the group, since Istio and Gateway API both have Gateways: `gateways.networking.istio.io`. */
const typeOf = ({ group, resource }: GroupVersionResource): string =>
  group === '' ? resource : `${resource}.${group}`

const keyOf = (gvr: GroupVersionResource, namespace: string | undefined, name: string): string =>
  `${typeOf(gvr)}/${namespace ?? ''}/${name}`

export class FakeKube {
  /** Resources that answer 404, as if their CRD were not installed. */
  readonly missing = new Set<string>()
  /** Calls that changed something, as `create pods/ns/name`. */
  readonly writes: string[] = []
  readonly #objects = new Map<string, KubeObject>()
  readonly #watchers = new Set<Watcher>()
  /** Everything that happened, so that a watch loses nothing since its list. */
  readonly #history: Happened[] = []
  #version = 0

  /** As the code under test takes it; it has the verbs that the control plane uses. */
  get client(): KubeClient {
    return this as unknown as KubeClient
  }

  /** Stores an object as a user would, without being counted as a write. */
  put(gvr: GroupVersionResource, object: KubeObject): void {
    const key = keyOf(gvr, object.metadata.namespace, object.metadata.name)
    const known = this.#objects.get(key)
    const metadata = {
      uid: known?.metadata.uid ?? `uid-${key}`,
      creationTimestamp: '2026-01-01T00:00:00Z',
      generation: (known?.metadata.generation ?? 0) + 1,
      ...object.metadata,
      resourceVersion: String(++this.#version),
    }
    this.#store(gvr, key, { ...structuredClone(object), metadata })
  }

  peek(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
  ): KubeObject | undefined {
    return this.#objects.get(keyOf(gvr, namespace, name))
  }

  async get(gvr: GroupVersionResource, namespace: string | undefined, name: string) {
    return structuredClone(this.peek(gvr, namespace, name))
  }

  async list(gvr: GroupVersionResource, options: ListOptions = {}): Promise<KubeList> {
    if (this.missing.has(gvr.resource)) throw failure(404, 'NotFound', `no ${gvr.resource}`)
    const wantedName = /metadata\.name=(.+)/.exec(options.fieldSelector ?? '')?.[1]
    const items = [...this.#objects]
      .filter(([key]) => key.startsWith(`${typeOf(gvr)}/`))
      .map(([, object]) => structuredClone(object))
      .filter(({ metadata }) => wantedName === undefined || metadata.name === wantedName)
    return {
      apiVersion: 'v1',
      kind: 'List',
      metadata: { resourceVersion: String(this.#version) },
      items,
    }
  }

  async create(gvr: GroupVersionResource, object: KubeObject): Promise<KubeObject> {
    if (gvr.resource === 'tokenreviews') return review(object)
    if (this.missing.has(gvr.resource)) throw failure(404, 'NotFound', `no ${gvr.resource}`)
    const key = keyOf(gvr, object.metadata.namespace, object.metadata.name)
    if (this.#objects.has(key)) throw failure(409, 'AlreadyExists', `${key} exists`)
    this.writes.push(`create ${key}`)
    this.put(gvr, object)
    return structuredClone(this.#objects.get(key) ?? object)
  }

  async patch(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
    type: string,
    body: unknown,
  ): Promise<KubeObject> {
    const key = keyOf(gvr, namespace, name)
    const present = this.#objects.get(key)
    if (present === undefined && type === 'apply') return this.create(gvr, body as KubeObject)
    if (present === undefined) throw failure(404, 'NotFound', `${key} not found`)
    const { resourceVersion } = present.metadata
    const wanted = (body as KubeObject).metadata?.resourceVersion
    if (wanted !== undefined && wanted !== resourceVersion) {
      throw failure(409, 'Conflict', `${key} has changed`)
    }
    const patched = mergePatch(structuredClone(present), body) as KubeObject
    // As the API server does: no change is no write, and only the spec has generations.
    if (isDeepStrictEqual(patched, present)) return structuredClone(present)
    this.writes.push(`patch ${key}`)
    if (!isDeepStrictEqual(patched.spec, present.spec)) {
      patched.metadata.generation = (present.metadata.generation ?? 0) + 1
    }
    patched.metadata.resourceVersion = String(++this.#version)
    this.#store(gvr, key, patched)
    return structuredClone(patched)
  }

  async update(gvr: GroupVersionResource, object: KubeObject): Promise<KubeObject> {
    const { namespace, name } = object.metadata
    const key = keyOf(gvr, namespace, name)
    const present = this.#objects.get(key)
    if (present === undefined) throw failure(404, 'NotFound', `${key} not found`)
    if (present.metadata.resourceVersion !== object.metadata.resourceVersion) {
      throw failure(409, 'Conflict', `${key} has changed`)
    }
    const metadata = { ...object.metadata, resourceVersion: String(++this.#version) }
    this.#store(gvr, key, { ...structuredClone(object), metadata })
    return structuredClone(this.#objects.get(key) ?? object)
  }

  async delete(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
  ): Promise<void> {
    const key = keyOf(gvr, namespace, name)
    if (!this.#objects.has(key)) throw failure(404, 'NotFound', `${key} not found`)
    this.writes.push(`delete ${key}`)
    this.remove(gvr, namespace, name)
  }

  remove(gvr: GroupVersionResource, namespace: string | undefined, name: string): void {
    const key = keyOf(gvr, namespace, name)
    const object = this.#objects.get(key)
    this.#objects.delete(key)
    this.#version++
    if (object !== undefined) this.#tell(gvr, { type: 'DELETED', object })
  }

  async *watch(
    gvr: GroupVersionResource,
    options: ListOptions,
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent<KubeObject>> {
    const since = Number(options.resourceVersion ?? 0)
    const waiting: WatchEvent<KubeObject>[] = this.#history.filter(
      ({ resource, version }) => resource === typeOf(gvr) && version > since,
    )
    let wake = (): void => {}
    const watcher: Watcher = {
      resource: typeOf(gvr),
      push(event) {
        waiting.push(event)
        wake()
      },
    }
    this.#watchers.add(watcher)
    const onAbort = (): void => wake()
    signal.addEventListener('abort', onAbort, { once: true })
    while (!signal.aborted) {
      const event = waiting.shift()
      if (event !== undefined) yield event
      else await new Promise<void>((resolve) => (wake = resolve))
    }
    this.#watchers.delete(watcher)
  }

  #store(gvr: GroupVersionResource, key: string, object: KubeObject): void {
    const type = this.#objects.has(key) ? 'MODIFIED' : 'ADDED'
    this.#objects.set(key, object)
    this.#tell(gvr, { type, object })
  }

  #tell(gvr: GroupVersionResource, event: WatchEvent<KubeObject>): void {
    const resource = typeOf(gvr)
    this.#history.push({ ...structuredClone(event), resource, version: this.#version })
    for (const watcher of this.#watchers) {
      if (watcher.resource === resource) watcher.push(structuredClone(event))
    }
  }
}

function review(object: KubeObject): KubeObject {
  const { token = '', audiences = [] } = object.spec as { token?: string; audiences?: string[] }
  const [namespace, account, pod] = token.split(':')
  const authenticated = namespace !== undefined && account !== undefined && pod !== undefined
  return {
    ...object,
    status: authenticated
      ? {
          authenticated,
          audiences,
          user: {
            username: `system:serviceaccount:${namespace}:${account}`,
            extra: {
              'authentication.kubernetes.io/pod-name': [pod],
              'authentication.kubernetes.io/pod-uid': [`uid-pods/${namespace}/${pod}`],
            },
          },
        }
      : { authenticated: false, error: 'no such token' },
  }
}
