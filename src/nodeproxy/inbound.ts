/** Port 15008: HBONE from other proxies (reference: ambient, inbound HBONE). */
import type net from 'node:net'
import type { TLSSocket } from 'node:tls'
import { toError } from '../base/index.ts'
import {
  encodeBaggage,
  type HboneRequest,
  type HboneServerConnection,
  type Http2Limits,
  parseBaggage,
  serveHbone,
} from '../hbone/index.ts'
import type { SpiffeId } from '../x509/index.ts'
import { accessPeer, baggageOf, forwardedHost, remoteOf } from './describe.ts'
import { ConnectionError, describe, Refusal } from './errors.ts'
import { InboundSession } from './inbound-session.ts'
import { inboundTarget } from './inbound-target.ts'
import { drainLingerMs, ports } from './limits.ts'
import type { Pod, ProxyParts, SocketAddress } from './pod.ts'
import { clientIdentity, TlsAcceptor } from './tls.ts'

interface Peer {
  readonly source: SocketAddress
  /** Where the connection came in: the pod's address. */
  readonly local: SocketAddress
  readonly identity: SpiffeId
}

export class InboundHbone {
  readonly #pod: Pod
  readonly #acceptor: TlsAcceptor
  readonly #sessions = new Set<HboneServerConnection>()
  #draining = false
  /** Whom the last certificate told us to trust. */
  #rootsPem = ''

  constructor(pod: Pod) {
    this.#pod = pod
    this.#acceptor = new TlsAcceptor({
      onConnection: (socket) => this.#serve(socket),
      onFailure: (error, socket) => this.#logFailure(socket, error),
    })
  }

  /** Takes an accepted connection. */
  async accept(socket: net.Socket): Promise<void> {
    try {
      const workload = await this.#pod.ownWorkload()
      const certificate = await this.#pod.parts.certificates.fetch(workload.spiffe)
      this.#rootsPem = certificate.rootsPem
      if (!socket.destroyed) this.#acceptor.accept(socket, certificate)
    } catch (error) {
      this.#logFailure(socket, toError(error))
      socket.destroy()
    }
  }

  drain(): void {
    this.#draining = true
    for (const session of this.#sessions) session.drain()
  }

  /** Lets clients connect anew: what they proved was judged by roots that have changed. */
  renewSessions(): void {
    for (const session of this.#sessions) session.drain()
  }

  close(): void {
    for (const session of this.#sessions) session.destroy()
  }

  #serve(socket: TLSSocket): void {
    const workload = this.#pod.workload()
    const source = remoteOf(socket)
    const local = localOf(socket)
    if (workload === undefined || source === undefined || local === undefined) {
      return void socket.destroy()
    }
    let identity: SpiffeId
    try {
      identity = clientIdentity(socket, workload.identity.trustDomain)
      this.#pod.parts.revocations.admit(socket, this.#rootsPem, 'destination')
    } catch (error) {
      this.#logFailure(socket, toError(error))
      return void socket.destroy()
    }
    const peer = { source, local, identity }
    const session = serveHbone(socket, {
      clock: this.#pod.parts.clock,
      ...limitsOf(this.#pod.parts.http2),
      onRequest: (request) => void this.#onRequest(request, peer),
      onMalformed: (what) => this.#logFailure(socket, new Error(`malformed request: ${what}`)),
    })
    this.#sessions.add(session)
    // Its handshake was under way when the drain began; the client has a stream to open.
    if (this.#draining) {
      this.#pod.parts.clock.after(drainLingerMs, () => session.drain(), { background: true })
    }
    void session.closed.then(() => this.#sessions.delete(session))
  }

  async #onRequest(request: HboneRequest, peer: Peer): Promise<void> {
    let session: InboundSession | undefined
    try {
      const workload = await this.#pod.ownWorkload().catch((error: unknown) => {
        throw new Refusal(503, toError(error).message)
      })
      const { store, localhostTunnel, onDemand } = this.#pod.parts
      const { authority, headers } = request
      const isIp = authority.kind === 'ip'
      await onDemand?.inbound(workload, isIp ? authority.address : undefined)
      const target = inboundTarget({ ...peer, store, workload, authority, localhostTunnel })
      const network = headers['x-forwarded-network']
      const foreign = typeof network === 'string' && network !== workload.network
      session = new InboundSession({
        pod: this.#pod,
        workload,
        source: peer.source,
        ...target,
        identity: peer.identity,
        // From another network the address is a gateway's; who it is, is only in the baggage.
        ...(foreign ? { baggage: parseBaggage(headers['baggage']) } : {}),
        host: forwardedHost(headers['forwarded']),
        signal: request.signal,
      })
      session.authorize()
      const application = await session.connect()
      const stream = request.accept({ baggage: encodeBaggage(baggageOf(workload)) })
      await session.carry(stream, application)
    } catch (thrown) {
      const error = toError(thrown)
      request.reject(statusOf(error))
      if (session === undefined) this.#logRefusal(request, peer, error)
      else session.finish(error)
    }
  }

  #logRefusal(request: HboneRequest, peer: Peer, error: Error): void {
    this.#pod.parts.accessLog.failed(
      {
        source: accessPeer(peer.source, undefined, undefined),
        destination: accessPeer(peer.local, this.#pod.workload(), undefined),
        hboneAddress: request.authorityText.slice(0, 300),
        direction: 'inbound',
      },
      describe(error),
    )
  }

  #logFailure(socket: net.Socket | TLSSocket, error: Error): void {
    const source = remoteOf(socket) ?? { address: 'unknown', port: 0 }
    const address = this.#pod.workload()?.addresses[0] ?? 'unknown'
    this.#pod.parts.accessLog.failed(
      {
        source: accessPeer(source, undefined, undefined),
        destination: accessPeer(
          { address, port: ports.inboundHbone },
          this.#pod.workload(),
          undefined,
        ),
        direction: 'inbound',
      },
      error.message,
    )
  }
}

function limitsOf({ limits }: ProxyParts['http2']): { readonly limits?: Http2Limits } {
  return limits === undefined ? {} : { limits }
}

function statusOf(error: Error): number {
  if (error instanceof Refusal) return error.status
  return error instanceof ConnectionError && error.flag === 'DENY' ? 401 : 503
}

/** The local end of a TLS connection: of the socket below it. */
function localOf(socket: TLSSocket): SocketAddress | undefined {
  const { localAddress: address, localPort: port } = socket
  if (address === undefined || port === undefined) return undefined
  return remoteOf({ remoteAddress: address, remotePort: port })
}
