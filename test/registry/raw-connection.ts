/** A TLS connection that speaks what a test tells it, byte by byte, and keeps what comes back. */
import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'
import type { Ready } from './registry-process.ts'

export class RawConnection {
  readonly socket: TLSSocket
  received = ''

  private constructor(socket: TLSSocket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1')
    })
    socket.on('error', () => {})
  }

  static async open(ready: Ready, protocol: 'h2' | 'http/1.1'): Promise<RawConnection> {
    const { hostname: host, port } = new URL(ready.url)
    const { caPem: ca, certPem: cert, keyPem: key } = ready
    const options = { host, port: Number(port), ca, cert, key, ALPNProtocols: [protocol] }
    const socket = connect(options)
    await once(socket, 'secureConnect')
    return new RawConnection(socket)
  }

  send(text: string): void {
    this.socket.write(text)
  }

  /** Resolves when the server has closed the connection, with what came before. */
  async closed(): Promise<string> {
    if (!this.socket.closed) await this.#close()
    return this.received
  }

  /** Resolves when the pattern has come; rejects when the connection ends without it. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.received)) {
      if (this.socket.closed) throw new Error(`the connection ended after: ${this.received}`)
      await Promise.race([
        new Promise((resolve) => this.socket.once('data', resolve)),
        this.#close(),
      ])
    }
    return this.received
  }

  /** A reset is an end as well. */
  #close(): Promise<unknown> {
    return new Promise((resolve) => this.socket.once('close', resolve))
  }
}
