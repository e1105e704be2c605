/** Name servers behind the mesh, asked from the namespace of the pod that asked. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { toError } from '../../base/index.ts'
import { type ExchangeSockets, exchange, type NameServer } from '../../dns/index.ts'
import { tcpSocket, udpSocket } from '../../linux/index.ts'
import { ConnectionError } from '../errors.ts'
import { socketMark } from '../limits.ts'

const tryMs = 2_000

/** The servers of a resolv.conf; none when it can't be read. */
export function readNameServers(path = '/etc/resolv.conf'): NameServer[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return []
  }
  return text.split('\n').flatMap((line) => {
    const [keyword, address = ''] = line.trim().split(/\s+/)
    // A zone index means nothing in another namespace.
    return keyword === 'nameserver' && net.isIP(address) !== 0 ? [{ address, port: 53 }] : []
  })
}

/**
 * Asks one server after the other until one answers.
 * @returns the encoded answer
 */
export async function askUpstream(
  servers: readonly NameServer[],
  query: Uint8Array,
  netnsFd: number,
): Promise<Uint8Array> {
  let failure: unknown
  for (const server of servers) {
    try {
      return await exchange(server, query, tryMs, socketsIn(netnsFd))
    } catch (error) {
      failure = error
    }
  }
  throw new ConnectionError(
    'NODEPROXY_DNS',
    failure === undefined
      ? 'there is no name server in /etc/resolv.conf'
      : `no name server answered: ${toError(failure).message}`,
    { cause: failure },
  )
}

/** Marked, so that the rules of the pod do not lead the question back to us. */
function socketsIn(netnsFd: number): ExchangeSockets {
  return {
    udp(family) {
      const address = family === 4 ? '0.0.0.0' : '::'
      const fd = udpSocket({ netnsFd, family, address, port: 0, mark: socketMark })
      const socket: UdpSocket = createSocket(family === 4 ? 'udp4' : 'udp6')
      socket.bind({ fd })
      return socket
    },
    tcp({ address, port }) {
      const family = address.includes(':') ? 6 : 4
      const socket = new net.Socket({ fd: tcpSocket({ netnsFd, family, mark: socketMark }) })
      return socket.connect({ host: address, port })
    },
  }
}
