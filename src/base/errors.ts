/**
 * Errors that a person can act on. Each room keeps one table of its own (`errors.ts`); what they
 * share is this class: a stable code for programs, a sentence for people, and the next step.
 */

export interface ErrorOptions {
  /** What the operator can do about it: one sentence. */
  readonly hint?: string
  readonly cause?: unknown
  /** Whether trying the same again later can succeed. Default false. */
  readonly retryable?: boolean
}

export class MeshError extends Error {
  readonly code: string
  readonly hint: string | undefined
  readonly retryable: boolean

  /**
   * @param code stable, in the form ROOM_WHAT_HAPPENED
   * @param message a sentence that names the object and the field
   */
  constructor(code: string, message: string, options: ErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.name = 'MeshError'
    this.code = code
    this.hint = options.hint
    this.retryable = options.retryable ?? false
  }
}

/** Makes an Error of anything that was thrown. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}

/** The system error code (`ENOENT`, `EADDRINUSE` ...) of something thrown, or undefined. */
export function errnoOf(thrown: unknown): string | undefined {
  const code = (thrown as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}
