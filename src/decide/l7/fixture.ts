/** For tests: messages from JSON, and requests with what matters in them. */
import {
  createRegistry,
  type DescMessage,
  fromJson,
  type JsonObject,
  type MessageShape,
} from '@bufbuild/protobuf'
import { file_google_protobuf_wrappers } from '@bufbuild/protobuf/wkt'
import {
  cors,
  extAuthz,
  fault,
  hcm,
  headerToMetadata,
  httpRbac,
  jwtAuthn,
  localRateLimit,
  lua,
  networkInputs,
  networkRbac,
  route,
  router,
  setFilterState,
  sniCluster,
  tcpProxy,
  uriTemplate,
  uriTemplateRewrite,
  xdsIpMatcher,
} from '../../proto/envoy.ts'
import { decideHttp, type HttpConfig, type HttpDecision } from './decide.ts'
import { compiledOrThrow, Place } from './errors.ts'
import { compileFilterChain } from './filters/chain.ts'
import { compileRoutes, type RouteTable } from './route/table.ts'
import type { ConnectionFacts, DecideContext, L7Request } from './types.ts'

const registry = createRegistry(
  file_google_protobuf_wrappers,
  hcm.HttpConnectionManagerSchema,
  tcpProxy.TcpProxySchema,
  networkRbac.RBACSchema,
  sniCluster.SniClusterSchema,
  router.RouterSchema,
  cors.CorsSchema,
  cors.CorsPolicySchema,
  fault.HTTPFaultSchema,
  httpRbac.RBACSchema,
  httpRbac.RBACPerRouteSchema,
  jwtAuthn.JwtAuthenticationSchema,
  jwtAuthn.PerRouteConfigSchema,
  extAuthz.ExtAuthzSchema,
  extAuthz.ExtAuthzPerRouteSchema,
  localRateLimit.LocalRateLimitSchema,
  headerToMetadata.ConfigSchema,
  setFilterState.ConfigSchema,
  lua.LuaSchema,
  uriTemplate.UriTemplateMatchConfigSchema,
  uriTemplateRewrite.UriTemplateRewriteConfigSchema,
  xdsIpMatcher.IPMatcherSchema,
  networkInputs.DestinationIPInputSchema,
  networkInputs.DestinationPortInputSchema,
  networkInputs.ApplicationProtocolInputSchema,
)

export function message<S extends DescMessage>(schema: S, json: JsonObject): MessageShape<S> {
  return fromJson(schema, json, { registry })
}

export const type = (name: string): { '@type': string } => ({
  '@type': `type.googleapis.com/envoy.${name}`,
})

export function httpFilter(name: string, config: JsonObject): JsonObject {
  return { name, typedConfig: config }
}

const routerFilter = httpFilter('router', type('extensions.filters.http.router.v3.Router'))

export function tableOf(json: JsonObject): RouteTable {
  return compiledOrThrow(compileRoutes(message(route.RouteConfigurationSchema, json)))
}

/** One virtual host for everything, with these routes. */
export function hostOf(...routes: JsonObject[]): JsonObject {
  return { name: 'test', virtualHosts: [{ name: 'all', domains: ['*'], routes }] }
}

export const everything = { match: { prefix: '/' }, route: { cluster: 'app' } }

export function configOf(routes: JsonObject, ...filters: JsonObject[]): HttpConfig {
  const place = Place.of('test')
  const list = [...filters, routerFilter].map((filter) => message(hcm.HttpFilterSchema, filter))
  const chain = compileFilterChain(list, { extensions: new Map(), place })
  return { chain: compiledOrThrow(place.finish(chain)), routes: tableOf(routes) }
}

export const connection: ConnectionFacts = {
  sourceIp: '10.0.0.1',
  sourcePort: 40_000,
  destinationIp: '10.0.0.2',
  destinationPort: 80,
}

interface Wishes extends Partial<Omit<L7Request, 'headers' | 'connection'>> {
  readonly headers?: Readonly<Record<string, string>>
  readonly connection?: Partial<ConnectionFacts>
}

export function requestOf(wishes: Wishes = {}): L7Request {
  return {
    method: 'GET',
    scheme: 'http',
    authority: 'app.test',
    path: '/',
    protocol: 'HTTP/1.1',
    ...wishes,
    headers: new Map(Object.entries(wishes.headers ?? {})),
    connection: { ...connection, ...wishes.connection },
  }
}

export const steady: DecideContext = { random: () => 0.5, now: () => 1_700_000_000_000 }

export function decide(
  config: HttpConfig,
  wishes: Wishes = {},
  context: Partial<DecideContext> = {},
): HttpDecision {
  return decideHttp(config, requestOf(wishes), { ...steady, ...context })
}

/** The status of an answer, or the cluster of a request that goes on. */
export function outcome(decision: HttpDecision): number | string {
  if (decision.kind === 'reply') return decision.status
  return decision.kind === 'forward' ? decision.cluster : decision.effect.kind
}
