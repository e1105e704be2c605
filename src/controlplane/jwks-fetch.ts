/**
 * One key set from where it is published. An issuer's discovery document leads to its set. Servers on the
 * Internet are not trusted with time, memory or where to go: each answer is bounded, redirects are few and
 * never leave TLS, and what is no key set is an error, so that the caller keeps what it has.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { getCACertificates } from 'node:tls'
import { MeshError, toError } from '../base/index.ts'

/** Large providers publish some ten keys of 2 KB each. */
const bytesMax = 1024 * 1024
const redirectsMax = 3

export interface KeySetRequest {
  /** Of a key set, or of an issuer's discovery document. */
  readonly source: string
  /** For everything together. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

/** The text of the set; rejects with the reason why there is none. */
export type FetchKeySet = (request: KeySetRequest) => Promise<string>

/** @param extraRootsPem trusted besides the well-known authorities: of providers inside a company */
export function keySetFetcher(extraRootsPem?: string): FetchKeySet {
  const ca = extraRootsPem === undefined ? undefined : [...getCACertificates(), extraRootsPem]
  return async ({ source, timeoutMs, signal }) => {
    const timeout = AbortSignal.timeout(timeoutMs)
    const both = signal === undefined ? timeout : AbortSignal.any([signal, timeout])
    const get = (url: URL): Promise<string> => read(url, { ca, signal: both })
    try {
      const first = addressOf(source, undefined)
      const text = await get(first)
      const document = objectOf(text, first)
      if (Array.isArray(document.keys)) return text
      if (typeof document.jwks_uri !== 'string') {
        throw failed(`${first.href} answered neither with keys nor with a jwks_uri`)
      }
      const second = addressOf(document.jwks_uri, first)
      const set = await get(second)
      if (!Array.isArray(objectOf(set, second).keys)) throw failed(`${second.href} has no keys`)
      return set
    } catch (error) {
      if (!timeout.aborted) throw error
      throw failed(`${source} did not answer within ${timeoutMs} ms`, error)
    }
  }
}

interface Way {
  readonly ca: readonly string[] | undefined
  readonly signal: AbortSignal
}

async function read(start: URL, way: Way): Promise<string> {
  let url = start
  for (let hop = 0; hop <= redirectsMax; hop++) {
    const response = await open(url, way)
    const { statusCode: status = 0, headers } = response
    if (status === 200) return body(response, url)
    response.destroy()
    const isRedirect = status >= 300 && status < 400 && headers.location !== undefined
    if (!isRedirect) throw failed(`${url.href} answered ${status}`)
    url = addressOf(headers.location ?? '', url)
  }
  throw failed(`${start.href} redirects more than ${redirectsMax} times`)
}

function open(url: URL, { ca, signal }: Way): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = { headers: { accept: 'application/json' }, agent: false as const, signal }
    const call =
      url.protocol === 'https:'
        ? httpsRequest(url, { ...options, ...(ca === undefined ? {} : { ca: [...ca] }) }, resolve)
        : httpRequest(url, options, resolve)
    call.on('error', (error) => reject(failed(`${url.href}: ${error.message}`, error)))
    call.end()
  })
}

async function body(response: IncomingMessage, url: URL): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    // Chunks of a response without an encoding are buffers.
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > bytesMax) throw failed(`${url.href} sends more than ${bytesMax} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    throw error instanceof MeshError
      ? error
      : failed(`${url.href}: ${toError(error).message}`, error)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** @param from what named it: TLS is not left */
function addressOf(text: string, from: URL | undefined): URL {
  const url = URL.canParse(text, from?.href) ? new URL(text, from?.href) : undefined
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw failed(`'${text}' is no address of a web server`)
  }
  if (from?.protocol === 'https:' && url.protocol !== 'https:') {
    throw failed(`${from.href} leads to ${url.href}, which is not protected by TLS`)
  }
  return url
}

function objectOf(text: string, url: URL): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    // Any object has string keys.
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch (error) {
    throw failed(`${url.href} answered with something that is not JSON`, error)
  }
  throw failed(`${url.href} answered with something that is no object`)
}

function failed(message: string, cause?: unknown): MeshError {
  return new MeshError('CONTROLPLANE_KEY_SET', message, {
    hint: 'Check jwksUri or issuer of the RequestAuthentication; tokens of the issuer are refused until then.',
    ...(cause === undefined ? {} : { cause }),
  })
}
