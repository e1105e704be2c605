/** One issuer of tokens: where its tokens are in a request, when one is good, and what it leaves behind. */
import type { jwtAuthn } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { limits } from '../limits.ts'
import { cookieOf } from '../route/hash.ts'
import { durationMs, inlineText } from '../values.ts'
import {
  checkSignature,
  type JwtProblem,
  jwtProblem,
  type KeySet,
  parseKeySet,
  parseToken,
  type Token,
} from './jwt-token.ts'

/** A token with the place where it was found. */
export interface Found {
  readonly text: string
  readonly from: { readonly kind: 'header' | 'parameter' | 'cookie'; readonly name: string }
  /** The same for providers that look at the same place; headers come before parameters and cookies. */
  readonly place: string
}

export interface RemoteKeys {
  readonly uri: string
  readonly cluster: string
  readonly timeoutMs: number
  readonly cacheMs: number
}

/** Keys by address, of this decision. */
export type FetchedKeys = ReadonlyMap<string, string | undefined>

export interface Provider {
  readonly name: string
  readonly issuer: string
  readonly clearsRoute: boolean
  readonly remote: RemoteKeys | undefined
  find(exchange: Exchange): Found[]
  /** Problem, or the token; `fetch` when its keys have to be fetched first. */
  verify(
    found: Found,
    exchange: Exchange,
    options: {
      readonly audiences?: ReadonlySet<string> | undefined
      readonly fetched: FetchedKeys
    },
  ): Token | JwtProblem | { readonly fetch: RemoteKeys }
  /** Headers that only this provider may set go away before anything is verified. */
  sanitize(exchange: Exchange): void
  accept(exchange: Exchange, token: Token, found: Found): void
  /** What goes into the metadata of the filter. */
  metadata(token: Token): readonly (readonly [key: string, value: unknown])[]
}

const defaultSkewSeconds = 60
const defaultCacheMs = 600_000

export function compileProvider(
  name: string,
  message: jwtAuthn.JwtProvider,
  place: Place,
): Provider {
  const refused: readonly (readonly [field: string, used: boolean])[] = [
    ['subjects', message.subjects !== undefined],
    ['require_expiration', message.requireExpiration],
    ['max_lifetime', message.maxLifetime !== undefined],
  ]
  for (const [field, used] of refused) if (used) place.at(field).refuse('is not supported')
  const audiences = new Set(message.audiences.map(plainAudience))
  const skew = message.clockSkewSeconds === 0 ? defaultSkewSeconds : message.clockSkewSeconds
  const keys = keySource(message, place)
  const verified = new Map<string, Token>()
  // Of a token that comes again and again, the claims are put together once.
  const prepared = new WeakMap<Token, ReturnType<typeof metadataOf>>()
  return {
    name,
    issuer: message.issuer,
    clearsRoute: message.clearRouteCache,
    remote: keys.remote,
    find: finder(message),
    sanitize: (exchange) => {
      const names = [
        message.forwardPayloadHeader,
        ...message.claimToHeaders.map((each) => each.headerName),
      ]
      for (const header of names) {
        const lower = header.toLowerCase()
        if (lower !== '' && exchange.header(lower) !== undefined) {
          exchange.change({ kind: 'remove', name: lower })
        }
      }
    },
    verify: (found, exchange, { audiences: wanted = audiences, fetched }) => {
      const known = verified.get(found.text)
      const token = known ?? parseToken(found.text)
      if (typeof token === 'string') return token
      if (message.issuer !== '' && token.issuer !== message.issuer) return jwtProblem.issuer
      const problem = claimsProblem(token, { wanted, skew, seconds: exchange.context.now() / 1000 })
      if (problem !== undefined) return problem
      const set = keys.of(exchange, fetched)
      if ('fetch' in set) return set
      // A rotated key ends what was remembered.
      if (known !== undefined && set.keys === keys.last) return known
      if (set.keys !== keys.last) verified.clear()
      keys.last = set.keys
      const wrong = set.keys === undefined ? jwtProblem.fetch : checkSignature(token, set.keys)
      if (wrong !== undefined) return wrong
      if (verified.size >= limits.verifiedTokens) verified.clear()
      verified.set(found.text, token)
      return token
    },
    accept: (exchange, token, found) => accept(message, exchange, { token, found }),
    metadata: (token) => {
      let entries = prepared.get(token)
      if (entries === undefined) prepared.set(token, (entries = metadataOf(message, token)))
      return entries
    },
  }
}

/** Envoy ignores the scheme and a slash at the end. */
function plainAudience(text: string): string {
  return text.replace(/^https?:\/\//, '').replace(/\/$/, '')
}

interface Wanted {
  readonly wanted: ReadonlySet<string>
  readonly skew: number
  readonly seconds: number
}

function claimsProblem(token: Token, { wanted, skew, seconds }: Wanted): JwtProblem | undefined {
  const now = Math.floor(seconds)
  if (token.notBefore !== undefined && now + skew < token.notBefore) return jwtProblem.notYet
  if (token.expires !== undefined && now > token.expires + skew) return jwtProblem.expired
  if (wanted.size === 0) return undefined
  const allowed = token.audiences.some((audience) => wanted.has(plainAudience(audience)))
  return allowed ? undefined : jwtProblem.audience
}

interface KeySource {
  readonly remote: RemoteKeys | undefined
  /** The set with which tokens were last verified. */
  last: KeySet | undefined
  of(
    exchange: Exchange,
    fetched: FetchedKeys,
  ): { readonly keys: KeySet | undefined } | { readonly fetch: RemoteKeys }
}

function keySource(message: jwtAuthn.JwtProvider, place: Place): KeySource {
  const { jwksSourceSpecifier: source } = message
  if (source.case !== 'remoteJwks') {
    const text = inlineText(source.value, place.at('local_jwks')) ?? ''
    const local = { keys: parseKeySet(text) }
    return { remote: undefined, last: undefined, of: () => local }
  }
  const { httpUri, cacheDuration } = source.value
  const remote: RemoteKeys = {
    uri: httpUri?.uri ?? '',
    cluster: httpUri?.httpUpstreamType.value ?? '',
    timeoutMs: durationMs(httpUri?.timeout) ?? 0,
    cacheMs: durationMs(cacheDuration) ?? defaultCacheMs,
  }
  if (remote.uri === '' || remote.cluster === '')
    place.at('remote_jwks.http_uri').refuse('is not set')
  let text: string | undefined
  let keys: KeySet = []
  return {
    remote,
    last: undefined,
    of: ({ context }, fetched) => {
      const given = context.keySet?.(remote.uri) ?? fetched.get(remote.uri)
      if (given === undefined) {
        return fetched.has(remote.uri) ? { keys: undefined } : { fetch: remote }
      }
      if (given !== text) {
        text = given
        keys = parseKeySet(given)
      }
      return { keys }
    },
  }
}

const order = { header: 0, parameter: 1, cookie: 2 } as const

function finder(message: jwtAuthn.JwtProvider): Provider['find'] {
  const { fromHeaders, fromParams, fromCookies } = message
  const nowhere = fromHeaders.length + fromParams.length + fromCookies.length === 0
  const headers = nowhere
    ? [{ name: 'authorization', valuePrefix: 'Bearer ' }]
    : fromHeaders.map(({ name, valuePrefix }) => ({ name: name.toLowerCase(), valuePrefix }))
  const parameters = nowhere ? ['access_token'] : fromParams
  return (exchange) => {
    const found: Found[] = []
    const add = (
      text: string | undefined,
      kind: Found['from']['kind'],
      name: string,
      prefix = '',
    ) => {
      if (text === undefined || text === '') return
      const place = `${order[kind]} ${name}${prefix}`
      found.push({ text, from: { kind, name }, place })
    }
    for (const { name, valuePrefix } of headers) {
      add(tokenIn(exchange.header(name), valuePrefix), 'header', name, valuePrefix)
    }
    for (const name of parameters) add(exchange.parameter(name), 'parameter', name)
    for (const name of fromCookies) add(cookieOf(exchange.header('cookie'), name), 'cookie', name)
    return found
  }
}

/** The first run of letters that a token may have, behind the prefix. */
function tokenIn(value: string | undefined, prefix: string): string | undefined {
  if (value === undefined) return undefined
  const at = value.indexOf(prefix)
  if (at < 0) return undefined
  const rest = value.slice(at + prefix.length)
  return /[A-Za-z0-9_.-]+/.exec(rest)?.[0] ?? rest
}

function accept(
  message: jwtAuthn.JwtProvider,
  exchange: Exchange,
  { token, found }: { readonly token: Token; readonly found: Found },
): void {
  const { forwardPayloadHeader, padForwardPayloadHeader } = message
  if (forwardPayloadHeader !== '') {
    const padding = padForwardPayloadHeader ? '='.repeat((4 - (token.payload.length % 4)) % 4) : ''
    const name = forwardPayloadHeader.toLowerCase()
    exchange.change({ kind: 'add', name, value: token.payload + padding })
  }
  for (const { headerName, claimName } of message.claimToHeaders) {
    const value = claimText(token.claims, claimName)
    if (value !== '') exchange.change({ kind: 'add', name: headerName.toLowerCase(), value })
  }
  if (message.forward) return
  const { kind, name } = found.from
  if (kind === 'header') exchange.change({ kind: 'remove', name })
  else if (kind === 'parameter') exchange.fullPath = withoutParameter(exchange.fullPath, name)
}

function withoutParameter(path: string, name: string): string {
  const start = path.indexOf('?')
  if (start < 0) return path
  const parts = path.slice(start + 1).split('&')
  const kept = parts.filter((part) => part !== name && !part.startsWith(`${name}=`))
  return kept.length === 0 ? path.slice(0, start) : `${path.slice(0, start)}?${kept.join('&')}`
}

/** A claim, nested ones by dots: texts, numbers and truth as they are, the rest as JSON in Base64. */
function claimText(claims: Readonly<Record<string, unknown>>, path: string): string {
  let value: unknown = claims
  for (const key of Object.hasOwn(claims, path) ? [path] : path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return ''
    value = (value as Record<string, unknown>)[key]
  }
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (value === null) return ''
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function metadataOf(
  message: jwtAuthn.JwtProvider,
  token: Token,
): readonly (readonly [string, unknown])[] {
  const entries: [string, unknown][] = []
  if (message.headerInMetadata !== '') entries.push([message.headerInMetadata, token.header])
  if (message.payloadInMetadata === '') return entries
  const split = message.normalizePayloadInMetadata?.spaceDelimitedClaims ?? []
  const payload: Record<string, unknown> = { ...token.claims }
  for (const claim of split) {
    const value = payload[claim]
    if (typeof value === 'string') payload[claim] = value.split(' ').filter((part) => part !== '')
  }
  entries.push([message.payloadInMetadata, payload])
  return entries
}
