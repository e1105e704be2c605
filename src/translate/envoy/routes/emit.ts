/** Route configurations from rules. */
import type { CorsPolicy } from '../../../model/index.ts'
import {
  routeComponents as api,
  core,
  cors as corsApi,
  fault as faultApi,
  faultCommon,
  route as routeApi,
} from '../../../proto/envoy.ts'
import { type Any, create, typeUrl } from '../../../proto/index.ts'
import { encodeResource } from '../../encode.ts'
import type { TranslatedResource } from '../../types.ts'
import { istioMetadata } from '../metadata.ts'
import { duration, durationMs, fractionalPercent, pack, stringMatch } from '../values.ts'
import { routeAction } from './emit-action.ts'
import { headerOptions, removals } from './emit-headers.ts'
import { routeMatch } from './emit-match.ts'
import { type Fault, type HeaderChange, type HttpRule, isCatchAll, type VirtualHost } from './ir.ts'
import { textMatch } from './text-match.ts'

export function encodeRoutes(name: string, hosts: readonly VirtualHost[]): TranslatedResource {
  const schema = routeApi.RouteConfigurationSchema
  return encodeResource({ name, typeUrl: typeUrl.route, schema, message: routesOf(name, hosts) })
}

export function routesOf(name: string, hosts: readonly VirtualHost[]): routeApi.RouteConfiguration {
  return create(routeApi.RouteConfigurationSchema, {
    name,
    virtualHosts: hosts.map(virtualHost),
    ignorePortInHostMatching: true,
    // Clusters come and go by themselves; a route to a missing one answers, the rest must work.
    validateClusters: false,
    maxDirectResponseBodySizeBytes: directResponseMaxBytes,
  })
}

/** What VirtualService allows as the body of a direct response. */
const directResponseMaxBytes = 1024 * 1024

export function virtualHost(host: VirtualHost): api.VirtualHost {
  return create(api.VirtualHostSchema, {
    name: host.name,
    domains: [...host.domains],
    routes: reachable(host.rules).map(routeOf),
    includeRequestAttemptCount: true,
    requestHeadersToAdd: [...(host.requestHeaders ?? [])],
    ...(host.requireTls ? { requireTls: api.VirtualHost_TlsRequirementType.ALL } : {}),
    ...(host.config === undefined ? {} : { metadata: istioMetadata(host.config) }),
  })
}

/** Up to the first rule that takes everything: what is behind it can't be reached. */
function reachable(rules: readonly HttpRule[]): readonly HttpRule[] {
  const last = rules.findIndex(({ match }) => isCatchAll(match))
  return last < 0 ? rules : rules.slice(0, last + 1)
}

function routeOf(rule: HttpRule): api.Route {
  const { name, config, path, match, action, cors, fault, statPrefix } = rule
  const filters: Record<string, Any> = {}
  if (cors !== undefined) filters['envoy.filters.http.cors'] = corsPolicy(cors)
  if (fault !== undefined) filters['envoy.filters.http.fault'] = faultPolicy(fault)
  const { request, response } = allHeaders(rule)
  return create(api.RouteSchema, {
    name,
    match: routeMatch(match),
    action: routeAction(action, match.path),
    ...(config === '' ? {} : { metadata: istioMetadata(config, path) }),
    requestHeadersToAdd: headerOptions(request),
    requestHeadersToRemove: removals(request),
    responseHeadersToAdd: headerOptions(response),
    responseHeadersToRemove: removals(response),
    typedPerFilterConfig: filters,
    statPrefix,
  })
}

/** A single destination's changes belong to the route: only shares have their own. */
function allHeaders({ action, headers }: HttpRule): HttpRule['headers'] {
  const [only] = action.kind === 'forward' && action.targets.length === 1 ? action.targets : []
  if (only === undefined) return headers
  const joined = (one: readonly HeaderChange[], two: readonly HeaderChange[]): HeaderChange[] => [
    ...one,
    ...two,
  ]
  return {
    request: joined(headers.request, only.headers.request),
    response: joined(headers.response, only.headers.response),
  }
}

const everyRequest = 100

function corsPolicy(cors: CorsPolicy): Any {
  const origins = cors.allowOrigins ?? (cors.allowOrigin ?? []).map((exact) => ({ exact }))
  const maxAgeMs = durationMs(cors.maxAge)
  const message = create(corsApi.CorsPolicySchema, {
    allowOriginStringMatch: origins.flatMap((origin) => {
      const match = textMatch(origin)
      return match === undefined ? [] : [stringMatch(match)]
    }),
    allowMethods: (cors.allowMethods ?? []).join(','),
    allowHeaders: (cors.allowHeaders ?? []).join(','),
    exposeHeaders: (cors.exposeHeaders ?? []).join(','),
    ...(maxAgeMs === undefined ? {} : { maxAge: String(Math.floor(maxAgeMs / 1000)) }),
    ...(cors.allowCredentials === undefined ? {} : { allowCredentials: cors.allowCredentials }),
    filterEnabled: create(core.RuntimeFractionalPercentSchema, {
      defaultValue: fractionalPercent(everyRequest),
    }),
    forwardNotMatchingPreflights: cors.unmatchedPreflights !== 'IGNORE',
  })
  return pack(corsApi.CorsPolicySchema, message)
}

function faultPolicy({ delay, abort }: Fault): Any {
  const message = create(faultApi.HTTPFaultSchema, {
    ...(delay === undefined
      ? {}
      : {
          delay: create(faultCommon.FaultDelaySchema, {
            faultDelaySecifier: { case: 'fixedDelay', value: duration(delay.ms) },
            percentage: fractionalPercent(delay.percent),
          }),
        }),
    ...(abort === undefined
      ? {}
      : {
          abort: create(faultApi.FaultAbortSchema, {
            errorType: abort.grpc
              ? { case: 'grpcStatus', value: abort.status }
              : { case: 'httpStatus', value: abort.status },
            percentage: fractionalPercent(abort.percent),
          }),
        }),
  })
  return pack(faultApi.HTTPFaultSchema, message)
}
