/** One proxy as the agent's server sees it: requests in order, each waiting for its ack. */
import { type Clock, MeshError, type Timer } from '../base/index.ts'
import { closeFd, type SeqPacketConnection } from '../linux/index.ts'
import { decodeAck, decodeHello, encodeRequest } from './codec.ts'
import { limits } from './limits.ts'
import type { ZdsRequest } from './types.ts'

export class ProxyConnection {
  readonly #socket: SeqPacketConnection
  readonly #clock: Clock
  #queue: Promise<unknown> = Promise.resolve()
  #waiter: PromiseWithResolvers<Uint8Array> | undefined
  #closed = false
  /** Pods that this proxy has acknowledged. */
  readonly acknowledged = new Set<string>()
  /** The snapshot has been sent and acknowledged. */
  ready = false

  constructor(socket: SeqPacketConnection, clock: Clock) {
    this.#socket = socket
    this.#clock = clock
  }

  get closed(): boolean {
    return this.#closed
  }

  get pid(): number {
    return this.#socket.peer.pid
  }

  /** Waits for the hello; then reads until the end, which is when the returned `ended` settles. */
  async open(): Promise<{ readonly ended: Promise<void> }> {
    const hello = this.#expect('hello')
    // Not awaited by everyone; a failure also closes the connection.
    const ended = this.#read()
    ended.catch(() => {})
    decodeHello(await hello)
    return { ended }
  }

  /**
   * Sends a request when those before it are answered. Resolves with the proxy's error text, empty
   * when there is none; rejects when the connection is gone or the answer does not come in time.
   * @param prepare called when its turn has come; undefined skips the request
   */
  request(
    prepare: () => { readonly message: ZdsRequest; readonly fds?: readonly number[] } | undefined,
  ): Promise<string | undefined> {
    const run = async (): Promise<string | undefined> => {
      if (this.#closed) throw gone()
      const prepared = prepare()
      if (prepared === undefined) return undefined
      const answer = this.#expect(prepared.message.kind)
      // The answer may fail first (the proxy ends); then the failed send is no second news.
      await Promise.all([this.#socket.send(encodeRequest(prepared.message), prepared.fds), answer])
      return decodeAck(await answer)
    }
    const result = this.#queue.then(run)
    this.#queue = result.catch((error) => {
      // Out of step with the proxy from here on: a new connection starts from a snapshot.
      this.close()
      return error
    })
    return result
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#socket.close()
    this.#waiter?.reject(gone())
    this.#waiter = undefined
  }

  #expect(what: string): Promise<Uint8Array> {
    const waiter = Promise.withResolvers<Uint8Array>()
    this.#waiter = waiter
    const timer: Timer = this.#clock.after(limits.ackTimeoutMs, () => {
      waiter.reject(
        new MeshError(
          'ZDS_TIMEOUT',
          `the node proxy did not answer ${what} within ${limits.ackTimeoutMs / 1000} s`,
          {
            hint: 'Look at the log of ztunnel on this node.',
            retryable: true,
          },
        ),
      )
      this.close()
    })
    return waiter.promise.finally(() => timer.cancel())
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const packet = await this.#socket.receive()
        if (packet === undefined) return
        for (const fd of packet.fds) closeFd(fd)
        const waiter = this.#waiter
        this.#waiter = undefined
        if (waiter === undefined || packet.fds.length > 0) {
          throw new MeshError(
            'ZDS_BAD_PACKET',
            'the node proxy sent a packet that nobody asked for',
          )
        }
        waiter.resolve(packet.data)
      }
    } finally {
      this.close()
    }
  }
}

function gone(): MeshError {
  return new MeshError('ZDS_DISCONNECTED', 'the node proxy has closed the connection', {
    retryable: true,
  })
}
