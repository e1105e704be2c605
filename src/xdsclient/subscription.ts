/**
 * What the client knows of one type: which names it holds in which version, which it asked for. It
 * outlives connections; from it comes what a new connection claims to have.
 */
import { type Logger, toError } from '../base/index.ts'
import type { DeltaDiscoveryResponse, Resource } from '../proto/index.ts'
import { limits } from './limits.ts'
import type { DeltaType } from './types.ts'

interface Waiter {
  readonly promise: Promise<void>
  readonly resolve: () => void
}

export class Subscription {
  readonly type: DeltaType
  readonly #logger: Logger
  /** Accepted names and their versions. */
  readonly #held = new Map<string, string>()
  /** Held in an older version because the newer one was rejected; not claimed when reconnecting. */
  readonly #outdated = new Set<string>()
  /** Alias → name, to know that something asked for by alias is already here. */
  readonly #aliases = new Map<string, string>()
  /** Names asked for that are not (yet) here. A waiter until the first answer. */
  readonly #missing = new Map<string, Waiter | undefined>()
  #firstResponse = true

  constructor(type: DeltaType, logger: Logger) {
    this.type = type
    this.#logger = logger
  }

  /** What a new connection claims. */
  initialVersions(): Record<string, string> {
    this.#firstResponse = true
    const versions: Record<string, string> = {}
    for (const [name, version] of this.#held)
      if (!this.#outdated.has(name)) versions[name] = version
    for (const name of this.#missing.keys()) versions[name] = ''
    return versions
  }

  /** Applies a response; returns the reasons of rejected resources. */
  apply(response: DeltaDiscoveryResponse): string[] {
    const reasons: string[] = []
    const mentioned = new Set<string>()
    // Removals first: an address that moved to another name must not be lost.
    for (const name of response.removedResources) {
      this.#remove(name)
      this.#answered(name)
    }
    for (const resource of response.resources) {
      mentioned.add(resource.name)
      const reason = this.#accept(resource)
      if (reason !== undefined) reasons.push(`${resource.name}: ${reason}`)
    }
    this.#dropUnmentioned(mentioned)
    this.#guard(() => this.type.onBatchEnd?.())
    for (const { name, aliases } of response.resources) {
      this.#answered(name)
      for (const alias of aliases) this.#answered(alias)
    }
    return reasons
  }

  /**
   * Asks for a name; `send` is called when the control plane must be asked. Resolves when the
   * control plane has answered, with the resource or with its absence.
   */
  demand(name: string, send: () => void): Promise<void> {
    if (this.type.wildcard || this.#held.has(name) || this.#aliases.has(name))
      return Promise.resolve()
    if (this.#missing.has(name)) return this.#missing.get(name)?.promise ?? Promise.resolve()
    this.#makeRoom()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#missing.set(name, { promise, resolve })
    send()
    return promise
  }

  #accept(resource: Resource): string | undefined {
    const { name, version, aliases } = resource
    try {
      this.type.onResource(name, resource.resource?.value ?? new Uint8Array(), version)
    } catch (error) {
      if (this.#held.has(name)) this.#outdated.add(name)
      return toError(error).message
    }
    this.#held.set(name, version)
    this.#outdated.delete(name)
    if (!this.type.wildcard) for (const alias of aliases) this.#aliases.set(alias, name)
    return undefined
  }

  #remove(name: string): void {
    if (this.#held.delete(name)) {
      this.#outdated.delete(name)
      for (const [alias, owner] of this.#aliases) if (owner === name) this.#aliases.delete(alias)
    }
    this.#guard(() => this.type.onRemoved(name))
  }

  /**
   * Names that were not claimed can't come back as removed. The first response of a wildcard
   * subscription has all that exist and were not claimed: what it does not mention is gone.
   */
  #dropUnmentioned(mentioned: ReadonlySet<string>): void {
    if (!this.#firstResponse) return
    this.#firstResponse = false
    if (!this.type.wildcard) return
    for (const name of this.#outdated) if (!mentioned.has(name)) this.#remove(name)
  }

  #answered(name: string): void {
    const waiter = this.#missing.get(name)
    if (this.#held.has(name) || this.#aliases.has(name)) this.#missing.delete(name)
    else if (waiter !== undefined) this.#missing.set(name, undefined)
    waiter?.resolve()
  }

  #makeRoom(): void {
    if (this.#missing.size < limits.demandedMax) return
    for (const [name, waiter] of this.#missing) {
      if (waiter !== undefined) continue
      this.#missing.delete(name)
      return
    }
  }

  /** A removal or a swap that throws is our own mistake; the stream goes on. */
  #guard(act: () => void): void {
    try {
      act()
    } catch (error) {
      this.#logger.error('applying a response failed', {
        type: this.type.typeUrl,
        error: toError(error).stack ?? toError(error).message,
      })
    }
  }
}
