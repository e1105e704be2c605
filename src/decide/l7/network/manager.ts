/** HTTP connection managers: the filters, where the routes come from, and which upgrades are possible. */
import type { hcm } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import { type ChainOptions, compileFilterChain, type FilterChain } from '../filters/chain.ts'
import { compileRoutes, type RouteTable } from '../route/table.ts'

export interface HttpManager {
  readonly chain: FilterChain
  readonly routes:
    | { readonly kind: 'named'; readonly name: string }
    | { readonly kind: 'inline'; readonly table: RouteTable }
  /** Upgrades that are allowed unless a route says otherwise; lower case. With filters of their own, if any. */
  readonly upgrades: ReadonlyMap<
    string,
    { readonly enabled: boolean; readonly chain: FilterChain | undefined }
  >
  /** The rest, which is about the wire: timeouts, limits, headers of the proxy itself, logs, spans. */
  readonly message: hcm.HttpConnectionManager
}

export function compileManager(
  message: hcm.HttpConnectionManager,
  options: ChainOptions,
): HttpManager {
  const { place } = options
  refuseUnsupported(message, place)
  return {
    chain: compileFilterChain(message.httpFilters, options),
    routes: routesOf(message, place),
    upgrades: new Map(
      message.upgradeConfigs.map(({ upgradeType, enabled, filters }, index) => [
        upgradeType.toLowerCase(),
        {
          enabled: enabled !== false,
          chain:
            filters.length === 0
              ? undefined
              : compileFilterChain(filters, {
                  ...options,
                  place: place.at('upgrade_configs', index),
                }),
        },
      ]),
    ),
    message,
  }
}

function refuseUnsupported(message: hcm.HttpConnectionManager, place: Place): void {
  const refused: readonly (readonly [field: string, used: boolean])[] = [
    ['early_header_mutation_extensions', message.earlyHeaderMutationExtensions.length > 0],
    ['original_ip_detection_extensions', message.originalIpDetectionExtensions.length > 0],
    ['path_normalization_options', message.pathNormalizationOptions !== undefined],
    ['forward_client_cert_matcher', message.forwardClientCertMatcher !== undefined],
    ['typed_header_validation_config', message.typedHeaderValidationConfig !== undefined],
  ]
  for (const [field, used] of refused) if (used) place.at(field).refuse('is not supported')
}

function routesOf(message: hcm.HttpConnectionManager, place: Place): HttpManager['routes'] {
  const { routeSpecifier: specifier } = message
  if (specifier.case === 'rds') return { kind: 'named', name: specifier.value.routeConfigName }
  if (specifier.case === 'routeConfig') {
    const compiled = compileRoutes(specifier.value)
    if (compiled.errors === undefined) return { kind: 'inline', table: compiled.value }
    for (const { field, message: why } of compiled.errors) {
      place.at('route_config').at(field).refuse(why)
    }
  } else place.at('route_specifier').refuse(`${specifier.case ?? 'none'} is not supported`)
  return { kind: 'named', name: '' }
}
