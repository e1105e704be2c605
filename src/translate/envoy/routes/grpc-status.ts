/** Names of gRPC status codes, as faults write them. */

const names = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
]

/** Undefined for what is neither a name nor a number of one. */
export function grpcStatusCode(text: string): number | undefined {
  const code = /^\d+$/.test(text) ? Number(text) : names.indexOf(text.toUpperCase())
  return code >= 0 && code < names.length ? code : undefined
}
