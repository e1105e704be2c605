/** gRPC status codes and the error that carries one between handler and wire. */
import { MeshError } from '../base/index.ts'

export const grpcStatus = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const

export type GrpcStatusCode = (typeof grpcStatus)[keyof typeof grpcStatus]

export class GrpcError extends MeshError {
  readonly status: GrpcStatusCode

  constructor(
    status: GrpcStatusCode,
    message: string,
    options: { hint?: string; cause?: unknown } = {},
  ) {
    const retryable = status === grpcStatus.unavailable || status === grpcStatus.resourceExhausted
    super('GRPC_STATUS', message, { ...options, retryable })
    this.status = status
  }
}

/** The name of a status code as gRPC prints it: `UNAVAILABLE`. */
export function statusName(status: number): string {
  for (const [name, value] of Object.entries(grpcStatus)) {
    if (value === status) return name.replace(/[A-Z]/g, '_$&').toUpperCase()
  }
  return `status ${status}`
}
