/**
 * Envoy's command operators in texts: `%REQ(X?Y):Z%`, `%DOWNSTREAM_REMOTE_ADDRESS%` ... A format is compiled
 * once; what it prints of a missing value is the caller's choice, because headers leave it out and logs
 * print a dash.
 */
import type { core, substitutionFormat } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { ResponseFacts } from '../types.ts'
import { barePath, inlineText } from '../values.ts'

export type Command = (
  exchange: Exchange,
  response: ResponseFacts | undefined,
) => string | undefined
export type Format = (exchange: Exchange, response: ResponseFacts | undefined) => string

/** @param missing what stands for a value that is not there */
export function compileFormat(source: string, missing: string, place: Place): Format {
  const parts: (string | Command)[] = []
  let text = ''
  for (let index = 0; index < source.length; ) {
    if (source.charAt(index) !== '%') text += source.charAt(index++)
    else if (source.charAt(index + 1) === '%') {
      text += '%'
      index += 2
    } else {
      const match = /^%([A-Z0-9_]+)(?:\((.*?)\))?(?::(\d+))?%/.exec(source.slice(index))
      if (match === null) {
        place.refuse(`'${source.slice(index)}' is no command operator`)
        break
      }
      if (text !== '') parts.push(text)
      text = ''
      parts.push(commandOf(match, place))
      index += match[0].length
    }
  }
  if (text !== '') parts.push(text)
  return join(parts, missing)
}

function join(parts: readonly (string | Command)[], missing: string): Format {
  const [only = ''] = parts
  if (parts.length <= 1) {
    if (typeof only === 'string') return () => only
    return (exchange, response) => only(exchange, response) ?? missing
  }
  return (exchange, response) => {
    let result = ''
    for (const part of parts) {
      result += typeof part === 'string' ? part : (part(exchange, response) ?? missing)
    }
    return result
  }
}

/** A format of its own message; JSON is for logs, not for values. */
export function compileFormatString(
  format: substitutionFormat.SubstitutionFormatString | undefined,
  place: Place,
): Format | undefined {
  if (format === undefined) return undefined
  if (format.formatters.length > 0) {
    place.at('formatters').refuse(`${format.formatters[0]?.name ?? ''} is not supported`)
  }
  const missing = format.omitEmptyValues ? '' : '-'
  if (format.format.case === 'textFormat') return compileFormat(format.format.value, missing, place)
  if (format.format.case === 'textFormatSource') {
    const source: core.DataSource = format.format.value
    const text = inlineText(source, place.at('text_format_source'))
    return text === undefined ? undefined : compileFormat(text, missing, place)
  }
  place.refuse(`${format.format.case ?? 'no format'} is not supported`)
  return undefined
}

function commandOf(match: RegExpExecArray, place: Place): Command {
  const [all, name = '', argument, length] = match
  const make = withArgument[name]
  const command = make === undefined ? plain[name] : make(argument ?? '', place)
  if (command === undefined || (make === undefined) !== (argument === undefined)) {
    place.refuse(`the command operator ${all} is not supported`)
    return () => undefined
  }
  if (length === undefined) return command
  const limit = Number(length)
  return (exchange, response) => command(exchange, response)?.slice(0, limit)
}

/** Envoy's way to write an address with its port. */
function endpoint(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
}

function joined(texts: readonly string[] | undefined): string | undefined {
  return texts === undefined || texts.length === 0 ? undefined : texts.join(',')
}

function filled(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}

const plain: Readonly<Record<string, Command>> = {
  PROTOCOL: ({ request }) => request.protocol,
  DOWNSTREAM_REMOTE_ADDRESS: (exchange) => {
    const { sourceIp, sourcePort } = exchange.request.connection
    const { remoteIp } = exchange
    return endpoint(remoteIp, remoteIp === sourceIp ? sourcePort : 0)
  },
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (exchange) => exchange.remoteIp,
  DOWNSTREAM_REMOTE_PORT: ({ request }) => String(request.connection.sourcePort),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: ({ request: { connection } }) =>
    endpoint(connection.sourceIp, connection.sourcePort),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: ({ request }) => request.connection.sourceIp,
  DOWNSTREAM_DIRECT_REMOTE_PORT: ({ request }) => String(request.connection.sourcePort),
  DOWNSTREAM_LOCAL_ADDRESS: ({ request: { connection } }) =>
    endpoint(connection.destinationIp, connection.destinationPort),
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: ({ request }) => request.connection.destinationIp,
  DOWNSTREAM_LOCAL_PORT: ({ request }) => String(request.connection.destinationPort),
  DOWNSTREAM_PEER_URI_SAN: ({ request }) => joined(request.connection.tls?.uriSans),
  DOWNSTREAM_PEER_DNS_SAN: ({ request }) => joined(request.connection.tls?.dnsSans),
  DOWNSTREAM_LOCAL_URI_SAN: ({ request }) => joined(request.connection.tls?.localUriSans),
  DOWNSTREAM_PEER_SUBJECT: ({ request }) => filled(request.connection.tls?.subject),
  DOWNSTREAM_PEER_ISSUER: ({ request }) => filled(request.connection.tls?.issuer),
  DOWNSTREAM_PEER_SERIAL: ({ request }) => filled(request.connection.tls?.serialNumber),
  DOWNSTREAM_PEER_FINGERPRINT_256: ({ request }) => filled(request.connection.tls?.fingerprint),
  DOWNSTREAM_LOCAL_SUBJECT: ({ request }) => filled(request.connection.tls?.localSubject),
  DOWNSTREAM_TLS_VERSION: ({ request }) => filled(request.connection.tls?.version),
  DOWNSTREAM_TLS_CIPHER: ({ request }) => filled(request.connection.tls?.cipher),
  REQUESTED_SERVER_NAME: ({ request }) => filled(request.connection.sni),
  HOSTNAME: ({ context }) => filled(context.node?.hostname),
  ROUTE_NAME: ({ route }) => filled(route?.route.name),
  START_TIME: ({ context }) => new Date(context.now()).toISOString(),
  RESPONSE_CODE: (_, response) => (response === undefined ? undefined : String(response.status)),
  RESPONSE_FLAGS: (_, response) => response?.flags,
  RESPONSE_CODE_DETAILS: (_, response) => response?.details,
  UPSTREAM_HOST: (_, response) => response?.upstreamHost,
  UPSTREAM_REMOTE_ADDRESS: (_, response) => response?.upstreamHost,
  UPSTREAM_CLUSTER: (exchange, response) => response?.upstreamCluster ?? exchange.route?.cluster,
}

type Maker = (argument: string, place: Place) => Command | undefined

/** `X?Y`: the header X, or else Y. */
function header(
  read: (name: string, exchange: Exchange, response?: ResponseFacts) => string | undefined,
): Maker {
  return (argument) => {
    const [first = '', second] = argument.split('?').map((name) => name.toLowerCase())
    if (first === '') return undefined
    return (exchange, response) =>
      read(first, exchange, response) ??
      (second === undefined ? undefined : read(second, exchange, response))
  }
}

const withArgument: Readonly<Record<string, Maker>> = {
  REQ: header((name, exchange) => exchange.firstHeader(name)),
  REQ_WITHOUT_QUERY: header((name, exchange) => {
    const value = exchange.firstHeader(name)
    return value === undefined ? undefined : barePath(value)
  }),
  RESP: header((name, _, response) => {
    const headers = response?.headers
    return headers?.first?.(name) ?? headers?.get(name)
  }),
  ENVIRONMENT: (argument) => (exchange) => exchange.context.environment?.(argument),
  DYNAMIC_METADATA: (argument) => {
    const [namespace = '', ...keys] = argument.split(':')
    return (exchange) => textOf(walk(exchange.metadata(namespace), keys))
  },
  FILTER_STATE: (argument, place) => {
    const [key = '', kind = 'TYPED'] = argument.split(':')
    if (kind !== 'PLAIN') place.refuse(`FILTER_STATE(${key}) is only supported as PLAIN`)
    return (exchange) => exchange.filterState(key)
  },
}

function walk(value: unknown, keys: readonly string[]): unknown {
  let found = value
  for (const key of keys) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) return undefined
    found = (found as Record<string, unknown>)[key]
  }
  return found
}

/** Metadata as Envoy prints it: texts as they are, the rest as JSON. */
function textOf(value: unknown): string | undefined {
  if (value === undefined) return undefined
  return typeof value === 'string' ? value : JSON.stringify(value)
}
