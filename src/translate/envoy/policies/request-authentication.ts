/**
 * RequestAuthentications as one `jwt_authn` filter: a request without a token passes, one with a bad
 * token is refused. Key sets come in ready: fetching them is the control plane's business, so that
 * the proxies need no way out, and a set that could not be had makes its tokens fail, never pass.
 */
import type { ConfigObject, JwtRule, RequestAuthenticationSpec } from '../../../model/index.ts'
import { type hcm, jwtAuthn, routeComponents } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import type { Reader } from '../../reader.ts'
import { durationMs } from '../values.ts'
import { attaches, namespacesOf, type PolicyTarget } from './attachment.ts'
import { httpFilter, textSource } from './filters.ts'
import { jwtFilter, payloadKey } from './jwt-claims.ts'
import { unusableKeySet, usableKeySet } from './key-sets.ts'
import { isToken } from './matchers.ts'
import { type Problem, problemOf } from './problem.ts'

/** Key sets by what `jwksSource` says, as the servers sent them. */
export type KeySets = ReadonlyMap<string, string>

export interface RequestAuthenticationFilter {
  /** Undefined: nothing to verify. */
  readonly filter: hcm.HttpFilter | undefined
  readonly problems: readonly Problem[]
}

/** The objects that hold, oldest first in each namespace, the root namespace's first. */
export function requestAuthenticationsFor(
  reader: Reader,
  target: PolicyTarget,
): ConfigObject<RequestAuthenticationSpec>[] {
  const { rootNamespace } = reader.settings
  return namespacesOf(target, rootNamespace).flatMap((namespace) =>
    reader
      .configs('RequestAuthentication', namespace)
      .filter((object) => attaches(object, target, rootNamespace)),
  )
}

/** What a rule's key set is fetched from; undefined when the rule has it in itself. */
export function jwksSource(rule: JwtRule): string | undefined {
  if ((rule.jwks ?? '') !== '') return undefined
  const uri = rule.jwksUri || rule.jwks_uri || ''
  if (uri !== '') return uri
  const issuer = rule.issuer ?? ''
  return `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
}

/** How long fetching may take where the rule does not say. */
const fetchTimeoutMs = 5000

/**
 * Every key set that some object of the mesh needs, with the longest time any of them grants for
 * fetching it. An issuer's discovery document is named in place of a set whose address it has.
 */
export function keySetSources(reader: Reader): Map<string, number> {
  const sources = new Map<string, number>()
  for (const { spec } of reader.allConfigs('RequestAuthentication')) {
    for (const rule of spec.jwtRules ?? []) {
      const source = jwksSource(rule)
      if (source === undefined) continue
      const timeoutMs = durationMs(rule.timeout) ?? fetchTimeoutMs
      sources.set(source, Math.max(timeoutMs, sources.get(source) ?? 0))
    }
  }
  return sources
}

export function requestAuthentication(
  reader: Reader,
  target: PolicyTarget,
  jwks: KeySets,
): RequestAuthenticationFilter {
  const objects = requestAuthenticationsFor(reader, target)
  const problems: Problem[] = []
  const rules = objects.flatMap((object) =>
    (object.spec.jwtRules ?? []).flatMap((rule, index) => {
      if ((rule.issuer ?? '') !== '') return [{ object, rule, index }]
      // To Envoy, no issuer is any issuer.
      const message = 'a rule needs an issuer; it is left out'
      problems.push(problemOf(object, `/spec/jwtRules/${index}/issuer`, message))
      return []
    }),
  )
  // The order of issuers decides nothing that users see, but must not change from push to push.
  rules.sort((left, right) => compareIssuers(left.rule, right.rule))
  const providers: { [name: string]: jwtAuthn.JwtProvider } = {}
  for (const [position, { object, rule, index }] of rules.entries()) {
    const source = jwksSource(rule)
    const keys = source === undefined ? rule.jwks : jwks.get(source)
    const usable = keys === undefined ? undefined : usableKeySet(keys)
    const path = `/spec/jwtRules/${index}`
    if (keys === undefined) {
      const message = `no key set from ${source} yet; its tokens are refused`
      problems.push(problemOf(object, `${path}/jwksUri`, message))
    } else if (usable === undefined) {
      const where = source === undefined ? 'the key set' : `the key set from ${source}`
      const message = `${where} has no key that could verify a token; its tokens are refused`
      problems.push(problemOf(object, `${path}/jwks`, message))
    }
    problems.push(...nameProblems(object, index))
    // Routes may match claims where a gateway or waypoint routes after authentication.
    const clearRouteCache = target.proxy.kind !== 'sidecar'
    providers[providerName(position)] = providerOf(rule, usable ?? unusableKeySet, clearRouteCache)
  }
  const names = Object.keys(providers)
  if (names.length === 0) return { filter: undefined, problems }
  const message = create(jwtAuthn.JwtAuthenticationSchema, {
    providers,
    rules: [
      create(jwtAuthn.RequirementRuleSchema, {
        match: create(routeComponents.RouteMatchSchema, {
          pathSpecifier: { case: 'prefix', value: '/' },
        }),
        requirementType: { case: 'requires', value: requirement(names) },
      }),
    ],
    // A preflight request carries no credentials by design.
    bypassCorsPreflight: true,
  })
  return { filter: httpFilter(jwtFilter, jwtAuthn.JwtAuthenticationSchema, message), problems }
}

function compareIssuers({ issuer: left = '' }: JwtRule, { issuer: right = '' }: JwtRule): number {
  return left < right ? -1 : left > right ? 1 : 0
}

function providerName(index: number): string {
  return `origins-${index}`
}

const defaultSpaceDelimited = ['scope', 'permission']

function providerOf(rule: JwtRule, jwks: string, clearRouteCache: boolean): jwtAuthn.JwtProvider {
  return create(jwtAuthn.JwtProviderSchema, {
    issuer: rule.issuer ?? '',
    audiences: filled(rule.audiences),
    jwksSourceSpecifier: { case: 'localJwks', value: textSource(jwks) },
    forward: rule.forwardOriginalToken ?? false,
    forwardPayloadHeader: filled([rule.outputPayloadToHeader ?? '']).find(isToken) ?? '',
    fromHeaders: (rule.fromHeaders ?? [])
      .filter(({ name = '' }) => isToken(name))
      .map(({ name = '', prefix = '' }) =>
        create(jwtAuthn.JwtHeaderSchema, { name, valuePrefix: prefix }),
      ),
    fromParams: filled(rule.fromParams),
    fromCookies: filled(rule.fromCookies).filter(isToken),
    claimToHeaders: (rule.outputClaimToHeaders ?? [])
      .filter(({ header = '', claim = '' }) => isToken(header) && claim !== '')
      .map(({ header = '', claim = '' }) =>
        create(jwtAuthn.JwtClaimToHeaderSchema, { headerName: header, claimName: claim }),
      ),
    payloadInMetadata: payloadKey,
    normalizePayloadInMetadata: create(jwtAuthn.JwtProvider_NormalizePayloadSchema, {
      spaceDelimitedClaims: [
        ...new Set([...defaultSpaceDelimited, ...filled(rule.spaceDelimitedClaims)]),
      ],
    }),
    clearRouteCache,
  })
}

function filled(values: readonly string[] | undefined): string[] {
  return (values ?? []).filter((value) => value !== '')
}

/**
 * What a rule says in names that are none (RFC 9110, 5.6.2): Envoy refuses the whole listener for them.
 * Such a name can't be in a request, so without it the rule means the same.
 */
function nameProblems(object: ConfigObject<RequestAuthenticationSpec>, index: number): Problem[] {
  const rule = object.spec.jwtRules?.[index] ?? {}
  const { fromHeaders = [], fromCookies = [], outputClaimToHeaders = [] } = rule
  const names: (readonly [path: string, name: string])[] = [
    ...fromHeaders.map(({ name = '' }, at) => [`fromHeaders/${at}/name`, name] as const),
    ...fromCookies.map((name, at) => [`fromCookies/${at}`, name] as const),
    ...outputClaimToHeaders.map(
      ({ header = '' }, at) => [`outputClaimToHeaders/${at}/header`, header] as const,
    ),
    ...(rule.outputPayloadToHeader === undefined
      ? []
      : ([['outputPayloadToHeader', rule.outputPayloadToHeader]] as const)),
  ]
  return names
    .filter(([, name]) => !isToken(name))
    .map(([path, name]) =>
      problemOf(object, `/spec/jwtRules/${index}/${path}`, `'${name}' is no name; it is left out`),
    )
}

/**
 * One issuer: its token or none. Several: the token of any of them, or else each its own or none;
 * the second alone would refuse every token where two issuers look at the same place.
 */
function requirement(names: readonly string[]): jwtAuthn.JwtRequirement {
  const each = names.map((name) => anyOf([providerRequirement(name), allowMissing()]))
  const [only] = each
  if (only !== undefined && each.length === 1) return only
  const all = create(jwtAuthn.JwtRequirementSchema, {
    requiresType: {
      case: 'requiresAll',
      value: create(jwtAuthn.JwtRequirementAndListSchema, { requirements: each }),
    },
  })
  return anyOf([...names.map(providerRequirement), all])
}

function anyOf(requirements: jwtAuthn.JwtRequirement[]): jwtAuthn.JwtRequirement {
  return create(jwtAuthn.JwtRequirementSchema, {
    requiresType: {
      case: 'requiresAny',
      value: create(jwtAuthn.JwtRequirementOrListSchema, { requirements }),
    },
  })
}

function providerRequirement(name: string): jwtAuthn.JwtRequirement {
  return create(jwtAuthn.JwtRequirementSchema, {
    requiresType: { case: 'providerName', value: name },
  })
}

function allowMissing(): jwtAuthn.JwtRequirement {
  return create(jwtAuthn.JwtRequirementSchema, {
    requiresType: { case: 'allowMissing', value: { $typeName: 'google.protobuf.Empty' } },
  })
}
