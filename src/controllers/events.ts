/** Writes events for people to read. A repeated one raises the count of the first, as in Kubernetes. */
import { type Clock, type Logger, toError } from '../base/index.ts'
import type { KubeClient } from '../client/index.ts'
import { formatTime, isApiError, type KubeObject, resources } from '../kube/index.ts'
import { limits } from './limits.ts'

export interface EventRecorderOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
  /** Who speaks: `kubelet`, `weft-controllers`. */
  readonly component: string
}

export type EventType = 'Normal' | 'Warning'

interface Recent {
  readonly name: string
  /** Writes of one event follow each other. */
  writing: Promise<unknown>
  count: number
}

export class EventRecorder {
  readonly #options: EventRecorderOptions
  readonly #recent = new Map<string, Recent>()
  /** Recorders differ in where they begin, so that two don't use one name in the same moment. */
  #sequence: number

  constructor(options: EventRecorderOptions) {
    this.#options = options
    const { component } = options
    this.#sequence = Buffer.from(component).reduce((sum, byte) => sum * 31 + byte, 0) % 1e6
  }

  /**
   * Never fails its caller.
   * @param fieldPath the part that is meant: `spec.containers{app}`
   */
  record(
    object: KubeObject,
    type: EventType,
    reason: string,
    message: string,
    fieldPath?: string,
  ): void {
    const key = [object.metadata.uid, type, reason, message, fieldPath].join('\n')
    const known = this.#recent.get(key)
    if (known !== undefined) {
      known.count++
      this.#queue(known, key, () => this.#repeat(object, known))
      return
    }
    const { clock } = this.#options
    this.#sequence = (this.#sequence + 1) % 1e6
    // Nanoseconds in form; a double could not hold them.
    const serial = BigInt(Math.floor(clock.now())) * 1_000_000n + BigInt(this.#sequence)
    const prefix = object.metadata.name.slice(0, limits.eventNamePrefixMax)
    const name = `${prefix}.${serial.toString(16)}`
    const made: Recent = { name, count: 1, writing: Promise.resolve() }
    this.#recent.set(key, made)
    if (this.#recent.size > limits.eventsRememberedMax) {
      this.#recent.delete(this.#recent.keys().next().value as string)
    }
    this.#queue(made, key, () => this.#create(object, made, { type, reason, message, fieldPath }))
  }

  #queue(event: Recent, key: string, write: () => Promise<unknown>): void {
    event.writing = event.writing.then(write).catch((error: unknown) => {
      // Expired or never written: the next one starts anew.
      this.#recent.delete(key)
      if (isApiError(error, 'NotFound')) return
      this.#options.logger.debug('an event was not written', { error: toError(error).message })
    })
  }

  async #repeat(object: KubeObject, event: Recent): Promise<void> {
    const { client, clock } = this.#options
    const body = { count: event.count, lastTimestamp: formatTime(clock.now()) }
    const { namespace = 'default' } = object.metadata
    await client.patch(resources.events, namespace, event.name, 'merge', body)
  }

  async #create(
    object: KubeObject,
    event: Recent,
    said: {
      readonly type: EventType
      readonly reason: string
      readonly message: string
      readonly fieldPath: string | undefined
    },
  ): Promise<void> {
    const { client, clock, component } = this.#options
    const { namespace, name, uid, resourceVersion } = object.metadata
    const { fieldPath, ...texts } = said
    const now = formatTime(clock.now())
    await client.create(resources.events, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: event.name, namespace: namespace ?? 'default' },
      involvedObject: {
        apiVersion: object.apiVersion,
        kind: object.kind,
        ...(namespace === undefined ? {} : { namespace }),
        name,
        uid,
        resourceVersion,
        ...(fieldPath === undefined ? {} : { fieldPath }),
      },
      ...texts,
      count: event.count,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component },
      reportingComponent: component,
      reportingInstance: '',
    } as KubeObject)
  }
}
