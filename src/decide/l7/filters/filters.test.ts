import assert from 'node:assert/strict'
import { createSign, generateKeyPairSync } from 'node:crypto'
import test from 'node:test'
import type { JsonObject } from '@bufbuild/protobuf'
import { hcm, route } from '../../../proto/envoy.ts'
import { responseHeaders } from '../decide.ts'
import { Place } from '../errors.ts'
import { explainHttp } from '../explain.ts'
import {
  configOf,
  connection,
  decide,
  everything,
  hostOf,
  httpFilter,
  message,
  outcome,
  requestOf,
  steady,
  type,
} from '../fixture.ts'
import { compileRoutes } from '../route/table.ts'
import { compileFilterChain } from './chain.ts'

const http = (path: string, fields: JsonObject): JsonObject =>
  httpFilter(path.split('.')[0] ?? '', { ...type(`extensions.filters.http.${path}`), ...fields })

const any = { any: true }
const rbac = (fields: JsonObject): JsonObject => http('rbac.v3.RBAC', fields)

test('shadow rules never decide; what they found is metadata that external authorization reads', () => {
  const policies = {
    'istio-ext-authz-p-ns[a]-policy[b]-rule[0]': {
      permissions: [{ urlPath: { path: { prefix: '/admin' } } }],
      principals: [any],
    },
  }
  const config = configOf(
    hostOf(everything),
    rbac({ shadowRules: { action: 'DENY', policies }, shadowRulesStatPrefix: 'x_' }),
    http('ext_authz.v3.ExtAuthz', {
      grpcService: { envoyGrpc: { clusterName: 'authz' }, timeout: '1s' },
      filterEnabledMetadata: {
        filter: 'envoy.filters.http.rbac',
        path: [{ key: 'x_shadow_effective_policy_id' }],
        value: { stringMatch: { prefix: 'istio-ext-authz' } },
      },
    }),
  )
  assert.equal(outcome(decide(config, { path: '/public' })), 'app')
  const asked = decide(config, { path: '/admin' })
  assert(asked.kind === 'pause' && asked.effect.kind === 'authorize')
  assert.deepEqual(asked.effect.service, { kind: 'grpc', cluster: 'authz', authority: 'authz' })
  assert.equal(asked.effect.timeoutMs, 1000)
})

test('external authorization can change the request, deny it, or fail closed or open', () => {
  const filter = (fields: JsonObject): JsonObject =>
    http('ext_authz.v3.ExtAuthz', {
      httpService: {
        serverUri: { uri: 'http://authz:80/check', cluster: 'authz', timeout: '0.5s' },
        authorizationResponse: { allowedUpstreamHeaders: { patterns: [{ exact: 'x-user' }] } },
      },
      ...fields,
    })
  const ask = (fields: JsonObject = {}) => {
    const asked = decide(configOf(hostOf(everything), filter(fields)))
    assert(asked.kind === 'pause' && asked.effect.kind === 'authorize')
    assert(asked.effect.service.kind === 'http')
    return { asked, read: asked.effect.service.read }
  }
  const { asked, read } = ask()
  const headers = [
    ['x-user', 'alice'],
    ['x-secret', 'no'],
  ] as const
  const allowed = asked.resume(read({ status: 200, headers, body: '' }))
  assert(allowed.kind === 'forward')
  assert.deepEqual(allowed.requestHeaders, [{ kind: 'set', name: 'x-user', value: 'alice' }])
  const denied = asked.resume(
    read({ status: 401, headers: [['location', '/login']], body: 'who?' }),
  )
  assert(denied.kind === 'reply')
  assert.deepEqual([denied.status, denied.body, denied.flag], [401, 'who?', 'UAEX'])
  assert.equal(outcome(asked.resume({ kind: 'failed', reason: 'timeout' })), 403)
  const open = ask({ failureModeAllow: true })
  assert.equal(outcome(open.asked.resume(open.read({ status: 503, headers: [], body: '' }))), 'app')
})

test('an explanation of RBAC names the policy, its rule, and what failed in the others', () => {
  const policies = {
    'ns[shop]-policy[friends]-rule[0]': {
      permissions: [{ andRules: { rules: [{ urlPath: { path: { prefix: '/open' } } }] } }],
      principals: [{ andIds: { ids: [any] } }],
    },
    'ns[shop]-policy[friends]-rule[1]': {
      permissions: [{ header: { name: ':method', stringMatch: { exact: 'PUT' } } }],
      principals: [{ authenticated: { principalName: { exact: 'spiffe://td/boss' } } }],
    },
  }
  const config = configOf(hostOf(everything), rbac({ rules: { action: 'ALLOW', policies } }))
  const refused = explainHttp(config, requestOf(), steady)
  assert(refused.decision.kind === 'reply')
  assert.equal(refused.decision.details, 'rbac_access_denied_matched_policy[none]')
  assert.deepEqual(refused.notes[0]?.details?.misses, [
    { policy: 'ns[shop]-policy[friends]-rule[0]', failed: ['url_path'] },
    { policy: 'ns[shop]-policy[friends]-rule[1]', failed: ['header :method', 'principal_name'] },
  ])
  const passed = explainHttp(config, requestOf({ path: '/open/x' }), steady)
  const details = passed.notes[0]?.details
  assert.equal(
    details?.object,
    '/apis/security.istio.io/v1/namespaces/shop/authorization-policy/friends',
  )
  assert.equal(details?.rule, 0)
})

test('a CEL condition is part of a policy, and one that fails does not hold', () => {
  const ident = (name: string): JsonObject => ({ identExpr: { name } })
  const select = (operand: JsonObject, field: string): JsonObject => ({
    selectExpr: { operand, field },
  })
  const text = (stringValue: string): JsonObject => ({ constExpr: { stringValue } })
  const call = (name: string, ...args: JsonObject[]): JsonObject => ({
    callExpr: { function: name, args },
  })
  const header = call('_[_]', select(ident('request'), 'headers'), text('x-tier'))
  const condition = call('_==_', header, text('gold'))
  const policies = { p: { permissions: [any], principals: [any], condition } }
  const config = configOf(hostOf(everything), rbac({ rules: { action: 'ALLOW', policies } }))
  assert.equal(outcome(decide(config, { headers: { 'x-tier': 'gold' } })), 'app')
  assert.equal(outcome(decide(config, { headers: { 'x-tier': 'tin' } })), 403)
  assert.equal(outcome(decide(config)), 403)
})

test('identities of a tunnel are read from filter state', () => {
  const policies = {
    p: {
      permissions: [any],
      principals: [
        {
          filterState: {
            key: 'io.istio.peer_principal',
            stringMatch: { prefix: 'spiffe://td/ns/a/' },
          },
        },
      ],
    },
  }
  const config = configOf(hostOf(everything), rbac({ rules: { action: 'ALLOW', policies } }))
  const from = (principal: string) =>
    decide(config, {
      connection: { ...connection, filterState: new Map([['io.istio.peer_principal', principal]]) },
    })
  assert.equal(outcome(from('spiffe://td/ns/a/sa/x')), 'app')
  assert.equal(outcome(from('spiffe://td/ns/b/sa/x')), 403)
})

const keys = generateKeyPairSync('rsa', { modulusLength: 2048 })
const newer = generateKeyPairSync('rsa', { modulusLength: 2048 })

function token(pair: typeof keys, exp: number): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const data = `${part({ alg: 'RS256' })}.${part({ iss: 'me', sub: 'alice', exp })}`
  return `${data}.${createSign('sha256').update(data).sign(pair.privateKey).toString('base64url')}`
}

const jwksOf = (pair: typeof keys): string =>
  JSON.stringify({ keys: [pair.publicKey.export({ format: 'jwk' })] })

test('keys that are not there are fetched while the request waits; a rotated key ends old tokens', () => {
  const filter = http('jwt_authn.v3.JwtAuthentication', {
    providers: {
      me: {
        issuer: 'me',
        remoteJwks: { httpUri: { uri: 'https://me/keys', cluster: 'me', timeout: '2s' } },
        forward: true,
      },
    },
    rules: [{ match: { prefix: '/' }, requires: { providerName: 'me' } }],
  })
  const config = configOf(hostOf(everything), filter)
  const exp = steady.now() / 1000 + 60
  const wishes = { headers: { authorization: `Bearer ${token(keys, exp)}` } }
  const waiting = decide(config, wishes)
  assert(waiting.kind === 'pause' && waiting.effect.kind === 'key-set')
  assert.equal(waiting.effect.uri, 'https://me/keys')
  assert.equal(outcome(waiting.resume({ kind: 'key-set', keys: undefined })), 401)
  assert.equal(outcome(waiting.resume({ kind: 'key-set', keys: jwksOf(keys) })), 'app')
  let current = jwksOf(keys)
  const context = { keySet: () => current }
  assert.equal(outcome(decide(config, wishes, context)), 'app')
  current = jwksOf(newer)
  assert.equal(outcome(decide(config, wishes, context)), 401)
  current = jwksOf(keys)
  const later = { ...context, now: () => (exp + 61) * 1000 }
  assert.equal(outcome(decide(config, wishes, later)), 401)
})

test('faults delay first, then abort, each for its share of requests', () => {
  const fault = {
    ...type('extensions.filters.http.fault.v3.HTTPFault'),
    delay: { fixedDelay: '2s', percentage: { numerator: 40 } },
    abort: { httpStatus: 418, percentage: { numerator: 60 } },
  }
  const routes = hostOf({ ...everything, typedPerFilterConfig: { fault } })
  const config = configOf(routes, http('fault.v3.HTTPFault', {}))
  const draws = (...values: number[]) => ({ random: () => values.shift() ?? 0.99 })
  const delayed = decide(config, {}, draws(0.3, 0.5))
  assert(delayed.kind === 'pause')
  assert.deepEqual(delayed.effect, { kind: 'delay', ms: 2000, flag: 'DI' })
  const aborted = delayed.resume({ kind: 'done' })
  assert(aborted.kind === 'reply')
  assert.deepEqual([aborted.status, aborted.flag], [418, 'FI'])
  assert.equal(outcome(decide(config, {}, draws(0.5, 0.5))), 418)
  assert.equal(outcome(decide(config, {}, draws(0.5, 0.7))), 'app')
})

test('a bucket gives its tokens, refuses, and is filled by the clock', () => {
  const whole = { defaultValue: { numerator: 100 } }
  const config = configOf(
    hostOf(everything),
    http('local_ratelimit.v3.LocalRateLimit', {
      statPrefix: 'x',
      tokenBucket: { maxTokens: 2, tokensPerFill: 1, fillInterval: '1s' },
      filterEnabled: whole,
      filterEnforced: whole,
      responseHeadersToAdd: [{ header: { key: 'x-limited', value: 'yes' } }],
    }),
  )
  let now = 1000
  const ask = (): ReturnType<typeof decide> => decide(config, {}, { now: () => now })
  assert.deepEqual([outcome(ask()), outcome(ask())], ['app', 'app'])
  const refused = ask()
  assert(refused.kind === 'reply')
  assert.deepEqual([refused.status, refused.flag], [429, 'RL'])
  const told = responseHeaders(refused, { status: 429, headers: new Map() })
  assert.deepEqual(told, [{ kind: 'add', name: 'x-limited', value: 'yes' }])
  now = 2000
  assert.deepEqual([outcome(ask()), outcome(ask())], ['app', 429])
})

test('filter state is written from headers and the connection, for connections to listeners inside', () => {
  const config = configOf(
    hostOf(everything),
    http('set_filter_state.v3.Config', {
      onRequestHeaders: [
        {
          objectKey: 'peer',
          factoryKey: 'envoy.string',
          formatString: {
            textFormatSource: { inlineString: '%DOWNSTREAM_PEER_URI_SAN%' },
            omitEmptyValues: true,
          },
          sharedWithUpstream: 'ONCE',
          skipIfEmpty: true,
        },
        {
          objectKey: 'authority',
          formatString: { textFormatSource: { inlineString: '%REQ(:AUTHORITY)%' } },
        },
      ],
    }),
  )
  const { exchange } = decide(config)
  assert.equal(exchange.filterState('peer'), undefined)
  assert.deepEqual(exchange.writtenState?.get('authority'), {
    value: 'app.test',
    factory: 'authority',
    shared: 'none',
  })
  const tls = {
    uriSans: ['spiffe://td/x'],
    dnsSans: [],
    subject: '',
    presented: true,
    validated: true,
    localUriSans: [],
  }
  assert.equal(
    decide(config, { connection: { tls } }).exchange.writtenState?.get('peer')?.shared,
    'once',
  )
})

test('a filter can be off for a route, and one that is off can be on', () => {
  const deny = {
    rules: { action: 'DENY', policies: { all: { permissions: [any], principals: [any] } } },
  }
  const override = (own: JsonObject): JsonObject => ({
    typedPerFilterConfig: {
      rbac: { ...type('extensions.filters.http.rbac.v3.RBACPerRoute'), ...own },
    },
  })
  const routes = hostOf({ ...everything, match: { prefix: '/free' }, ...override({}) }, everything)
  const config = configOf(routes, rbac(deny))
  assert.equal(outcome(decide(config, { path: '/free' })), 'app')
  assert.equal(outcome(decide(config)), 403)
  const off = configOf(hostOf({ ...everything, ...override({ rbac: deny }) }), {
    ...rbac({}),
    disabled: true,
  })
  assert.equal(outcome(decide(off)), 403)
  const stays = configOf(hostOf(everything), { ...rbac(deny), disabled: true })
  assert.equal(outcome(decide(stays)), 'app')
})

test('a script, an unknown filter and an unknown setting of a route are refused by name', () => {
  const place = Place.of('listener web')
  const filters = [
    http('lua.v3.Lua', { defaultSourceCode: { inlineString: 'x' } }),
    { name: 'odd', typedConfig: { ...type('extensions.filters.network.tcp_proxy.v3.TcpProxy') } },
  ].map((filter) => message(hcm.HttpFilterSchema, filter))
  compileFilterChain(filters, { extensions: new Map(), place })
  const { errors = [] } = place.finish(undefined)
  assert.deepEqual(
    errors.map(({ field }) => field),
    ['http_filters[0]', 'http_filters[1]', 'http_filters'],
  )
  assert.match(errors[0]?.message ?? '', /Lua/)
  const odd = { odd: { ...type('extensions.filters.network.tcp_proxy.v3.TcpProxy') } }
  const json = hostOf({ ...everything, typedPerFilterConfig: odd })
  const refused = compileRoutes(message(route.RouteConfigurationSchema, json))
  assert.equal(
    refused.errors?.[0]?.field,
    'virtual_hosts[0].routes[0].typed_per_filter_config[odd]',
  )
})
