/** One request on its way: what is known of it, and the ways in which it can end. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Clock, canonicalIp } from '../base/index.ts'
import type { AccessRecord, ResponseFlag } from './access-log.ts'
import { headerValue, requestIdOf } from './headers.ts'
import type { ListenerConfig, RequestHeaders } from './types.ts'

/** An answer made here instead of by an upstream, in Envoy's words. */
export interface LocalReply {
  readonly status: number
  readonly flag: ResponseFlag
  readonly details: string
  readonly body?: string
  readonly failure?: string
}

export class Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly listener: ListenerConfig
  readonly record: AccessRecord
  readonly clientAddress: string
  readonly path: string
  readonly query: string
  readonly #clock: Clock
  readonly #startMonotonic: number

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    listener: ListenerConfig,
    clock: Clock,
  ) {
    this.request = request
    this.response = response
    this.listener = listener
    this.#clock = clock
    this.#startMonotonic = clock.monotonic()
    const { socket, rawHeaders, url = '/' } = request
    this.clientAddress = canonicalIp(socket.remoteAddress ?? '')
    const target = originForm(url)
    const mark = target.indexOf('?')
    this.path = mark < 0 ? target : target.slice(0, mark)
    this.query = mark < 0 ? '' : target.slice(mark + 1)
    this.record = {
      startMs: clock.now(),
      method: request.method ?? '',
      path: target,
      protocol: `HTTP/${request.httpVersion}`,
      status: 0,
      flag: '-',
      details: 'via_upstream',
      failure: '',
      bytesReceived: 0,
      bytesSent: 0,
      durationMs: 0,
      upstreamMs: undefined,
      forwardedFor: headerValue(rawHeaders, 'x-forwarded-for'),
      userAgent: headerValue(rawHeaders, 'user-agent'),
      requestId: requestIdOf(rawHeaders, this.clientAddress),
      authority: authorityOf(url) ?? request.headers.host ?? '',
      upstreamHost: undefined,
      upstreamCluster: undefined,
      upstreamLocal: undefined,
      downstreamLocal: `${canonicalIp(socket.localAddress ?? '')}:${socket.localPort ?? 0}`,
      downstreamRemote: `${this.clientAddress}:${socket.remotePort ?? 0}`,
      routeName: undefined,
    }
  }

  get headers(): RequestHeaders {
    const { headers, method = '' } = this.request
    return {
      method,
      get: (name) => {
        if (name === ':authority') return this.record.authority
        const value = headers[name]
        return Array.isArray(value) ? value.join(',') : value
      },
    }
  }

  get elapsedMs(): number {
    return Math.round(this.#clock.monotonic() - this.#startMonotonic)
  }

  /** Whether a body follows, by the headers: HTTP/1.1 has no other sign. */
  get hasBody(): boolean {
    const { headers } = this.request
    const length = headers['content-length']
    return headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0')
  }

  /** Answers here, unless the answer has begun already; then only the connection can end. */
  reply(reply: LocalReply): void {
    const { response, record, listener } = this
    record.flag = reply.flag
    record.details = reply.details
    record.failure = reply.failure ?? ''
    if (response.headersSent) {
      response.destroy()
      return
    }
    const body = reply.body ?? ''
    record.status = reply.status
    const type = body === '' ? [] : ['content-type', 'text/plain']
    response.writeHead(reply.status, [
      'content-length',
      String(Buffer.byteLength(body)),
      ...type,
      'server',
      listener.serverName,
    ])
    record.bytesSent = Buffer.byteLength(body)
    response.end(body)
    // What the client still sends is of no interest, but it must be read to its end.
    this.request.resume()
  }
}

/** `http://host/path` → `/path`; other forms as they are. */
function originForm(url: string): string {
  const absolute = /^https?:\/\/[^/?]*/i.exec(url)
  if (absolute === null) return url
  const rest = url.slice(absolute[0].length)
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** The authority of a target in absolute form wins over the Host header (RFC 9112). */
function authorityOf(url: string): string | undefined {
  return /^https?:\/\/([^/?]*)/i.exec(url)?.[1]
}
