/** What the network asks of the host, through the broker. Tests put their own behind it. */
import type { Server, Socket } from 'node:net'

export interface HostListener {
  readonly server: Server
  /** On the host's 127.0.0.1. */
  readonly port: number
}

export interface HostDoor {
  /** A connection made on the host; rejects with an error that has an errno as its `code`. */
  dial(address: string, port: number): Promise<Socket>
  /** The answer of the host's name servers; undefined when none answers. */
  resolve(query: Uint8Array): Promise<Uint8Array | undefined>
  /** A new loopback port of the host; `port` is a wish. */
  listen(name: string, port?: number): Promise<HostListener>
  /** Gives a port of `listen` back; the server is closed already. */
  release(port: number): void
}
