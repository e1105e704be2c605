/**
 * What both inbound doors share once it is known who wants to reach which port of the pod:
 * registration, judgement, the connection to the application, the relay, telemetry.
 */
import type net from 'node:net'
import { errnoOf, toError } from '../base/index.ts'
import type { L4Decision, L4Request } from '../decide/index.ts'
import { type Baggage, formatHostPort, type RelayEnd, relay, reset } from '../hbone/index.ts'
import { type ConnectOptions, connectTcp } from '../linux/index.ts'
import type { AccessEntry, ConnectionCounters, Traffic } from '../telemetry/index.ts'
import { formatSpiffeId, type SpiffeId } from '../x509/index.ts'
import { accessPeer, inboundService, telemetryOf, telemetryOfBaggage } from './describe.ts'
import { ConnectionError, describe, flagOf } from './errors.ts'
import { connectTimeoutMs, keepalive, socketMark } from './limits.ts'
import type { Pod, SocketAddress } from './pod.ts'
import type { Workload } from './state/types.ts'

export interface InboundOptions {
  readonly pod: Pod
  readonly workload: Workload
  readonly source: SocketAddress
  /** The application's address and port. */
  readonly destination: SocketAddress
  /** Where the application takes it when that is elsewhere, and what it is sent first. */
  readonly application?: SocketAddress & { readonly header: Uint8Array | undefined }
  /** What the peer says of the client, when its address is not the client's. */
  readonly baggage?: Baggage
  /** Proven by mutual TLS; absent for plaintext. */
  readonly identity?: SpiffeId
  /** Service hostname which the client named. */
  readonly host?: string | undefined
  /** The client gave up before an answer. */
  readonly signal: AbortSignal
}

export class InboundSession {
  readonly #options: InboundOptions
  readonly #entry: AccessEntry
  readonly #counters: ConnectionCounters
  readonly #startedAt: number
  readonly #forget: () => void
  readonly #ends: RelayEnd[] = []
  #closedFor: string | undefined

  /** Registers the connection, so that from here on every policy change is noticed. */
  constructor(options: InboundOptions) {
    const { pod, source, destination, identity, workload, baggage } = options
    const { clock, metrics, connections, store } = pod.parts
    this.#options = options
    this.#startedAt = clock.monotonic()
    const peer =
      baggage === undefined ? store.workloadAt(workload.network, source.address) : undefined
    const service = inboundService(store.services, workload, destination.port, options.host)
    const sourceIdentity = identity === undefined ? undefined : formatSpiffeId(identity)
    const destinationIdentity = identity === undefined ? undefined : workload.spiffe
    const tunnel = identity !== undefined
    this.#entry = {
      source: accessPeer(source, peer, sourceIdentity),
      destination: accessPeer(
        tunnel ? { ...destination, port: 15_008 } : destination,
        workload,
        destinationIdentity,
      ),
      hboneAddress: tunnel ? formatHostPort(destination.address, destination.port) : undefined,
      service: service?.hostname,
      direction: 'inbound',
    }
    const traffic: Traffic = {
      reporter: 'destination',
      source: baggage === undefined ? telemetryOf(peer) : telemetryOfBaggage(baggage),
      destination: telemetryOf(workload),
      service,
      sourceIdentity,
      destinationIdentity,
      mutualTls: tunnel,
    }
    this.#counters = metrics.open(traffic)
    this.#forget = connections.add({
      podUid: pod.uid,
      info: {
        direction: 'inbound',
        protocol: tunnel ? 'HBONE' : 'TCP',
        source: this.#entry.source.address,
        destination: formatHostPort(destination.address, destination.port),
      },
      judge: () => this.judge(),
      close: (reason) => {
        this.#closedFor = reason
        for (const end of this.#ends) reset(end)
      },
    })
  }

  /** The decision over the policies and the workload as they are now. */
  judge(): L4Decision {
    const { pod, source, destination, identity, workload } = this.#options
    const current = pod.workload() ?? workload
    const request: L4Request = {
      sourceIdentity: identity,
      sourceIp: source.address,
      destinationIp: destination.address,
      destinationPort: destination.port,
      destinationNamespace: current.namespace,
      workloadPolicies: current.policies,
    }
    const decision = pod.parts.store.policies.decide(request)
    if (decision.dryRun !== undefined) this.#logDryRun(decision)
    return decision
  }

  /** Throws when the policies deny it. */
  authorize(): void {
    const decision = this.judge()
    if (decision.allowed) return
    const why =
      decision.reason === 'denied-by'
        ? `explicitly denied by: ${decision.policy}`
        : 'allow policies exist, but none allowed'
    throw new ConnectionError(
      'NODEPROXY_DENIED',
      `connection closed due to policy rejection: ${why}`,
      { flag: 'DENY' },
    )
  }

  /** Reaches the application, from the client's own address when that is possible. */
  async connect(): Promise<net.Socket> {
    const { pod, source, application, signal } = this.#options
    const { address, port } = application ?? this.#options.destination
    const options = {
      netnsFd: pod.netnsFd,
      host: address,
      port,
      mark: socketMark,
      keepalive,
      connectTimeoutMs,
    }
    // Loopback is never reached from an address outside.
    const ownAddress = source.address === address || isLoopback(address)
    const keepSource = pod.parts.originalSource && !ownAddress
    try {
      const socket = keepSource
        ? await connectAs(source.address, options, signal)
        : await connectTcp(options, signal)
      if (application?.header !== undefined) socket.write(application.header)
      return socket
    } catch (cause) {
      throw new ConnectionError(
        'NODEPROXY_APPLICATION',
        `the application does not answer at ${formatHostPort(address, port)}: ${toError(cause).message}`,
        { flag: 'CONNECT', cause },
      )
    }
  }

  /** Relays until both ends are closed, and accounts for it; never rejects. */
  async carry(client: RelayEnd, application: RelayEnd): Promise<void> {
    this.#options.pod.parts.accessLog.opened(this.#entry)
    this.#ends.push(client, application)
    // A policy change while the application was being reached.
    if (this.#closedFor !== undefined) for (const end of this.#ends) reset(end)
    try {
      await relay({
        client,
        server: application,
        onForward: (bytes) => this.#counters.addForward(bytes),
        onBackward: (bytes) => this.#counters.addBackward(bytes),
      })
      this.finish()
    } catch (error) {
      this.finish(toError(error))
    }
  }

  /** Accounts for the end. */
  finish(error?: Error): void {
    const { clock, accessLog } = this.#options.pod.parts
    const failure = this.#closedFor === undefined ? error : new Error(this.#closedFor)
    this.#forget()
    this.#counters.close(failure === undefined ? undefined : this.#flag(failure))
    accessLog.complete(this.#entry, {
      bytesSent: this.#counters.backward,
      bytesReceived: this.#counters.forward,
      durationMs: clock.monotonic() - this.#startedAt,
      error: failure === undefined ? undefined : describe(failure),
    })
  }

  #flag(failure: Error): ReturnType<typeof flagOf> {
    return this.#closedFor === undefined ? flagOf(failure) : 'DENY'
  }

  #logDryRun(decision: L4Decision): void {
    const { logger } = this.#options.pod.parts
    if (!logger.enabled('info') || decision.withDryRun?.allowed === decision.allowed) return
    logger.info('dry-run policies would change the decision', {
      source: this.#entry.source.address,
      destination: this.#entry.destination.address,
      allowed: decision.allowed,
      'with-dry-run': decision.withDryRun?.allowed,
      policy: decision.withDryRun?.policy,
    })
  }
}

/** The kernel does not let us use the client's address: no capability, or it is our own. */
function isBindRefusal(error: unknown): boolean {
  const code = errnoOf(error) ?? ''
  return /(EADDRNOTAVAIL|EACCES|EPERM|EADDRINUSE)$/.test(code)
}

/** From that address if the kernel lets us, else from the pod's own. */
async function connectAs(
  source: string,
  options: ConnectOptions,
  signal: AbortSignal,
): Promise<net.Socket> {
  try {
    const bind = { address: source, port: 0 }
    return await connectTcp({ ...options, transparent: true, bind }, signal)
  } catch (error) {
    if (!isBindRefusal(error)) throw error
    return connectTcp(options, signal)
  }
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}
