/**
 * The mutating webhooks' turn: one after the other, each sees what those before it made. When one changed
 * the object, the built-in steps run again, and after them the webhooks that asked for it and had been
 * called before the change.
 */
import { toError } from '../../../base/index.ts'
import { internalError, isApiError, type KubeObject } from '../../../kube/index.ts'
import { jsonPatch } from '../../../patch/index.ts'
import type { ResourceType } from '../../resource-type.ts'
import { sameValue } from '../../values.ts'
import { inVersion } from '../../verbs/versions.ts'
import type { AdmissionRequest, MutatingPass, Subject } from '../admission.ts'
import { type CallContext, call, type Invocation, invocationOf, replaceContent } from './calls.ts'
import type { Webhook } from './configuration.ts'

export interface MutatingContext extends CallContext {
  /** What decoding does to an object: defaults, and no unknown fields. */
  readonly normalise: (type: ResourceType, object: KubeObject) => void
}

export class MutatingWebhooks implements MutatingPass {
  readonly #context: MutatingContext
  readonly #webhooks: readonly Webhook[]
  readonly #request: AdmissionRequest
  /** Those that asked for it and were called since the last change. */
  #called = new Set<string>()
  /** Those which have to be called again. */
  readonly #due = new Set<string>()
  #last: KubeObject | undefined

  constructor(context: MutatingContext, webhooks: readonly Webhook[], request: AdmissionRequest) {
    this.#context = context
    this.#webhooks = webhooks
    this.#request = request
  }

  async run(subject: Subject): Promise<boolean> {
    const changed = await this.#round(subject, () => true)
    this.#last = changed ? structuredClone(subject.object) : undefined
    return changed
  }

  async runAgain(subject: Subject): Promise<void> {
    // The built-in steps changed what the last webhook left: then all that asked for it see that, too.
    if (!sameValue(this.#last, subject.object)) this.#requireAgain()
    await this.#round(subject, ({ id }) => this.#due.has(id))
  }

  async #round(subject: Subject, takesPart: (webhook: Webhook) => boolean): Promise<boolean> {
    let changedAny = false
    for (const webhook of this.#webhooks) {
      if (!takesPart(webhook)) continue
      const invocation = invocationOf(this.#context, webhook, this.#request, subject)
      if (invocation === undefined) continue
      const patch = await call(this.#context, invocation, this.#request, true)
      const changed = patch !== undefined && this.#patch(invocation, subject.object, patch)
      if (changed) {
        changedAny = true
        this.#requireAgain()
      }
      if (webhook.mayRepeat) this.#called.add(webhook.id)
    }
    return changedAny
  }

  #requireAgain(): void {
    for (const id of this.#called) this.#due.add(id)
    this.#called = new Set()
  }

  /** Applies a patch to the object itself; whether it changed something. */
  #patch(invocation: Invocation, object: KubeObject | undefined, text: string): boolean {
    const { webhook, matched } = invocation
    const { type, shape } = this.#request
    const name = JSON.stringify(webhook.name)
    const operations = parsed(text)
    if (Array.isArray(operations) && operations.length === 0) return false
    if (object === undefined) {
      throw internalError(
        `admission webhook ${name} attempted to modify the object, which is not supported for this operation`,
      )
    }
    const seen = shape === undefined ? inVersion(object, type, matched) : shape.view(object)
    const patched = applied(seen, operations)
    if (sameValue(seen, patched)) return false
    if (shape !== undefined) shape.take(object, patched)
    else {
      const next = inVersion(patched, matched, type)
      keepIdentity(next, object, name)
      this.#context.normalise(type, next)
      replaceContent(object, next)
    }
    return true
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw internalError(toError(error).message)
  }
}

function applied(object: KubeObject, operations: unknown): KubeObject {
  try {
    const patched = jsonPatch(object, operations)
    if (typeof patched === 'object' && patched !== null && !Array.isArray(patched)) {
      return patched as KubeObject
    }
  } catch (error) {
    if (!isApiError(error)) throw error
    throw internalError(error.message)
  }
  throw internalError('the patch of an admission webhook leaves no object')
}

/** A webhook changes what an object says, not which object it is, nor who owns its fields. */
function keepIdentity(next: KubeObject, before: KubeObject, webhook: string): void {
  const { metadata } = next
  if (typeof metadata !== 'object' || metadata === null) {
    throw internalError(`admission webhook ${webhook} removed metadata`)
  }
  for (const key of ['name', 'namespace', 'uid', 'resourceVersion'] as const) {
    if (metadata[key] === before.metadata[key]) continue
    throw internalError(`admission webhook ${webhook} changed metadata.${key}`)
  }
  if (next.kind !== before.kind || next.apiVersion !== before.apiVersion) {
    throw internalError(`admission webhook ${webhook} changed the kind of the object`)
  }
  const { managedFields, generation, creationTimestamp } = before.metadata
  Object.assign(metadata, { generation, creationTimestamp, managedFields })
  for (const key of ['generation', 'creationTimestamp', 'managedFields'] as const) {
    if (metadata[key] === undefined) delete metadata[key]
  }
}
