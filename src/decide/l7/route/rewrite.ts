/** What becomes of path and authority on the way upstream. */
import { type routeComponents as api, uriTemplateRewrite } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { compileTemplateRewrite } from '../match/template.ts'
import { compileReplacement } from '../match/text.ts'
import { barePath, typeOf, unpack } from '../values.ts'
import type { CompiledMatch } from './match.ts'

/** Gets the path with its query, gives it back rewritten. */
export type PathRewrite = (path: string) => string

type PathFields = Pick<api.RouteAction, 'prefixRewrite' | 'regexRewrite' | 'pathRewritePolicy'>

/** Undefined when the path stays as it is. */
export function compilePathRewrite(
  fields: PathFields,
  match: CompiledMatch,
  place: Place,
): PathRewrite | undefined {
  const { prefixRewrite, regexRewrite, pathRewritePolicy } = fields
  const given = [prefixRewrite !== '', regexRewrite !== undefined, pathRewritePolicy !== undefined]
  if (given.filter(Boolean).length > 1) place.refuse('several rewrites of the path')
  if (regexRewrite !== undefined) {
    const replace = compileReplacement(regexRewrite, place.at('regex_rewrite'))
    return replace === undefined ? undefined : onBarePath(replace)
  }
  if (pathRewritePolicy !== undefined) {
    return templateRewrite(pathRewritePolicy, match, place.at('path_rewrite_policy'))
  }
  if (prefixRewrite === '') return undefined
  if (match.template !== undefined) {
    place.at('prefix_rewrite').refuse('needs another match than a path template')
  }
  return (path) => {
    const bare = barePath(path)
    return prefixRewrite + path.slice(Math.min(match.matchedLength(bare), bare.length))
  }
}

/** The query is not part of what is rewritten. */
function onBarePath(change: (path: string) => string): PathRewrite {
  return (path) => {
    const bare = barePath(path)
    return change(bare) + path.slice(bare.length)
  }
}

function templateRewrite(
  policy: NonNullable<api.RouteAction['pathRewritePolicy']>,
  match: CompiledMatch,
  place: Place,
): PathRewrite | undefined {
  const schema = uriTemplateRewrite.UriTemplateRewriteConfigSchema
  const message = unpack(policy.typedConfig, schema, place)
  const { template } = match
  if (message === undefined || template === undefined) {
    place.refuse(
      message === undefined
        ? `${typeOf(policy.typedConfig)} is not supported`
        : 'needs a path template as the match',
    )
    return undefined
  }
  const write = compileTemplateRewrite(message.pathTemplateRewrite, template.variables, place)
  if (write === undefined) return undefined
  return onBarePath((path) => {
    const captured = template.capture(path)
    return captured === undefined ? path : write(captured)
  })
}

/** The new authority; undefined when it stays. */
export type HostRewrite = (exchange: Exchange) => string | undefined

export function compileHostRewrite(
  specifier: api.RouteAction['hostRewriteSpecifier'],
  place: Place,
): HostRewrite | undefined {
  switch (specifier.case) {
    case 'hostRewriteLiteral': {
      const { value } = specifier
      return value === '' ? undefined : () => value
    }
    case 'hostRewriteHeader': {
      const name = specifier.value.toLowerCase()
      return (exchange) => {
        const value = exchange.firstHeader(name)
        return value === '' ? undefined : value
      }
    }
    case 'hostRewritePathRegex': {
      const replace = compileReplacement(specifier.value, place.at('host_rewrite_path_regex'))
      return replace === undefined ? undefined : (exchange) => replace(exchange.path)
    }
    case 'autoHostRewrite':
    case undefined:
      // The endpoint's name is known when it is chosen.
      return undefined
    default:
      place.at('host_rewrite').refuse('is not supported')
      return undefined
  }
}
