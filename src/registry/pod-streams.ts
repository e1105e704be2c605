/** The streaming subresources of pods: log, exec, attach, port-forward. The backend moves the bytes. */
import { toError } from '../base/index.ts'
import { badRequest, type KubeObject, methodNotAllowed, notFound } from '../kube/index.ts'
import type { CommandStreams } from '../streams/index.ts'
import type { PodBackend, PodReference } from './backend.ts'
import { noBackend } from './errors.ts'
import type { Exchange } from './http/exchange.ts'
import { serveCommand } from './pod-command.ts'
import { serveForward } from './pod-forward.ts'
import type { StreamContext, UpgradeRequest } from './pod-upgrade.ts'
import type { ObjectStore } from './store/objects.ts'
import { listOf, textOf, valueAt } from './values.ts'

const defaultContainerAnnotation = 'kubectl.kubernetes.io/default-container'

/** Requests that end in a stream other than HTTP's own. */
export const upgradable: ReadonlySet<string> = new Set(['exec', 'attach', 'portforward'])

export interface PodStreamsOptions extends StreamContext {
  readonly store: ObjectStore
}

export class PodStreams {
  readonly #options: PodStreamsOptions
  backend: PodBackend | undefined

  constructor(options: PodStreamsOptions) {
    this.#options = options
  }

  async log(exchange: Exchange, namespace: string, name: string): Promise<void> {
    if (exchange.method !== 'GET') throw methodNotAllowed()
    const { pod, reference } = this.#pod(namespace, name)
    const container = containerOf(pod, exchange.query.get('container'))
    const tailLines = exchange.integer('tailLines')
    const sinceSeconds = exchange.integer('sinceSeconds')
    const limitBytes = exchange.integer('limitBytes')
    const sinceTime = exchange.query.get('sinceTime')
    const text = await this.#backend().logs(reference, {
      container,
      follow: exchange.flag('follow'),
      previous: exchange.flag('previous'),
      timestamps: exchange.flag('timestamps'),
      ...(tailLines === undefined ? {} : { tailLines }),
      ...(sinceSeconds === undefined ? {} : { sinceSeconds }),
      ...(limitBytes === undefined ? {} : { limitBytes }),
      ...(sinceTime === null ? {} : { sinceTime }),
    })
    exchange.onClose(() => text.destroy())
    exchange.head(200, { 'content-type': 'text/plain' })
    exchange.response.flushHeaders()
    try {
      for await (const chunk of text as AsyncIterable<Buffer>) {
        if (!(await exchange.write(chunk))) break
      }
      exchange.response.end()
    } catch (error) {
      const { logger } = this.#options
      logger.debug('a log stream broke', { pod: name, error: toError(error).message })
      exchange.destroy()
    }
  }

  /** Serves an upgrade request; throws an ApiError while the client can still be answered over HTTP. */
  async upgrade(
    request: UpgradeRequest,
    target: { readonly namespace: string; readonly name: string; readonly subresource: string },
  ): Promise<void> {
    const { pod, reference } = this.#pod(target.namespace, target.name)
    const backend = this.#backend()
    const context = this.#options
    if (target.subresource === 'portforward') {
      return serveForward(request, (port) => backend.portForward(reference, port), context)
    }
    const { query } = request
    const container = containerOf(pod, query.get('container'))
    const streams = streamsOf(query)
    const options = { container, stdin: streams.stdin, tty: streams.tty }
    if (target.subresource === 'attach') {
      return serveCommand(request, streams, () => backend.attach(reference, options), context)
    }
    const command = query.getAll('command')
    if (command.length === 0)
      throw badRequest('you must specify at least 1 command for the container')
    const run = () => backend.exec(reference, { ...options, command })
    await serveCommand(request, streams, run, context)
  }

  #backend(): PodBackend {
    if (this.backend === undefined) throw noBackend()
    return this.backend
  }

  #pod(namespace: string, name: string): { pod: KubeObject; reference: PodReference } {
    const entry = this.#options.store.bucket('/pods').get(namespace, name)
    if (entry === undefined) throw notFound({ group: '', kind: 'pods', name })
    return { pod: entry.parse(), reference: { namespace, name, uid: entry.index.uid } }
  }
}

function streamsOf(query: URLSearchParams): CommandStreams {
  const flag = (name: string): boolean => query.get(name) === 'true' || query.get(name) === '1'
  const tty = flag('tty')
  const [stdin, stdout] = [flag('stdin'), flag('stdout')]
  const stderr = flag('stderr')
  if (!stdin && !stdout && !stderr)
    throw badRequest('you must specify at least 1 of stdin, stdout, stderr')
  // A terminal has one output.
  return { stdin, stdout, stderr: stderr && !tty, tty }
}

/** The container that is meant: the named one, the annotated one, or the only one. */
function containerOf(pod: KubeObject, asked: string | null): string {
  const { name } = pod.metadata
  const namesIn = (path: string): string[] =>
    listOf(valueAt(pod, path)).map((each) => textOf(each.name))
  const own = namesIn('spec.containers')
  const all = [...own, ...namesIn('spec.initContainers'), ...namesIn('spec.ephemeralContainers')]
  if (asked !== null && asked !== '') {
    if (!all.includes(asked)) throw badRequest(`container ${asked} is not valid for pod ${name}`)
    return asked
  }
  const preferred = pod.metadata.annotations?.[defaultContainerAnnotation]
  if (preferred !== undefined && own.includes(preferred)) return preferred
  const [only] = own
  if (only !== undefined && own.length === 1) return only
  throw badRequest(
    `a container name must be specified for pod ${name}, choose one of: [${own.join(' ')}]`,
  )
}
