/** One enrolled pod of this node: its namespace, its connections to peers, its own workload. */
import { once } from 'node:events'
import net from 'node:net'
import type { Clock, Logger } from '../base/index.ts'
import { HboneClientPool, type HbonePoolOptions } from '../hbone/index.ts'
import type { CertificateManager } from '../identity/index.ts'
import { closeFd, fdOf, listenTcp, localAddress, originalDestination } from '../linux/index.ts'
import type { AccessLog, TrafficMetrics } from '../telemetry/index.ts'
import type { ConnectionManager } from './connections.ts'
import type { DnsSettings } from './dns/settings.ts'
import { ConnectionError } from './errors.ts'
import { keepalive, listenBacklog, ownWorkloadWaitMs, socketMark } from './limits.ts'
import type { OnDemand } from './on-demand.ts'
import type { RevocationGuard } from './revocation-guard.ts'
import type { Store } from './state/store.ts'
import type { Workload } from './state/types.ts'

/** What the agent tells of a pod. */
export interface PodInfo {
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
}

/** Certificates for the identities of local pods. */
export type CertificateProvider = Pick<CertificateManager, 'fetch' | 'forget' | 'onChange'>

/** What the connections of all pods share. */
export interface ProxyParts {
  readonly store: Store
  readonly certificates: CertificateProvider
  readonly revocations: RevocationGuard
  readonly connections: ConnectionManager
  readonly metrics: TrafficMetrics
  readonly accessLog: AccessLog
  readonly clock: Clock
  readonly logger: Logger
  /** From 0 to below 1. */
  readonly random: () => number
  /** Undefined: the store has all that the control plane knows. */
  readonly onDemand: OnDemand | undefined
  /** Windows and the like, where they are not the usual ones. */
  readonly http2: Pick<HbonePoolOptions, 'limits' | 'maxStreamsPerConnection' | 'idleReleaseMs'>
  /** Reach applications from the address of the original client. */
  readonly originalSource: boolean
  /** Reach application tunnels (waypoints behind us) at loopback instead of the pod's address. */
  readonly localhostTunnel: boolean
  /** Undefined: pods' questions are not captured. */
  readonly dns: DnsSettings | undefined
}

export interface PodOptions {
  readonly uid: string
  readonly info: PodInfo
  /** Owned by the pod from here on. */
  readonly netnsFd: number
  readonly parts: ProxyParts
}

export class Pod {
  readonly uid: string
  readonly info: PodInfo
  readonly netnsFd: number
  readonly parts: ProxyParts
  readonly pool: HboneClientPool
  /** SPIFFE id, once its workload was known. */
  identity: string | undefined
  readonly #ended = new AbortController()

  constructor({ uid, info, netnsFd, parts }: PodOptions) {
    this.uid = uid
    this.info = info
    this.netnsFd = netnsFd
    this.parts = parts
    this.pool = new HboneClientPool({ clock: parts.clock, ...parts.http2 })
  }

  /** Aborted when the pod goes. */
  get signal(): AbortSignal {
    return this.#ended.signal
  }

  /** The pod's workload as xDS has it now. */
  workload(): Workload | undefined {
    const { name, namespace, serviceAccount } = this.info
    const workload = this.parts.store.workloads.byPod(namespace, name)
    // An account of another name is an older or newer pod of the same name.
    if (workload?.identity.serviceAccount !== serviceAccount) return undefined
    this.identity = workload.spiffe
    return workload
  }

  /** Waits a few seconds for the workload: connections right after enrolment hang instead of failing. */
  async ownWorkload(): Promise<Workload> {
    const known = this.workload()
    if (known !== undefined) return known
    const { store, clock, onDemand } = this.parts
    // Comes through the store; when it does not, the wait below ends with the better words.
    onDemand?.own(this.info).catch(() => {})
    const { promise, resolve, reject } = Promise.withResolvers<Workload>()
    const check = (): void => {
      const workload = this.workload()
      if (workload !== undefined) resolve(workload)
    }
    const stop = store.onChange(check)
    const fail = (): void => reject(this.#unknownWorkload())
    const timer = clock.after(ownWorkloadWaitMs, fail, { background: true })
    this.signal.addEventListener('abort', fail, { once: true })
    try {
      return await promise
    } finally {
      stop()
      timer.cancel()
      this.signal.removeEventListener('abort', fail)
    }
  }

  #unknownWorkload(): ConnectionError {
    const { namespace, name } = this.info
    return new ConnectionError(
      'NODEPROXY_UNKNOWN_WORKLOAD',
      `the control plane has not sent the workload of pod ${namespace}/${name}`,
      { hint: 'is the control plane up and does it watch this namespace?' },
    )
  }

  /** A listening server on a port of the pod, for IPv4 and, when there is one, IPv6. */
  async listen(
    port: number,
    allowHalfOpen: boolean,
    onConnection: (socket: net.Socket) => void,
  ): Promise<net.Server> {
    const server = net.createServer({ allowHalfOpen, noDelay: true }, (socket) => {
      socket.on('error', () => {})
      onConnection(socket)
    })
    server.listen({ fd: this.#bind(port), backlog: listenBacklog })
    await once(server, 'listening')
    // A full file table must not end the process; Node goes on accepting.
    server.on('error', (error) =>
      this.parts.logger.error('accepting failed', { port, error: error.message }),
    )
    return server
  }

  #bind(port: number): number {
    const common = {
      netnsFd: this.netnsFd,
      port,
      mark: socketMark,
      transparent: true,
      reusePort: true,
      backlog: listenBacklog,
      keepalive,
    }
    try {
      return listenTcp({ ...common, family: 6, address: '::' })
    } catch {
      return listenTcp({ ...common, family: 4, address: '0.0.0.0' })
    }
  }

  /** Ends what is the pod's own; connections are ended by the connection manager. */
  close(): void {
    this.#ended.abort(new ConnectionError('NODEPROXY_POD_GONE', 'the pod was removed'))
    this.pool.close()
    closeFd(this.netnsFd)
  }
}

export interface SocketAddress {
  readonly address: string
  readonly port: number
}

/** Where a redirected connection wanted to go; without redirection where it came in. */
export function destinationOf(socket: net.Socket): SocketAddress | undefined {
  return socket.destroyed ? undefined : (originalDestination(socket) ?? localAddress(fdOf(socket)))
}
