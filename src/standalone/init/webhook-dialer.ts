/**
 * How the registry reaches admission webhooks from inside the tree: endpoints of Services are at hand, and the
 * node's rules lead everything else to the egress relay. Only names need help: this process has the host's
 * resolver configuration and none of its name servers, so that cluster DNS is asked.
 */
import { Resolver } from 'node:dns/promises'
import { connect, isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import type { WebhookDialer } from '../../registry/index.ts'

/** @param nameServer cluster DNS, which passes on what it doesn't know */
export function webhookDialer(nameServer: string): WebhookDialer {
  const resolver = new Resolver({ tries: 2, timeout: 2_000 })
  resolver.setServers([nameServer])
  const addressOf = async (host: string): Promise<string> => {
    if (isIP(host) !== 0) return host
    const [address] = await resolver.resolve4(host)
    return address ?? host
  }
  return async ({ host, port }) => {
    const address = await addressOf(host)
    return new Promise<Duplex>((resolve, reject) => {
      const socket = connect({ host: address, port, noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(socket)
      })
    })
  }
}
