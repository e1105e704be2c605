/**
 * Pooled HBONE connections. A handshake costs as much as many streams, so connections are shared
 * by everything with the same key, opened one at a time for each key, and kept for five idle minutes.
 */
import type { OutgoingHttpHeaders } from 'node:http2'
import type { Duplex } from 'node:stream'
import { type Clock, MeshError } from '../base/index.ts'
import { ClientConnection, type HboneStream } from './client-connection.ts'
import { noRoom, poolClosed } from './errors.ts'
import {
  type Http2Limits,
  http2Limits,
  idleReleaseMs,
  maxReconnects,
  maxStreamsPerConnection,
} from './limits.ts'

export interface HboneConnectOptions {
  /**
   * All that makes two connections different: source identity, accepted destination identities,
   * destination socket address, source IP.
   */
  readonly key: string
  /** Makes the connection below: mutual TLS with ALPN h2. Called only when none is in the pool. */
  readonly openTls: () => Promise<Duplex>
  readonly authority: string
  readonly headers?: OutgoingHttpHeaders
  readonly signal?: AbortSignal
}

export interface HbonePoolOptions {
  readonly clock: Clock
  readonly maxStreamsPerConnection?: number
  readonly limits?: Http2Limits
  /** How long a connection without streams is kept. */
  readonly idleReleaseMs?: number
}

interface Entry {
  readonly connections: Set<ClientConnection>
  connecting: Promise<ClientConnection> | undefined
}

export class HboneClientPool {
  readonly #options: HbonePoolOptions
  readonly #entries = new Map<string, Entry>()
  /** All that are not closed, also those which take no more streams. */
  readonly #live = new Set<ClientConnection>()
  #closed = false

  constructor(options: HbonePoolOptions) {
    this.#options = options
  }

  /** Open connections, for metrics and tests. */
  get connectionCount(): number {
    return this.#live.size
  }

  /**
   * Opens a tunnel. Rejects with HboneRefusedError when the peer answers other than 200, and with
   * the error of `openTls` when there is no connection.
   */
  async connect(options: HboneConnectOptions): Promise<HboneStream> {
    const { key, openTls, authority, headers = {}, signal } = options
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted()
      const { connection, reused } = await this.#acquire(key, openTls)
      if (signal?.aborted === true) {
        connection.abandon()
        throw signal.reason
      }
      try {
        return await connection.open(authority, headers, signal)
      } catch (error) {
        // A pooled connection can have died unnoticed; no byte of the application is under way yet.
        const retry = reused && error instanceof MeshError && error.retryable
        if (!retry || attempt >= maxReconnects || this.#closed) throw error
      }
    }
  }

  /** Takes no new streams and closes every connection when its last stream ends. */
  drain(): void {
    this.#closed = true
    for (const connection of this.#live) connection.drain()
  }

  /** Ends every connection now. */
  close(): void {
    this.#closed = true
    for (const connection of this.#live) connection.destroy()
    this.#entries.clear()
  }

  /** Lets go of the connections whose key fails the test, when a certificate was replaced. */
  drainWhere(test: (key: string) => boolean): void {
    for (const [key, entry] of this.#entries) {
      if (!test(key)) continue
      for (const connection of entry.connections) connection.drain()
      entry.connections.clear()
      this.#forgetIfEmpty(key, entry)
    }
  }

  async #acquire(
    key: string,
    openTls: () => Promise<Duplex>,
  ): Promise<{ connection: ClientConnection; reused: boolean }> {
    for (let opened = 0; ; ) {
      if (this.#closed) throw poolClosed()
      const entry = this.#entry(key)
      for (const connection of entry.connections) {
        if (!connection.hasRoom) continue
        connection.reserve()
        return { connection, reused: opened === 0 }
      }
      if (entry.connecting !== undefined) {
        await entry.connecting
        continue
      }
      // A peer whose connections have no room even when new.
      if (opened++ > maxReconnects) throw noRoom()
      entry.connecting = this.#open(key, entry, openTls)
      await entry.connecting
    }
  }

  async #open(
    key: string,
    entry: Entry,
    openTls: () => Promise<Duplex>,
  ): Promise<ClientConnection> {
    try {
      const socket = await openTls()
      if (this.#closed) {
        socket.destroy()
        throw poolClosed()
      }
      const connection = new ClientConnection({
        socket,
        clock: this.#options.clock,
        limits: this.#options.limits ?? http2Limits,
        idleReleaseMs: this.#options.idleReleaseMs ?? idleReleaseMs,
        maxStreams: this.#options.maxStreamsPerConnection ?? maxStreamsPerConnection,
        onUnusable: (gone) => {
          entry.connections.delete(gone)
          this.#forgetIfEmpty(key, entry)
        },
        onClosed: (gone) => this.#live.delete(gone),
      })
      this.#live.add(connection)
      entry.connections.add(connection)
      return connection
    } finally {
      entry.connecting = undefined
      this.#forgetIfEmpty(key, entry)
    }
  }

  #entry(key: string): Entry {
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      entry = { connections: new Set(), connecting: undefined }
      this.#entries.set(key, entry)
    }
    return entry
  }

  #forgetIfEmpty(key: string, entry: Entry): void {
    if (entry.connections.size > 0 || entry.connecting !== undefined) return
    if (this.#entries.get(key) === entry) this.#entries.delete(key)
  }
}
