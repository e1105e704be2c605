/** One RouteMatch: where its path puts it in the index, and what else has to hold. */
import { type routeComponents as api, uriTemplate } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import {
  allOf,
  type Condition,
  compileHeader,
  compileParameter,
  type Test,
} from '../match/headers.ts'
import { compileFilterState, compileMetadata } from '../match/metadata.ts'
import { compileTemplate, type Template } from '../match/template.ts'
import { asciiLower, compileRegex, never } from '../match/text.ts'
import { runtimeShare, typeOf, unpack } from '../values.ts'

/** How the path is matched; the first three can be looked up. */
export type PathKind = 'exact' | 'prefix' | 'segments' | 'other'

export interface CompiledMatch {
  readonly pathKind: PathKind
  /** The text of a path that can be looked up. */
  readonly pathText: string
  /** What the matched part of the path is, for rewriting it: its length, or all of it. */
  readonly matchedLength: (path: string) => number
  readonly template: Template | undefined
  readonly path: Condition
  /** All besides the path. */
  readonly conditions: readonly Condition[]
  readonly rest: Test
  readonly connect: boolean
}

export function compileMatch(match: api.RouteMatch | undefined, place: Place): CompiledMatch {
  if (match === undefined) {
    place.refuse('a route without a match')
    return other({ what: 'path', holds: never }, [])
  }
  const conditions = restOf(match, place)
  const sensitive = match.caseSensitive !== false
  const { pathSpecifier: path } = match
  switch (path.case) {
    case 'prefix':
    case 'path':
    case 'pathSeparatedPrefix':
      return textMatch(path.case, path.value, sensitive, conditions)
    case 'safeRegex': {
      const test = compileRegex(path.value, place.at('safe_regex'))
      const what = `path regex ${path.value.regex}`
      return other({ what, holds: (exchange) => test(exchange.path) }, conditions)
    }
    case 'connectMatcher': {
      const holds = ({ request }: Exchange): boolean => request.method === 'CONNECT'
      return { ...other({ what: 'method CONNECT', holds }, conditions), connect: true }
    }
    case 'pathMatchPolicy': {
      const config = path.value.typedConfig
      const at = place.at('path_match_policy')
      const message = unpack(config, uriTemplate.UriTemplateMatchConfigSchema, at)
      if (message === undefined) {
        at.refuse(`${typeOf(config)} is not supported`)
        return other({ what: 'path', holds: never }, conditions)
      }
      const template = compileTemplate(message.pathTemplate, at)
      const holds = (exchange: Exchange): boolean => template?.matches(exchange.path) === true
      return {
        ...other({ what: `path template ${message.pathTemplate}`, holds }, conditions),
        template,
      }
    }
    default:
      place.refuse('a match without a path')
      return other({ what: 'path', holds: never }, conditions)
  }
}

function other(path: Condition, conditions: readonly Condition[]): CompiledMatch {
  return {
    pathKind: 'other',
    pathText: '',
    matchedLength: (text) => text.length,
    template: undefined,
    path,
    conditions,
    rest: allOf(conditions.map(({ holds }) => holds)),
    connect: false,
  }
}

type TextCase = 'prefix' | 'path' | 'pathSeparatedPrefix'

function textMatch(
  kind: TextCase,
  value: string,
  sensitive: boolean,
  conditions: readonly Condition[],
): CompiledMatch {
  const text = sensitive ? value : asciiLower(value)
  const test = pathTest(kind, text)
  const path: Condition = {
    what: `path ${kind === 'path' ? 'exact' : 'prefix'} ${value}`,
    holds: sensitive
      ? (exchange) => test(exchange.path)
      : (exchange) => test(asciiLower(exchange.path)),
  }
  const kinds = { path: 'exact', prefix: 'prefix', pathSeparatedPrefix: 'segments' } as const
  return {
    ...other(path, conditions),
    pathKind: sensitive ? kinds[kind] : 'other',
    pathText: text,
    matchedLength: () => value.length,
  }
}

function pathTest(kind: TextCase, text: string): (path: string) => boolean {
  if (kind === 'path') return (path) => path === text
  if (kind === 'prefix') return (path) => path.startsWith(text)
  return (path) =>
    path.startsWith(text) && (path.length === text.length || path.charCodeAt(text.length) === 47)
}

function restOf(match: api.RouteMatch, place: Place): Condition[] {
  const conditions: Condition[] = []
  if (match.runtimeFraction !== undefined) {
    const share = runtimeShare(match.runtimeFraction, 1)
    conditions.push({ what: 'runtime fraction', holds: (exchange) => exchange.inShare(share) })
  }
  if (match.tlsContext !== undefined) {
    const { presented, validated } = match.tlsContext
    conditions.push({
      what: 'client certificate',
      holds: ({ request: { connection } }) =>
        (presented === undefined || (connection.tls?.presented ?? false) === presented) &&
        (validated === undefined || (connection.tls?.validated ?? false) === validated),
    })
  }
  for (const [index, header] of match.headers.entries()) {
    conditions.push(compileHeader(header, place.at('headers', index)))
  }
  for (const [index, parameter] of match.queryParameters.entries()) {
    conditions.push(compileParameter(parameter, place.at('query_parameters', index)))
  }
  if (match.grpc !== undefined) conditions.push({ what: 'grpc', holds: isGrpc })
  for (const [index, matcher] of match.dynamicMetadata.entries()) {
    conditions.push(compileMetadata(matcher, place.at('dynamic_metadata', index)))
  }
  for (const [index, matcher] of match.filterState.entries()) {
    conditions.push(compileFilterState(matcher, place.at('filter_state', index)))
  }
  return conditions
}

/** `application/grpc`, or with a suffix as `application/grpc+proto`. */
export function isGrpc(exchange: Exchange): boolean {
  const type = exchange.header('content-type')
  if (type === undefined || !type.startsWith('application/grpc')) return false
  return type.length === 16 || type.charCodeAt(16) === 43
}
