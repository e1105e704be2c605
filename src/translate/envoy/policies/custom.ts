/**
 * Action CUSTOM: an external service decides about the requests that the policy's rules match. The
 * rules are shadow rules of an RBAC filter, which only notes the rule that matched; the ext_authz
 * filter behind it is on where such a note exists. A provider that can't be reached by configuration
 * makes the rules deny.
 */
import type {
  ExtAuthzHttpProvider,
  ExtAuthzProvider,
  ExtensionProvider,
} from '../../../model/index.ts'
import {
  configSource,
  extAuthz,
  httpStatus,
  type metadataMatcher,
  networkExtAuthz,
  stringMatcher,
} from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import type { Reader } from '../../reader.ts'
import { durationMs, stringMatch } from '../values.ts'
import { metadataMatch, textValue, valueOf } from './matchers.ts'
import {
  findProvider,
  grpcTo,
  headerValue,
  type ProviderCluster,
  providerCluster,
  uriOf,
} from './providers.ts'

/** Names of rules that the external service decides about begin with this and the provider. */
export const customRulePrefix = 'istio-ext-authz'
export const customStatPrefix = 'istio_ext_authz_'

/**
 * Envoy wants a timeout for HTTP; without one in the provider the timeout of the DestinationRule
 * decides, which is shorter than this.
 */
const placeholderTimeoutMs = 600_000

export interface ExternalAuthorization {
  readonly cluster: ProviderCluster
  readonly http: extAuthz.ExtAuthz
  /** Undefined: the provider speaks HTTP, which a TCP connection can't be asked about with. */
  readonly tcp: networkExtAuthz.ExtAuthz | undefined
}

/** The filters' configuration, or a sentence about why there is none. */
export function externalAuthorization(
  reader: Reader,
  name: string,
): ExternalAuthorization | string {
  const provider = findProvider(reader, name)
  if (provider === undefined) {
    return `there is no extension provider '${name}' in MeshConfig (extensionProviders)`
  }
  const { envoyExtAuthzHttp, envoyExtAuthzGrpc } = provider
  const settings = envoyExtAuthzGrpc ?? envoyExtAuthzHttp
  if (settings === undefined) {
    return `extension provider '${name}' does not authorize; it needs envoyExtAuthzHttp or envoyExtAuthzGrpc`
  }
  const cluster = providerCluster(reader, settings)
  if (typeof cluster === 'string') return `extension provider '${name}': ${cluster}`
  const status = statusOnError(settings)
  if (typeof status === 'string') return `extension provider '${name}': ${status}`
  const { pathPrefix = '' } = envoyExtAuthzHttp ?? {}
  if (pathPrefix !== '' && !pathPrefix.startsWith('/')) {
    return `extension provider '${name}': pathPrefix '${pathPrefix}' does not begin with '/'`
  }
  return build(provider, cluster, status)
}

function build(
  provider: ExtensionProvider,
  cluster: ProviderCluster,
  status: httpStatus.HttpStatus | undefined,
): ExternalAuthorization {
  const { name = '', envoyExtAuthzGrpc: grpc, envoyExtAuthzHttp: http } = provider
  const settings: ExtAuthzProvider = grpc ?? http ?? {}
  const service = grpcTo(cluster, { timeoutMs: durationMs(grpc?.timeout) })
  const { failOpen = false, clearRouteCache = false } = settings
  const body = settings.includeRequestBodyInCheck
  return {
    cluster,
    http: create(extAuthz.ExtAuthzSchema, {
      services:
        grpc !== undefined
          ? { case: 'grpcService', value: service }
          : { case: 'httpService', value: httpServiceOf(cluster, http ?? {}) },
      transportApiVersion: configSource.ApiVersion.V3,
      failureModeAllow: failOpen,
      clearRouteCache,
      ...(status === undefined ? {} : { statusOnError: status }),
      ...(body === undefined ? {} : { withRequestBody: bufferOf(body, grpc !== undefined) }),
      ...allowedHeaders(http),
      filterEnabledMetadata: matched('envoy.filters.http.rbac', name),
    }),
    tcp:
      grpc === undefined
        ? undefined
        : create(networkExtAuthz.ExtAuthzSchema, {
            statPrefix: 'tcp.',
            grpcService: service,
            transportApiVersion: configSource.ApiVersion.V3,
            failureModeAllow: failOpen,
            filterEnabledMetadata: matched('envoy.filters.network.rbac', name),
          }),
  }
}

/** True where the shadow rules of this provider matched. */
function matched(filter: string, provider: string): metadataMatcher.MetadataMatcher {
  const prefix = stringMatch({ kind: 'prefix', value: `${customRulePrefix}-${provider}-` })
  const path = [`${customStatPrefix}shadow_effective_policy_id`]
  return metadataMatch(filter, path, textValue(prefix))
}

function bufferOf(
  body: NonNullable<ExtAuthzProvider['includeRequestBodyInCheck']>,
  isGrpc: boolean,
): extAuthz.BufferSettings {
  const { maxRequestBytes = 0, allowPartialMessage = false, packAsBytes = false } = body
  return create(extAuthz.BufferSettingsSchema, {
    maxRequestBytes: Math.max(maxRequestBytes, 1),
    allowPartialMessage,
    packAsBytes: isGrpc && packAsBytes,
  })
}

function allowedHeaders(http: ExtAuthzHttpProvider | undefined): {
  allowedHeaders?: stringMatcher.ListStringMatcher
} {
  const names = http?.includeRequestHeadersInCheck ?? http?.includeHeadersInCheck ?? []
  return names.length === 0 ? {} : { allowedHeaders: headerNames(names) }
}

function httpServiceOf(
  cluster: ProviderCluster,
  provider: ExtAuthzHttpProvider,
): extAuthz.HttpService {
  const { pathPrefix = '', includeAdditionalHeadersInCheck: additional = {} } = provider
  const upstream = provider.headersToUpstreamOnAllow ?? []
  const denied = provider.headersToDownstreamOnDeny ?? []
  const allowed = provider.headersToDownstreamOnAllow ?? []
  const headersToAdd = Object.entries(additional)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, value]) => headerValue(key, value))
  return create(extAuthz.HttpServiceSchema, {
    serverUri: uriOf(cluster, '', durationMs(provider.timeout) ?? placeholderTimeoutMs),
    pathPrefix,
    ...(headersToAdd.length === 0
      ? {}
      : { authorizationRequest: create(extAuthz.AuthorizationRequestSchema, { headersToAdd }) }),
    ...(upstream.length + denied.length + allowed.length === 0
      ? {}
      : {
          authorizationResponse: create(extAuthz.AuthorizationResponseSchema, {
            ...(upstream.length === 0 ? {} : { allowedUpstreamHeaders: headerNames(upstream) }),
            ...(denied.length === 0 ? {} : { allowedClientHeaders: headerNames(denied) }),
            ...(allowed.length === 0
              ? {}
              : { allowedClientHeadersOnSuccess: headerNames(allowed) }),
          }),
        }),
  })
}

/** Exact names, `x*` and `*x`. */
function headerNames(names: readonly string[]): stringMatcher.ListStringMatcher {
  return create(stringMatcher.ListStringMatcherSchema, {
    patterns: names.map((name) => valueOf(name, '', name !== '*')),
  })
}

function statusOnError({
  statusOnError: text = '',
}: ExtAuthzProvider): httpStatus.HttpStatus | string | undefined {
  if (text === '') return undefined
  const code = Number(text)
  if (httpStatus.StatusCode[code] === undefined || code === 0) {
    return `statusOnError '${text}' is no HTTP status that Envoy knows`
  }
  return create(httpStatus.HttpStatusSchema, { code })
}
