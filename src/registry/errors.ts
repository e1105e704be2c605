/**
 * From errors to Status objects. A PodBackend rejects with MeshErrors of these codes, so that kubectl says the
 * right thing:
 *
 * | code | answer |
 * |---|---|
 * | `POD_NOT_FOUND` | 404 NotFound |
 * | `POD_CONTAINER_NOT_FOUND`, `POD_CONTAINER_WAITING` | 400 BadRequest with the message |
 * | `POD_CONTAINER_ENDED`, `POD_NO_PREVIOUS_LOG` | 400 BadRequest with the message |
 * | anything else | 500 InternalError with the message |
 */
import { MeshError, toError } from '../base/index.ts'
import {
  ApiError,
  badRequest,
  failure,
  insufficientStorage,
  internalError,
  type Status,
  serviceUnavailable,
  tooLarge,
} from '../kube/index.ts'

const badRequests = new Set([
  'POD_CONTAINER_NOT_FOUND',
  'POD_CONTAINER_WAITING',
  'POD_CONTAINER_ENDED',
  'POD_NO_PREVIOUS_LOG',
])

/** The Status that answers whatever was thrown. */
export function statusOf(thrown: unknown): Status {
  if (thrown instanceof ApiError) return thrown.status
  if (!(thrown instanceof MeshError)) return internalError(toError(thrown).message).status
  const text = thrown.hint === undefined ? thrown.message : `${thrown.message}. ${thrown.hint}`
  if (thrown.code === 'REGISTRY_STORAGE_FULL') return insufficientStorage(text).status
  if (thrown.code === 'REGISTRY_OBJECT_TOO_LARGE') return tooLarge(text).status
  if (thrown.code === 'REGISTRY_CLOSED') return serviceUnavailable(text).status
  if (thrown.code === 'POD_NOT_FOUND') return failure(404, 'NotFound', text).status
  if (badRequests.has(thrown.code)) return badRequest(text).status
  return internalError(text).status
}

export function noBackend(): ApiError {
  return serviceUnavailable(
    'no runtime is connected to this registry: logs, exec and port-forward need one',
  )
}
