/** Matches of a rule as Envoy's. */
import { routeComponents as api, metadataMatcher, valueMatcher } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { regexOf, stringMatch, type TextMatch } from '../values.ts'
import type { ClaimMatch, FieldMatch, HttpMatch, PathMatch } from './ir.ts'

/** Where the JWT filter leaves the claims of a valid token. */
const claimsFilter = 'envoy.filters.http.jwt_authn'
const claimsKey = 'payload'

export function routeMatch(match: HttpMatch): api.RouteMatch {
  return create(api.RouteMatchSchema, {
    pathSpecifier: pathSpecifier(match.path),
    ...(match.path?.ignoreCase === true ? { caseSensitive: false } : {}),
    headers: match.headers.map(headerMatcher),
    queryParameters: match.query.map(queryMatcher),
    dynamicMetadata: match.claims.map(claimMatcher),
    ...(match.grpc ? { grpc: create(api.RouteMatch_GrpcRouteMatchOptionsSchema) } : {}),
  })
}

function pathSpecifier(path: PathMatch | undefined): api.RouteMatch['pathSpecifier'] {
  const { kind, value } = path ?? { kind: 'prefix', value: '/' }
  if (kind === 'exact') return { case: 'path', value }
  if (kind === 'regex') return { case: 'safeRegex', value: regexOf(value) }
  if (kind === 'prefix') return { case: 'prefix', value }
  const trimmed = value.replace(/\/+$/, '')
  return trimmed === ''
    ? { case: 'prefix', value: '/' }
    : { case: 'pathSeparatedPrefix', value: trimmed }
}

function headerMatcher({ name, value, invert }: FieldMatch): api.HeaderMatcher {
  return create(api.HeaderMatcherSchema, {
    name: name.toLowerCase(),
    headerMatchSpecifier:
      value === undefined
        ? { case: 'presentMatch', value: true }
        : { case: 'stringMatch', value: stringMatch(value) },
    ...(invert ? { invertMatch: true, treatMissingHeaderAsEmpty: value !== undefined } : {}),
  })
}

function queryMatcher({ name, value }: FieldMatch): api.QueryParameterMatcher {
  return create(api.QueryParameterMatcherSchema, {
    name,
    queryParameterMatchSpecifier:
      value === undefined
        ? { case: 'presentMatch', value: true }
        : { case: 'stringMatch', value: stringMatch(value) },
  })
}

/** A claim is a text, or a list in which one item is enough. */
function claimMatcher({ claim, value, invert }: ClaimMatch): metadataMatcher.MetadataMatcher {
  return create(metadataMatcher.MetadataMatcherSchema, {
    filter: claimsFilter,
    path: [claimsKey, ...claim].map((key) => ({ segment: { case: 'key' as const, value: key } })),
    value: claimValue(value),
    invert,
  })
}

function claimValue(value: TextMatch | undefined): valueMatcher.ValueMatcher {
  if (value === undefined) {
    return create(valueMatcher.ValueMatcherSchema, {
      matchPattern: { case: 'presentMatch', value: true },
    })
  }
  const text = create(valueMatcher.ValueMatcherSchema, {
    matchPattern: { case: 'stringMatch', value: stringMatch(value) },
  })
  const item = create(valueMatcher.ValueMatcherSchema, {
    matchPattern: {
      case: 'listMatch',
      value: create(valueMatcher.ListMatcherSchema, {
        matchPattern: { case: 'oneOf', value: text },
      }),
    },
  })
  return create(valueMatcher.ValueMatcherSchema, {
    matchPattern: {
      case: 'orMatch',
      value: create(valueMatcher.OrMatcherSchema, { valueMatchers: [text, item] }),
    },
  })
}
