/**
 * Policies in YAML, translated, in a stock Envoy, asked by real clients: a waypoint that learns the
 * client's identity and names from the tunnel, and a sidecar that verifies tokens. Listeners are put
 * together by hand here; their filters and logs are the translation's.
 */
import assert from 'node:assert/strict'
import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import test from 'node:test'
import { listenerComponents } from '../../src/proto/envoy.ts'
import {
  httpAuthorization,
  tcpAuthorization,
} from '../../src/translate/envoy/policies/authorization.ts'
import { readable, readCase } from '../../src/translate/envoy/policies/fixture.ts'
import { connectAuthorityFilter } from '../../src/translate/envoy/policies/identity.ts'
import { requestAuthentication } from '../../src/translate/envoy/policies/request-authentication.ts'
import { httpMetrics, tcpMetrics } from '../../src/translate/envoy/telemetry/metrics.ts'
import { headerPeerFilters, tunnelPeerFilters } from '../../src/translate/envoy/telemetry/peer.ts'
import { freePort } from '../free-port.ts'
import {
  ask,
  at,
  authority,
  cluster,
  Envoy,
  type Identity,
  manager,
  router,
  routes,
  serverTls,
  showFilter,
  showLog,
  type,
  upstream,
} from './traffic-kit.ts'

const waypointCase = `
proxy: {kind: waypoint, namespace: shop, gateway: shop/waypoint}
service: shop/cart.shop.svc.cluster.local
ask: []
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.96.0.20, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultProviders: {metrics: [prometheus]}"}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: not-evil, namespace: shop}
spec:
  targetRefs: [{group: "", kind: Service, name: cart}]
  action: DENY
  rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/evil]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: friends, namespace: shop}
spec:
  targetRefs: [{group: "", kind: Service, name: cart}]
  rules:
    - {from: [{source: {namespaces: [a]}}], to: [{operation: {ports: ["80"], paths: [/open/*]}}]}
    - {from: [{source: {serviceAccounts: [b/boss], ipBlocks: [127.0.0.0/8]}}]}
`

/** The two listeners of a waypoint: the tunnel's end, and what it leads to. */
function waypoint(port: number, own: Identity, service: number, main: readonly unknown[]): object {
  const terminate = manager({
    http2ProtocolOptions: { allowConnect: true },
    upgradeConfigs: [{ upgradeType: 'CONNECT' }],
    httpFilters: [...[...tunnelPeerFilters(), connectAuthorityFilter()].map(showFilter), router],
    routeConfig: routes({
      match: { connectMatcher: {} },
      route: {
        cluster: 'main_internal',
        upgradeConfigs: [{ upgradeType: 'CONNECT', connectConfig: {} }],
      },
    }),
  })
  const names = { workload: 'cart-v1', namespace: 'shop', app: 'cart', canonical_service: 'cart' }
  return {
    bootstrapExtensions: [
      {
        name: 'envoy.bootstrap.internal_listener',
        typedConfig: type('extensions.bootstrap.internal_listener.v3.InternalListener'),
      },
    ],
    staticResources: {
      listeners: [
        {
          name: 'connect_terminate',
          address: at(port),
          filterChains: [{ filters: [terminate], transportSocket: serverTls(own) }],
        },
        {
          name: 'main_internal',
          internalListener: {},
          listenerFilters: [
            {
              name: 'original_dst',
              typedConfig: type('extensions.filters.listener.original_dst.v3.OriginalDst'),
            },
          ],
          filterChains: [{ filters: main }],
        },
      ],
      clusters: [
        cluster(
          'main_internal',
          {
            endpoint: {
              address: { envoyInternalAddress: { serverListenerName: 'main_internal' } },
            },
          },
          {
            transportSocket: {
              name: 'internal',
              typedConfig: {
                ...type(
                  'extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport',
                ),
                transportSocket: {
                  name: 'raw',
                  typedConfig: type('extensions.transport_sockets.raw_buffer.v3.RawBuffer'),
                },
              },
            },
          },
        ),
        cluster('cart', {
          endpoint: { address: at(service) },
          metadata: { filterMetadata: { 'istio.peer': names } },
        }),
      ],
    },
  }
}

/** What a waypoint's policies and metrics make of the services behind it, spoken to by HTTP. */
function httpChain(): readonly unknown[] {
  const given = readCase(waypointCase, 'waypoint')
  const filters = httpAuthorization(given.reader, given)
  assert.deepEqual(filters.problems, [])
  return [
    manager({
      accessLog: httpMetrics(given.reader, given).logs.map(showLog),
      httpFilters: [...filters.local.map(showFilter), router],
      routeConfig: routes({ match: { prefix: '/' }, route: { cluster: 'cart' } }),
    }),
  ]
}

/** The same policies where nobody looks into the connection. */
function tcpChain(): readonly unknown[] {
  const given = readCase(waypointCase, 'waypoint')
  const filters = tcpAuthorization(given.reader, given)
  const typedConfig = {
    ...type('extensions.filters.network.tcp_proxy.v3.TcpProxy'),
    statPrefix: 'test',
    cluster: 'cart',
    accessLog: tcpMetrics(given.reader, given).logs.map(showLog),
    accessLogOptions: { flushAccessLogOnConnected: true },
  }
  return [
    ...filters.local.map((filter) => readable(listenerComponents.FilterSchema, filter)),
    { name: 'tcp', typedConfig },
  ]
}

/** Asks through a tunnel of the identity's own. */
async function tunnelled(
  port: number,
  { cert, key, ca }: Identity,
  path: string,
): Promise<{ status?: number; body: string }> {
  const session = http2.connect(`https://127.0.0.1:${port}`, {
    cert,
    key,
    ca,
    // The server has a SPIFFE id, not a host name.
    checkServerIdentity: () => undefined,
  })
  try {
    const tunnel = session.request({
      ':method': 'CONNECT',
      ':authority': '10.96.0.20:80',
      baggage:
        'k8s.cluster.name=c1,k8s.namespace.name=a,k8s.deployment.name=shopper,service.name=s',
    })
    const [headers] = (await once(tunnel, 'response')) as [http2.IncomingHttpHeaders]
    assert.equal(Number(headers[':status']), 200)
    const createConnection = (): Duplex => tunnel
    const { status, body } = await ask({ createConnection, path, host: 'cart' })
    return { ...(status === undefined ? {} : { status }), body }
  } finally {
    session.destroy()
  }
}

test('a waypoint decides by the identity of the client behind the tunnel, and counts under its names', async () => {
  const issue = await authority()
  const service = await upstream()
  await using envoy = new Envoy()
  try {
    const port = await freePort()
    const own = await issue('spiffe://cluster.local/ns/shop/sa/waypoint')
    await envoy.start(waypoint(port, own, service.port, httpChain()))
    const through = async (uri: string, path: string): ReturnType<typeof tunnelled> =>
      tunnelled(port, await issue(uri), path)
    const friend = await through('spiffe://cluster.local/ns/a/sa/any', '/open/door')
    assert.equal(friend.status, 200)
    const boss = await through('spiffe://cluster.local/ns/b/sa/boss', '/anything')
    assert.equal(boss.status, 200)
    const closed = await through('spiffe://cluster.local/ns/a/sa/any', '/closed')
    assert.deepEqual(closed, { status: 403, body: 'RBAC: access denied' })
    const evil = await through('spiffe://cluster.local/ns/a/sa/evil', '/open/door')
    assert.deepEqual(evil, { status: 403, body: 'RBAC: access denied' })
    const series = await envoy.series('istio_requests_total')
    const labels = [
      'reporter="waypoint"',
      'source_workload="shopper"',
      'source_workload_namespace="a"',
      'source_principal="spiffe://cluster.local/ns/a/sa/any"',
      'source_app="s"',
      'source_version="unknown"',
      'source_cluster="c1"',
      'destination_workload="cart-v1"',
      'destination_version="unknown"',
      'destination_service="cart.shop.svc.cluster.local"',
      'request_protocol="http"',
      'response_code="200"',
      'connection_security_policy="mutual_tls"',
    ]
    const line = series.find((one) => labels.every((label) => one.includes(label)))
    assert.ok(line, series.join('\n'))
    assert.match(line, / 1$/)
    assert.equal(series.filter((one) => one.includes('response_code="403"')).length, 2)
  } finally {
    service.server.close()
  }
})

test('a waypoint closes TCP connections of whom its policies keep out, and counts the others', async () => {
  const issue = await authority()
  const service = await upstream()
  await using envoy = new Envoy()
  try {
    const port = await freePort()
    const own = await issue('spiffe://cluster.local/ns/shop/sa/waypoint')
    await envoy.start(waypoint(port, own, service.port, tcpChain()))
    const boss = await issue('spiffe://cluster.local/ns/b/sa/boss')
    assert.equal((await tunnelled(port, boss, '/')).status, 200)
    // Allowed for one path only, which nobody sees here: the rule is left out.
    const other = await issue('spiffe://cluster.local/ns/a/sa/any')
    await assert.rejects(tunnelled(port, other, '/open/door'))
    const bySource = async (metric: string): Promise<string> => {
      const lines = await envoy.series(metric)
      return (
        lines.find((line) => line.includes('source_principal="spiffe://cluster.local/ns/b/')) ?? ''
      )
    }
    const closed = await bySource('istio_tcp_connections_closed_total')
    assert.match(closed, /destination_workload="cart-v1".*request_protocol="tcp".* 1$/)
    assert.match(await bySource('istio_tcp_connections_opened_total'), / 1$/)
    assert.match(await bySource('istio_tcp_received_bytes_total'), / [1-9]\d+$/)
    assert.match(await bySource('istio_tcp_sent_bytes_total'), / [1-9]\d+$/)
  } finally {
    service.server.close()
  }
})

const customCase = `
proxy: {kind: sidecar, namespace: shop, labels: {app: cart}}
ask: []
---
apiVersion: v1
kind: Service
metadata: {name: authz, namespace: auth}
spec: {clusterIP: 10.96.0.30, ports: [{name: http, port: 8000}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
      - name: asked
        envoyExtAuthzHttp:
          service: auth/authz.auth.svc.cluster.local
          port: 8000
          pathPrefix: /check
          includeRequestHeadersInCheck: [x-token]
          headersToUpstreamOnAllow: [x-judge]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec:
  action: CUSTOM
  provider: {name: asked}
  rules: [{to: [{operation: {paths: [/admin/*]}}]}]
`

test('an external service is asked about what the rules of CUSTOM match, and about nothing else', async () => {
  const given = readCase(customCase, 'custom')
  const { custom, local, clusters } = httpAuthorization(given.reader, given)
  assert.deepEqual(local, [])
  const service = await upstream()
  const asked: string[] = []
  const judgePort = await freePort()
  const judge = http.createServer((request, response) => {
    asked.push(request.url ?? '')
    const good = request.headers['x-token'] === 'good'
    response.writeHead(good ? 200 : 403, { 'x-judge': 'seen' }).end('not you')
  })
  judge.listen(judgePort, '127.0.0.1')
  await once(judge, 'listening')
  await using envoy = new Envoy()
  try {
    const port = await freePort()
    const inbound = manager({
      httpFilters: [...custom.map(showFilter), router],
      routeConfig: routes({ match: { prefix: '/' }, route: { cluster: 'app' } }),
    })
    const listener = { name: 'in', address: at(port), filterChains: [{ filters: [inbound] }] }
    const judges = clusters.map(({ name }) =>
      cluster(name, { endpoint: { address: at(judgePort) } }),
    )
    const app = cluster('app', { endpoint: { address: at(service.port) } })
    await envoy.start({ staticResources: { listeners: [listener], clusters: [app, ...judges] } })
    const get = (path: string, given: string) =>
      ask({ host: '127.0.0.1', port, path, headers: { 'x-token': given } })
    assert.equal((await get('/public', 'bad')).status, 200)
    assert.deepEqual(asked, [])
    const allowed = await get('/admin/x', 'good')
    assert.equal(allowed.status, 200)
    assert.equal((JSON.parse(allowed.body) as Record<string, string>)['x-judge'], 'seen')
    const denied = await get('/admin/y', 'bad')
    assert.deepEqual([denied.status, denied.body], [403, 'not you'])
    assert.deepEqual(asked, ['/check/admin/x', '/check/admin/y'])
  } finally {
    service.server.close()
    judge.close()
  }
})

const tokenCase = (jwks: string): string => `
proxy: {kind: sidecar, namespace: shop, labels: {app: cart}}
ask: []
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultProviders: {metrics: [prometheus]}"}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec:
  jwtRules:
    - issuer: us
      jwks: '${jwks}'
      audiences: [cart]
      outputClaimToHeaders: [{header: x-user, claim: sub}]
    - {issuer: lost, jwksUri: "https://keys.example/lost"}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: need-a-token, namespace: shop}
spec:
  action: DENY
  rules: [{from: [{source: {notRequestPrincipals: ["*"]}}], to: [{operation: {notPaths: [/public]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: admins, namespace: shop}
spec:
  rules:
    - {to: [{operation: {paths: [/public]}}]}
    - {to: [{operation: {paths: ["/teams/{*}/list"]}}]}
    - to: [{operation: {methods: [GET], paths: [/admin/*]}}]
      when: [{key: "request.auth.claims[groups]", values: [admin]}]
`

function token(key: KeyObject, claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const body = `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}`
  return `${body}.${createSign('RSA-SHA256').update(body).sign(key, 'base64url')}`
}

test('a sidecar refuses bad tokens, passes claims on, and decides by them', async () => {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwks = JSON.stringify({ keys: [pair.publicKey.export({ format: 'jwk' })] })
  const given = readCase(tokenCase(jwks), 'tokens')
  const verify = requestAuthentication(given.reader, given, given.jwks)
  assert.equal(verify.problems.length, 1, 'the set which nobody has is told of')
  assert.ok(verify.filter)
  const policies = httpAuthorization(given.reader, given)
  const service = await upstream()
  await using envoy = new Envoy()
  try {
    const port = await freePort()
    const inbound = manager({
      accessLog: httpMetrics(given.reader, given).logs.map(showLog),
      httpFilters: [
        ...[...headerPeerFilters(), verify.filter, ...policies.local].map(showFilter),
        router,
      ],
      routeConfig: routes({ match: { prefix: '/' }, route: { cluster: 'app' } }),
    })
    const listener = { name: 'in', address: at(port), filterChains: [{ filters: [inbound] }] }
    await envoy.start(
      {
        staticResources: {
          listeners: [listener],
          clusters: [cluster('app', { endpoint: { address: at(service.port) } })],
        },
      },
      { ISTIO_META_WORKLOAD_NAME: 'cart-v2' },
    )
    const now = Math.floor(Date.now() / 1000)
    const good = { iss: 'us', sub: 'jo', aud: 'cart', exp: now + 600, groups: ['admin', 'x'] }
    const get = (path: string, bearer?: string, headers: object = {}) => {
      const authorization = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }
      return ask({ host: '127.0.0.1', port, path, headers: { ...headers, ...authorization } })
    }
    const open = await get('/public', undefined, {
      'x-envoy-peer-metadata': 'k8s.deployment.name=caller,k8s.namespace.name=b,app.name=c',
    })
    assert.equal(open.status, 200)
    assert.equal(
      open.body.includes('x-envoy-peer-metadata'),
      false,
      'the application never sees it',
    )
    const missing = await get('/admin/x')
    assert.deepEqual([missing.status, missing.body], [403, 'RBAC: access denied'])
    const allowed = await get('/admin/x', token(pair.privateKey, good))
    assert.equal(allowed.status, 200)
    const seen = JSON.parse(allowed.body) as Record<string, string>
    assert.equal(seen['x-user'], 'jo')
    assert.equal(seen.authorization, undefined, 'the token stays here')
    assert.equal((await get('/teams/a/list', token(pair.privateKey, good))).status, 200)
    assert.equal((await get('/teams/a/b/list', token(pair.privateKey, good))).status, 403)
    const plain = token(pair.privateKey, { ...good, groups: ['user'] })
    assert.equal((await get('/admin/x', plain)).status, 403)
    const refused: readonly [number, string, object][] = [
      [401, 'Jwt is expired', { ...good, exp: now - 600 }],
      [403, 'Audiences in Jwt are not allowed', { ...good, aud: 'other' }],
      [401, 'Jwt issuer is not configured', { ...good, iss: 'stranger' }],
      [401, 'Jwt verification fails', { ...good, iss: 'lost' }],
    ]
    for (const [status, reason, claims] of refused) {
      const answer = await get('/public', token(pair.privateKey, claims))
      assert.deepEqual([answer.status, answer.body], [status, reason])
      if (status === 401) assert.match(String(answer.headers['www-authenticate']), /^Bearer realm=/)
    }
    const series = await envoy.series('istio_requests_total')
    const labels = [
      'reporter="destination"',
      'source_workload="caller"',
      'source_workload_namespace="b"',
      'source_app="c"',
      'source_principal="unknown"',
      'destination_workload="cart-v2"',
      'destination_app="cart"',
      'connection_security_policy="none"',
    ]
    const line = series.find((one) => labels.every((label) => one.includes(label)))
    assert.ok(line, series.join('\n'))
  } finally {
    service.server.close()
  }
})
