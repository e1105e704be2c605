/** Which headers go on to the next hop, and what a gateway adds. Raw lists keep case and repeats. */
import { randomUUID } from 'node:crypto'
import { cidrContains, parseCidr, parseIp } from '../base/index.ts'

/** Flat: name, value, name, value, as Node's `rawHeaders`. */
export type RawHeaders = readonly string[]

const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
])

export function* headerPairs(raw: RawHeaders): IterableIterator<[string, string]> {
  for (let index = 0; index + 1 < raw.length; index += 2) {
    yield [raw[index] ?? '', raw[index + 1] ?? '']
  }
}

/** All values of a header, joined; undefined when it is absent. */
export function headerValue(raw: RawHeaders, name: string): string | undefined {
  let found: string | undefined
  for (const [key, value] of headerPairs(raw)) {
    if (key.toLowerCase() === name) found = found === undefined ? value : `${found},${value}`
  }
  return found
}

/** Headers of this connection only: the fixed ones and those that `Connection` names. */
function connectionHeaders(raw: RawHeaders): ReadonlySet<string> {
  const named = headerValue(raw, 'connection')
  if (named === undefined || /^(close|keep-alive)$/i.test(named)) return hopByHop
  return new Set([...hopByHop, ...named.split(',').map((item) => item.trim().toLowerCase())])
}

export interface ForwardOptions {
  readonly clientAddress: string
  readonly useRemoteAddress: boolean
  /** Protocol between the client and us. */
  readonly scheme: 'http' | 'https'
  readonly attempt: number | undefined
  /** Kept for upgrades: the value of the `Upgrade` header. */
  readonly upgrade?: string
  /** Whether the message has a body of unknown length. */
  readonly chunked: boolean
}

/** The request's headers for the upstream. */
export function upstreamHeaders(
  raw: RawHeaders,
  requestId: string,
  options: ForwardOptions,
): string[] {
  const { clientAddress, useRemoteAddress, scheme, attempt, upgrade, chunked } = options
  const dropped = connectionHeaders(raw)
  const result: string[] = []
  let forwarded: string | undefined
  let proto: string | undefined
  for (const [name, value] of headerPairs(raw)) {
    const key = name.toLowerCase()
    if (dropped.has(key) || key === 'x-request-id' || key === 'x-envoy-attempt-count') continue
    if (key === 'x-forwarded-for') {
      forwarded = forwarded === undefined ? value : `${forwarded},${value}`
    } else if (key === 'x-forwarded-proto') proto = value
    else result.push(name, value)
  }
  if (useRemoteAddress) {
    forwarded = forwarded === undefined ? clientAddress : `${forwarded},${clientAddress}`
    proto = scheme
  }
  if (forwarded !== undefined) result.push('x-forwarded-for', forwarded)
  result.push('x-forwarded-proto', proto ?? scheme, 'x-request-id', requestId)
  if (attempt !== undefined) result.push('x-envoy-attempt-count', String(attempt))
  if (upgrade !== undefined) result.push('connection', 'Upgrade', 'upgrade', upgrade)
  else if (chunked) result.push('transfer-encoding', 'chunked')
  return result
}

/** The response's headers for the client. */
export function downstreamHeaders(
  raw: RawHeaders,
  serverName: string,
  upstreamTimeMs: number,
): string[] {
  const dropped = connectionHeaders(raw)
  const result: string[] = []
  for (const [name, value] of headerPairs(raw)) {
    const key = name.toLowerCase()
    if (!dropped.has(key) && key !== 'server' && key !== 'x-envoy-upstream-service-time') {
      result.push(name, value)
    }
  }
  result.push('x-envoy-upstream-service-time', String(upstreamTimeMs), 'server', serverName)
  return result
}

const privateRanges = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '127.0.0.0/8',
  '::1/128',
  'fd00::/8',
]
  .map(parseCidr)
  .filter((cidr) => cidr !== undefined)

/** Clients from outside don't choose request ids: theirs are replaced (Envoy's edge rule). */
export function requestIdOf(raw: RawHeaders, clientAddress: string): string {
  const address = parseIp(clientAddress)
  const isInternal =
    address !== undefined && privateRanges.some((range) => cidrContains(range, address))
  const given = isInternal ? headerValue(raw, 'x-request-id') : undefined
  return given === undefined || given === '' ? randomUUID() : given
}
