/** Why a connection failed, with the flag that metrics show for it. */
import { MeshError } from '../base/index.ts'
import type { ResponseFlag } from '../telemetry/index.ts'

export class ConnectionError extends MeshError {
  readonly flag: ResponseFlag

  constructor(
    code: string,
    message: string,
    options: {
      readonly flag?: ResponseFlag
      readonly hint?: string
      readonly cause?: unknown
    } = {},
  ) {
    super(code, message, options)
    this.name = 'ConnectionError'
    this.flag = options.flag ?? '-'
  }
}

/** A refusal of an inbound connection, with the status that an HBONE peer sees. */
export class Refusal extends ConnectionError {
  readonly status: number

  constructor(status: number, message: string) {
    super('NODEPROXY_REFUSED', message)
    this.status = status
  }
}

/** The text of an error for one log line: what happened and what to do. */
export function describe(error: Error): string {
  const hint = error instanceof MeshError ? error.hint : undefined
  return hint === undefined ? error.message : `${error.message} (${hint})`
}

export function flagOf(error: unknown): ResponseFlag {
  if (error instanceof ConnectionError) return error.flag
  const code = error instanceof MeshError ? error.code : ''
  if (code === 'HBONE_NOT_HTTP2') return 'H2_HANDSHAKE_FAILURE'
  return '-'
}
