/** The listeners of one pod, inside its network namespace. */
import { serveDns } from './dns/server.ts'
import { InboundHbone } from './inbound.ts'
import { serveInboundPlaintext } from './inbound-passthrough.ts'
import { ports } from './limits.ts'
import { serveOutbound } from './outbound.ts'
import { Pod, type PodOptions } from './pod.ts'

export class PodProxy {
  readonly pod: Pod
  readonly #hbone: InboundHbone
  #servers: { close(): void }[] = []

  constructor(options: PodOptions) {
    this.pod = new Pod(options)
    this.#hbone = new InboundHbone(this.pod)
  }

  /** Opens all listeners or none. */
  async start(): Promise<void> {
    const { pod } = this
    try {
      this.#servers.push(
        await pod.listen(ports.inboundHbone, false, (socket) => void this.#hbone.accept(socket)),
      )
      this.#servers.push(
        await pod.listen(ports.inboundPlaintext, true, (socket) => {
          void serveInboundPlaintext(pod, socket)
        }),
      )
      this.#servers.push(
        await pod.listen(ports.outbound, true, (socket) => void serveOutbound(pod, socket)),
      )
      const { dns } = pod.parts
      if (dns !== undefined) this.#servers.push(await serveDns(pod, dns))
    } catch (error) {
      this.close('the listeners could not be opened')
      throw error
    }
  }

  /** Accepts nothing new; what runs goes on. */
  stopListening(): void {
    for (const server of this.#servers) server.close()
    this.#servers = []
    this.#hbone.drain()
  }

  /** Ends everything of the pod at once. */
  close(reason: string): void {
    for (const server of this.#servers) server.close()
    this.#servers = []
    this.pod.parts.connections.closePod(this.pod.uid, reason)
    this.#hbone.close()
    this.pod.close()
  }
}
