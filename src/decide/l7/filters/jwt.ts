/**
 * JWT authentication: the first rule whose match holds says which tokens a request needs. What a good token
 * changes in the request is changed at once, as in Envoy: a token that is not forwarded is gone for the next
 * requirement. So keys that have to be fetched are looked for first, in a trial that changes nothing.
 */
import type { jwtAuthn as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { limits } from '../limits.ts'
import type { Test } from '../match/headers.ts'
import { compileMatch } from '../route/match.ts'
import type { HttpFilter } from './filter.ts'
import { compileProvider, type Found, type Provider, type RemoteKeys } from './jwt-provider.ts'
import { type JwtProblem, jwtProblem, type Token } from './jwt-token.ts'
import { type EffectResult, reply, type Stop } from './reply.ts'

export const jwtName = 'envoy.filters.http.jwt_authn'

interface Accepted {
  readonly provider: Provider
  readonly token: Token
}

/** One evaluation: what was accepted so far, and which keys it lacks. */
interface Attempt {
  readonly exchange: Exchange
  readonly fetched: Map<string, string | undefined>
  readonly accepted: Accepted[]
  /** Changes nothing. */
  readonly trial: boolean
  fetch: RemoteKeys | undefined
}

/** Undefined: met. */
type Requirement = (attempt: Attempt) => JwtProblem | undefined

export function compileJwt(name: string, message: api.JwtAuthentication, place: Place): HttpFilter {
  if (message.filterStateRules !== undefined)
    place.at('filter_state_rules').refuse('is not supported')
  const providers = new Map(
    Object.entries(message.providers).map(([key, provider]) => [
      key,
      compileProvider(key, provider, place.at('providers', key)),
    ]),
  )
  const compile = (requirement: api.JwtRequirement | undefined, at: Place): Requirement =>
    compileRequirement(requirement, { providers, place: at })
  const named = new Map(
    Object.entries(message.requirementMap).map(([key, requirement]) => [
      key,
      compile(requirement, place.at('requirement_map', key)),
    ]),
  )
  const rules = message.rules.map((rule, index): Rule => {
    const at = place.at('rules', index)
    const match = compileMatch(rule.match, at.at('match'))
    const matches: Test = (exchange) => match.path.holds(exchange) && match.rest(exchange)
    const { requirementType: type } = rule
    if (type.case !== 'requirementName') {
      const requires = type.case === undefined ? undefined : compile(type.value, at.at('requires'))
      return { matches, requirement: requires }
    }
    const requirement = named.get(type.value)
    if (requirement === undefined) at.refuse(`there is no requirement '${type.value}'`)
    return { matches, requirement }
  })
  const bodies = !message.stripFailureResponse
  const remote = [...providers.values()].some((provider) => provider.remote !== undefined)
  return {
    name,
    run: (exchange) => {
      // Whatever is required here: what these headers say is the proxy's word alone.
      for (const provider of providers.values()) provider.sanitize(exchange)
      if (message.bypassCorsPreflight && isPreflight(exchange)) return undefined
      const requirement = chooseRequirement(name, exchange, { rules, named })
      if (requirement === 'unknown')
        return denied(exchange, jwtProblem.issuer, { by: name, bodies })
      if (requirement === undefined) return undefined
      return evaluate(requirement, exchange, { by: name, bodies, remote, fetched: new Map() })
    },
  }
}

interface Rule {
  readonly matches: Test
  readonly requirement: Requirement | undefined
}

function chooseRequirement(
  name: string,
  exchange: Exchange,
  { rules, named }: { rules: readonly Rule[]; named: ReadonlyMap<string, Requirement> },
): Requirement | 'unknown' | undefined {
  const config = exchange.override(name)?.config
  if (config?.kind === 'jwt') {
    if (config.disabled) return undefined
    return named.get(config.requirement) ?? 'unknown'
  }
  return rules.find(({ matches }) => matches(exchange))?.requirement
}

function isPreflight(exchange: Exchange): boolean {
  const asked = exchange.header('access-control-request-method') ?? ''
  return (
    exchange.request.method === 'OPTIONS' &&
    (exchange.header('origin') ?? '') !== '' &&
    asked !== ''
  )
}

interface Evaluation {
  readonly by: string
  readonly bodies: boolean
  /** Whether any provider fetches its keys. */
  readonly remote: boolean
  readonly fetched: Map<string, string | undefined>
}

function evaluate(
  requirement: Requirement,
  exchange: Exchange,
  options: Evaluation,
): Stop | undefined {
  const { by, fetched, remote } = options
  const missing = remote ? missingKeys(requirement, exchange, fetched) : undefined
  if (missing !== undefined) {
    const { uri, cluster, timeoutMs, cacheMs } = missing
    return {
      kind: 'pause',
      effect: { kind: 'key-set', uri, cluster, timeoutMs, cacheMs },
      resume: (result: EffectResult) => {
        fetched.set(uri, result.kind === 'key-set' ? result.keys : undefined)
        return evaluate(requirement, exchange, options)
      },
    }
  }
  const attempt: Attempt = { exchange, fetched, accepted: [], trial: false, fetch: undefined }
  const problem = requirement(attempt)
  const issuers = attempt.accepted.map(({ token }) => token.issuer)
  exchange.notes?.push({ by, verdict: problem ?? 'accepted', details: { issuers } })
  let clears = false
  for (const { provider, token } of attempt.accepted) {
    for (const [key, value] of provider.metadata(token)) exchange.setMetadata(jwtName, key, value)
    clears ||= provider.clearsRoute
  }
  if (problem !== undefined) return denied(exchange, problem, options)
  if (clears) exchange.reroute()
  return undefined
}

function missingKeys(
  requirement: Requirement,
  exchange: Exchange,
  fetched: Map<string, string | undefined>,
): RemoteKeys | undefined {
  const attempt: Attempt = { exchange, fetched, accepted: [], trial: true, fetch: undefined }
  requirement(attempt)
  return attempt.fetch
}

function denied(
  exchange: Exchange,
  problem: JwtProblem,
  { by, bodies }: { readonly by: string; readonly bodies: boolean },
): Stop {
  const { scheme, authority, path } = exchange.request
  const realm = `Bearer realm="${scheme}://${authority}${path.slice(0, limits.realmPath)}"`
  const invalid = problem === jwtProblem.missing ? '' : ', error="invalid_token"'
  return reply({
    status: problem === jwtProblem.audience ? 403 : 401,
    body: bodies ? problem : '',
    headers: [['www-authenticate', realm + invalid]],
    details: `jwt_authn_access_denied{${problem.replaceAll(' ', '_')}}`,
    by,
  })
}

interface TreeContext {
  readonly providers: ReadonlyMap<string, Provider>
  readonly place: Place
}

function compileRequirement(
  message: api.JwtRequirement | undefined,
  context: TreeContext,
): Requirement {
  const { providers, place } = context
  const type = message?.requiresType
  if (place.path.split('.').length > limits.nesting) place.refuse('nested too deeply')
  switch (type?.case) {
    case 'providerName':
      return one(providerOf(type.value, context), undefined)
    case 'providerAndAudiences': {
      const { providerName, audiences } = type.value
      return one(providerOf(providerName, context), new Set(audiences))
    }
    case 'requiresAll': {
      const at = place.at('requires_all.requirements')
      const parts = type.value.requirements.map((part, index) =>
        compileRequirement(part, { providers, place: at.at('', index) }),
      )
      return (attempt) => {
        for (const part of parts) {
          const problem = part(attempt)
          if (problem !== undefined) return problem
        }
        return undefined
      }
    }
    case 'requiresAny':
      return anyOf(type.value.requirements, {
        ...context,
        place: place.at('requires_any.requirements'),
      })
    case 'allowMissing':
      return optional([...providers.values()], false)
    case 'allowMissingOrFailed':
      return optional([...providers.values()], true)
    default:
      return () => undefined
  }
}

function providerOf(name: string, { providers, place }: TreeContext): Provider | undefined {
  const provider = providers.get(name)
  if (provider === undefined) place.refuse(`there is no provider '${name}'`)
  return provider
}

function one(
  provider: Provider | undefined,
  audiences: ReadonlySet<string> | undefined,
): Requirement {
  if (provider === undefined) return () => jwtProblem.issuer
  return (attempt) => {
    // What an earlier requirement wrote is written again, not twice.
    if (!attempt.trial) provider.sanitize(attempt.exchange)
    const tokens = provider.find(attempt.exchange)
    if (tokens.length === 0) return jwtProblem.missing
    // All of them: a bad one beside a good one may be the one that the application reads.
    for (const found of tokens.toReversed()) {
      const problem = check(provider, found, { attempt, audiences })
      if (problem !== undefined) return problem
    }
    return undefined
  }
}

interface Check {
  readonly attempt: Attempt
  readonly audiences?: ReadonlySet<string> | undefined
}

function check(
  provider: Provider,
  found: Found,
  { attempt, audiences }: Check,
): JwtProblem | undefined {
  const { exchange, fetched } = attempt
  const result = provider.verify(found, exchange, { audiences, fetched })
  if (typeof result === 'string') return result
  if ('fetch' in result) {
    attempt.fetch ??= result.fetch
    return jwtProblem.fetch
  }
  attempt.accepted.push({ provider, token: result })
  if (!attempt.trial) provider.accept(exchange, result, found)
  return undefined
}

/**
 * One of several. Where none is met, a token that is bad counts more than one of another issuer, and that
 * more than none at all, which is fine where the list says so.
 */
function anyOf(requirements: readonly api.JwtRequirement[], context: TreeContext): Requirement {
  const { providers, place } = context
  const has = (kind: api.JwtRequirement['requiresType']['case']): boolean =>
    requirements.some(({ requiresType }) => requiresType.case === kind)
  const mayFail = has('allowMissingOrFailed')
  const mayMiss = has('allowMissing')
  const parts = requirements.flatMap((part, index) => {
    const { case: kind } = part.requiresType
    return kind === 'allowMissing' || kind === 'allowMissingOrFailed'
      ? []
      : [compileRequirement(part, { providers, place: place.at('', index) })]
  })
  if (parts.length === 0) return optional([...providers.values()], mayFail)
  return (attempt) => {
    let worst: JwtProblem = jwtProblem.missing
    for (const part of parts) {
      const problem = part(attempt)
      if (problem === undefined) return undefined
      const isBad = problem !== jwtProblem.missing && problem !== jwtProblem.issuer
      if (isBad || worst === jwtProblem.missing) worst = problem
    }
    return mayFail || (mayMiss && worst === jwtProblem.missing) ? undefined : worst
  }
}

/** Tokens of any provider: none is fine, and bad ones are when the configuration says so. */
function optional(providers: readonly Provider[], mayFail: boolean): Requirement {
  return (attempt) => {
    const places = new Map<string, { readonly found: Found; readonly owners: Provider[] }>()
    for (const provider of providers) {
      if (!attempt.trial) provider.sanitize(attempt.exchange)
      for (const found of provider.find(attempt.exchange)) {
        const known = places.get(found.place)
        if (known === undefined) places.set(found.place, { found, owners: [provider] })
        else known.owners.push(provider)
      }
    }
    let last: JwtProblem | undefined
    const keys = [...places.keys()].toSorted().toReversed()
    for (const key of keys) {
      const place = places.get(key)
      if (place === undefined) continue
      last = jwtProblem.issuer
      for (const provider of place.owners) {
        last = check(provider, place.found, { attempt })
        // A provider of another issuer has nothing to say about it.
        if (last !== jwtProblem.issuer) break
      }
    }
    return mayFail ? undefined : last
  }
}
