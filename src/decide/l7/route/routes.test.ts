import assert from 'node:assert/strict'
import test from 'node:test'
import { route } from '../../../proto/envoy.ts'
import { responseHeaders } from '../decide.ts'
import { nackText } from '../errors.ts'
import { explainHttp } from '../explain.ts'
import { configOf, decide, hostOf, message, outcome, requestOf, steady } from '../fixture.ts'
import { compileRoutes } from './table.ts'

const to = (cluster: string): { route: { cluster: string } } => ({ route: { cluster } })

test('the virtual host is the exact name, else the longest suffix, else the longest prefix, else any', () => {
  const host = (name: string, ...domains: string[]) => ({
    name,
    domains,
    routes: [{ match: { prefix: '/' }, ...to(name) }],
  })
  const config = configOf({
    virtualHosts: [
      host('any', '*'),
      host('suffix', '*.test'),
      host('longer', '*.a.test'),
      host('prefix', 'a.*'),
      host('exact', 'x.a.test'),
    ],
    ignorePortInHostMatching: true,
  })
  const cases = {
    'X.a.test:80': 'exact',
    'y.a.test': 'longer',
    'a.test': 'suffix',
    'a.org': 'prefix',
    org: 'any',
  }
  for (const [authority, expected] of Object.entries(cases)) {
    assert.equal(outcome(decide(config, { authority })), expected, authority)
  }
})

test('a CONNECT without a path only matches a route for CONNECT', () => {
  const config = configOf(
    hostOf(
      { match: { prefix: '/' }, ...to('plain') },
      { match: { connectMatcher: {} }, ...to('tunnel') },
    ),
  )
  assert.equal(outcome(decide(config, { method: 'CONNECT', path: '' })), 'tunnel')
  assert.equal(outcome(decide(config)), 'plain')
})

test('a share of requests goes to each cluster by its weight, and to a route by its fraction', () => {
  const config = configOf(
    hostOf(
      {
        match: { prefix: '/', runtimeFraction: { defaultValue: { numerator: 10 } } },
        ...to('canary'),
      },
      {
        match: { prefix: '/' },
        route: {
          weightedClusters: {
            clusters: [
              { name: 'one', weight: 75 },
              { name: 'two', weight: 25 },
            ],
          },
        },
      },
    ),
  )
  const counts: Record<string, number> = {}
  for (let index = 0; index < 20_000; index++) {
    const name = String(outcome(decide(config, {}, { random: Math.random })))
    counts[name] = (counts[name] ?? 0) + 1
  }
  const share = (name: string): number => (counts[name] ?? 0) / 20_000
  assert(Math.abs(share('canary') - 0.1) < 0.02, JSON.stringify(counts))
  assert(Math.abs(share('one') - 0.675) < 0.03, JSON.stringify(counts))
})

test("a client's gRPC timeout counts up to the route's limit, less the offset", () => {
  const config = configOf(
    hostOf({
      match: { prefix: '/' },
      route: {
        cluster: 'app',
        timeout: '9s',
        maxStreamDuration: { grpcTimeoutHeaderMax: '2s', grpcTimeoutHeaderOffset: '0.1s' },
      },
    }),
  )
  const timeout = (header?: string): number | undefined => {
    const headers: Record<string, string> = header === undefined ? {} : { 'grpc-timeout': header }
    const decision = decide(config, { headers })
    return decision.kind === 'forward' ? decision.timeoutMs : undefined
  }
  assert.equal(timeout(), 9000)
  assert.equal(timeout('500m'), 400)
  assert.equal(timeout('1H'), 1900)
})

test('retries, hedging, mirrors and hashes are told as data', () => {
  const config = configOf(
    hostOf({
      match: { prefix: '/' },
      route: {
        cluster: 'app',
        retryPolicy: {
          retryOn: '5xx, retriable-status-codes',
          numRetries: 2,
          perTryTimeout: '1s',
          retriableStatusCodes: [429],
        },
        hedgePolicy: { hedgeOnPerTryTimeout: true },
        requestMirrorPolicies: [
          { cluster: 'copy', runtimeFraction: { defaultValue: { numerator: 100 } } },
          { cluster: 'never', runtimeFraction: { defaultValue: { numerator: 0 } } },
        ],
        hashPolicy: [
          { header: { headerName: 'x-user' }, terminal: true },
          { cookie: { name: 'c', ttl: '60s' } },
        ],
      },
    }),
  )
  const decision = decide(config, { headers: { 'x-user': 'alice' } })
  assert(decision.kind === 'forward')
  const { retry, hedge } = decision.action
  assert.deepEqual([...(retry?.on ?? [])], ['5xx', 'retriable-status-codes'])
  assert.deepEqual([retry?.retries, retry?.perTryMs, retry?.backoffBaseMs], [2, 1000, 25])
  assert.equal(hedge?.onPerTryTimeout, true)
  assert.deepEqual(
    decision.mirrors.map(({ cluster }) => cluster),
    ['copy'],
  )
  assert.equal(typeof decision.hash?.hash, 'bigint')
  assert.deepEqual(decision.hash?.cookies, [])
  const fresh = decide(config)
  assert(fresh.kind === 'forward')
  assert.equal(fresh.hash?.cookies[0]?.ttlSeconds, 60)
})

test('a refused configuration names every field, and why', () => {
  const compiled = compileRoutes(
    message(route.RouteConfigurationSchema, {
      name: 'r',
      virtualHosts: [
        {
          name: 'h',
          domains: ['a', 'a'],
          routes: [
            { match: { safeRegex: { regex: '(' } }, ...to('c') },
            { match: { prefix: '/' }, route: { cluster: 'c', internalRedirectPolicy: {} } },
            { match: { prefix: '/' }, nonForwardingAction: {} },
          ],
        },
      ],
    }),
  )
  const fields = compiled.errors?.map(({ field }) => field)
  assert.deepEqual(fields, [
    'virtual_hosts[0].routes[0].match.safe_regex',
    'virtual_hosts[0].routes[1].route.internal_redirect_policy',
    'virtual_hosts[0].routes[2]',
    'virtual_hosts[0].domains[1]',
  ])
  assert.match(nackText(compiled.errors ?? []), /^route r: virtual_hosts\[0\]/)
})

test('an explanation names the object behind the route, and why nearer ones did not match', () => {
  const made = (path: string) => ({
    metadata: {
      filterMetadata: {
        istio: { config: '/apis/networking.istio.io/v1/namespaces/shop/virtual-service/web', path },
      },
    },
  })
  const config = configOf(
    hostOf(
      { name: 'other', match: { prefix: '/other' }, ...to('other') },
      {
        name: 'jason',
        match: { prefix: '/', headers: [{ name: 'end-user', stringMatch: { exact: 'jason' } }] },
        ...to('v2'),
        ...made('/spec/http/0'),
      },
      { name: 'rest', match: { prefix: '/' }, ...to('v1'), ...made('/spec/http/1') },
    ),
  )
  const { decision, route: found, misses } = explainHttp(config, requestOf(), steady)
  assert.equal(outcome(decision), 'v1')
  assert.equal(found?.origin?.path, '/spec/http/1')
  assert.deepEqual(
    misses.map(({ name, reason, pathMatched }) => [name, reason, pathMatched]),
    [
      ['jason', 'header end-user', true],
      ['other', 'path prefix /other', false],
    ],
  )
})

test('headers of a response change as the route, the host and the table say, in this order', () => {
  const add = (value: string) => ({
    responseHeadersToAdd: [{ header: { key: 'x-by', value }, appendAction: 'ADD_IF_ABSENT' }],
  })
  const routes = hostOf({ match: { prefix: '/' }, ...to('app'), ...add('route') })
  const config = configOf({ ...routes, ...add('table') })
  const decision = decide(config)
  assert(decision.kind === 'forward')
  const operations = responseHeaders(decision, { status: 200, headers: new Map() })
  assert.deepEqual(operations, [{ kind: 'add', name: 'x-by', value: 'route' }])
})

test('a value that a client sent never begins a header of its own', () => {
  const config = configOf(
    hostOf({
      match: { prefix: '/' },
      ...to('app'),
      requestHeadersToAdd: [{ header: { key: 'x-copy', value: '%REQ(x-evil)%' } }],
    }),
  )
  const decision = decide(config, { headers: { 'x-evil': 'a\r\nhost: b' } })
  assert(decision.kind === 'forward')
  assert.deepEqual(decision.requestHeaders, [{ kind: 'add', name: 'x-copy', value: 'ahost: b' }])
})
