/** Keeps the node's rules true to Services and EndpointSlices. */
import { type Clock, type Component, type Logger, type Timer, toError } from '../../base/index.ts'
import type { Informer } from '../../client/index.ts'
import { limits } from './limits.ts'
import type { RuleWriter } from './rules.ts'
import {
  type EndpointSlice,
  type Service,
  serviceKeyOf,
  type VirtualPort,
  virtualKey,
  virtualPorts,
} from './service-table.ts'

export interface ServiceRulesOptions {
  readonly services: Informer<Service>
  /** With the index `sliceIndex`. */
  readonly slices: Informer<EndpointSlice>
  readonly rules: RuleWriter
  readonly clock: Clock
  readonly logger: Logger
}

/** Name of the index of slices by the key of their Service. */
export const sliceIndex = 'service'

export function slicesByService(slices: Informer<EndpointSlice>): void {
  slices.addIndex(sliceIndex, (slice) => {
    const key = serviceKeyOf(slice)
    return key === undefined ? [] : [key]
  })
}

export class ServiceRules implements Component {
  readonly #options: ServiceRulesOptions
  readonly #wanted = new Map<string, VirtualPort>()
  /** Virtual keys by Service, to find those of a Service that is gone. */
  readonly #byService = new Map<string, string[]>()
  readonly #removers: (() => void)[] = []
  readonly #dirty = new Set<string>()
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #stopped = false

  constructor(options: ServiceRulesOptions) {
    this.#options = options
  }

  /** Returns when the rules of everything known so far work. The informers are started already. */
  async start(): Promise<void> {
    const { services, slices } = this.#options
    const service = (object: Service): void => this.#mark(keyOf(object))
    const slice = (object: EndpointSlice): void => this.#mark(serviceKeyOf(object))
    this.#removers.push(
      services.on({ added: service, updated: service, deleted: service }),
      slices.on({ added: slice, updated: slice, deleted: slice }),
    )
    this.#timer?.cancel()
    this.#timer = undefined
    this.#recompute()
    await this.#options.rules.apply(this.#wanted)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const remove of this.#removers) remove()
    this.#timer?.cancel()
    await this.#running
  }

  #mark(key: string | undefined): void {
    if (key === undefined) return
    this.#dirty.add(key)
    this.#soon(limits.rulesDelayMs)
  }

  #soon(delayMs: number): void {
    if (this.#timer !== undefined || this.#stopped) return
    this.#timer = this.#options.clock.after(delayMs, () => {
      this.#timer = undefined
      // One change of the rules at a time; what comes meanwhile is collected.
      if (this.#running === undefined) this.#running = this.#update()
    })
  }

  async #update(): Promise<void> {
    this.#recompute()
    let again: number = limits.rulesDelayMs
    let failed = false
    try {
      await this.#options.rules.apply(this.#wanted)
    } catch (error) {
      failed = true
      again = limits.rulesRetryMs
      this.#options.logger.error('Service rules were refused; trying again', {
        error: toError(error).message,
      })
    }
    this.#running = undefined
    if (failed || this.#dirty.size > 0) this.#soon(again)
  }

  #recompute(): void {
    const { services, slices } = this.#options
    for (const key of this.#dirty) {
      for (const old of this.#byService.get(key) ?? []) this.#wanted.delete(old)
      const service = services.get(key)
      const ports =
        service === undefined ? [] : virtualPorts(service, slices.byIndex(sliceIndex, key))
      for (const port of ports) this.#wanted.set(virtualKey(port), port)
      if (ports.length === 0) this.#byService.delete(key)
      else this.#byService.set(key, ports.map(virtualKey))
    }
    this.#dirty.clear()
  }
}

function keyOf(object: Service): string {
  return `${object.metadata.namespace ?? 'default'}/${object.metadata.name}`
}
