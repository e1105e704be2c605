/** The Kubernetes client: typed verbs over one HTTP/2 connection, and watches as async iterables. */
import type { Clock } from '../base/index.ts'
import {
  ApiError,
  type GroupVersionResource,
  type KubeList,
  type KubeObject,
  type Status,
} from '../kube/index.ts'
import { chunksOf } from './chunks.ts'
import { limits } from './limits.ts'
import { type Answer, type ClientCertificate, Transport } from './transport.ts'
import type {
  DeleteOptions,
  KubeClient,
  ListOptions,
  PatchType,
  RawAnswer,
  WatchEvent,
  WriteOptions,
} from './types.ts'

export interface KubeClientOptions {
  readonly server: string
  /** Called at every new connection, so that a rotated root is picked up. */
  readonly caPem?: () => string | undefined
  /** Called at every new connection too. */
  readonly certificate?: () => ClientCertificate | undefined
  readonly token?: () => string
  readonly tlsServerName?: string
  /** Becomes the default field manager (the part before the first slash). */
  readonly userAgent?: string
  readonly clock: Clock
}

const patchContentTypes: Record<PatchType, string> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
}

export interface ClosableKubeClient extends KubeClient {
  /** Hands over the chunks of a body as they come, for logs; returns at its end. */
  stream(path: string, onChunk: (chunk: Buffer) => void, signal?: AbortSignal): Promise<void>
  close(): void
}

export function createKubeClient(options: KubeClientOptions): ClosableKubeClient {
  return new HttpKubeClient(options)
}

/** `/api/v1/namespaces/ns/pods/name/status` and the like. */
export function resourcePath(
  gvr: GroupVersionResource,
  namespace?: string,
  name?: string,
  subresource?: string,
): string {
  let path = gvr.group === '' ? `/api/${gvr.version}` : `/apis/${gvr.group}/${gvr.version}`
  if (namespace !== undefined && namespace !== '')
    path += `/namespaces/${encodeURIComponent(namespace)}`
  path += `/${gvr.resource}`
  if (name !== undefined) path += `/${encodeURIComponent(name)}`
  if (subresource !== undefined) path += `/${subresource}`
  return path
}

class HttpKubeClient implements ClosableKubeClient {
  readonly #transport: Transport

  constructor(options: KubeClientOptions) {
    this.#transport = new Transport({ userAgent: 'weft', ...options })
  }

  async get<T extends KubeObject>(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
  ): Promise<T | undefined> {
    try {
      return await this.#json<T>('GET', resourcePath(gvr, namespace, name))
    } catch (error) {
      if (error instanceof ApiError && error.status.code === 404) return undefined
      throw error
    }
  }

  async list<T extends KubeObject>(
    gvr: GroupVersionResource,
    options: ListOptions = {},
  ): Promise<KubeList<T>> {
    const path = resourcePath(gvr, options.namespace) + listQuery(options)
    const answer = await this.#transport.request('GET', path, {
      headers: acceptOf(options, 'List'),
    })
    if (answer.code !== 200) throw await failure(answer)
    return JSON.parse((await readAll(answer)).toString()) as KubeList<T>
  }

  create<T extends KubeObject>(
    gvr: GroupVersionResource,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    const { namespace } = object.metadata
    return this.#json('POST', resourcePath(gvr, namespace) + writeQuery(options), object)
  }

  update<T extends KubeObject>(
    gvr: GroupVersionResource,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    const { namespace, name } = object.metadata
    const path = resourcePath(gvr, namespace, name, options.subresource)
    return this.#json('PUT', path + writeQuery(options), object)
  }

  patch<T extends KubeObject>(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
    type: PatchType,
    body: unknown,
    options: WriteOptions = {},
  ): Promise<T> {
    const path = resourcePath(gvr, namespace, name, options.subresource)
    return this.#json('PATCH', path + writeQuery(options), body, patchContentTypes[type])
  }

  async delete(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): Promise<void> {
    const body = { kind: 'DeleteOptions', apiVersion: 'v1', ...options }
    await this.#json('DELETE', resourcePath(gvr, namespace, name), body)
  }

  createSubresource<T>(
    gvr: GroupVersionResource,
    namespace: string | undefined,
    name: string,
    subresource: string,
    body: unknown,
  ): Promise<T> {
    return this.#json('POST', resourcePath(gvr, namespace, name, subresource), body)
  }

  async *watch<T extends KubeObject>(
    gvr: GroupVersionResource,
    options: ListOptions & { readonly allowWatchBookmarks?: boolean },
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent<T>> {
    const query = listQuery(options, {
      watch: 'true',
      timeoutSeconds: String(limits.watchTimeoutSeconds),
      ...(options.allowWatchBookmarks === true ? { allowWatchBookmarks: 'true' } : {}),
    })
    const answer = await this.#transport.request(
      'GET',
      resourcePath(gvr, options.namespace) + query,
      {
        signal,
        headers: acceptOf(options, ''),
      },
    )
    if (answer.code !== 200) throw await failure(answer)
    for await (const line of lines(answer)) {
      const event = JSON.parse(line) as WatchEvent<T> | { type: 'ERROR'; object: Status }
      if (event.type === 'ERROR') throw new ApiError(event.object)
      yield event
    }
  }

  async raw(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<RawAnswer> {
    const encoded = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
    const answer = await this.#transport.request(method, path, {
      headers: {
        ...(encoded === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(encoded === undefined ? {} : { body: encoded }),
    })
    return { code: answer.code, headers: answer.headers, body: await readAll(answer) }
  }

  async stream(
    path: string,
    onChunk: (chunk: Buffer) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const answer = await this.#transport.request(
      'GET',
      path,
      signal === undefined ? {} : { signal },
    )
    if (answer.code !== 200) throw await failure(answer)
    for await (const chunk of chunksOf(answer.stream)) onChunk(chunk)
  }

  close(): void {
    this.#transport.close()
  }

  async #json<T>(method: string, path: string, body?: unknown, contentType?: string): Promise<T> {
    const request =
      body === undefined
        ? {}
        : {
            headers: { 'content-type': contentType ?? 'application/json' },
            body: Buffer.from(JSON.stringify(body)),
          }
    const answer = await this.#transport.request(method, path, request)
    if (answer.code >= 300) throw await failure(answer)
    return JSON.parse((await readAll(answer)).toString()) as T
  }
}

function acceptOf(options: ListOptions, suffix: 'List' | ''): Record<string, string> {
  return options.metadataOnly === true
    ? {
        accept: `application/json;as=PartialObjectMetadata${suffix};v=v1;g=meta.k8s.io,application/json`,
      }
    : {}
}

function listQuery(options: ListOptions, more: Record<string, string> = {}): string {
  const query = new URLSearchParams(more)
  for (const key of ['labelSelector', 'fieldSelector', 'continue', 'resourceVersion'] as const) {
    const value = options[key]
    if (value !== undefined) query.set(key, value)
  }
  if (options.limit !== undefined) query.set('limit', String(options.limit))
  return query.size === 0 ? '' : `?${query}`
}

function writeQuery(options: WriteOptions): string {
  const query = new URLSearchParams()
  if (options.fieldManager !== undefined) query.set('fieldManager', options.fieldManager)
  if (options.dryRun === true) query.set('dryRun', 'All')
  if (options.force === true) query.set('force', 'true')
  return query.size === 0 ? '' : `?${query}`
}

async function readAll(answer: Answer): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of chunksOf(answer.stream)) {
    size += chunk.length
    if (size > limits.answerBytesMax)
      throw new Error(`an answer exceeds ${limits.answerBytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

async function* lines(answer: Answer): AsyncIterable<string> {
  let rest: Buffer[] = []
  let restBytes = 0
  for await (const chunk of chunksOf(answer.stream)) {
    let start = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      rest.push(chunk.subarray(start, end))
      const line = rest.length === 1 ? (rest[0] as Buffer) : Buffer.concat(rest)
      rest = []
      restBytes = 0
      start = end + 1
      if (line.length > 0) yield line.toString()
    }
    if (start < chunk.length) {
      rest.push(chunk.subarray(start))
      restBytes += chunk.length - start
      if (restBytes > limits.watchLineBytesMax) throw new Error('a watch event is too long')
    }
  }
}

/** The server's Status as an error; answers that are no Status become one. */
async function failure(answer: Answer): Promise<ApiError> {
  const text = (await readAll(answer)).toString()
  try {
    const status = JSON.parse(text) as Status
    if (status.kind === 'Status') return new ApiError(status)
  } catch {
    // Not JSON: proxies and absent API groups answer with plain text.
  }
  return new ApiError({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    code: answer.code,
    message: text.trim() === '' ? `the server answered ${answer.code}` : text.trim(),
  })
}
