/**
 * RBAC, JWT authentication, CORS and header-to-metadata: random policies and requests for a stock Envoy and
 * for `decide`. The seed is printed; WEFT_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { Agent } from 'node:http'
import test from 'node:test'
import type { JsonObject } from '@bufbuild/protobuf'
import {
  compiledOrThrow,
  compileListener,
  type HttpConfig,
  responseHeaders,
} from '../../src/decide/l7.ts'
import { listener as listenerApi } from '../../src/proto/envoy.ts'
import { freePort } from '../free-port.ts'
import { headerMatch, Random } from './decide-generator.ts'
import {
  apply,
  ask,
  decide,
  echo,
  httpConfigOf,
  message,
  type Question,
  type,
} from './decide-kit.ts'
import { at, cluster, Envoy, manager, router } from './traffic-kit.ts'

const soak = process.env.WEFT_SOAK === '1'
const seed = Number(process.env.WEFT_SEED ?? Math.floor(Math.random() * 2 ** 31))
const configs = soak ? 120 : 25
const requests = soak ? 60 : 30

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })

function jwks(key: KeyObject, kid: string): string {
  return JSON.stringify({ keys: [{ ...key.export({ format: 'jwk' }), kid }] })
}

function token(header: JsonObject, claims: JsonObject, key: KeyObject): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const data = `${part(header)}.${part(claims)}`
  const isRsa = header.alg === 'RS256'
  const options = isRsa ? key : ({ key, dsaEncoding: 'ieee-p1363' } as const)
  return `${data}.${sign('sha256', Buffer.from(data), options).toString('base64url')}`
}

const now = Math.floor(Date.now() / 1000)
const good = {
  exp: now + 3600,
  sub: 'alice',
  groups: ['dev', 'ops'],
  scope: 'read write',
  nested: { level: 7 },
}
const rs = { alg: 'RS256', kid: 'r' }
const es = { alg: 'ES256', kid: 'e' }

const tokens = [
  token(rs, { ...good, iss: 'a', aud: 'web' }, rsa.privateKey),
  token(rs, { ...good, iss: 'a', aud: 'web' }, rsa.privateKey),
  token(es, { ...good, iss: 'b', aud: ['web', 'app'], sub: 'bob' }, ec.privateKey),
  token(es, { ...good, iss: 'b', aud: ['web', 'app'], sub: 'bob' }, ec.privateKey),
  token(rs, { ...good, iss: 'a', aud: 'web', exp: now - 3600 }, rsa.privateKey),
  token(rs, { ...good, iss: 'a', aud: 'web', nbf: now + 3600 }, rsa.privateKey),
  token(rs, { ...good, iss: 'a', aud: 'other' }, rsa.privateKey),
  token(rs, { ...good, iss: 'z', aud: 'web' }, rsa.privateKey),
  token(es, { ...good, iss: 'b', aud: 'app' }, stranger.privateKey),
  token({ alg: 'ES256', kid: 'other' }, { ...good, iss: 'b' }, ec.privateKey),
  'no-token',
  'a.b.c',
] as const

function provider(random: Random, issuer: 'a' | 'b'): JsonObject {
  const keys = issuer === 'a' ? jwks(rsa.publicKey, 'r') : jwks(ec.publicKey, 'e')
  return {
    issuer,
    localJwks: { inlineString: keys },
    payloadInMetadata: 'payload',
    ...(random.chance(0.5) ? { audiences: ['https://web/'] } : {}),
    ...(random.chance(0.5) ? { forward: true } : {}),
    ...(random.chance(0.4) ? { forwardPayloadHeader: 'x-payload' } : {}),
    ...(random.chance(0.3) ? { fromHeaders: [{ name: 'x-token', valuePrefix: 'T ' }] } : {}),
    ...(random.chance(0.2) ? { fromParams: ['t'] } : {}),
    ...(random.chance(0.2) ? { fromCookies: ['jwt'] } : {}),
    claimToHeaders: [
      { headerName: 'x-sub', claimName: 'sub' },
      { headerName: 'x-level', claimName: 'nested.level' },
    ],
    normalizePayloadInMetadata: { spaceDelimitedClaims: ['scope'] },
  }
}

function requirement(random: Random, depth = 0): JsonObject {
  const kind = random.below(depth > 1 ? 3 : 6)
  if (kind < 2) return { providerName: random.pick(['a', 'b']) }
  if (kind === 2) return { providerAndAudiences: { providerName: 'b', audiences: ['app'] } }
  const requirements = Array.from({ length: 2 }, () => requirement(random, depth + 1))
  if (kind === 3) return { requiresAll: { requirements } }
  const exit: JsonObject[] =
    kind === 4 ? [] : [random.chance(0.7) ? { allowMissing: {} } : { allowMissingOrFailed: {} }]
  return { requiresAny: { requirements: [...requirements, ...exit] } }
}

function jwtFilter(random: Random): JsonObject {
  const prefixes = ['/a', '/'].filter(() => random.chance(0.7))
  return {
    name: 'jwt',
    typedConfig: {
      ...type('extensions.filters.http.jwt_authn.v3.JwtAuthentication'),
      providers: { a: provider(random, 'a'), b: provider(random, 'b') },
      rules: prefixes.map((prefix) => ({ match: { prefix }, requires: requirement(random) })),
      ...(random.chance(0.5) ? { bypassCorsPreflight: true } : {}),
    },
  }
}

function claim(random: Random): JsonObject {
  const [key, value] = random.pick([
    ['sub', { stringMatch: { exact: 'alice' } }],
    ['groups', { listMatch: { oneOf: { stringMatch: { prefix: 'op' } } } }],
    ['scope', { listMatch: { oneOf: { stringMatch: { exact: 'read' } } } }],
    ['none', { presentMatch: true }],
    ['iss', { orMatch: { valueMatchers: [{ stringMatch: { exact: 'a' } }, { nullMatch: {} }] } }],
  ] as [[string, JsonObject], ...[string, JsonObject][]])
  const path = [{ key: 'payload' }, { key }]
  return {
    sourcedMetadata: {
      metadataMatcher: { filter: 'envoy.filters.http.jwt_authn', path, value },
    },
  }
}

function fromHeader(random: Random): JsonObject {
  const value = { stringMatch: { contains: random.pick(['1', 'a', 'x']) } }
  const matcher = { filter: 'test', path: [{ key: 'part' }], value }
  return { sourcedMetadata: { metadataMatcher: matcher } }
}

function permission(random: Random, depth = 0): JsonObject {
  const kind = random.below(depth > 1 ? 6 : 9)
  if (kind === 0) return { any: true }
  if (kind === 1) return { header: headerMatch(random) }
  if (kind === 2) return { urlPath: { path: { prefix: random.pick(['/a', '/b', '/a/b']) } } }
  if (kind === 3)
    return { destinationIp: { addressPrefix: '127.0.0.0', prefixLen: random.pick([8, 32]) } }
  if (kind === 4) return { requestedServerName: { exact: '' } }
  if (kind === 5) {
    const pathTemplate = random.pick(['/a/*', '/**', '/a/{x}/c'])
    const config = {
      ...type('extensions.path.match.uri_template.v3.UriTemplateMatchConfig'),
      pathTemplate,
    }
    return { uriTemplate: { name: 'template', typedConfig: config } }
  }
  if (kind === 6) return { notRule: permission(random, depth + 1) }
  const rules = Array.from({ length: 2 }, () => permission(random, depth + 1))
  return kind === 7 ? { andRules: { rules } } : { orRules: { rules } }
}

function principal(random: Random, depth = 0): JsonObject {
  const kind = random.below(depth > 1 ? 6 : 9)
  if (kind === 0) return { any: true }
  if (kind === 1) return { header: headerMatch(random) }
  if (kind === 2) return { authenticated: {} }
  if (kind === 3) return { directRemoteIp: { addressPrefix: '127.0.0.1', prefixLen: 32 } }
  if (kind === 4) return claim(random)
  if (kind === 5) return fromHeader(random)
  if (kind === 6) return { notId: principal(random, depth + 1) }
  const ids = Array.from({ length: 2 }, () => principal(random, depth + 1))
  return kind === 7 ? { andIds: { ids } } : { orIds: { ids } }
}

function rules(random: Random): JsonObject {
  const policies: Record<string, JsonObject> = {}
  for (let index = random.below(4); index >= 0; index--) {
    policies[`p${index}`] = { permissions: [permission(random)], principals: [principal(random)] }
  }
  return { action: random.pick(['ALLOW', 'DENY']), policies }
}

function rbacFilter(random: Random, name: string): JsonObject {
  const config = type('extensions.filters.http.rbac.v3.RBAC')
  const shadow: JsonObject = random.chance(0.3)
    ? { shadowRules: rules(random), shadowRulesStatPrefix: 's_' }
    : {}
  return { name, typedConfig: { ...config, rules: rules(random), ...shadow } }
}

const headerFilter = {
  name: 'header-to-metadata',
  typedConfig: {
    ...type('extensions.filters.http.header_to_metadata.v3.Config'),
    requestRules: [
      {
        header: 'x-a',
        onHeaderPresent: {
          metadataNamespace: 'test',
          key: 'part',
          regexValueRewrite: { pattern: { regex: '^(.).*$' }, substitution: '<\\1>' },
        },
        onHeaderMissing: { metadataNamespace: 'test', key: 'part', value: 'x' },
      },
    ],
  },
}

function corsPolicy(random: Random): JsonObject {
  return {
    ...type('extensions.filters.http.cors.v3.CorsPolicy'),
    allowOriginStringMatch: [random.pick<JsonObject>([{ exact: 'http://one' }, { suffix: 'two' }])],
    allowMethods: random.pick(['GET,PUT', '*']),
    allowHeaders: random.pick(['x-a', '*', '']),
    exposeHeaders: 'x-up',
    maxAge: '600',
    ...(random.chance(0.5) ? { allowCredentials: true } : {}),
    ...(random.chance(0.4) ? { forwardNotMatchingPreflights: false } : {}),
  }
}

function routes(random: Random): JsonObject[] {
  const perFilter = (): JsonObject => {
    const config: JsonObject = {}
    if (random.chance(0.5)) config.cors = corsPolicy(random)
    if (random.chance(0.2)) {
      const own: JsonObject = random.chance(0.5) ? {} : { rbac: { rules: rules(random) } }
      config.rbac1 = { ...type('extensions.filters.http.rbac.v3.RBACPerRoute'), ...own }
    }
    if (random.chance(0.2)) {
      config.jwt = {
        ...type('extensions.filters.http.jwt_authn.v3.PerRouteConfig'),
        disabled: true,
      }
    }
    return config
  }
  const claimed = {
    match: {
      prefix: '/',
      dynamicMetadata: [
        {
          filter: 'envoy.filters.http.jwt_authn',
          path: [{ key: 'payload' }],
          value: { presentMatch: true },
        },
      ],
    },
  }
  return [
    { match: { prefix: '/a' }, route: { cluster: 'echo' }, typedPerFilterConfig: perFilter() },
    { ...claimed, directResponse: { status: 204 } },
    { match: { prefix: '/' }, route: { cluster: 'echo' }, typedPerFilterConfig: perFilter() },
  ]
}

function question(random: Random): Question {
  const headers: Record<string, string> = {}
  let path: string = random.pick(['/a', '/a/b', '/a/x/c', '/b', '/'])
  const one = random.pick(tokens)
  const place = random.below(8)
  if (place < 3) headers.authorization = `Bearer ${one}`
  else if (place === 3) headers['x-token'] = `T ${one}`
  else if (place === 4) path += `?t=${one}&k=1`
  else if (place === 5) path += `?access_token=${one}`
  else if (place === 6) headers.cookie = `x=1; jwt=${one}`
  if (random.chance(0.15)) headers.authorization = `Bearer ${random.pick(tokens)}`
  for (const name of ['x-a', 'x-b', 'x-payload', 'x-sub']) {
    if (random.chance(0.3)) headers[name] = random.pick(['1', 'abc', 'x,y'])
  }
  const method = random.pick(['GET', 'GET', 'OPTIONS', 'POST'])
  if (random.chance(0.5)) headers.origin = random.pick(['http://one', 'http://two', 'http://no'])
  if (method === 'OPTIONS' && random.chance(0.8)) {
    headers['access-control-request-method'] = 'PUT'
    headers['access-control-request-headers'] = 'x-z'
  }
  return { method, path, authority: 'a.test', headers }
}

/** Headers that these filters make. */
function own(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const kept =
    /^(x-(a|b|up|payload|sub|level|token)|authorization|www-authenticate|access-control-.*)$/
  return Object.fromEntries(Object.entries(headers).filter(([name]) => kept.test(name)))
}

async function seenInEnvoy(port: number, agent: Agent, asked: Question): Promise<object> {
  const { status, headers, body } = await ask(port, agent, asked)
  const isEcho = body.startsWith('{')
  const upstream = isEcho ? (JSON.parse(body) as { url: string; headers: object }) : undefined
  return {
    status,
    body: isEcho ? '' : body,
    response: own(headers),
    ...(upstream === undefined
      ? {}
      : { url: upstream.url, upstream: own({ ...upstream.headers }) }),
  }
}

function seenInDecision(config: HttpConfig, asked: Question): object {
  const decision = decide(config, asked)
  assert(decision.kind !== 'pause')
  if (decision.kind === 'reply') {
    const { status, headers, body } = decision
    const given = Object.fromEntries(headers)
    const facts = { status, headers: new Map(headers) }
    return {
      status,
      body: String(body),
      response: own(apply(given, responseHeaders(decision, facts))),
    }
  }
  const given = { 'x-up': 'yes' }
  const facts = { status: 200, headers: new Map(Object.entries(given)) }
  return {
    status: 200,
    body: '',
    response: own(apply(given, responseHeaders(decision, facts))),
    url: decision.path,
    upstream: own(apply(asked.headers, decision.requestHeaders)),
  }
}

/** Tokens by their number, to read a difference by. */
function named(text: string): string {
  return tokens.reduce((all, one, index) => all.replaceAll(one, `TOKEN${index}`), text)
}

test('RBAC, JWT and CORS decide as in a stock Envoy', async (context) => {
  context.diagnostic(`seed ${seed}: ${configs} configurations, ${requests} requests each`)
  const random = new Random(seed)
  const upstream = await echo()
  context.after(() => upstream.server.close())
  const listeners: { port: number; json: object; config: HttpConfig }[] = []
  for (let index = 0; index < configs; index++) {
    const port = await freePort()
    const httpFilters = [
      { name: 'cors', typedConfig: type('extensions.filters.http.cors.v3.Cors') },
      headerFilter,
      ...(random.chance(0.7) ? [jwtFilter(random)] : []),
      rbacFilter(random, 'rbac1'),
      ...(random.chance(0.3) ? [rbacFilter(random, 'rbac2')] : []),
      router,
    ]
    const routeConfig = { virtualHosts: [{ name: 'all', domains: ['*'], routes: routes(random) }] }
    const filters = [manager({ routeConfig, httpFilters, generateRequestId: false })]
    const json = { name: `l${port}`, address: at(port), filterChains: [{ filters }] }
    const parsed = message(listenerApi.ListenerSchema, JSON.parse(JSON.stringify(json)))
    listeners.push({ port, json, config: httpConfigOf(compiledOrThrow(compileListener(parsed))) })
  }
  await using envoy = new Envoy()
  await envoy.start({
    staticResources: {
      listeners: listeners.map(({ json }) => json),
      clusters: [cluster('echo', { endpoint: { address: at(upstream.port) } })],
    },
  })
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  context.after(() => agent.destroy())
  const differences: object[] = []
  const statuses = new Map<string, number>()
  for (const { port, config, json } of listeners) {
    for (let index = 0; index < requests; index++) {
      const asked = question(random)
      const expected = await seenInEnvoy(port, agent, asked)
      const actual = seenInDecision(config, asked)
      const { status, body } = expected as { status: number; body: string }
      const kind = `${status} ${body}`
      statuses.set(kind, (statuses.get(kind) ?? 0) + 1)
      try {
        assert.deepEqual(actual, expected)
      } catch {
        differences.push({ asked, expected, actual, json })
      }
    }
  }
  context.diagnostic(JSON.stringify(Object.fromEntries(statuses)))
  const shown = differences
    .slice(0, 3)
    .map((each) => named(JSON.stringify(each)))
    .join('\n')
  assert.equal(differences.length, 0, `seed ${seed}: ${differences.length} differences\n${shown}`)
})
