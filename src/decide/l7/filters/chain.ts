/** The HTTP filters of a connection manager, in order. What is not known is refused, unless it is optional. */
import type { Any } from '@bufbuild/protobuf/wkt'
import {
  cors,
  dynamicForward,
  extAuthz,
  fault,
  grpcStats,
  grpcWeb,
  type hcm,
  headerToMetadata,
  httpRbac,
  httpWasm,
  jwtAuthn,
  localRateLimit,
  lua,
  router,
  setFilterState,
  wasm,
} from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import { typeOf, unpack } from '../values.ts'
import { compileCors } from './cors.ts'
import { compileExtAuthz } from './ext-authz.ts'
import { compileFaultFilter } from './fault.ts'
import type { HttpFilter } from './filter.ts'
import { compileSetFilterState } from './filter-state.ts'
import { compileHeaderToMetadata } from './header-to-metadata.ts'
import { compileJwt } from './jwt.ts'
import { compileLocalRateLimit } from './local-rate-limit.ts'
import { compileRbac } from './rbac.ts'

/** Filters whose work is on the wire, not a decision; the proxy does it or refuses the listener. */
export type WireFilter = 'grpc-web' | 'dynamic-forward-proxy'

export interface FilterChain {
  readonly filters: readonly HttpFilter[]
  readonly wire: ReadonlySet<WireFilter>
  /** Envoy's own headers (`x-envoy-*`) are not added. */
  readonly suppressEnvoyHeaders: boolean
  /** Modules that are left out because their author allows it. */
  readonly skipped: readonly string[]
}

/** Configurations of filters that come by discovery (ECDS), by name. */
export type ExtensionConfigs = ReadonlyMap<string, Any>

export interface ChainOptions {
  readonly extensions: ExtensionConfigs
  readonly place: Place
}

export function compileFilterChain(
  messages: readonly hcm.HttpFilter[],
  { extensions, place }: ChainOptions,
): FilterChain {
  const filters: HttpFilter[] = []
  const wire = new Set<WireFilter>()
  const skipped: string[] = []
  let suppressEnvoyHeaders = false
  let routed = false
  for (const [index, message] of messages.entries()) {
    const at = place.at('http_filters', index)
    if (routed) at.refuse('a filter behind the router')
    const config = configOf(message, extensions, at)
    if (config === undefined) continue
    const { name, disabled } = message
    const routerConfig = unpack(config, router.RouterSchema, at)
    if (routerConfig !== undefined) {
      routed = true
      suppressEnvoyHeaders = routerConfig.suppressEnvoyHeaders
      if (routerConfig.upstreamHttpFilters.length > 0) {
        at.at('upstream_http_filters').refuse('is not supported')
      }
      continue
    }
    const kind = wireKind(config)
    if (kind !== undefined) wire.add(kind)
    else if (typeOf(config) === grpcStats.FilterConfigSchema.typeName) continue
    else if (isSkippedModule(config, at)) skipped.push(name)
    else {
      const filter = compileFilter(name, config, at)
      if (filter !== undefined) filters.push(disabled ? { ...filter, disabled } : filter)
      else if (!message.isOptional) at.refuse(`${name}: ${typeOf(config)} is not supported`)
    }
  }
  if (!routed) place.at('http_filters').refuse('the last filter has to be the router')
  return { filters, wire, suppressEnvoyHeaders, skipped }
}

function configOf(
  message: hcm.HttpFilter,
  extensions: ExtensionConfigs,
  place: Place,
): Any | undefined {
  const { name, configType } = message
  if (configType.case === 'typedConfig') return configType.value
  const config =
    configType.case === 'configDiscovery'
      ? (extensions.get(name) ?? configType.value.defaultConfig)
      : undefined
  if (config === undefined && !message.isOptional) place.refuse(`${name} has no configuration`)
  return config
}

function wireKind(config: Any): WireFilter | undefined {
  const type = typeOf(config)
  if (type === grpcWeb.GrpcWebSchema.typeName) return 'grpc-web'
  return type === dynamicForward.FilterConfigSchema.typeName ? 'dynamic-forward-proxy' : undefined
}

function compileFilter(name: string, config: Any, place: Place): HttpFilter | undefined {
  const rbac = unpack(config, httpRbac.RBACSchema, place)
  if (rbac !== undefined) return compileRbac(name, rbac, place)
  const jwt = unpack(config, jwtAuthn.JwtAuthenticationSchema, place)
  if (jwt !== undefined) return compileJwt(name, jwt, place)
  if (unpack(config, cors.CorsSchema, place) !== undefined) return compileCors(name)
  const faults = unpack(config, fault.HTTPFaultSchema, place)
  if (faults !== undefined) return compileFaultFilter(name, faults, place)
  const authorize = unpack(config, extAuthz.ExtAuthzSchema, place)
  if (authorize !== undefined) return compileExtAuthz(name, authorize, place)
  const limit = unpack(config, localRateLimit.LocalRateLimitSchema, place)
  if (limit !== undefined) return compileLocalRateLimit(name, limit, place)
  const header = unpack(config, headerToMetadata.ConfigSchema, place)
  if (header !== undefined) return compileHeaderToMetadata(name, header, place)
  const state = unpack(config, setFilterState.ConfigSchema, place)
  if (state !== undefined) return compileSetFilterState(name, state, place)
  if (typeOf(config) === lua.LuaSchema.typeName) {
    place.refuse(`${name}: scripts in Lua run in the Envoy engine only`)
    return refusedFilter(name)
  }
  return undefined
}

/** It was refused already, with a better reason. */
function refusedFilter(name: string): HttpFilter {
  return { name, run: () => undefined }
}

function isSkippedModule(config: Any, place: Place): boolean {
  const module = unpack(config, httpWasm.WasmSchema, place)
  if (module === undefined) return false
  const plugin = module.config
  const open = plugin?.failOpen === true || plugin?.failurePolicy === wasm.FailurePolicy.FAIL_OPEN
  if (!open) place.refuse('WebAssembly modules run in the Envoy engine only')
  return true
}
