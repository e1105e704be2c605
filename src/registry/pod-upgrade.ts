/**
 * From an upgrade request to what is spoken on it. Clients offer several dialects; a refusal is a Status that
 * kubectl prints, so it says what this server speaks.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock, Logger } from '../base/index.ts'
import { ApiError, badRequest, failure } from '../kube/index.ts'
import { chooseProtocol, chooseStreamProtocol, wantsSpdy } from '../streams/index.ts'
import { statusOf } from './errors.ts'
import { limits } from './limits.ts'

export interface UpgradeRequest {
  readonly message: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  readonly query: URLSearchParams
}

/** What every stream needs beside the request. */
export interface StreamContext {
  readonly clock: Clock
  readonly logger: Logger
}

export interface Dialect {
  readonly transport: 'websocket' | 'spdy'
  readonly protocol: string
}

export interface SupportedDialects {
  readonly webSocket: readonly string[]
  readonly spdy: readonly string[]
}

/** None of the protocols that a SPDY client offers is spoken here; the answer lists ours in a header. */
export class NoCommonProtocol extends ApiError {
  readonly accepted: readonly string[]

  constructor(offered: string, accepted: readonly string[]) {
    const text = `unable to upgrade: unable to negotiate protocol: client supports [${offered}], server accepts [${accepted.join(' ')}]`
    super(failure(403, 'Forbidden', text).status)
    this.accepted = accepted
  }
}

/** What both sides speak. Throws an ApiError when there is nothing. */
export function negotiateDialect(
  { message }: UpgradeRequest,
  supported: SupportedDialects,
  { logger }: StreamContext,
): Dialect {
  const dialect = choose(message, supported)
  // Without the query: commands may carry secrets.
  const [path = ''] = (message.url ?? '').split('?', 1)
  logger.debug('a pod stream begins', { path, ...dialect })
  return dialect
}

function choose(message: IncomingMessage, supported: SupportedDialects): Dialect {
  if (wantsSpdy(message)) {
    const { offered, protocol } = chooseStreamProtocol(message, supported.spdy)
    if (protocol !== undefined) return { transport: 'spdy', protocol }
    if (offered === undefined)
      throw badRequest('unable to upgrade: X-Stream-Protocol-Version is required')
    throw new NoCommonProtocol(offered, supported.spdy)
  }
  const { upgrade = 'none' } = message.headers
  if (upgrade.toLowerCase() !== 'websocket') {
    throw badRequest(
      `unable to upgrade: the client asks for ${upgrade}; this server speaks WebSocket and SPDY/3.1`,
    )
  }
  const protocol = chooseProtocol(message, supported.webSocket)
  if (protocol !== undefined) return { transport: 'websocket', protocol }
  throw badRequest(
    `the client offers the subprotocols ${message.headers['sec-websocket-protocol'] ?? 'none'}; ` +
      `this server speaks ${supported.webSocket.join(', ')} over WebSocket`,
  )
}

/** Answers a refused upgrade as plain HTTP; the connection stays until the client has read it. */
export function refuseUpgrade(socket: Duplex, thrown: unknown, clock: Clock): void {
  const status = thrown instanceof ApiError ? thrown.status : statusOf(thrown)
  const body = JSON.stringify(status)
  const accepted = thrown instanceof NoCommonProtocol ? thrown.accepted : []
  const headers = [
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    ...accepted.map((protocol) => `x-accepted-stream-protocol-versions: ${protocol}`),
  ]
  socket.end(
    `HTTP/1.1 ${status.code} ${status.reason ?? 'Error'}\r\n${headers.join('\r\n')}\r\n\r\n${body}`,
  )
  // What the client may still send is not read by anyone else.
  socket.resume()
  const timer = clock.after(limits.refusalLingerMs, () => socket.destroy(), { background: true })
  socket.once('close', () => timer.cancel())
}
