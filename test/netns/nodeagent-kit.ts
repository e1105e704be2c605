/** Two network namespaces with a veth between them: `pod` gets the rules, `peer` is another machine. */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { canonicalIp } from '../../src/base/index.ts'
import {
  closeFd,
  connectTcp,
  createNetns,
  ipBatch,
  listenTcp,
  type OriginalDestination,
  originalDestination,
} from '../../src/linux/index.ts'

export const podAddress = { 4: '10.91.0.1', 6: 'fd91::1' } as const
export const peerAddress = { 4: '10.91.0.2', 6: 'fd91::2' } as const
export const probeAddress = '169.254.7.127'

export interface World {
  readonly pod: number
  readonly peer: number
  close(): void
}

/** Why these tests can't run here; undefined when they can. */
export function refusal(): string | undefined {
  try {
    closeFd(createNetns())
    return undefined
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    process.stderr.write(`SKIPPED: ${reason}\n`)
    return reason
  }
}

export async function createWorld(): Promise<World> {
  const [pod, peer] = [createNetns(), createNetns()]
  await ipBatch(
    [
      `link add eth0 type veth peer name eth0 netns /proc/${process.pid}/fd/${peer}`,
      'link set eth0 up',
      `addr add ${podAddress[4]}/24 dev eth0`,
      `addr add ${podAddress[6]}/64 dev eth0 nodad`,
      `route add default via ${peerAddress[4]}`,
    ],
    { netnsFd: pod },
  )
  await ipBatch(
    [
      'link set eth0 up',
      `addr add ${peerAddress[4]}/24 dev eth0`,
      `addr add ${probeAddress}/32 dev eth0`,
      `addr add ${peerAddress[6]}/64 dev eth0 nodad`,
    ],
    { netnsFd: peer },
  )
  return {
    pod,
    peer,
    close() {
      closeFd(pod)
      closeFd(peer)
    },
  }
}

/** What a server learns of a connection when it accepts it. */
export interface Accepted {
  readonly remoteAddress: string
  readonly original: OriginalDestination | undefined
}

export interface TestServer {
  readonly server: Server
  readonly sockets: readonly Socket[]
  readonly accepted: readonly Accepted[]
}

/** A server that answers every connection with its name and closes its side. */
export async function serve(
  netnsFd: number,
  port: number,
  name: string,
  options: { readonly mark?: number; readonly transparent?: boolean } = {},
): Promise<TestServer> {
  const sockets: Socket[] = []
  const accepted: Accepted[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket)
    const remoteAddress = canonicalIp(socket.remoteAddress ?? '')
    accepted.push({ remoteAddress, original: originalDestination(socket) })
    socket.on('error', () => {})
    socket.resume().end(name)
  })
  server.listen({ fd: listenTcp({ netnsFd, family: 6, address: '::', port, ...options }) })
  await once(server, 'listening')
  return { server, sockets, accepted }
}

/** Who answers at that address: the name of a server, or the error's code. */
export async function ask(
  netnsFd: number,
  host: string,
  port: number,
  options: {
    readonly mark?: number
    readonly source?: string
    readonly transparent?: boolean
  } = {},
): Promise<string> {
  try {
    const { source, ...rest } = options
    const socket = await connectTcp({
      netnsFd,
      host,
      port,
      ...rest,
      connectTimeoutMs: 2000,
      ...(source === undefined ? {} : { bind: { address: source, port: 0 } }),
    })
    socket.setEncoding('utf8').end()
    let text = ''
    for await (const chunk of socket) text += chunk
    return text
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
}
