/** Values of policies (`x`, `x*`, `*x`, `*`) as Envoy's matchers of strings, headers and metadata. */
import { formatIp, parseCidr } from '../../../base/index.ts'
import {
  address as addressApi,
  metadataMatcher,
  pathMatcher,
  rbac,
  routeComponents,
  stringMatcher,
  uriTemplate,
  valueMatcher,
} from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { stringMatch } from '../values.ts'

type StringMatcher = stringMatcher.StringMatcher

/** RE2 is implied; every special character of a literal is escaped. */
export function escapeRegex(literal: string): string {
  return literal.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}

/**
 * @param prefix stands before what the value describes, unless that is anything (`*`): an identity
 *   is written without its `spiffe://`
 */
export function valueOf(value: string, prefix = '', ignoreCase = false): StringMatcher {
  if (value === '*') return stringMatch({ kind: 'regex', value: '.+' })
  if (value.startsWith('*')) {
    const rest = value.slice(1)
    if (prefix === '') return stringMatch({ kind: 'suffix', value: rest, ignoreCase })
    return stringMatch({ kind: 'regex', value: `${escapeRegex(prefix)}.*${escapeRegex(rest)}` })
  }
  if (value.endsWith('*')) {
    return stringMatch({ kind: 'prefix', value: prefix + value.slice(0, -1), ignoreCase })
  }
  return stringMatch({ kind: 'exact', value: prefix + value, ignoreCase })
}

/** A wildcard inside a regular expression: anything but what ends the part it stands in. */
export function wildcardRegex(value: string): string {
  return value
    .split('*')
    .map((part) => escapeRegex(part))
    .join('[^/]*')
}

export function headerMatch(
  name: string,
  value: string,
  ignoreCase = false,
): routeComponents.HeaderMatcher {
  return create(routeComponents.HeaderMatcherSchema, {
    name,
    // An empty prefix or suffix is no valid matcher, and presence is what is meant.
    headerMatchSpecifier:
      value === '*'
        ? { case: 'presentMatch', value: true }
        : { case: 'stringMatch', value: valueOf(value, '', ignoreCase) },
  })
}

export function pathMatch(value: string): pathMatcher.PathMatcher {
  return create(pathMatcher.PathMatcherSchema, { rule: { case: 'path', value: valueOf(value) } })
}

/** `{*}` is one segment of a path, `{**}` what is left of it. */
export function isPathTemplate(value: string): boolean {
  return value.includes('{*}') || value.includes('{**}')
}

/** The same template in Envoy's spelling, which has no braces; undefined for one Envoy refuses. */
export function pathTemplate(value: string): uriTemplate.UriTemplateMatchConfig | undefined {
  const segments = value.split('/').slice(1)
  const valid =
    value.startsWith('/') &&
    segments.every((segment, index) => {
      if (segment === '{*}') return true
      if (segment === '{**}') return index === segments.length - 1
      return segment !== '' && !/[*{}]/.test(segment)
    })
  if (!valid) return undefined
  return create(uriTemplate.UriTemplateMatchConfigSchema, {
    pathTemplate: value.replaceAll('{**}', '**').replaceAll('{*}', '*'),
  })
}

/** An address or a range; undefined for what is neither. */
export function cidrOf(value: string): addressApi.CidrRange | undefined {
  const cidr = parseCidr(value)
  if (cidr === undefined) return undefined
  return create(addressApi.CidrRangeSchema, {
    addressPrefix: formatIp(cidr.address),
    prefixLen: cidr.length,
  })
}

/** Whether a header, a cookie or a method can have the name (RFC 9110, 5.6.2). */
export function isToken(name: string): boolean {
  return /^[\w!#$%&'*+.^`|~-]+$/.test(name)
}

/** A port number; undefined for what is none. */
export function portOf(value: string): number | undefined {
  return /^\d{1,5}$/.test(value) && Number(value) <= 65_535 ? Number(value) : undefined
}

type Value = valueMatcher.ValueMatcher

export function textValue(matcher: StringMatcher): Value {
  return create(valueMatcher.ValueMatcherSchema, {
    matchPattern: { case: 'stringMatch', value: matcher },
  })
}

/** A list that has an element which matches. */
export function listValue(element: Value): Value {
  return create(valueMatcher.ValueMatcherSchema, {
    matchPattern: {
      case: 'listMatch',
      value: create(valueMatcher.ListMatcherSchema, {
        matchPattern: { case: 'oneOf', value: element },
      }),
    },
  })
}

export function anyValue(matchers: readonly Value[]): Value {
  const [only] = matchers
  if (only !== undefined && matchers.length === 1) return only
  return create(valueMatcher.ValueMatcherSchema, {
    matchPattern: {
      case: 'orMatch',
      value: create(valueMatcher.OrMatcherSchema, { valueMatchers: [...matchers] }),
    },
  })
}

/** Dynamic metadata of a filter. */
export function metadataMatch(
  filter: string,
  path: readonly string[],
  value: Value,
): metadataMatcher.MetadataMatcher {
  return create(metadataMatcher.MetadataMatcherSchema, {
    filter,
    path: path.map((key) =>
      create(metadataMatcher.MetadataMatcher_PathSegmentSchema, {
        segment: { case: 'key', value: key },
      }),
    ),
    value,
  })
}

/** Metadata as RBAC reads it: what filters of this request have written. */
export function dynamicMetadata(
  filter: string,
  path: readonly string[],
  value: Value,
): rbac.SourcedMetadata {
  return create(rbac.SourcedMetadataSchema, {
    metadataMatcher: metadataMatch(filter, path, value),
    metadataSource: rbac.MetadataSource.DYNAMIC,
  })
}
