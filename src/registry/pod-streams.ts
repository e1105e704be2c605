/** The streaming subresources of pods: log, exec, attach, port-forward. The backend moves the bytes. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type Logger, toError } from '../base/index.ts'
import {
  ApiError,
  badRequest,
  failure,
  type KubeObject,
  methodNotAllowed,
  notFound,
  type Status,
  success,
} from '../kube/index.ts'
import {
  acceptWebSocket,
  ChannelConnection,
  channelProtocols,
  chooseProtocol,
  portForwardTunnelProtocol,
  servePortForward,
  webSocketStream,
} from '../streams/index.ts'
import type { ExecSession, PodBackend, PodReference } from './backend.ts'
import { noBackend, statusOf } from './errors.ts'
import type { Exchange } from './http/exchange.ts'
import type { ObjectStore } from './store/objects.ts'
import { listOf, textOf, valueAt } from './values.ts'

const defaultContainerAnnotation = 'kubectl.kubernetes.io/default-container'

/** Requests that end in a stream other than HTTP's own. */
export const upgradable = new Set(['exec', 'attach', 'portforward'])

export class PodStreams {
  readonly #store: ObjectStore
  readonly #logger: Logger
  backend: PodBackend | undefined

  constructor(store: ObjectStore, logger: Logger) {
    this.#store = store
    this.#logger = logger
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
      this.#logger.debug('a log stream broke', { pod: name, error: toError(error).message })
      exchange.destroy()
    }
  }

  /** Serves an upgrade request; throws an ApiError while the client can still be answered over HTTP. */
  async upgrade(
    request: UpgradeRequest,
    target: { readonly namespace: string; readonly name: string; readonly subresource: string },
  ): Promise<void> {
    const { pod, reference } = this.#pod(target.namespace, target.name)
    if (target.subresource === 'portforward') {
      return this.#portForward(request, reference)
    }
    const { query } = request
    const container = containerOf(pod, query.get('container'))
    const flag = (name: string): boolean => query.get(name) === 'true' || query.get(name) === '1'
    const options = { container, stdin: flag('stdin'), tty: flag('tty') }
    const backend = this.#backend()
    const protocol = required(request.message, channelProtocols)
    if (target.subresource === 'attach') {
      return this.#channels(request, protocol, () => backend.attach(reference, options))
    }
    const command = query.getAll('command')
    if (command.length === 0)
      throw badRequest('you must specify at least 1 command for the container')
    await this.#channels(request, protocol, () => backend.exec(reference, { ...options, command }))
  }

  async #portForward(request: UpgradeRequest, pod: PodReference): Promise<void> {
    const backend = this.#backend()
    const protocol = required(request.message, [portForwardTunnelProtocol])
    const webSocket = await acceptWebSocket(request.message, request.socket, request.head, protocol)
    servePortForward(webSocketStream(webSocket), (port) => backend.portForward(pod, port))
  }

  async #channels(
    request: UpgradeRequest,
    protocol: string,
    run: () => Promise<ExecSession>,
  ): Promise<void> {
    const webSocket = await acceptWebSocket(request.message, request.socket, request.head, protocol)
    let session: ExecSession | undefined
    const connection = new ChannelConnection(webSocket, {
      onResize: (columns, rows) => session?.resize(columns, rows),
      onClose: () => session?.kill(),
    })
    try {
      session = await run()
      if (session.stdin !== undefined) connection.stdin.pipe(session.stdin)
      session.stdin?.on('error', () => {})
      await Promise.all([
        connection.copy(session.stdout, 'stdout'),
        session.stderr === undefined ? undefined : connection.copy(session.stderr, 'stderr'),
      ])
      connection.finish(exitStatus(await session.exitCode))
    } catch (error) {
      connection.finish(statusOf(error))
    }
  }

  #backend(): PodBackend {
    if (this.backend === undefined) throw noBackend()
    return this.backend
  }

  #pod(namespace: string, name: string): { pod: KubeObject; reference: PodReference } {
    const entry = this.#store.bucket('/pods').get(namespace, name)
    if (entry === undefined) throw notFound({ group: '', kind: 'pods', name })
    return { pod: entry.parse(), reference: { namespace, name, uid: entry.index.uid } }
  }
}

export interface UpgradeRequest {
  readonly message: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  readonly query: URLSearchParams
}

function required(message: IncomingMessage, supported: readonly string[]): string {
  const protocol = chooseProtocol(message, supported)
  if (protocol !== undefined) return protocol
  const offered = message.headers['sec-websocket-protocol'] ?? message.headers.upgrade ?? 'none'
  throw badRequest(
    `the client offers ${offered}; this server speaks ${supported.join(', ')} over WebSocket ` +
      '(use kubectl 1.31 or newer)',
  )
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

function exitStatus(code: number): Status {
  if (code === 0) return { ...success(), metadata: {} }
  const { status } = failure(
    500,
    'NonZeroExitCode',
    `command terminated with non-zero exit code: exit status ${code}`,
    { causes: [{ reason: 'ExitCode', message: String(code) }] },
  )
  return status
}

/** Answers a refused upgrade as plain HTTP; the connection stays until the client has read it. */
export function refuseUpgrade(socket: Duplex, thrown: unknown): void {
  const status = thrown instanceof ApiError ? thrown.status : statusOf(thrown)
  const body = JSON.stringify(status)
  socket.end(
    `HTTP/1.1 ${status.code} ${status.reason ?? 'Error'}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
