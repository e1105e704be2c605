/** Creating and deleting pods for an owner: expectations, events, and what a vanishing namespace means. */
import { isApiError, type KubeObject, resources } from '../kube/index.ts'
import { type ControllerContext, Expectations } from './context.ts'
import { ignoreMissing } from './namespace.ts'
import type { Pod } from './workload-types.ts'

export class PodControl {
  readonly #context: ControllerContext
  readonly #expectations: Expectations

  constructor(context: ControllerContext) {
    this.#context = context
    this.#expectations = new Expectations(context.clock)
  }

  /** Whether everything sent for this owner has been seen. */
  settled(key: string): boolean {
    return this.#expectations.satisfied(key)
  }

  forget(key: string): void {
    this.#expectations.forget(key)
  }

  /** To be told of every change of the owner's pods. */
  seen(key: string, pod: Pod, change: 'added' | 'updated' | 'deleted'): void {
    const { name, deletionTimestamp } = pod.metadata
    if (change === 'added') this.#expectations.seen(key, `+${name}`)
    if (change === 'deleted' || deletionTimestamp !== undefined) {
      this.#expectations.seen(key, `-${name}`)
    }
  }

  async create(key: string, owner: KubeObject, pod: Pod): Promise<void> {
    const { client, events } = this.#context
    const { name } = pod.metadata
    this.#expectations.expect(key, `+${name}`)
    try {
      await client.create(resources.pods, pod)
      events.record(owner, 'Normal', 'SuccessfulCreate', `Created pod: ${name}`)
    } catch (error) {
      this.#expectations.seen(key, `+${name}`)
      // The namespace is being emptied, and the owner with it.
      if (namespaceTerminating(error)) return
      const text = `Error creating: ${(error as Error).message}`
      events.record(owner, 'Warning', 'FailedCreate', text)
      throw error
    }
  }

  async delete(key: string, owner: KubeObject, pod: Pod): Promise<void> {
    const { client, events } = this.#context
    const { namespace, name } = pod.metadata
    this.#expectations.expect(key, `-${name}`)
    try {
      await client.delete(resources.pods, namespace, name)
      events.record(owner, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`)
    } catch (error) {
      this.#expectations.seen(key, `-${name}`)
      ignoreMissing(error)
    }
  }
}

export function namespaceTerminating(error: unknown): boolean {
  return (
    isApiError(error) &&
    error.status.details?.causes?.some((cause) => cause.reason === 'NamespaceTerminating') === true
  )
}
