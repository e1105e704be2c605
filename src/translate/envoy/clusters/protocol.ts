/** Which HTTP a cluster speaks, and the options of that. */
import type {
  ConnectionPoolSettings,
  MeshConfig,
  OutlierDetection,
  ServicePort,
} from '../../../model/index.ts'
import {
  httpProtocolOptions as api,
  commonMatcher,
  protocol,
  routeComponents,
} from '../../../proto/envoy.ts'
import { type Any, create } from '../../../proto/index.ts'
import { duration, durationField, durationMs, pack, stringMatch } from '../values.ts'

export const httpOptionsName = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'

/** `auto`: what the client speaks, since nobody declared the port's protocol. */
export type UpstreamProtocol = 'http1' | 'http2' | 'auto' | 'tcp'

export function upstreamProtocol(
  port: ServicePort,
  pool: ConnectionPoolSettings | undefined,
  mesh: Pick<MeshConfig, 'h2UpgradePolicy'>,
): UpstreamProtocol {
  const { appProtocol } = port
  if (appProtocol === 'tcp' || appProtocol === 'tls') return 'tcp'
  if (appProtocol === 'http2' || appProtocol === 'grpc') return 'http2'
  const { useClientProtocol, h2UpgradePolicy } = pool?.http ?? {}
  if (useClientProtocol === true) return 'auto'
  const policy =
    h2UpgradePolicy === undefined || h2UpgradePolicy === 'DEFAULT'
      ? mesh.h2UpgradePolicy
      : h2UpgradePolicy
  // Bytes of an undeclared port may be anything, so they are never upgraded.
  if (appProtocol === 'unknown') return 'auto'
  return policy === 'UPGRADE' ? 'http2' : 'http1'
}

export interface HttpOptions {
  readonly protocol: UpstreamProtocol
  readonly pool: ConnectionPoolSettings | undefined
  readonly outlier: OutlierDetection | undefined
  /** Server name and certificate check follow each request's host. */
  readonly autoSni: boolean
  readonly autoSanValidation: boolean
}

/** Undefined when there is nothing to say: Envoy then speaks HTTP/1.1. */
export function httpOptions(options: HttpOptions): Record<string, Any> | undefined {
  const { protocol: speaks, pool, outlier, autoSni, autoSanValidation } = options
  const common = commonOptions(pool)
  const codes = outlier?.outlierDetectionHttpErrorCodes ?? []
  const isPlain = speaks === 'http1' && !autoSni && codes.length === 0
  if ((isPlain && common === undefined) || (speaks === 'tcp' && common === undefined)) {
    return undefined
  }
  const message = create(api.HttpProtocolOptionsSchema, {
    ...(common === undefined ? {} : { commonHttpProtocolOptions: common }),
    upstreamProtocolOptions: protocolOptions(speaks, pool),
    ...(autoSni && speaks !== 'tcp'
      ? {
          upstreamHttpProtocolOptions: create(protocol.UpstreamHttpProtocolOptionsSchema, {
            autoSni,
            autoSanValidation,
          }),
        }
      : {}),
    ...(codes.length === 0 ? {} : { outlierDetection: errorCodes(codes) }),
  })
  return { [httpOptionsName]: pack(api.HttpProtocolOptionsSchema, message) }
}

function commonOptions(
  pool: ConnectionPoolSettings | undefined,
): protocol.HttpProtocolOptions | undefined {
  const { http, tcp } = pool ?? {}
  const { maxRequestsPerConnection } = http ?? {}
  const idle = durationMs(http?.idleTimeout)
  const age = durationMs(tcp?.maxConnectionDuration)
  if (idle === undefined && age === undefined && !maxRequestsPerConnection) return undefined
  return create(protocol.HttpProtocolOptionsSchema, {
    ...(idle === undefined ? {} : { idleTimeout: duration(idle) }),
    ...(age === undefined ? {} : { maxConnectionDuration: duration(age) }),
    ...(maxRequestsPerConnection ? { maxRequestsPerConnection } : {}),
  })
}

function protocolOptions(
  speaks: UpstreamProtocol,
  pool: ConnectionPoolSettings | undefined,
): api.HttpProtocolOptions['upstreamProtocolOptions'] {
  const http2 = http2Options(pool)
  if (speaks === 'http2') {
    return {
      case: 'explicitHttpConfig',
      value: create(api.HttpProtocolOptions_ExplicitHttpConfigSchema, {
        protocolConfig: { case: 'http2ProtocolOptions', value: http2 },
      }),
    }
  }
  if (speaks === 'auto') {
    return {
      case: 'useDownstreamProtocolConfig',
      value: create(api.HttpProtocolOptions_UseDownstreamHttpConfigSchema, {
        httpProtocolOptions: create(protocol.Http1ProtocolOptionsSchema),
        http2ProtocolOptions: http2,
      }),
    }
  }
  return {
    case: 'explicitHttpConfig',
    value: create(api.HttpProtocolOptions_ExplicitHttpConfigSchema, {
      protocolConfig: {
        case: 'httpProtocolOptions',
        value: create(protocol.Http1ProtocolOptionsSchema),
      },
    }),
  }
}

function http2Options(pool: ConnectionPoolSettings | undefined): protocol.Http2ProtocolOptions {
  const { maxConcurrentStreams, http2KeepAlive } = pool?.http ?? {}
  return create(protocol.Http2ProtocolOptionsSchema, {
    ...(maxConcurrentStreams ? { maxConcurrentStreams } : {}),
    ...(http2KeepAlive === undefined
      ? {}
      : {
          connectionKeepalive: create(protocol.KeepaliveSettingsSchema, {
            ...durationField('interval', http2KeepAlive.interval),
            ...durationField('timeout', http2KeepAlive.timeout),
          }),
        }),
  })
}

/** These status codes count as errors of the endpoint, besides none of the others. */
function errorCodes(codes: readonly number[]): api.HttpProtocolOptions_OutlierDetection {
  const statuses = codes.map((code) =>
    create(commonMatcher.MatchPredicateSchema, {
      rule: {
        case: 'httpResponseHeadersMatch',
        value: create(commonMatcher.HttpHeadersMatchSchema, {
          headers: [
            create(routeComponents.HeaderMatcherSchema, {
              name: ':status',
              headerMatchSpecifier: {
                case: 'stringMatch',
                value: stringMatch({ kind: 'exact', value: String(code) }),
              },
            }),
          ],
        }),
      },
    }),
  )
  const errorMatcher = create(commonMatcher.MatchPredicateSchema, {
    rule: {
      case: 'orMatch',
      value: create(commonMatcher.MatchPredicate_MatchSetSchema, { rules: statuses }),
    },
  })
  // An alternative needs two; a single code stands for itself.
  const [only] = statuses
  return create(api.HttpProtocolOptions_OutlierDetectionSchema, {
    errorMatcher: statuses.length === 1 && only !== undefined ? only : errorMatcher,
  })
}
