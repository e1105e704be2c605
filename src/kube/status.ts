/**
 * Builders of every `v1.Status` that the API answers with, and the error that carries one.
 * Clients branch on `reason` and `code` and people read `message`, so all three are Kubernetes' own.
 */
import { MeshError } from '../base/index.ts'
import type { FieldError } from './field-errors.ts'
import type { Status, StatusCause } from './types.ts'

/** What a Status is about: a resource (`pods`) or, for validation, a kind (`Pod`). */
export interface StatusSubject {
  readonly group: string
  /** The plural resource name for most failures, the Kind for `invalid`. */
  readonly kind: string
  readonly name?: string
}

type Details = NonNullable<Status['details']>

/** Any failure of the Kubernetes API, thrown; whoever answers the request writes `status` as the body. */
export class ApiError extends MeshError {
  readonly status: Status

  constructor(status: Status, options: { hint?: string; cause?: unknown } = {}) {
    super(`KUBE_${status.reason ?? 'Failure'}`, status.message ?? status.reason ?? 'failure', {
      ...options,
      retryable: status.code === 409 || status.code === 429 || status.code >= 500,
    })
    this.name = 'ApiError'
    this.status = status
  }
}

/** Whether something thrown is an ApiError, optionally with this reason (`NotFound`, `Conflict` ...). */
export function isApiError(thrown: unknown, reason?: string): thrown is ApiError {
  return thrown instanceof ApiError && (reason === undefined || thrown.status.reason === reason)
}

/** A failure of any kind; the named builders below are made of it. */
export function failure(
  code: number,
  reason: string,
  message: string,
  details?: Details,
): ApiError {
  return new ApiError({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    ...(details === undefined ? {} : { details }),
    code,
  })
}

/** The answer to a successful deletion. */
export function success(details?: Details): Status {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    ...(details === undefined ? {} : { details }),
    code: 200,
  }
}

/** `pods`, or `foos.example.com` for a resource of a group. */
export function qualifiedResource(subject: Pick<StatusSubject, 'group' | 'kind'>): string {
  return subject.group === '' ? subject.kind : `${subject.kind}.${subject.group}`
}

function detailsOf(subject: StatusSubject): Details {
  return {
    ...(subject.name === undefined ? {} : { name: subject.name }),
    ...(subject.group === '' ? {} : { group: subject.group }),
    kind: subject.kind,
  }
}

/** What comes before "not found": `pods "x"`. */
function named(subject: StatusSubject): string {
  return `${qualifiedResource(subject)} "${subject.name ?? ''}"`
}

/** 404 for a missing object. */
export function notFound(subject: StatusSubject): ApiError {
  return failure(404, 'NotFound', `${named(subject)} not found`, detailsOf(subject))
}

/** 404 for a resource which no served group version has. */
export function resourceNotFound(): ApiError {
  return failure(404, 'NotFound', 'the server could not find the requested resource', {})
}

/** 409 for a create of something that exists. */
export function alreadyExists(subject: StatusSubject): ApiError {
  return failure(409, 'AlreadyExists', `${named(subject)} already exists`, detailsOf(subject))
}

const modified =
  'the object has been modified; please apply your changes to the latest version and try again'

/** 409 for a write against a resource version or uid that isn't the current one. */
export function conflict(subject: StatusSubject, why: string = modified): ApiError {
  const message = `Operation cannot be fulfilled on ${named(subject)}: ${why}`
  return failure(409, 'Conflict', message, detailsOf(subject))
}

export interface ManagerConflict {
  /** Who owns the field: `"helm"`, or `"kubectl" using apps/v1` when it is not an applier. */
  readonly owner: string
  /** `.spec.replicas` */
  readonly field: string
}

/** 409 for a server-side apply that would take fields from other managers; kubectl reads the causes. */
export function applyConflict(conflicts: readonly ManagerConflict[]): ApiError {
  return failure(409, 'Conflict', applyConflictText(conflicts), {
    causes: conflicts.map(({ owner, field }) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with ${owner}`,
      field,
    })),
  })
}

function applyConflictText(conflicts: readonly ManagerConflict[]): string {
  const [first] = conflicts
  if (conflicts.length === 1 && first !== undefined) {
    return `Apply failed with 1 conflict: conflict with ${first.owner}: ${first.field}`
  }
  const owners = [...new Set(conflicts.map((conflict) => conflict.owner))].sort()
  const lines = owners.flatMap((owner) => [
    `conflicts with ${owner}:`,
    ...conflicts.filter((each) => each.owner === owner).map((each) => `- ${each.field}`),
  ])
  return `Apply failed with ${conflicts.length} conflicts: ${lines.join('\n')}`
}

/** 422 with every wrong field; `subject.kind` is the Kind here (`Deployment`). */
export function invalid(subject: StatusSubject, errors: readonly FieldError[]): ApiError {
  const texts = errors.map((error) => `${error.field}: ${error.message}`)
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`
  return failure(422, 'Invalid', `${named(subject)} is invalid: ${list}`, {
    ...detailsOf(subject),
    causes: [...errors],
  })
}

/** 400: the request can't be understood. */
export function badRequest(message: string): ApiError {
  return failure(400, 'BadRequest', message)
}

/** 400 for unknown or duplicate fields under `fieldValidation=Strict`. */
export function strictDecoding(
  kind: { version: string; kind: string },
  problems: readonly string[],
): ApiError {
  const { version, kind: name } = kind
  return badRequest(
    `${name} in version "${version}" cannot be handled as a ${name}: strict decoding error: ${problems.join(', ')}`,
  )
}

/** 403 with the reason in words: `... is forbidden: User "x" cannot get resource ...`. */
export function forbidden(
  subject: StatusSubject,
  why: string,
  causes?: readonly StatusCause[],
): ApiError {
  return failure(403, 'Forbidden', `${named(subject)} is forbidden: ${why}`, {
    ...detailsOf(subject),
    ...(causes === undefined ? {} : { causes: [...causes] }),
  })
}

/** 403 for a create in a namespace that is going away. */
export function namespaceTerminating(subject: StatusSubject, namespace: string): ApiError {
  const text = `unable to create new content in namespace ${namespace} because it is being terminated`
  return forbidden(subject, text, [
    {
      reason: 'NamespaceTerminating',
      message: `namespace ${namespace} is being terminated`,
      field: 'metadata.namespace',
    },
  ])
}

/** 401: no credentials, or bad ones. */
export function unauthorized(message = 'Unauthorized'): ApiError {
  return failure(401, 'Unauthorized', message)
}

/** 405: the resource doesn't have this verb. */
export function methodNotAllowed(
  message = 'the server does not allow this method on the requested resource',
): ApiError {
  return failure(405, 'MethodNotAllowed', message, {})
}

/** 406: none of the representations which the client accepts exists. */
export function notAcceptable(offered: readonly string[]): ApiError {
  return failure(
    406,
    'NotAcceptable',
    `only the following media types are accepted: ${offered.join(', ')}`,
  )
}

/** 415: the body is in a format that isn't read here. */
export function unsupportedMediaType(accepted: readonly string[]): ApiError {
  return failure(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  )
}

/** 410 for a resource version which history no longer reaches; reflectors list again on it. */
export function expired(message: string, options: { continue?: string } = {}): ApiError {
  const { status } = failure(410, 'Expired', message)
  if (options.continue === undefined) return new ApiError(status)
  return new ApiError({ ...status, metadata: { continue: options.continue } })
}

/** 410 for a watch that starts before the oldest event kept. */
export function tooOldResourceVersion(asked: string, oldest: string): ApiError {
  return expired(`too old resource version: ${asked} (${oldest})`)
}

/** 504 for a resource version that doesn't exist yet. */
export function tooLargeResourceVersion(asked: string, current: string): ApiError {
  return failure(
    504,
    'Timeout',
    `Timeout: Too large resource version: ${asked}, current: ${current}`,
    {
      causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
      retryAfterSeconds: 1,
    },
  )
}

/** 413: a body or an object over the limit. */
export function tooLarge(message: string): ApiError {
  return failure(413, 'RequestEntityTooLarge', message)
}

/** 429: try again after some seconds. */
export function tooManyRequests(message: string, retryAfterSeconds: number): ApiError {
  return failure(429, 'TooManyRequests', message, { retryAfterSeconds })
}

/** 500: our own mistake, or a webhook's. */
export function internalError(message: string): ApiError {
  return failure(500, 'InternalError', `Internal error occurred: ${message}`, {
    causes: [{ reason: 'UnexpectedServerResponse', message }],
  })
}

/** 503: not now. */
export function serviceUnavailable(message: string): ApiError {
  return failure(503, 'ServiceUnavailable', message)
}

/** 507: the store is full; reads go on. */
export function insufficientStorage(message: string): ApiError {
  return failure(507, 'InsufficientStorage', message)
}
