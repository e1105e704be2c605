/**
 * The verified token as the filters behind the JWT filter see it: its claims are dynamic metadata of
 * that filter, under one key for all issuers. Policies and claim-based routes match them here.
 */
import { rbac, type stringMatcher } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { stringMatch } from '../values.ts'
import { anyValue, dynamicMetadata, listValue, textValue, valueOf } from './matchers.ts'

export const jwtFilter = 'envoy.filters.http.jwt_authn'

/** Where a claim is inside the metadata of `jwtFilter`. */
export function claimPath(claim: readonly string[]): string[] {
  return [payloadKey, ...claim]
}

export const payloadKey = 'payload'

/** A claim that is the text, or a list which has it. */
export function claimMatch(
  claim: readonly string[],
  matcher: stringMatcher.StringMatcher,
): rbac.Principal {
  const text = textValue(matcher)
  return metadataPrincipal(claim, anyValue([listValue(text), text]))
}

function metadataPrincipal(
  claim: readonly string[],
  value: ReturnType<typeof textValue>,
): rbac.Principal {
  return create(rbac.PrincipalSchema, {
    identifier: {
      case: 'sourcedMetadata',
      value: dynamicMetadata(jwtFilter, claimPath(claim), value),
    },
  })
}

const something = stringMatch({ kind: 'regex', value: '.+' })

/**
 * `<issuer>/<subject>` with a wildcard at either end. The issuer may be a URL, so the last slash
 * divides; without one a wildcard is about the subject when it leads, and about the issuer when it ends.
 */
export function requestPrincipal(value: string): rbac.Principal {
  const [issuer, subject] = principalParts(value)
  const both = [
    metadataPrincipal(['iss'], textValue(issuer)),
    metadataPrincipal(['sub'], textValue(subject)),
  ]
  return create(rbac.PrincipalSchema, {
    identifier: { case: 'andIds', value: create(rbac.Principal_SetSchema, { ids: both }) },
  })
}

type Pair = readonly [issuer: stringMatcher.StringMatcher, subject: stringMatcher.StringMatcher]

function principalParts(value: string): Pair {
  if (value === '*') return [something, something]
  const slash = value.lastIndexOf('/')
  if (slash >= 0) {
    const [issuer, subject] = [value.slice(0, slash), value.slice(slash + 1)]
    // Only the end that carries the wildcard has one.
    if (value.startsWith('*')) return [valueOf(issuer), exact(subject)]
    return value.endsWith('*') ? [exact(issuer), valueOf(subject)] : [exact(issuer), exact(subject)]
  }
  if (value.startsWith('*')) return [something, valueOf(value)]
  return value.endsWith('*') ? [valueOf(value), something] : [exact(value), exact('')]
}

function exact(value: string): stringMatcher.StringMatcher {
  return stringMatch({ kind: 'exact', value })
}
