/**
 * What a decision of layer 7 costs: routes of one virtual host (exact, prefixes, a header), 1,000 virtual
 * hosts, RBAC and JWT in front, hashes; and what compiling 5,000 routes takes. The peer of the index is a walk
 * through the same compiled routes.
 */
import { createSign, generateKeyPairSync } from 'node:crypto'
import type { JsonObject } from '@bufbuild/protobuf'
import { Exchange } from '../../src/decide/l7/exchange.ts'
import { configOf, httpFilter, message, requestOf, type } from '../../src/decide/l7/fixture.ts'
import {
  type BalancerState,
  compileCluster,
  compiledOrThrow,
  compileEndpoints,
  compileRoutes,
  createBalancer,
  decideHttp,
  type HttpConfig,
  type L7Request,
} from '../../src/decide/l7.ts'
import { cluster, endpoint, route } from '../../src/proto/envoy.ts'
import { fromBinary, toBinary } from '../../src/proto/index.ts'
import type { BenchResult } from '../../tools/bench.ts'

const context = { random: () => 0.5, now: () => 1_700_000_000_000 }
const to = (name: string) => ({ route: { cluster: name } })

/** A third exact, a third prefixes, a third with a header in front of the same prefix. */
function routesOf(count: number): JsonObject[] {
  return Array.from({ length: count }, (_, index): JsonObject => {
    const text = `/api/service-${Math.floor(index / 3)}`
    if (index % 3 === 0) return { match: { path: `${text}/health` }, ...to('health') }
    const headers = [{ name: 'x-version', stringMatch: { exact: 'v2' } }]
    if (index % 3 === 1) return { match: { pathSeparatedPrefix: text, headers }, ...to('v2') }
    return { match: { pathSeparatedPrefix: text }, ...to('v1') }
  })
}

/** Nanoseconds of CPU for one of many, the best of a few rounds: others use the machine too. */
function nsPer(times: number, work: (index: number) => unknown): number {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 7; round++) {
    const start = process.cpuUsage()
    for (let index = 0; index < times; index++) work(index)
    const { user, system } = process.cpuUsage(start)
    best = Math.min(best, ((user + system) * 1000) / times)
  }
  return Math.round(best)
}

function requestsFor(count: number): L7Request[] {
  return Array.from({ length: 997 }, (_, index) => {
    const service = Math.floor(((index * 7919) % count) / 3)
    const headers: Record<string, string> = index % 2 === 0 ? { 'x-version': 'v2' } : {}
    return requestOf({ path: `/api/service-${service}/items/1?page=2`, headers })
  })
}

function perDecision(config: HttpConfig, requests: readonly L7Request[], times: number): number {
  return nsPer(times, (index) => {
    const request = requests[index % requests.length]
    return request === undefined ? undefined : decideHttp(config, request, context)
  })
}

function walk(config: HttpConfig, requests: readonly L7Request[], times: number): number {
  const routes = config.routes?.hosts[0]?.routes ?? []
  return nsPer(times, (index) => {
    const request = requests[index % requests.length]
    if (request === undefined) return undefined
    const exchange = new Exchange(request, context)
    return routes.find(({ match }) => match.path.holds(exchange) && match.rest(exchange))
  })
}

function manyHosts(): HttpConfig {
  return configOf({
    virtualHosts: Array.from({ length: 1000 }, (_, index) => ({
      name: `host-${index}`,
      domains: [`service-${index}.shop.svc.cluster.local`, `service-${index}.shop`],
      routes: [{ match: { prefix: '/' }, ...to(`service-${index}`) }],
    })),
  })
}

const keys = generateKeyPairSync('rsa', { modulusLength: 2048 })

function token(): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { iss: 'me', sub: 'alice', exp: context.now() / 1000 + 600 }
  const data = `${part({ alg: 'RS256' })}.${part(claims)}`
  return `${data}.${createSign('sha256').update(data).sign(keys.privateKey).toString('base64url')}`
}

function guarded(): HttpConfig {
  const jwks = JSON.stringify({ keys: [keys.publicKey.export({ format: 'jwk' })] })
  const policies = Object.fromEntries(
    Array.from({ length: 5 }, (_, index) => [
      `ns[shop]-policy[p${index}]-rule[0]`,
      {
        permissions: [{ urlPath: { path: { prefix: `/${index === 4 ? 'api' : index}` } } }],
        principals: [{ directRemoteIp: { addressPrefix: '10.0.0.0', prefixLen: 8 } }],
      },
    ]),
  )
  return configOf(
    { virtualHosts: [{ name: 'all', domains: ['*'], routes: routesOf(999) }] },
    httpFilter('jwt', {
      ...type('extensions.filters.http.jwt_authn.v3.JwtAuthentication'),
      providers: {
        me: { issuer: 'me', localJwks: { inlineString: jwks }, payloadInMetadata: 'payload' },
      },
      rules: [{ match: { prefix: '/' }, requires: { providerName: 'me' } }],
    }),
    httpFilter('rbac', {
      ...type('extensions.filters.http.rbac.v3.RBAC'),
      rules: { action: 'ALLOW', policies },
    }),
  )
}

function balancing(lbPolicy: string): number {
  const schema = cluster.ClusterSchema
  const compiled = compiledOrThrow(
    compileCluster(message(schema, { name: 'c', type: 'EDS', lbPolicy })),
  )
  const lbEndpoints = Array.from({ length: 50 }, (_, index) => ({
    endpoint: { address: { socketAddress: { address: `10.0.0.${index}`, portValue: 80 } } },
  }))
  const assignment = message(endpoint.ClusterLoadAssignmentSchema, {
    clusterName: 'c',
    endpoints: [{ lbEndpoints }],
  })
  const state: BalancerState = { health: () => 'healthy', active: () => 0, since: () => 0 }
  const balancer = createBalancer(compiled, compiledOrThrow(compileEndpoints(assignment)), state)
  const pick = { random: Math.random, nowMs: 0, hash: 0x1234_5678_9abc_def0n }
  return nsPer(200_000, () => balancer.choose(pick))
}

export async function run(): Promise<BenchResult> {
  const figures: Record<string, number> = {}
  const ratios: Record<string, number> = {}
  for (const count of [10, 1000, 5000]) {
    const config = configOf({
      virtualHosts: [{ name: 'all', domains: ['*'], routes: routesOf(count) }],
    })
    const requests = requestsFor(count)
    figures[`decision_${count}_routes_ns`] = perDecision(config, requests, 200_000)
    figures[`walk_${count}_routes_ns`] = walk(config, requests, count > 100 ? 2000 : 100_000)
    ratios[`index_${count}_routes`] =
      (figures[`decision_${count}_routes_ns`] ?? 0) / (figures[`walk_${count}_routes_ns`] ?? 1)
  }
  const hosts = Array.from({ length: 997 }, (_, index) =>
    requestOf({ authority: `service-${index}.shop.svc.cluster.local:8080` }),
  )
  const many = manyHosts()
  figures.decision_1000_hosts_ns = perDecision(many, hosts, 200_000)
  const bearer = { authorization: `Bearer ${token()}` }
  const asked = Array.from({ length: 97 }, (_, index) =>
    requestOf({ path: `/api/service-${index}/items`, headers: bearer }),
  )
  figures.decision_jwt_rbac_999_routes_ns = perDecision(guarded(), asked, 100_000)
  for (const policy of ['ROUND_ROBIN', 'LEAST_REQUEST', 'RING_HASH', 'MAGLEV']) {
    figures[`choose_${policy.toLowerCase()}_ns`] = balancing(policy)
  }
  const schema = route.RouteConfigurationSchema
  const json = { virtualHosts: [{ name: 'all', domains: ['*'], routes: routesOf(5000) }] }
  const bytes = toBinary(schema, message(schema, json))
  figures.decode_5000_routes_us = Math.round(nsPer(5, () => fromBinary(schema, bytes)) / 1000)
  const decoded = fromBinary(schema, bytes)
  figures.compile_5000_routes_us = Math.round(nsPer(5, () => compileRoutes(decoded)) / 1000)
  console.table(figures)
  return { bench: 'decide', figures, ratios }
}
