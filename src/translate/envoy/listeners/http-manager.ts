/**
 * HTTP connection managers: the same for gateways, waypoints and both sides of sidecars, except for what
 * each believes of its clients. Filters are in Istio's order; names are those by which routes override
 * them (`envoy.filters.http.fault`, `envoy.filters.http.cors`).
 */
import type { DeclaredProtocol, GatewayTopology, ProxyHeaders } from '../../../model/index.ts'
import {
  cors,
  dynamicForward,
  fault,
  grpcStats,
  grpcWeb,
  hcm,
  preserveCase,
  protocol,
  router,
} from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import type { Reader } from '../../reader.ts'
import { dynamicDnsCache } from '../clusters/cluster.ts'
import type { Scope } from '../lookup/scope.ts'
import { httpAuthorization } from '../policies/authorization.ts'
import { extensionFilters } from '../policies/extensions.ts'
import { httpFilter, networkFilter, typedExtension } from '../policies/filters.ts'
import { requestAuthentication } from '../policies/request-authentication.ts'
import { accessLogs } from '../telemetry/access-log.ts'
import { httpMetrics } from '../telemetry/metrics.ts'
import { headerPeerFilters } from '../telemetry/peer.ts'
import type { TelemetryTarget } from '../telemetry/scope.ts'
import { tracing } from '../telemetry/tracing.ts'
import { adsSource, duration, type Fields } from '../values.ts'
import type { ListenerContext, NetworkFilter } from './build.ts'

export type ManagerRole = 'gateway' | 'waypoint' | 'outbound' | 'inbound'

export interface ManagerOptions {
  readonly role: ManagerRole
  readonly scope: Scope
  readonly target: TelemetryTarget
  /** The listener's, for extensions that are for some ports only. */
  readonly port?: number
  readonly statPrefix: string
  readonly routeName: string
  readonly declared?: DeclaredProtocol
  /** Names are resolved when they are asked for (`DYNAMIC_DNS`). */
  readonly dynamicDns?: boolean
}

export function httpManager(context: ListenerContext, options: ManagerOptions): NetworkFilter {
  const { reader } = options.scope
  const { needs } = context
  const { target } = options
  const logs = accessLogs(reader, target, 'http')
  const metrics = httpMetrics(reader, target)
  const traces = tracing(reader, target)
  needs.add(logs)
  needs.add(metrics)
  needs.add(traces)
  const message = create(hcm.HttpConnectionManagerSchema, {
    statPrefix: options.statPrefix,
    codecType: hcm.HttpConnectionManager_CodecType.AUTO,
    routeSpecifier: {
      case: 'rds',
      value: create(hcm.RdsSchema, {
        configSource: adsSource(),
        routeConfigName: options.routeName,
      }),
    },
    httpFilters: httpFilters(context, options),
    accessLog: [...logs.logs, ...metrics.logs],
    ...(traces.block === undefined ? {} : { tracing: traces.block }),
    ...(traces.requestId === undefined ? {} : { requestIdExtension: traces.requestId }),
    upgradeConfigs: [
      create(hcm.HttpConnectionManager_UpgradeConfigSchema, { upgradeType: 'websocket' }),
    ],
    ...pathOptions(reader),
    ...clientOptions(reader, options.role),
    // A stream may be quiet for as long as its ends like; connections have their own limits.
    streamIdleTimeout: duration(0),
  })
  return networkFilter(
    'envoy.filters.network.http_connection_manager',
    hcm.HttpConnectionManagerSchema,
    message,
  )
}

function httpFilters(context: ListenerContext, options: ManagerOptions): hcm.HttpFilter[] {
  const { needs } = context
  const { role, scope, target, declared = '', dynamicDns = false } = options
  const { reader } = scope
  const extensions = extensionFilters(reader, { ...target, port: options.port })
  needs.add(extensions)
  const { AUTHN, AUTHZ, STATS, OTHER } = extensions.http
  const security = securityFilters(context, options)
  const grpc = [
    ...(declared === 'GRPC-WEB' ? [grpcWebFilter()] : []),
    ...(declared === 'GRPC' || declared === 'GRPC-WEB' ? [grpcStatsFilter()] : []),
  ]
  const perRoute = [
    httpFilter('envoy.filters.http.fault', fault.HTTPFaultSchema, create(fault.HTTPFaultSchema)),
    httpFilter('envoy.filters.http.cors', cors.CorsSchema, create(cors.CorsSchema)),
  ]
  return [
    ...(role === 'inbound' ? headerPeerFilters() : []),
    ...security.custom,
    ...AUTHN,
    ...security.authentication,
    ...AUTHZ,
    ...security.local,
    // A waypoint's extensions see what faults and CORS let through.
    ...(role === 'waypoint'
      ? [...grpc, ...perRoute, ...STATS, ...OTHER]
      : [...STATS, ...OTHER, ...grpc, ...perRoute]),
    ...(dynamicDns ? [dynamicForwardFilter(scope)] : []),
    httpFilter(
      'envoy.filters.http.router',
      router.RouterSchema,
      create(router.RouterSchema, { suppressEnvoyHeaders: suppressesHeaders(reader, role) }),
    ),
  ]
}

interface SecurityFilters {
  readonly custom: readonly hcm.HttpFilter[]
  readonly authentication: readonly hcm.HttpFilter[]
  readonly local: readonly hcm.HttpFilter[]
}

/** Servers decide who may come in; a client's own proxy decides nothing. */
function securityFilters(context: ListenerContext, options: ManagerOptions): SecurityFilters {
  const { role, scope, target } = options
  if (role === 'outbound') return { custom: [], authentication: [], local: [] }
  const { needs, keySets } = context
  const authorization = httpAuthorization(scope.reader, target)
  const tokens = requestAuthentication(scope.reader, target, keySets)
  needs.add(authorization)
  needs.add({ problems: tokens.problems })
  const authentication = tokens.filter === undefined ? [] : [tokens.filter]
  return { custom: authorization.custom, authentication, local: authorization.local }
}

function grpcWebFilter(): hcm.HttpFilter {
  const schema = grpcWeb.GrpcWebSchema
  return httpFilter('envoy.filters.http.grpc_web', schema, create(schema))
}

function grpcStatsFilter(): hcm.HttpFilter {
  const schema = grpcStats.FilterConfigSchema
  const message = create(schema, {
    emitFilterState: true,
    perMethodStatSpecifier: {
      case: 'statsForAllMethods',
      value: { $typeName: 'google.protobuf.BoolValue', value: false },
    },
  })
  return httpFilter('envoy.filters.http.grpc_stats', schema, message)
}

function dynamicForwardFilter(scope: Scope): hcm.HttpFilter {
  const schema = dynamicForward.FilterConfigSchema
  const message = create(schema, {
    implementationSpecifier: { case: 'dnsCacheConfig', value: dynamicDnsCache(scope) },
  })
  return httpFilter('envoy.filters.http.dynamic_forward_proxy', schema, message)
}

type ManagerFields = Fields<hcm.HttpConnectionManager>

/** What policies match and what the upstream gets is one and the same path. */
function pathOptions(reader: Reader): ManagerFields {
  const { normalization = 'DEFAULT' } = reader.mesh().pathNormalization
  const actions = hcm.HttpConnectionManager_PathWithEscapedSlashesAction
  const decodes = normalization === 'DECODE_AND_MERGE_SLASHES'
  return {
    normalizePath: normalization !== 'NONE',
    mergeSlashes: decodes || normalization === 'MERGE_SLASHES',
    pathWithEscapedSlashesAction: decodes ? actions.UNESCAPE_AND_FORWARD : actions.KEEP_UNCHANGED,
  }
}

const forwarding: Readonly<
  Record<
    NonNullable<GatewayTopology['forwardClientCertDetails']>,
    hcm.HttpConnectionManager_ForwardClientCertDetails | undefined
  >
> = {
  UNDEFINED: undefined,
  SANITIZE: hcm.HttpConnectionManager_ForwardClientCertDetails.SANITIZE,
  FORWARD_ONLY: hcm.HttpConnectionManager_ForwardClientCertDetails.FORWARD_ONLY,
  APPEND_FORWARD: hcm.HttpConnectionManager_ForwardClientCertDetails.APPEND_FORWARD,
  SANITIZE_SET: hcm.HttpConnectionManager_ForwardClientCertDetails.SANITIZE_SET,
  ALWAYS_FORWARD_ONLY: hcm.HttpConnectionManager_ForwardClientCertDetails.ALWAYS_FORWARD_ONLY,
}

/** Headers about the client: believed from inside the mesh, made anew at its edge. */
function clientOptions(reader: Reader, role: ManagerRole): ManagerFields {
  const { gatewayTopology = {}, proxyHeaders = {} } = reader.mesh().defaultConfig
  const details = hcm.HttpConnectionManager_ForwardClientCertDetails
  const written =
    forwarding[proxyHeaders.forwardedClientCert ?? 'UNDEFINED'] ??
    (role === 'gateway'
      ? forwarding[gatewayTopology.forwardClientCertDetails ?? 'UNDEFINED']
      : undefined)
  const server = serverHeader(proxyHeaders, role)
  const common: ManagerFields = {
    ...server,
    ...(proxyHeaders.requestId?.disabled === true ? { generateRequestId: false } : {}),
    appendXForwardedPort: proxyHeaders.xForwardedPort?.enabled === true,
    ...(preservesCase(proxyHeaders) ? caseOptions() : {}),
  }
  if (role === 'gateway') {
    return {
      ...common,
      // The client is whoever connects: what it says about itself in headers is not believed.
      useRemoteAddress: true,
      xffNumTrustedHops: gatewayTopology.numTrustedProxies ?? 0,
      forwardClientCertDetails: written ?? details.SANITIZE_SET,
      setCurrentClientCertDetails: certificateDetails({
        subject: true,
        cert: true,
        dns: true,
        uri: true,
        ...proxyHeaders.setCurrentClientCertDetails,
      }),
    }
  }
  if (role === 'inbound') {
    return {
      ...common,
      useRemoteAddress: false,
      forwardClientCertDetails: written ?? details.APPEND_FORWARD,
      setCurrentClientCertDetails: certificateDetails({
        subject: true,
        dns: true,
        uri: true,
        ...proxyHeaders.setCurrentClientCertDetails,
      }),
    }
  }
  return {
    ...common,
    useRemoteAddress: false,
    ...(written === undefined ? {} : { forwardClientCertDetails: written }),
  }
}

function certificateDetails(
  wanted: NonNullable<ProxyHeaders['setCurrentClientCertDetails']>,
): hcm.HttpConnectionManager_SetCurrentClientCertDetails {
  return create(hcm.HttpConnectionManager_SetCurrentClientCertDetailsSchema, wanted)
}

function serverHeader({ server }: ProxyHeaders, role: ManagerRole): ManagerFields {
  const transformations = hcm.HttpConnectionManager_ServerHeaderTransformation
  if (server?.disabled === true) {
    return { serverHeaderTransformation: transformations.PASS_THROUGH }
  }
  if (server?.value !== undefined && server.value !== '') return { serverName: server.value }
  // A client's own proxy says plainly what it is.
  return { serverName: role === 'outbound' ? 'envoy' : 'istio-envoy' }
}

function suppressesHeaders(reader: Reader, role: ManagerRole): boolean {
  const { proxyHeaders } = reader.mesh().defaultConfig
  return role !== 'inbound' && proxyHeaders?.envoyDebugHeaders?.disabled === true
}

function preservesCase(headers: ProxyHeaders): boolean {
  return (headers.preserveHttp1HeaderCase ?? headers.perserveHttp1HeaderCase) === true
}

function caseOptions(): ManagerFields {
  const schema = preserveCase.PreserveCaseFormatterConfigSchema
  const format = create(protocol.Http1ProtocolOptions_HeaderKeyFormatSchema, {
    headerFormat: {
      case: 'statefulFormatter',
      value: typedExtension('preserve_case', schema, create(schema)),
    },
  })
  return {
    httpProtocolOptions: create(protocol.Http1ProtocolOptionsSchema, { headerKeyFormat: format }),
  }
}
