/**
 * Egress: TCP from pods to the world ends here (redirected in the node's namespace), and goes on
 * from the host, where the broker dials it. The pod sees a connection that is reset if it can't be.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { type Component, errnoOf, type Logger } from '../../base/index.ts'
import { fdOf, originalDestination } from '../../linux/index.ts'
import { nodeAddress } from './addresses.ts'
import type { HostDoor } from './door.ts'
import { limits } from './limits.ts'
import { splice } from './splice.ts'

export class EgressRelay implements Component {
  readonly #door: HostDoor
  readonly #logger: Logger
  readonly #sockets = new Set<Socket>()
  readonly #server: Server
  #port = 0

  constructor(door: HostDoor, logger: Logger) {
    this.#door = door
    this.#logger = logger
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true })
    this.#server.maxConnections = limits.relayedConnections
  }

  /** Where the rules have to send connections; known after `start`. */
  get port(): number {
    return this.#port
  }

  start(): Promise<void> {
    this.#server.on('connection', (socket) => void this.#relay(socket))
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(0, nodeAddress, () => {
        const address = this.#server.address()
        this.#port = typeof address === 'object' && address !== null ? address.port : 0
        resolve()
      })
    })
  }

  async stop(): Promise<void> {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  async #relay(socket: Socket): Promise<void> {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    const target = originalDestination(fdOf(socket))
    // Without a redirection in between it says our own address: that would go in circles.
    if (target === undefined || target.address === nodeAddress) {
      socket.resetAndDestroy()
      return
    }
    try {
      const outside = await this.#door.dial(target.address, target.port)
      if (socket.destroyed) {
        outside.destroy()
        return
      }
      this.#sockets.add(outside)
      outside.on('close', () => this.#sockets.delete(outside))
      splice(socket, outside)
      socket.resume()
    } catch (error) {
      const errno = errnoOf(error) ?? 'EIO'
      this.#logger.info('egress refused', {
        from: socket.remoteAddress,
        to: `${target.address}:${target.port}`,
        errno,
        hint:
          errno === 'EACCES'
            ? 'start the mesh with --host-access to reach this machine'
            : undefined,
      })
      socket.resetAndDestroy()
    }
  }
}
