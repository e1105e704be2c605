/** One call of one webhook: whether it applies, the round trip, and what its answer means. */
import { randomUUID } from 'node:crypto'
import { toError } from '../../../base/index.ts'
import { badRequest, forbidden, internalError, type KubeObject } from '../../../kube/index.ts'
import type { Authorizer } from '../../auth/rbac.ts'
import type { ResourceType } from '../../resource-type.ts'
import type { JsonMap } from '../../values.ts'
import { subjectOf } from '../../verbs/target.ts'
import type { AdmissionRequest, Subject } from '../admission.ts'
import { Authority } from './cel-authorizer.ts'
import type { WebhookClient } from './client.ts'
import type { Webhook } from './configuration.ts'
import { conditionsHold } from './match-conditions.ts'
import type { WebhookMatcher } from './matching.ts'
import { denial, readAnswer, reviewRequest, reviewText } from './review.ts'

export interface CallContext {
  readonly matcher: WebhookMatcher
  readonly authorizer: Authorizer
  readonly clientOf: (webhook: Webhook) => WebhookClient
}

/** A call that is due: the webhook wants to see this request. */
export interface Invocation {
  readonly webhook: Webhook
  /** The version in which it wants the objects. */
  readonly matched: ResourceType
  readonly review: JsonMap
}

/** Whether a webhook is to be called, all that restricts it considered. */
export function invocationOf(
  context: CallContext,
  webhook: Webhook,
  request: AdmissionRequest,
  subject: Subject,
): Invocation | undefined {
  const matched = context.matcher.match(webhook, request, subject)
  if (matched === undefined) return undefined
  const review = reviewRequest(request, matched, subject)
  if (webhook.conditions.length > 0) {
    const authority = new Authority(context.authorizer, request.user)
    const { holds, error } = conditionsHold(webhook.conditions, { request: review, authority })
    if (error !== undefined && webhook.failsClosed) {
      throw forbidden(subjectOf(request.type, request.name), error)
    }
    if (!holds) return undefined
  }
  return { webhook, matched, review }
}

/** Calls the webhook; the patch of its answer, if there is one. Throws when the request is not to go on. */
export async function call(
  context: CallContext,
  invocation: Invocation,
  request: AdmissionRequest,
  mutating: boolean,
): Promise<string | undefined> {
  const { webhook, review } = invocation
  if (request.dryRun && !webhook.safeOnDryRun) {
    throw badRequest(`admission webhook ${JSON.stringify(webhook.name)} does not support dry run`)
  }
  const uid = randomUUID()
  const version = webhook.reviewVersion
  let failure: string
  try {
    const text = reviewText(version, uid, review)
    const body = await context.clientOf(webhook).post(text, webhook.timeoutSeconds)
    const answer = readAnswer(body, { version, uid, mutating })
    if (typeof answer !== 'string') {
      for (const warning of answer.warnings) request.warn(warning)
      if (!answer.allowed) throw denial(webhook.name, answer.result)
      return answer.patch
    }
    failure = `received invalid webhook response: ${answer}`
  } catch (error) {
    if (!isCallFailure(error)) throw error
    failure = `failed to call webhook: ${toError(error).message}`
  }
  if (!webhook.failsClosed) return undefined
  throw internalError(`failed calling webhook ${JSON.stringify(webhook.name)}: ${failure}`)
}

function isCallFailure(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return code === 'WEBHOOK_FAILED' || code === 'WEBHOOK_STATUS'
}

/** Puts the content of one object in the place of another's. */
export function replaceContent(object: KubeObject, content: KubeObject): void {
  for (const key of Object.keys(object)) delete (object as unknown as JsonMap)[key]
  Object.assign(object, content)
}
