/** Port 15053 of a pod: names of the mesh from the store, all others from the name servers. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import {
  answerMessage,
  DnsServer,
  decodeMessage,
  encodeMessage,
  type Message,
  type QueryContext,
  recordTypes,
  responseCodes,
} from '../../dns/index.ts'
import { stopReceiving, udpSocket } from '../../linux/index.ts'
import { ports, socketMark } from '../limits.ts'
import type { Pod } from '../pod.ts'
import { answerName } from './answer.ts'
import type { DnsRequest } from './metrics.ts'
import type { DnsSettings } from './settings.ts'
import { askUpstream } from './upstream.ts'

/** Listening sockets of a pod. */
export interface PodService {
  /** Takes nothing new and leaves the ports to a successor; what was asked is still answered. */
  drain(): void
  /** Ends all at once. */
  close(): void
}

interface OpenUdp {
  readonly socket: UdpSocket
  readonly fd: number
  readonly family: 4 | 6
}

/** Opens the sockets of the pod. */
export async function serveDns(pod: Pod, settings: DnsSettings): Promise<PodService> {
  const server = new DnsServer(
    (query, context) => answer(pod, settings, query, context),
    pod.parts.logger.child('dns'),
  )
  const sockets: OpenUdp[] = []
  const closeSockets = (): void => {
    for (const { socket } of sockets) socket.close()
  }
  try {
    // Loopback and not any address: answers must come from where the redirection led the question,
    // or the kernel does not recognise them as its answers.
    sockets.push(openUdp(pod, 4, '127.0.0.1'))
    try {
      sockets.push(openUdp(pod, 6, '::1'))
    } catch {
      // A host without IPv6.
    }
    const tcp = await pod.listen(ports.dns, true, () => {})
    for (const { socket } of sockets) server.serveUdp(socket)
    server.serveTcp(tcp)
    return {
      drain() {
        for (const { fd, family } of sockets) stopReceiving(fd, family)
        tcp.close()
      },
      close() {
        closeSockets()
        tcp.close()
        server.close()
      },
    }
  } catch (error) {
    closeSockets()
    throw error
  }
}

function openUdp(pod: Pod, family: 4 | 6, address: string): OpenUdp {
  const { netnsFd } = pod
  const options = { netnsFd, family, address, port: ports.dns, mark: socketMark }
  const fd = udpSocket({ ...options, reusePort: true })
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4')
  socket.on('error', (error) => pod.parts.logger.warn('dns socket', { error: error.message }))
  // Unlike a bind by address, this one is done when it returns.
  socket.bind({ fd })
  return { socket, fd, family }
}

/** Rejections become SERVFAIL: an unknown client, and a name server that is silent. */
async function answer(
  pod: Pod,
  settings: DnsSettings,
  query: Message,
  { transport }: QueryContext,
): Promise<Message> {
  const [question] = query.questions
  if (question === undefined) {
    return answerMessage(query, { responseCode: responseCodes.formatError })
  }
  const { name, type } = question
  const client = await pod.ownWorkload()
  const request: DnsRequest = { type, transport, client }
  settings.metrics.asked(request)
  if (type === recordTypes.A || type === recordTypes.AAAA) {
    const { store, random } = pod.parts
    const answers = answerName({ ...settings, store, random, client, name, type })
    if (answers !== undefined) return answerMessage(query, { authoritative: true, answers })
  }
  return forward(pod, settings, query, request)
}

async function forward(
  pod: Pod,
  { nameServers, metrics }: DnsSettings,
  query: Message,
  request: DnsRequest,
): Promise<Message> {
  const { clock } = pod.parts
  const startedAt = clock.monotonic()
  metrics.forwarded(request)
  try {
    const bytes = await askUpstream(nameServers(), encodeMessage(query), pod.netnsFd)
    metrics.answered(request, (clock.monotonic() - startedAt) / 1000)
    return { ...decodeMessage(bytes), id: query.id, questions: query.questions, truncated: false }
  } catch (error) {
    metrics.failed(request)
    throw error
  }
}
