/** The listeners of one pod, inside its network namespace. */
import type net from 'node:net'
import { type PodService, serveDns } from './dns/server.ts'
import { InboundHbone } from './inbound.ts'
import { serveInboundPlaintext } from './inbound-passthrough.ts'
import { ports } from './limits.ts'
import { serveOutbound } from './outbound.ts'
import { Pod, type PodOptions } from './pod.ts'

export class PodProxy {
  readonly pod: Pod
  readonly #hbone: InboundHbone
  #services: PodService[] = []

  constructor(options: PodOptions) {
    this.pod = new Pod(options)
    this.#hbone = new InboundHbone(this.pod)
  }

  /** Opens all listeners or none. */
  async start(): Promise<void> {
    const { pod } = this
    const listen = async (
      port: number,
      halfOpen: boolean,
      serve: (socket: net.Socket) => Promise<void>,
    ): Promise<void> => {
      const server = await pod.listen(port, halfOpen, (socket) => void serve(socket))
      const close = (): void => void server.close()
      this.#services.push({ drain: close, close })
    }
    try {
      await listen(ports.inboundHbone, false, (socket) => this.#hbone.accept(socket))
      await listen(ports.inboundPlaintext, true, (socket) => serveInboundPlaintext(pod, socket))
      await listen(ports.outbound, true, (socket) => serveOutbound(pod, socket))
      const { dns } = pod.parts
      if (dns !== undefined) this.#services.push(await serveDns(pod, dns))
    } catch (error) {
      this.close('the listeners could not be opened')
      throw error
    }
  }

  /** Accepts nothing new; what runs goes on. */
  stopListening(): void {
    for (const service of this.#services) service.drain()
    this.#hbone.drain()
  }

  /** The mesh trusts other roots now: connections that were proven by the old ones get no new streams. */
  renewConnections(identity: string): void {
    this.pod.pool.drainWhere((key) => key.startsWith(`${identity}|`))
    this.#hbone.renewSessions()
  }

  /** Ends everything of the pod at once. */
  close(reason: string): void {
    for (const service of this.#services) service.close()
    this.#services = []
    this.pod.parts.connections.closePod(this.pod.uid, reason)
    this.#hbone.close()
    this.pod.close()
  }
}
