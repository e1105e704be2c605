/**
 * The host's listening sockets. Each is bound here, handed to init, and closed here once init has
 * it; so connections are accepted inside the tree only. After a crash of init they are bound again.
 */
import type { Server } from 'node:net'
import { MeshError } from '../../base/index.ts'
import type { ListenerRecord } from '../state/record.ts'
import { limits } from './limits.ts'
import { listenOnLoopback } from './ports.ts'
import type { BrokerToInit } from './protocol.ts'

interface Entry extends ListenerRecord {
  readonly flag: string | undefined
  /** Undefined once init has it. */
  server: Server | undefined
  handOverId: number
}

export class HostListeners {
  readonly #send: (message: BrokerToInit, server: Server) => void
  readonly #entries = new Map<number, Entry>()
  /** Ids of the broker's own count down, those of init's requests count up. */
  #ownId = -1

  constructor(send: (message: BrokerToInit, server: Server) => void) {
    this.#send = send
  }

  records(): ListenerRecord[] {
    return [...this.#entries.values()].map(({ name, port }) => ({ name, port }))
  }

  /** Binds a port that is there as long as the mesh. */
  async open(name: string, port: number, flag: string): Promise<void> {
    await this.#bind(name, port, flag)
  }

  /** Binds a port for init and hands it over as the answer to request `id`. */
  async openFor(id: number, name: string, port: number | undefined): Promise<void> {
    if (this.#entries.size >= limits.listeners) {
      throw new MeshError('BROKER_LISTENERS', `more than ${limits.listeners} loopback ports`, {
        hint: 'Delete some Services of type LoadBalancer.',
      })
    }
    const entry = await this.#bind(name, port ?? 0, undefined)
    this.#give(entry, id)
  }

  /** Hands everything that is still here to a freshly started init. */
  handOver(): void {
    for (const entry of this.#entries.values()) this.#give(entry, this.#ownId--)
  }

  taken(id: number): void {
    for (const entry of this.#entries.values()) {
      if (entry.handOverId !== id) continue
      entry.server?.close()
      entry.server = undefined
    }
  }

  forget(port: number): void {
    const entry = this.#entries.get(port)
    if (entry?.flag !== undefined) return
    entry?.server?.close()
    this.#entries.delete(port)
  }

  /** After init's end: the lasting ports are bound again; it asks for the others itself. */
  async reopen(): Promise<void> {
    for (const entry of this.#entries.values()) {
      if (entry.flag === undefined) this.forget(entry.port)
      else entry.server ??= await this.#server(entry.port, entry.flag)
    }
  }

  close(): void {
    for (const entry of this.#entries.values()) entry.server?.close()
    this.#entries.clear()
  }

  async #bind(name: string, port: number, flag: string | undefined): Promise<Entry> {
    const server = await this.#server(port, flag)
    const address = server.address()
    const bound = typeof address === 'object' && address !== null ? address.port : port
    const entry: Entry = { name, port: bound, flag, server, handOverId: 0 }
    this.#entries.set(bound, entry)
    return entry
  }

  async #server(port: number, flag: string | undefined): Promise<Server> {
    const server = await listenOnLoopback(port, flag)
    // Until init has the socket nobody can serve who comes too early.
    server.on('connection', (socket) => socket.destroy())
    return server
  }

  #give(entry: Entry, id: number): void {
    if (entry.server === undefined) return
    entry.handOverId = id
    this.#send({ type: 'listener', id, name: entry.name, port: entry.port }, entry.server)
  }
}
