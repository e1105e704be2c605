/** Port 15008: HBONE from other proxies (reference: ambient, inbound HBONE). */
import type net from 'node:net'
import type { TLSSocket } from 'node:tls'
import { toError } from '../base/index.ts'
import {
  encodeBaggage,
  type HboneRequest,
  type HboneServerConnection,
  serveHbone,
} from '../hbone/index.ts'
import type { SpiffeId } from '../x509/index.ts'
import { accessPeer, baggageOf, forwardedHost, remoteOf } from './describe.ts'
import { ConnectionError, describe, Refusal } from './errors.ts'
import { InboundSession } from './inbound-session.ts'
import { illegalPorts, ports } from './limits.ts'
import type { Pod, SocketAddress } from './pod.ts'
import type { Workload } from './state/types.ts'
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
      if (!socket.destroyed) this.#acceptor.accept(socket, certificate)
    } catch (error) {
      this.#logFailure(socket, toError(error))
      socket.destroy()
    }
  }

  drain(): void {
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
    } catch (error) {
      this.#logFailure(socket, toError(error))
      return void socket.destroy()
    }
    const peer = { source, local, identity }
    const session = serveHbone(socket, {
      clock: this.#pod.parts.clock,
      onRequest: (request) => void this.#onRequest(request, peer),
      onMalformed: (what) => this.#logFailure(socket, new Error(`malformed request: ${what}`)),
    })
    this.#sessions.add(session)
    void session.closed.then(() => this.#sessions.delete(session))
  }

  async #onRequest(request: HboneRequest, peer: Peer): Promise<void> {
    let session: InboundSession | undefined
    try {
      const workload = await this.#pod.ownWorkload().catch((error: unknown) => {
        throw new Refusal(503, toError(error).message)
      })
      const destination = this.#target(request, workload, peer)
      session = new InboundSession({
        pod: this.#pod,
        workload,
        source: peer.source,
        destination,
        identity: peer.identity,
        host: forwardedHost(request.headers['forwarded']),
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

  /** The application's address, checked: a peer may only reach this very pod through us. */
  #target(
    { authority, authorityText }: HboneRequest,
    workload: Workload,
    peer: Peer,
  ): SocketAddress {
    const { local } = peer
    let destination: SocketAddress
    if (authority.kind === 'ip') {
      if (authority.address !== local.address) {
        throw new Refusal(400, `CONNECT ${authorityText} is not for this pod (${local.address})`)
      }
      destination = authority
    } else {
      const port = servicePort(this.#pod, workload, authority.host, authority.port)
      if (port === undefined) {
        throw new Refusal(503, `this pod is no endpoint of ${authorityText}`)
      }
      destination = { address: local.address, port }
    }
    if (workload.applicationTunnel !== undefined) {
      throw new Refusal(503, 'application tunnels are not supported by this version')
    }
    if (illegalPorts.has(destination.port)) {
      throw new Refusal(503, `port ${destination.port} belongs to the proxy`)
    }
    return { address: destination.address, port: destination.port }
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

function statusOf(error: Error): number {
  if (error instanceof Refusal) return error.status
  return error instanceof ConnectionError && error.flag === 'DENY' ? 401 : 503
}

/** The target port at this workload of a port of one of its services. */
function servicePort(pod: Pod, workload: Workload, host: string, port: number): number | undefined {
  for (const [key, own] of workload.services) {
    if (key.slice(key.indexOf('/') + 1) !== host) continue
    const target = own.get(port) ?? pod.parts.store.services.get(key)?.ports.get(port) ?? 0
    if (target !== 0) return target
  }
  return undefined
}

/** The local end of a TLS connection: of the socket below it. */
function localOf(socket: TLSSocket): SocketAddress | undefined {
  const { localAddress: address, localPort: port } = socket
  if (address === undefined || port === undefined) return undefined
  return remoteOf({ remoteAddress: address, remotePort: port })
}
