/** Init's end of the channel to the broker: the host's door for the network, and news for the user. */
import type { Server, Socket } from 'node:net'
import { MeshError } from '../../base/index.ts'
import {
  type BrokerToInit,
  fromWireError,
  type InitConfig,
  type InitToBroker,
  type ProgressEvent,
  toWireError,
} from '../broker/protocol.ts'
import type { ImageMapping } from '../images/index.ts'
import type { HostDoor, HostListener } from '../network/door.ts'

interface Waiting<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: Error) => void
}

export interface BrokerLinkHandlers {
  /** The deadline is in milliseconds. */
  readonly stop: (deadlineMs: number) => void
  readonly applySamples: (samples: readonly string[]) => Promise<void>
  readonly setImages: (images: readonly ImageMapping[]) => void
}

export class BrokerLink implements HostDoor {
  readonly #send: (message: InitToBroker) => void
  readonly #config = Promise.withResolvers<InitConfig>()
  readonly #lasting = new Map<string, Promise<HostListener>>()
  readonly #lastingWaiting = new Map<string, Waiting<HostListener>>()
  readonly #dials = new Map<number, Waiting<Socket>>()
  readonly #queries = new Map<number, (answer: Uint8Array | undefined) => void>()
  readonly #listens = new Map<number, Waiting<HostListener>>()
  #handlers: BrokerLinkHandlers | undefined
  #nextId = 1

  /** @param send puts a message on the channel */
  constructor(send: (message: InitToBroker) => void) {
    this.#send = send
  }

  /** What to run; the broker's first message. */
  get config(): Promise<InitConfig> {
    return this.#config.promise
  }

  handle(handlers: BrokerLinkHandlers): void {
    this.#handlers = handlers
  }

  /** One of the listeners that are there as long as the mesh: `registry`, `ingress`. */
  listener(name: string): Promise<HostListener> {
    let promise = this.#lasting.get(name)
    if (promise === undefined) {
      promise = new Promise((resolve, reject) =>
        this.#lastingWaiting.set(name, { resolve, reject }),
      )
      this.#lasting.set(name, promise)
    }
    return promise
  }

  dial(address: string, port: number): Promise<Socket> {
    const id = this.#nextId++
    this.#send({ type: 'dial', id, address, port })
    return new Promise((resolve, reject) => this.#dials.set(id, { resolve, reject }))
  }

  resolve(query: Uint8Array): Promise<Uint8Array | undefined> {
    const id = this.#nextId++
    this.#send({ type: 'dns', id, query })
    return new Promise((resolve) => this.#queries.set(id, resolve))
  }

  listen(name: string, port?: number): Promise<HostListener> {
    const id = this.#nextId++
    this.#send({ type: 'listen', id, name, port })
    return new Promise((resolve, reject) => this.#listens.set(id, { resolve, reject }))
  }

  release(port: number): void {
    this.#send({ type: 'listener-closed', port })
  }

  progress(step: string, status: ProgressEvent['status'], detail?: string): void {
    this.#send({ type: 'progress', step, status, ...(detail === undefined ? {} : { detail }) })
  }

  ready(): void {
    this.#send({ type: 'ready' })
  }

  failed(error: unknown): void {
    this.#send({ type: 'failed', error: toWireError(error) })
  }

  /** A message of the broker, with the handle that came along. */
  receive(message: BrokerToInit, handle: unknown): void {
    switch (message.type) {
      case 'start':
        return this.#config.resolve(message.config)
      case 'listener':
        // Node makes a Server of a listening handle.
        return this.#onListener(message, handle as Server)
      case 'listen-failed':
        return take(this.#listens, message.id)?.reject(fromWireError(message.error))
      case 'dialed': {
        const socket = handle as Socket
        // Before anything is read: the other side may have ended its direction already.
        socket.allowHalfOpen = true
        return take(this.#dials, message.id)?.resolve(socket)
      }
      case 'dial-failed':
        return take(this.#dials, message.id)?.reject(dialError(message.errno))
      case 'dns-answer':
        return take(this.#queries, message.id)?.(message.answer)
      case 'apply-samples':
        return this.#answer(message.id, () => this.#handlers?.applySamples(message.samples))
      case 'set-images':
        return this.#answer(message.id, () => this.#handlers?.setImages(message.images))
      case 'stop':
        this.#handlers?.stop(message.deadlineMs)
    }
  }

  #onListener(message: Extract<BrokerToInit, { type: 'listener' }>, server: Server): void {
    const { id, name, port } = message
    this.#send({ type: 'listener-taken', id })
    // Until someone serves it, a connection has nobody who would ever close it.
    server.on('connection', (socket) => {
      if (server.listenerCount('connection') === 1) socket.destroy()
    })
    const listener = { server, port }
    const asked = take(this.#listens, id)
    if (asked !== undefined) return asked.resolve(listener)
    const waiting = take(this.#lastingWaiting, name)
    if (waiting === undefined) this.#lasting.set(name, Promise.resolve(listener))
    else waiting.resolve(listener)
  }

  #answer(id: number, run: () => Promise<void> | void): void {
    const done = async (): Promise<void> => await run()
    done().then(
      () => this.#send({ type: 'answer', id, error: undefined }),
      (error: unknown) => this.#send({ type: 'answer', id, error: toWireError(error) }),
    )
  }
}

function take<K, V>(map: Map<K, V>, key: K): V | undefined {
  const value = map.get(key)
  map.delete(key)
  return value
}

function dialError(errno: string): Error {
  const message =
    errno === 'EACCES'
      ? 'the broker refuses destinations on this machine without --host-access'
      : `dialling on the host failed with ${errno}`
  return Object.assign(new MeshError('NETWORK_DIAL', message), { code: errno })
}
