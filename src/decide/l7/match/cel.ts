/**
 * CEL conditions. Envoy gets them as a syntax tree; ours is written out as text again and compiled by the
 * room `cel`, so that there is one evaluator. Attributes are Envoy's: `request`, `source`, `connection` ...
 */
import { toError } from '../../../base/index.ts'
import {
  CelEnvironment,
  CelTimestamp,
  standardLibraries,
  types,
  type Value,
  valueOfJson,
} from '../../../cel/index.ts'
import type { celSyntax } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { limits } from '../limits.ts'
import type { Test } from './headers.ts'
import { never } from './text.ts'

type Expr = celSyntax.Expr

const variables = ['request', 'source', 'destination', 'connection', 'metadata', 'filter_state']

/** An expression that fails for a request does not hold, as in Envoy. */
export function compileCondition(expression: Expr, place: Place): Test {
  const text = write(expression, place, 0)
  if (text === undefined) return never
  return compileConditionText(text, place)
}

/** Of an expression in its own syntax. */
export function compileConditionText(text: string, place: Place): Test {
  try {
    const environment = new CelEnvironment(standardLibraries)
    const program = environment.compile(
      text,
      variables.map((name) => ({ name, type: types.dyn })),
    )
    const readers = variables.map((name) => (program.uses.has(name) ? attributes[name] : undefined))
    return (exchange) => {
      const values = readers.map((read) => read?.(exchange))
      const outcome = program.evaluate(values, limits.conditionCost)
      return outcome.error === undefined && outcome.value === true
    }
  } catch (error) {
    place.refuse(toError(error).message)
    return never
  }
}

const binary: Readonly<Record<string, string>> = {
  '_&&_': '&&',
  '_||_': '||',
  '_==_': '==',
  '_!=_': '!=',
  '_<_': '<',
  '_<=_': '<=',
  '_>_': '>',
  '_>=_': '>=',
  '_+_': '+',
  '_-_': '-',
  '_*_': '*',
  '_/_': '/',
  '_%_': '%',
  '@in': 'in',
  _in_: 'in',
}

function write(expression: Expr | undefined, place: Place, depth: number): string | undefined {
  const kind = expression?.exprKind
  const inner = (part: Expr | undefined): string => write(part, place, depth + 1) ?? 'null'
  if (depth > limits.nesting) {
    place.refuse('nested too deeply')
    return undefined
  }
  switch (kind?.case) {
    case 'constExpr':
      return constant(kind.value, place)
    case 'identExpr':
      return kind.value.name
    case 'selectExpr': {
      const { operand, field, testOnly } = kind.value
      const selected = `${inner(operand)}.${field}`
      return testOnly ? `has(${selected})` : selected
    }
    case 'callExpr':
      return call(kind.value, inner)
    case 'listExpr':
      return `[${kind.value.elements.map(inner).join(', ')}]`
    default:
      place.refuse(`${kind?.case ?? 'an empty expression'} is not supported`)
      return undefined
  }
}

function call(
  { function: name, target, args }: celSyntax.Expr_Call,
  inner: (part: Expr | undefined) => string,
): string {
  const [first, second, third] = args
  const operator = binary[name]
  if (operator !== undefined) return `(${inner(first)} ${operator} ${inner(second)})`
  if (name === '!_') return `!(${inner(first)})`
  if (name === '-_') return `-(${inner(first)})`
  if (name === '_[_]') return `${inner(first)}[${inner(second)}]`
  if (name === '_?_:_') return `(${inner(first)} ? ${inner(second)} : ${inner(third)})`
  const list = args.map(inner).join(', ')
  return target === undefined ? `${name}(${list})` : `${inner(target)}.${name}(${list})`
}

function constant({ constantKind: kind }: celSyntax.Constant, place: Place): string | undefined {
  switch (kind.case) {
    case 'nullValue':
      return 'null'
    case 'boolValue':
    case 'int64Value':
      return String(kind.value)
    case 'uint64Value':
      return `${kind.value}u`
    case 'doubleValue':
      return Number.isInteger(kind.value) ? `${kind.value}.0` : String(kind.value)
    case 'stringValue':
      return JSON.stringify(kind.value)
    default:
      place.refuse(`a constant of kind ${kind.case ?? 'none'} is not supported`)
      return undefined
  }
}

/** Only what is there: `has()` tells, and the rest is an error of the expression. */
function record(fields: Readonly<Record<string, Value | undefined>>): ReadonlyMap<Value, Value> {
  const entries = Object.entries(fields)
  return new Map(entries.flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])))
}

/** Headers are looked up, not listed: the map has those that expressions ask for. */
class HeaderMap extends Map<Value, Value> {
  readonly #exchange: Exchange

  constructor(exchange: Exchange) {
    super()
    this.#exchange = exchange
  }

  override get(key: Value): Value | undefined {
    return typeof key === 'string' ? this.#exchange.header(key.toLowerCase()) : undefined
  }

  override has(key: Value): boolean {
    return this.get(key) !== undefined
  }
}

const attributes: Readonly<Record<string, (exchange: Exchange) => Value>> = {
  request: (exchange) => {
    const { request, context, path } = exchange
    const { fullPath } = exchange
    const query = fullPath.indexOf('?')
    return record({
      path: fullPath,
      url_path: path,
      host: request.authority,
      scheme: request.scheme,
      method: request.method,
      headers: new HeaderMap(exchange),
      referer: exchange.header('referer'),
      useragent: exchange.header('user-agent'),
      id: exchange.header('x-request-id'),
      protocol: request.protocol,
      query: query < 0 ? '' : fullPath.slice(query + 1),
      time: new CelTimestamp(BigInt(Math.floor(context.now())) * 1_000_000n),
    })
  },
  source: ({ request: { connection } }) =>
    record({
      address: `${connection.sourceIp}:${connection.sourcePort}`,
      port: BigInt(connection.sourcePort),
    }),
  destination: ({ request: { connection } }) =>
    record({
      address: `${connection.destinationIp}:${connection.destinationPort}`,
      port: BigInt(connection.destinationPort),
    }),
  connection: ({ request: { connection } }) => {
    const { tls } = connection
    return record({
      mtls: tls?.presented === true,
      requested_server_name: connection.sni,
      tls_version: tls?.version,
      subject_peer_certificate: tls?.subject,
      dns_san_peer_certificate: tls?.dnsSans[0],
      uri_san_peer_certificate: tls?.uriSans[0],
      uri_san_local_certificate: tls?.localUriSans[0],
      subject_local_certificate: tls?.localSubject,
    })
  },
  metadata: (exchange) => {
    const merged = { ...exchange.request.connection.metadata, ...exchange.writtenMetadata }
    return record({ filter_metadata: valueOfJson(merged) })
  },
  filter_state: (exchange) => {
    const state = new Map<Value, Value>(exchange.request.connection.filterState)
    for (const [key, { value }] of exchange.writtenState ?? []) state.set(key, value)
    return state
  },
}
