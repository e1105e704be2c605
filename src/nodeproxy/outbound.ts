/** Port 15001: connections that the pod opens (reference: ambient, outbound decision). */
import { randomFillSync } from 'node:crypto'
import { resolve4, resolve6 } from 'node:dns/promises'
import type { OutgoingHttpHeaders } from 'node:http2'
import type net from 'node:net'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { errnoOf, toError } from '../base/index.ts'
import {
  encodeBaggage,
  formatForwarded,
  formatHostPort,
  formatTraceparent,
  HboneClientPool,
  type HboneStream,
  type RelayEnd,
  relay,
  reset,
} from '../hbone/index.ts'
import type { WorkloadCertificate } from '../identity/index.ts'
import { connectTcp } from '../linux/index.ts'
import type { AccessEntry, Traffic } from '../telemetry/index.ts'
import { accessPeer, baggageOf, remoteOf, telemetryOf } from './describe.ts'
import { ConnectionError, describe, flagOf } from './errors.ts'
import { connectTimeoutMs, keepalive, ports, socketMark } from './limits.ts'
import { destinationOf, type Pod, type SocketAddress } from './pod.ts'
import { type Route, routeOutbound } from './route.ts'
import type { Workload } from './state/types.ts'
import { connectTls } from './tls.ts'

type OpenRoute = Exclude<Route, { kind: 'refused' }>
type HboneRoute = Extract<Route, { kind: 'hbone' }>

/** Serves one captured connection until it ends; never rejects. */
export async function serveOutbound(pod: Pod, socket: net.Socket): Promise<void> {
  const { accessLog, store, random, metrics, onDemand } = pod.parts
  const source = remoteOf(socket)
  const wanted = destinationOf(socket)
  if (source === undefined || wanted === undefined) return void socket.destroy()
  let client: Workload
  try {
    client = await pod.ownWorkload()
    await onDemand?.destination(client, wanted.address)
  } catch (error) {
    const entry: AccessEntry = {
      source: accessPeer(source, undefined, undefined),
      destination: accessPeer(wanted, undefined, undefined),
      direction: 'outbound',
    }
    accessLog.failed(entry, describe(toError(error)))
    return reset(socket)
  }
  const route = routeOutbound({ store, client, ...wanted, random })
  const entry = entryOf(source, wanted, client, route)
  const traffic = trafficOf(client, route)
  if (route.kind === 'refused') {
    metrics.fail(traffic, '-')
    accessLog.failed(entry, route.reason)
    return reset(socket)
  }
  await carry(pod, socket, { source, client, route, entry, traffic })
}

interface Outbound {
  readonly source: SocketAddress
  readonly client: Workload
  readonly route: OpenRoute
  readonly entry: AccessEntry
  readonly traffic: Traffic
}

async function carry(pod: Pod, socket: net.Socket, outbound: Outbound): Promise<void> {
  const { accessLog, metrics, clock, connections } = pod.parts
  const { entry, traffic, route } = outbound
  const startedAt = clock.monotonic()
  const counters = metrics.open(traffic)
  let closedFor: string | undefined
  let upstream: RelayEnd | undefined
  const clientGone = new AbortController()
  const onClose = (): void => clientGone.abort(new Error('the client closed the connection'))
  socket.once('close', onClose)
  const forget = connections.add({
    podUid: pod.uid,
    info: {
      direction: 'outbound',
      protocol: route.kind === 'hbone' ? 'HBONE' : 'TCP',
      source: entry.source.address,
      destination: entry.hboneAddress ?? entry.destination.address,
    },
    close: (reason) => {
      closedFor = reason
      reset(socket)
      if (upstream !== undefined) reset(upstream)
    },
  })
  let failure: Error | undefined
  try {
    upstream = await open(pod, outbound, clientGone.signal)
    accessLog.opened(entry)
    await relay({
      client: socket,
      server: upstream,
      onForward: (bytes) => counters.addForward(bytes),
      onBackward: (bytes) => counters.addBackward(bytes),
    })
  } catch (error) {
    failure = closedFor === undefined ? toError(error) : new Error(closedFor)
    reset(socket)
  }
  forget()
  counters.close(failure === undefined ? undefined : flagOf(failure))
  accessLog.complete(entry, {
    bytesSent: counters.forward,
    bytesReceived: counters.backward,
    durationMs: clock.monotonic() - startedAt,
    error: failure === undefined ? undefined : describe(failure),
  })
}

async function open(pod: Pod, outbound: Outbound, signal: AbortSignal): Promise<RelayEnd> {
  const { route } = outbound
  const host = isIP(route.host) === 0 ? await resolveHost(route.host) : route.host
  if (route.kind === 'hbone') {
    const tunnel = await openTunnel(pod, outbound, { ...route, host }, signal)
    return route.inner === undefined ? tunnel : openInner(pod, outbound, route, tunnel, signal)
  }
  return dial(pod, host, route.port, { allowHalfOpen: true, signal })
}

function openTunnel(
  pod: Pod,
  { client, source }: Outbound,
  route: HboneRoute,
  signal: AbortSignal,
): Promise<HboneStream> {
  const { host, port, expected } = route
  return pod.pool.connect({
    key: `${client.spiffe}|${expected.join(',')}|${formatHostPort(host, port)}|${source.address}`,
    openTls: () => openTls(pod, client, host, port, expected),
    authority: route.authority,
    headers: tunnelHeaders(client, source, route),
    signal,
  })
}

function tunnelHeaders(
  client: Workload,
  source: SocketAddress,
  route: HboneRoute,
): OutgoingHttpHeaders {
  return {
    baggage: encodeBaggage(baggageOf(client)),
    forwarded: formatForwarded(source.address, source.port, route.service?.hostname),
    traceparent: formatTraceparent(randomFillSync(new Uint8Array(24))),
  }
}

/** The second tunnel of a double one, in a connection of its own: TLS goes through to its far end. */
async function openInner(
  pod: Pod,
  { client, source }: Outbound,
  route: HboneRoute,
  tunnel: HboneStream,
  signal: AbortSignal,
): Promise<HboneStream> {
  const { authority, expected } = route.inner ?? route
  const pool = new HboneClientPool({ clock: pod.parts.clock, ...pod.parts.http2 })
  try {
    const certificate = await fetchCertificate(pod, client)
    const stream = await pool.connect({
      key: authority,
      openTls: () => connectTls(tunnel, certificate, expected, pod.parts.revocations),
      authority,
      headers: {
        ...tunnelHeaders(client, source, route),
        'x-forwarded-network': client.network,
      },
      signal,
    })
    stream.once('close', () => reset(tunnel))
    // Ends with its only stream.
    pool.drain()
    return stream
  } catch (error) {
    pool.close()
    reset(tunnel)
    throw error
  }
}

function fetchCertificate(pod: Pod, client: Workload): Promise<WorkloadCertificate> {
  return pod.parts.certificates.fetch(client.spiffe).catch((error: unknown) => {
    throw new ConnectionError(
      'NODEPROXY_IDENTITY',
      `there is no certificate for ${client.spiffe}: ${toError(error).message}`,
      { flag: 'IDENTITY_ERROR', cause: error },
    )
  })
}

/** Shared by everyone who waits for this connection, therefore without the signal of one of them. */
async function openTls(
  pod: Pod,
  client: Workload,
  host: string,
  port: number,
  expected: readonly string[],
): Promise<Duplex> {
  const certificate = await fetchCertificate(pod, client)
  const socket = await dial(pod, host, port, { allowHalfOpen: false, signal: pod.signal })
  return connectTls(socket, certificate, expected, pod.parts.revocations)
}

async function dial(
  pod: Pod,
  host: string,
  port: number,
  { allowHalfOpen, signal }: { readonly allowHalfOpen: boolean; readonly signal: AbortSignal },
): Promise<net.Socket> {
  const options = { netnsFd: pod.netnsFd, host, port, mark: socketMark }
  try {
    return await connectTcp({ ...options, keepalive, connectTimeoutMs, allowHalfOpen }, signal)
  } catch (cause) {
    // Packets to the proxy's port that vanish are what a NetworkPolicy looks like from here.
    const blocked = port === ports.inboundHbone && errnoOf(cause) === 'ETIMEDOUT'
    throw new ConnectionError(
      'NODEPROXY_CONNECT',
      `connecting to ${formatHostPort(host, port)} failed: ${toError(cause).message}`,
      {
        flag: blocked ? 'NETWORK_POLICY' : 'CONNECT',
        cause,
        ...(blocked ? { hint: `does a NetworkPolicy block port ${port} of the pod?` } : {}),
      },
    )
  }
}

/** For workloads that are known by name only. */
async function resolveHost(hostname: string): Promise<string> {
  const answers = await Promise.allSettled([resolve4(hostname), resolve6(hostname)])
  const [first] = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  if (first !== undefined) return first
  throw new ConnectionError('NODEPROXY_RESOLVE', `${hostname} has no address`, { flag: 'CONNECT' })
}

function trafficOf(client: Workload, route: Route): Traffic {
  const tunnel = route.kind === 'hbone'
  return {
    reporter: 'source',
    source: telemetryOf(client),
    destination: telemetryOf(route.destination),
    service: route.service,
    sourceIdentity: tunnel ? client.spiffe : undefined,
    destinationIdentity: tunnel ? identityAt(route) : undefined,
    mutualTls: tunnel,
  }
}

function entryOf(
  source: SocketAddress,
  wanted: SocketAddress,
  client: Workload,
  route: Route,
): AccessEntry {
  const tunnel = route.kind === 'hbone'
  const target = route.kind === 'refused' ? wanted : { address: route.host, port: route.port }
  return {
    source: accessPeer(source, client, tunnel ? client.spiffe : undefined),
    destination: accessPeer(target, route.destination, tunnel ? identityAt(route) : undefined),
    hboneAddress: tunnel ? route.authority : undefined,
    service: route.service?.hostname,
    direction: 'outbound',
  }
}

/** Whom the client talks to at the far end. */
function identityAt({ expected, inner }: HboneRoute): string | undefined {
  return (inner?.expected ?? expected)[0]
}
