/** What happens to an object between decoding and validation: the built-in admission steps, by kind. */
import type { KubeObject } from '../../kube/index.ts'
import type { User } from '../auth/user.ts'
import type { ResourceType } from '../resource-type.ts'

export interface AdmissionRequest {
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE'
  readonly type: ResourceType
  readonly subresource: string | undefined
  readonly namespace: string
  readonly user: User
  readonly dryRun: boolean
  /** Shown to the user with the answer. */
  warn(text: string): void
}

/** One step; it may change `object` in place or refuse by throwing an ApiError. */
export interface AdmissionStep {
  /** Before defaulting and validation. */
  admit(request: AdmissionRequest, object: KubeObject, old: KubeObject | undefined): Promise<void>
  /** The write of an object that was admitted failed, or was a dry run: give back what was taken. */
  abandon?(object: KubeObject, old: KubeObject | undefined): void
}

export class Admission {
  readonly #steps: readonly AdmissionStep[]

  constructor(steps: readonly AdmissionStep[]) {
    this.#steps = steps
  }

  async admit(
    request: AdmissionRequest,
    object: KubeObject,
    old: KubeObject | undefined,
  ): Promise<void> {
    for (const step of this.#steps) await step.admit(request, object, old)
  }

  abandon(object: KubeObject, old: KubeObject | undefined): void {
    for (const step of this.#steps) step.abandon?.(object, old)
  }
}
