/**
 * Key sets (JWKS) for the RequestAuthentications of the mesh: fetched here, so that proxies need no way out and
 * all have the same. A set that was had once is kept until a newer one is had.
 */

import type { Timer } from '../base/index.ts'
import { Backoff, type Clock, type Component, type Logger, toError } from '../base/index.ts'
import type { Snapshot } from '../model/index.ts'
import { keySetSources, Reader } from '../translate/index.ts'
import type { FetchKeySet } from './jwks-fetch.ts'
import type { MeshChange } from './source.ts'

export interface KeySetMetrics {
  fetched(): void
  failed(): void
}

export interface KeySetKeeperOptions {
  readonly source: {
    readonly snapshot: Snapshot
    onMeshChange(listener: (change: MeshChange) => void): () => void
    applyKeySets(sets: ReadonlyMap<string, string | undefined>): void
  }
  readonly fetch: FetchKeySet
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: KeySetMetrics
  /** A number from 0 to 1. */
  readonly random: () => number
  /** PILOT_JWT_PUB_KEY_REFRESH_INTERVAL; default 20 minutes, as Istio. */
  readonly refreshMs?: number
}

const defaultRefreshMs = 20 * 60_000
/** Of the refresh interval, to each side: replicas do not ask all at once. */
const jitter = 0.1
const retry = { initialMs: 1_000, maxMs: 5 * 60_000 } as const
/** A mesh has a few issuers; what asks for more than this is a mistake or an attack. */
export const sourcesMax = 1_000
/** Requests at once. */
const fetchesMax = 8

interface Source {
  readonly name: string
  timeoutMs: number
  readonly backoff: Backoff
  readonly abort: AbortController
  timer: Timer | undefined
}

export class KeySetKeeper implements Component {
  readonly #options: KeySetKeeperOptions
  readonly #sources = new Map<string, Source>()
  readonly #waiting: Source[] = []
  #running = 0
  #unsubscribe: (() => void) | undefined

  constructor(options: KeySetKeeperOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { source } = this.#options
    this.#unsubscribe = source.onMeshChange(({ touched, snapshot }) => {
      for (const config of touched.configs) {
        if (config.startsWith('RequestAuthentication/')) return this.#follow(snapshot)
      }
    })
    this.#follow(source.snapshot)
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    for (const source of this.#sources.values()) release(source)
    this.#sources.clear()
    this.#waiting.length = 0
  }

  /** Fetches what is newly wanted, lets go of what nobody wants any more. */
  #follow(snapshot: Snapshot): void {
    const { source: mesh, logger, random } = this.#options
    const wanted = keySetSources(new Reader(snapshot))
    const gone = new Map<string, undefined>()
    for (const [name, source] of this.#sources) {
      if (wanted.has(name)) continue
      release(source)
      this.#sources.delete(name)
      gone.set(name, undefined)
    }
    for (const [name, timeoutMs] of wanted) {
      const known = this.#sources.get(name)
      if (known !== undefined) {
        known.timeoutMs = timeoutMs
        continue
      }
      if (this.#sources.size >= sourcesMax) {
        logger.error('too many key sets; tokens of this issuer are refused', { name, sourcesMax })
        continue
      }
      const source: Source = {
        name,
        timeoutMs,
        backoff: new Backoff({ ...retry, random }),
        abort: new AbortController(),
        timer: undefined,
      }
      this.#sources.set(name, source)
      this.#enqueue(source)
    }
    if (gone.size > 0) mesh.applyKeySets(gone)
  }

  #enqueue(source: Source): void {
    this.#waiting.push(source)
    this.#next()
  }

  #next(): void {
    while (this.#running < fetchesMax) {
      const source = this.#waiting.shift()
      if (source === undefined) return
      if (source.abort.signal.aborted) continue
      this.#running++
      void this.#fetch(source).finally(() => {
        this.#running--
        this.#next()
      })
    }
  }

  async #fetch(source: Source): Promise<void> {
    const { source: mesh, fetch, clock, logger, metrics, random } = this.#options
    const { name, timeoutMs, backoff, abort } = source
    const { signal } = abort
    let delayMs: number
    try {
      const text = await fetch({ source: name, timeoutMs, signal })
      if (signal.aborted) return
      metrics.fetched()
      backoff.reset()
      const { refreshMs = defaultRefreshMs } = this.#options
      delayMs = refreshMs * (1 - jitter + 2 * jitter * random())
      mesh.applyKeySets(new Map([[name, text]]))
    } catch (error) {
      if (signal.aborted) return
      metrics.failed()
      delayMs = backoff.next()
      const again = { source: name, retryMs: Math.round(delayMs), error: toError(error).message }
      logger.warn('a key set could not be fetched; what was fetched before stays in use', again)
    }
    source.timer = clock.after(delayMs, () => this.#enqueue(source), { background: true })
  }
}

function release({ abort, timer }: Source): void {
  timer?.cancel()
  abort.abort()
}
