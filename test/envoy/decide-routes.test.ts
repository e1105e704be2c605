/**
 * The same route configurations and requests for a stock Envoy and for `decide`: which route, which answer,
 * what the upstream sees, what the client gets back. The seed is printed; WEFT_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { Agent } from 'node:http'
import test from 'node:test'
import {
  compiledOrThrow,
  compileListener,
  grpcStatusOf,
  type HttpConfig,
  type HttpDecision,
  isGrpc,
  responseHeaders,
} from '../../src/decide/l7.ts'
import { listener as listenerApi } from '../../src/proto/envoy.ts'
import { freePort } from '../free-port.ts'
import { Random, randomRequest, randomRoutes } from './decide-generator.ts'
import {
  type Answer,
  apply,
  ask,
  decide,
  echo,
  httpConfigOf,
  message,
  type Question,
} from './decide-kit.ts'
import { at, cluster, Envoy, manager, router } from './traffic-kit.ts'

const soak = process.env.WEFT_SOAK === '1'
const seed = Number(process.env.WEFT_SEED ?? Math.floor(Math.random() * 2 ** 31))
const configs = soak ? 150 : 30
const requests = soak ? 60 : 35

/** Headers that the tests make, or that decisions make; not those of the wire. */
function own(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const kept = /^x-(a|b|c|new|list|up|cluster|forwarded-host|envoy-original-(path|host))$/
  const entries = Object.entries(headers).filter(([name]) => kept.test(name))
  return Object.fromEntries(
    entries.map(([name, value]) => [name, String(value).replaceAll(/, ?/g, ',')]),
  )
}

interface Seen {
  readonly status: number
  readonly grpcStatus: string | undefined
  readonly location: string | undefined
  readonly body: string
  readonly response: Record<string, unknown>
  readonly upstream: unknown
}

function seenInEnvoy(answer: Answer): Seen {
  const { status, headers, body } = answer
  const isEcho = body.startsWith('{')
  const upstream = isEcho
    ? (JSON.parse(body) as { url: string; headers: Record<string, string> })
    : undefined
  return {
    status,
    grpcStatus: headers['grpc-status'],
    location: headers.location,
    body: isEcho ? '' : body,
    response: own(headers),
    upstream:
      upstream === undefined
        ? undefined
        : { url: upstream.url, host: upstream.headers.host, headers: own(upstream.headers) },
  }
}

function seenInDecision(decision: HttpDecision, question: Question): Seen {
  assert.notEqual(decision.kind, 'pause')
  if (decision.kind === 'reply') {
    return seenReply(decision, decision, decision.headers)
  }
  assert(decision.kind === 'forward')
  const { path, authority, requestHeaders } = decision
  const given = { 'x-up': 'yes', 'x-list': 'upstream' }
  const facts = { status: 200, headers: new Map(Object.entries(given)) }
  return {
    status: 200,
    grpcStatus: undefined,
    location: undefined,
    body: '',
    response: own(apply(given, responseHeaders(decision, facts))),
    upstream: { url: path, host: authority, headers: own(apply(question.headers, requestHeaders)) },
  }
}

/** An answer of the proxy's own, which gRPC clients get in their way. */
function seenReply(
  decision: Exclude<HttpDecision, { kind: 'pause' }>,
  reply: { readonly status: number; readonly body: string | Uint8Array },
  headers: readonly (readonly [string, string])[],
): Seen {
  const grpc = isGrpc(decision.exchange)
  const status = grpc ? 200 : reply.status
  const facts = { status, headers: new Map(headers) }
  return {
    status,
    grpcStatus: grpc ? String(grpcStatusOf(reply)) : undefined,
    location: headers.find(([name]) => name === 'location')?.[1],
    body: grpc ? '' : String(reply.body),
    response: own(apply({}, responseHeaders(decision, facts))),
    upstream: undefined,
  }
}

interface Listener {
  readonly port: number
  readonly json: object
  readonly config: HttpConfig
}

function listenerJson(port: number, routeConfig: object): object {
  const fields = { routeConfig, httpFilters: [router], generateRequestId: false }
  return { name: `l${port}`, address: at(port), filterChains: [{ filters: [manager(fields)] }] }
}

async function makeListener(random: Random): Promise<Listener> {
  const port = await freePort()
  const json = listenerJson(port, randomRoutes(random, `routes ${port}`))
  const parsed = message(listenerApi.ListenerSchema, JSON.parse(JSON.stringify(json)))
  return { port, json, config: httpConfigOf(compiledOrThrow(compileListener(parsed))) }
}

/** The level and the route, to read a difference by. */
function routeNamed(json: object, name: string | undefined): unknown {
  const text = JSON.stringify(json)
  const { filterChains } = JSON.parse(text) as {
    filterChains: { filters: { typedConfig: { routeConfig: RouteJson } }[] }[]
  }
  const config = filterChains[0]?.filters[0]?.typedConfig.routeConfig
  const host = config?.virtualHosts.find((each) => name?.startsWith(`${each.name}/`) === true)
  const route = host?.routes.find((each) => each.name === name)
  return [route, { ...host, routes: [] }, { ...config, virtualHosts: [] }]
}

interface RouteJson {
  readonly virtualHosts: readonly { name: string; routes: readonly { name: string }[] }[]
}

test('routes, rewrites, redirects and headers are decided as a stock Envoy does', async (context) => {
  context.diagnostic(`seed ${seed}: ${configs} configurations, ${requests} requests each`)
  const random = new Random(seed)
  const upstream = await echo()
  context.after(() => upstream.server.close())
  const listeners: Listener[] = []
  for (let index = 0; index < configs; index++) listeners.push(await makeListener(random))
  const endpoint = { endpoint: { address: at(upstream.port) } }
  await using envoy = new Envoy()
  await envoy.start({
    staticResources: {
      listeners: listeners.map(({ json }) => json),
      clusters: [cluster('echo', endpoint), { name: 'none', type: 'STATIC', connectTimeout: '1s' }],
    },
  })
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  context.after(() => agent.destroy())
  const differences: unknown[] = []
  const kinds = new Map<string, number>()
  for (const { port, config, json } of listeners) {
    for (let index = 0; index < requests; index++) {
      const question = randomRequest(random)
      const expected = seenInEnvoy(await ask(port, agent, question))
      const decision = decide(config, question)
      const actual = seenInDecision(decision, question)
      const kind = decision.kind === 'reply' ? `reply ${decision.details}` : decision.kind
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
      try {
        assert.deepEqual(actual, expected)
      } catch {
        const name = decision.kind === 'pause' ? undefined : decision.choice?.route.name
        differences.push({ question, expected, actual, name, made: routeNamed(json, name) })
      }
    }
  }
  context.diagnostic(`${JSON.stringify(Object.fromEntries(kinds))}`)
  const shown = differences
    .slice(0, 3)
    .map((each) => JSON.stringify(each))
    .join('\n')
  assert.equal(differences.length, 0, `seed ${seed}: ${differences.length} differences\n${shown}`)
})
