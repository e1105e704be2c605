/**
 * What happens to an object on its way to the store beyond decoding and validation: the built-in steps by
 * kind, then the webhooks that users configured. Mutation comes before validation, refusal after it.
 */
import type { GroupVersionKind, KubeObject } from '../../kube/index.ts'
import type { User } from '../auth/user.ts'
import type { ResourceType } from '../resource-type.ts'
import type { JsonMap } from '../values.ts'

export interface AdmissionRequest {
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT'
  readonly type: ResourceType
  readonly subresource: string | undefined
  readonly namespace: string
  readonly name: string
  readonly user: User
  readonly dryRun: boolean
  /** The request's options, as webhooks see them: CreateOptions and the like. */
  options(): JsonMap
  /** Where a subresource has a form of its own, such as Scale. */
  readonly shape?: AdmissionShape
  /** Shown to the user with the answer. */
  warn(text: string): void
}

/** How webhooks see the object of a subresource, and what becomes of their changes. */
export interface AdmissionShape {
  readonly kind: GroupVersionKind
  view(object: KubeObject): KubeObject
  take(object: KubeObject, changed: KubeObject): void
}

/** One built-in step. */
export interface AdmissionStep {
  /**
   * Before validation: may change `object` in place, or refuse by throwing an ApiError. Says whether it may have
   * changed something.
   */
  admit?(
    request: AdmissionRequest,
    object: KubeObject,
    old: KubeObject | undefined,
  ): boolean | Promise<boolean>
  /** After validation: may refuse only. */
  check?(request: AdmissionRequest, object: KubeObject, old: KubeObject | undefined): void
  /** The write of an object that was admitted failed, or was a dry run: give back what was taken. */
  abandon?(object: KubeObject, old: KubeObject | undefined): void
}

/** The objects of one request; `object` is absent for deletions. */
export interface Subject {
  readonly object: KubeObject | undefined
  readonly old: KubeObject | undefined
}

/** The webhooks, as the pipeline uses them. */
export interface WebhookStage {
  /** One request's way through the mutating webhooks; undefined when none is configured. */
  begin(request: AdmissionRequest): MutatingPass | undefined
  validate(request: AdmissionRequest, subject: Subject): Promise<void>
}

export interface MutatingPass {
  /** Calls the webhooks that match, in order; whether one of them changed the object. */
  run(subject: Subject): Promise<boolean>
  /** After the built-in steps saw the changes: calls those webhooks once more that asked for it. */
  runAgain(subject: Subject): Promise<void>
}

export class Admission {
  readonly #steps: readonly AdmissionStep[]
  readonly #webhooks: WebhookStage

  constructor(steps: readonly AdmissionStep[], webhooks: WebhookStage) {
    this.#steps = steps
    this.#webhooks = webhooks
  }

  /** Whether something may have changed the object, so that defaults have to be filled in again. */
  async admit(
    request: AdmissionRequest,
    object: KubeObject,
    old: KubeObject | undefined,
  ): Promise<boolean> {
    let changed = await this.#builtin(request, object, old)
    const pass = this.#webhooks.begin(request)
    if (pass === undefined) return changed
    if (await pass.run({ object, old })) {
      changed = true
      await this.#builtin(request, object, old)
      await pass.runAgain({ object, old })
    }
    return changed
  }

  /** After validation: who refuses the object as it would be stored. */
  async check(
    request: AdmissionRequest,
    object: KubeObject,
    old: KubeObject | undefined,
  ): Promise<void> {
    for (const step of this.#steps) step.check?.(request, object, old)
    await this.#webhooks.validate(request, { object, old })
  }

  /** For deletions, and for requests whose object isn't stored: only webhooks have a say. */
  async consult(request: AdmissionRequest, subject: Subject): Promise<void> {
    const pass = this.#webhooks.begin(request)
    if (await pass?.run(subject)) await pass?.runAgain(subject)
    await this.#webhooks.validate(request, subject)
  }

  abandon(object: KubeObject, old: KubeObject | undefined): void {
    for (const step of this.#steps) step.abandon?.(object, old)
  }

  async #builtin(
    request: AdmissionRequest,
    object: KubeObject,
    old: KubeObject | undefined,
  ): Promise<boolean> {
    let changed = false
    for (const step of this.#steps) {
      const result = step.admit?.(request, object, old) ?? false
      changed = (typeof result === 'boolean' ? result : await result) || changed
    }
    return changed
  }
}
