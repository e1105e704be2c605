/** Names outside the cluster: asked of the host's own name servers, on the host. */
import { readFileSync, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { exchange, type NameServer } from '../../dns/index.ts'
import { limits } from './limits.ts'

/** The name servers in a resolv.conf; the local one when there are none, as the C library does. */
export function nameServersOf(text: string): NameServer[] {
  const servers = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)]
    .map((match) => ({ address: (match[1] ?? '').replace(/%.*$/, ''), port: 53 }))
    .filter((server) => isIP(server.address) !== 0)
  return servers.length === 0
    ? [{ address: '127.0.0.1', port: 53 }]
    : servers.slice(0, limits.nameServers)
}

export class HostResolver {
  readonly #file: string
  readonly #port: number
  #readAt = -1
  #servers: readonly NameServer[] = []
  #pending = 0

  constructor(file = '/etc/resolv.conf', port = 53) {
    this.#file = file
    this.#port = port
  }

  /** The first answer of any name server; undefined when none answers. */
  async resolve(query: Uint8Array): Promise<Uint8Array | undefined> {
    if (this.#pending >= limits.pendingQueries) return undefined
    this.#pending++
    try {
      for (const server of this.#currentServers()) {
        try {
          return await exchange({ ...server, port: this.#port }, query, limits.nameServerTimeoutMs)
        } catch {
          // The next one may know better.
        }
      }
      return undefined
    } finally {
      this.#pending--
    }
  }

  /** Read again when the file changes: laptops move between networks. */
  #currentServers(): readonly NameServer[] {
    try {
      const changedAt = statSync(this.#file).mtimeMs
      if (changedAt !== this.#readAt) {
        this.#servers = nameServersOf(readFileSync(this.#file, 'utf8'))
        this.#readAt = changedAt
      }
    } catch {
      this.#servers = nameServersOf('')
      this.#readAt = -1
    }
    return this.#servers
  }
}
