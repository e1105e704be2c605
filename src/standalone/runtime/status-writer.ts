/** Writes one pod's status to the registry: the newest wins, one write at a time, failures are tried again. */
import { Backoff, type Clock, type Logger, sleep, toError } from '../../base/index.ts'
import type { KubeClient } from '../../client/index.ts'
import { ApiError, resources } from '../../kube/index.ts'
import { limits } from './limits.ts'
import { namespaceOf, type Pod, type PodStatus, uidOf } from './types.ts'

export interface StatusWriterOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
  readonly pod: () => Pod
  /** Computed when it is written, not when it is asked for. */
  readonly status: () => PodStatus
}

export class StatusWriter {
  readonly #options: StatusWriterOptions
  #dirty = false
  #running: Promise<void> | undefined
  #written = ''
  #stopped = false

  constructor(options: StatusWriterOptions) {
    this.#options = options
  }

  /** Says that something changed. */
  changed(): void {
    this.#dirty = true
    this.#running ??= this.#run().finally(() => (this.#running = undefined))
  }

  /** Resolves when the present status is stored, or can't be any more. */
  async flush(): Promise<void> {
    this.changed()
    await this.#running
  }

  /** The pod is gone or no longer ours: writes nothing more. */
  stop(): void {
    this.#stopped = true
  }

  async #run(): Promise<void> {
    const { clock, logger, pod } = this.#options
    const backoff = new Backoff({ initialMs: 100, maxMs: 5_000 })
    while (this.#dirty && !this.#stopped) {
      await sleep(clock, limits.statusDelayMs)
      this.#dirty = false
      try {
        await this.#write()
        backoff.reset()
      } catch (error) {
        if (error instanceof ApiError && error.status.code === 404) return this.stop()
        logger.debug('a pod status was not written', {
          pod: pod().metadata.name,
          error: toError(error).message,
        })
        this.#dirty = true
        await sleep(clock, backoff.next())
      }
    }
  }

  async #write(): Promise<void> {
    if (this.#stopped) return
    const { client, pod, status } = this.#options
    const body = { reason: null, message: null, podIP: null, podIPs: null, ...status() }
    const text = JSON.stringify(body)
    if (text === this.#written) return
    const subject = pod()
    await client.patch(
      resources.pods,
      namespaceOf(subject),
      subject.metadata.name,
      'merge',
      // The uid keeps a late write off a new pod of the same name.
      { metadata: { uid: uidOf(subject) }, status: body },
      { subresource: 'status' },
    )
    this.#written = text
  }
}
