/** Certificates and tokens from files, read again whenever they are used, so that rotation needs no signal. */
import { readFileSync, statSync } from 'node:fs'
import { MeshError, toError } from '../base/index.ts'
import { limits } from './limits.ts'

/** A file's path, or a function that gives the text itself. */
export type TextSource = string | (() => string)

/** @param what names the thing in errors: `the root certificate` */
export function readText(source: TextSource, what: string): string {
  let text: string
  if (typeof source === 'function') text = source()
  else {
    try {
      if (statSync(source).size > limits.credentialFileBytesMax) throw new Error('it is too large')
      text = readFileSync(source, 'utf8')
    } catch (error) {
      throw new MeshError(
        'GRPC_CREDENTIALS',
        `${what} can't be read from ${source}: ${toError(error).message}`,
        {
          hint: 'Check that the file is there and readable for this process.',
          retryable: true,
        },
      )
    }
  }
  if (text.trim() === '') {
    throw new MeshError(
      'GRPC_CREDENTIALS',
      `${what} is empty${typeof source === 'string' ? ` (${source})` : ''}`,
      { hint: 'Whoever provides it has not written it yet, or failed to.', retryable: true },
    )
  }
  return text
}

/** The headers of every call to the control plane: bearer token and cluster. */
export function callHeaders(options: {
  readonly token?: TextSource
  readonly clusterId?: string
  readonly extra?: Readonly<Record<string, string>>
}): Record<string, string> {
  const headers: Record<string, string> = { ...options.extra }
  if (options.clusterId !== undefined) headers.clusterid = options.clusterId
  if (options.token !== undefined) {
    headers.authorization = `Bearer ${readText(options.token, 'the service account token').trim()}`
  }
  return headers
}

/** The token of an `authorization: Bearer ...` header's value; undefined when it is none. */
export function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +(\S+)$/i.exec(header ?? '')?.[1]
}
