/** AdmissionReviews: the question that webhooks are sent, and reading their answers. */
import { ApiError, type KubeObject, type Status } from '../../../kube/index.ts'
import { userInfo } from '../../auth/user.ts'
import type { ResourceType } from '../../resource-type.ts'
import { isMap, type JsonMap, mapOf, stringsOf, textOf } from '../../values.ts'
import { inVersion } from '../../verbs/versions.ts'
import type { AdmissionRequest, Subject } from '../admission.ts'

const reviewGroup = 'admission.k8s.io'

/** The `request` of a review, with the objects in the version which the webhook asks for. */
export function reviewRequest(
  request: AdmissionRequest,
  matched: ResourceType,
  { object, old }: Subject,
): JsonMap {
  const { type, subresource, name, namespace, shape } = request
  const kindOf = ({ group, version, kind }: ResourceType): JsonMap => ({ group, version, kind })
  const resourceOf = ({ group, version, resource }: ResourceType): JsonMap => {
    return { group, version, resource }
  }
  const seen = (each: KubeObject | undefined): KubeObject | null => {
    if (each === undefined) return null
    return shape === undefined ? inVersion(each, type, matched) : shape.view(each)
  }
  return {
    kind: shape?.kind ?? kindOf(matched),
    resource: resourceOf(matched),
    ...(subresource === undefined ? {} : { subResource: subresource }),
    requestKind: shape?.kind ?? kindOf(type),
    requestResource: resourceOf(type),
    ...(subresource === undefined ? {} : { requestSubResource: subresource }),
    ...(name === '' ? {} : { name }),
    ...(namespaceOf(request) === '' ? {} : { namespace: namespaceOf(request) }),
    operation: request.operation,
    userInfo: userInfo(request.user),
    object: seen(object),
    oldObject: seen(old),
    dryRun: request.dryRun,
    options: request.options(),
  }

  function namespaceOf({ type: { group, resource } }: AdmissionRequest): string {
    // A namespace is asked about inside itself.
    return group === '' && resource === 'namespaces' ? name : namespace
  }
}

/** The whole review as it is sent. */
export function reviewText(version: string, uid: string, request: JsonMap): string {
  const apiVersion = `${reviewGroup}/${version}`
  return JSON.stringify({ kind: 'AdmissionReview', apiVersion, request: { uid, ...request } })
}

export interface ReviewAnswer {
  readonly allowed: boolean
  readonly warnings: readonly string[]
  /** A JSON patch, not looked at yet. */
  readonly patch: string | undefined
  /** Why not, when it isn't allowed. */
  readonly result: JsonMap | undefined
}

/** Reads an answer; the string is what is wrong with it. */
export function readAnswer(
  text: string,
  expected: { readonly version: string; readonly uid: string; readonly mutating: boolean },
): ReviewAnswer | string {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    return 'the answer is not JSON'
  }
  const review = mapOf(body)
  const apiVersion = `${reviewGroup}/${expected.version}`
  const { response } = review
  if (!isMap(response)) return 'webhook response was absent'
  if (expected.version === 'v1') {
    if (response.uid !== expected.uid) {
      return `expected response.uid=${JSON.stringify(expected.uid)}, got ${JSON.stringify(textOf(response.uid))}`
    }
    if (review.apiVersion !== apiVersion || review.kind !== 'AdmissionReview') {
      const got = `${textOf(review.apiVersion)}, Kind=${textOf(review.kind)}`
      return `expected webhook response of ${apiVersion}, Kind=AdmissionReview, got ${got}`
    }
  }
  const patch = textOf(response.patch)
  const problem = patchProblem(patch, response.patchType, expected)
  if (problem !== undefined) return problem
  return {
    allowed: response.allowed === true,
    warnings: stringsOf(response.warnings),
    patch: patch === '' ? undefined : Buffer.from(patch, 'base64').toString(),
    result: isMap(response.status) ? response.status : undefined,
  }
}

function patchProblem(
  patch: string,
  type: unknown,
  { mutating, version }: { readonly mutating: boolean; readonly version: string },
): string | undefined {
  if (version !== 'v1') return undefined
  const hasType = type !== undefined && type !== null
  if (!mutating) {
    if (patch !== '') return 'validating webhook may not return response.patch'
    return hasType ? 'validating webhook may not return response.patchType' : undefined
  }
  if (patch !== '' && !hasType) return 'webhook returned response.patch but not response.patchType'
  if (patch === '' && hasType) return 'webhook returned response.patchType but not response.patch'
  if (hasType && type !== 'JSONPatch') {
    return `webhook returned invalid response.patchType of ${JSON.stringify(textOf(type))}`
  }
  return undefined
}

/** The answer to the client when a webhook says no: what it said, and who said it. */
export function denial(webhook: string, result: JsonMap | undefined): ApiError {
  const given = result ?? {}
  const by = `admission webhook ${JSON.stringify(webhook)} denied the request`
  const [message, reason] = [textOf(given.message), textOf(given.reason)]
  const why =
    message !== '' ? `: ${message}` : reason !== '' ? `: ${reason}` : ' without explanation'
  const code = typeof given.code === 'number' && given.code >= 400 ? given.code : 400
  const status: Status = {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: `${by}${why}`,
    ...(reason === '' ? {} : { reason }),
    ...(isMap(given.details) ? { details: given.details as Status['details'] } : {}),
    code,
  } as Status
  return new ApiError(status)
}
