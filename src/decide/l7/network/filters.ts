/** Network filters: what happens to a connection before it is a stream of requests, or of bytes. */
import type { Any } from '@bufbuild/protobuf/wkt'
import {
  hcm,
  type listenerComponents,
  networkExtAuthz,
  networkRbac,
  networkSetFilterState,
  networkWasm,
  sniCluster,
  tcpProxy,
  wasm,
} from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { ExtensionConfigs } from '../filters/chain.ts'
import { grpcTarget } from '../filters/ext-authz.ts'
import { compileStateValues } from '../filters/filter-state.ts'
import { compileRules, evaluateRules } from '../filters/rbac.ts'
import type { AuthorizeEffect, EffectResult } from '../filters/reply.ts'
import { compileMetadata } from '../match/metadata.ts'
import { durationMs, typeOf, unpack } from '../values.ts'
import { compileManager, type HttpManager } from './manager.ts'
import { chosenClusterKey, compileTcpProxy, type TcpProxy } from './tcp-proxy.ts'

/** The connection ends here. */
export interface Closed {
  readonly kind: 'close'
  /** Envoy's connection termination details. */
  readonly details: string
  readonly by: string
  readonly delayMs: number
}

/** Something outside decides. */
export interface NetworkPause {
  readonly kind: 'pause'
  readonly effect: { readonly kind: 'authorize' } & AuthorizeEffect
  resume(result: EffectResult): Closed | undefined
}

export interface NetworkFilter {
  readonly name: string
  run(exchange: Exchange): Closed | NetworkPause | undefined
}

export type Terminal =
  | { readonly kind: 'http'; readonly manager: HttpManager }
  | { readonly kind: 'tcp'; readonly proxy: TcpProxy }

export interface NetworkChain {
  readonly filters: readonly NetworkFilter[]
  /** Undefined: no filter that does anything with the bytes; such connections are closed. */
  readonly terminal: Terminal | undefined
}

export function compileNetworkFilters(
  messages: readonly listenerComponents.Filter[],
  { extensions, place }: { readonly extensions: ExtensionConfigs; readonly place: Place },
): NetworkChain {
  const filters: NetworkFilter[] = []
  let terminal: Terminal | undefined
  for (const [index, message] of messages.entries()) {
    const { name, configType } = message
    const at = place.at('filters', index)
    if (terminal !== undefined) at.refuse(`${name}: a filter behind a terminal one`)
    const config = configOf(message, extensions)
    if (config === undefined) {
      at.refuse(`${name}: ${configType.case ?? 'no configuration'} is not supported`)
      continue
    }
    terminal ??= compileTerminal(config, { extensions, place: at })
    if (terminal !== undefined || isSkippedModule(config, at)) continue
    const filter = compileFilter(name, config, at)
    if (filter === undefined) at.refuse(`${name}: ${typeOf(config)} is not supported`)
    else filters.push(filter)
  }
  return { filters, terminal }
}

function configOf(
  { name, configType }: listenerComponents.Filter,
  extensions: ExtensionConfigs,
): Any | undefined {
  if (configType.case === 'typedConfig') return configType.value
  if (configType.case !== 'configDiscovery') return undefined
  return extensions.get(name) ?? configType.value.defaultConfig
}

function compileTerminal(
  config: Any,
  options: { readonly extensions: ExtensionConfigs; readonly place: Place },
): Terminal | undefined {
  const { place } = options
  const manager = unpack(config, hcm.HttpConnectionManagerSchema, place)
  if (manager !== undefined) return { kind: 'http', manager: compileManager(manager, options) }
  const proxy = unpack(config, tcpProxy.TcpProxySchema, place)
  return proxy === undefined ? undefined : { kind: 'tcp', proxy: compileTcpProxy(proxy, place) }
}

function isSkippedModule(config: Any, place: Place): boolean {
  const module = unpack(config, networkWasm.WasmSchema, place)
  if (module === undefined) return false
  const plugin = module.config
  const open = plugin?.failOpen === true || plugin?.failurePolicy === wasm.FailurePolicy.FAIL_OPEN
  if (!open) place.refuse('WebAssembly modules run in the Envoy engine only')
  return true
}

function compileFilter(name: string, config: Any, place: Place): NetworkFilter | undefined {
  const rbac = unpack(config, networkRbac.RBACSchema, place)
  if (rbac !== undefined) return rbacFilter(name, rbac, place)
  const state = unpack(config, networkSetFilterState.ConfigSchema, place)
  if (state !== undefined) {
    const set = compileStateValues(state.onNewConnection, place.at('on_new_connection'))
    return {
      name,
      run: (exchange) => {
        set(exchange)
        return undefined
      },
    }
  }
  if (unpack(config, sniCluster.SniClusterSchema, place) !== undefined) {
    return { name, run: chooseBySni }
  }
  const authorize = unpack(config, networkExtAuthz.ExtAuthzSchema, place)
  return authorize === undefined ? undefined : authorizeFilter(name, authorize, place)
}

function chooseBySni(exchange: Exchange): undefined {
  const { sni } = exchange.request.connection
  if (sni !== undefined && sni !== '') {
    const factory = chosenClusterKey
    exchange.setFilterState(chosenClusterKey, { value: sni, factory, shared: 'none' })
  }
  return undefined
}

export const networkRbacName = 'envoy.filters.network.rbac'

function rbacFilter(name: string, message: networkRbac.RBAC, place: Place): NetworkFilter {
  if (message.matcher !== undefined) place.at('matcher').refuse('is not supported')
  if (message.shadowMatcher !== undefined) place.at('shadow_matcher').refuse('is not supported')
  const rules = {
    rules: compileRules(message.rules, place.at('rules')),
    shadow: compileRules(message.shadowRules, place.at('shadow_rules')),
    shadowPrefix: message.shadowRulesStatPrefix,
  }
  const delayMs = durationMs(message.delayDeny) ?? 0
  return {
    name,
    run: (exchange) => {
      const verdict = evaluateRules(rules, exchange, { by: name, namespace: networkRbacName })
      if (verdict.allowed) return undefined
      const details = `rbac_access_denied_matched_policy[${verdict.policy ?? 'none'}]`
      return { kind: 'close', details, by: name, delayMs }
    },
  }
}

function authorizeFilter(
  name: string,
  message: networkExtAuthz.ExtAuthz,
  place: Place,
): NetworkFilter {
  if (message.grpcService === undefined) place.at('grpc_service').refuse('is not set')
  const target =
    message.grpcService === undefined
      ? { service: { kind: 'grpc' as const, cluster: '', authority: '' }, timeoutMs: 0 }
      : grpcTarget(message.grpcService, place.at('grpc_service'))
  const gate =
    message.filterEnabledMetadata === undefined
      ? undefined
      : compileMetadata(message.filterEnabledMetadata, place.at('filter_enabled_metadata')).holds
  const { includePeerCertificate, failureModeAllow } = message
  return {
    name,
    run: (exchange) => {
      if (gate?.(exchange) === false) return undefined
      return {
        kind: 'pause',
        effect: {
          ...target,
          kind: 'authorize',
          body: undefined,
          contextExtensions: {},
          includePeerCertificate,
          metadataNamespaces: [],
          sendsHeader: () => false,
        },
        resume: (result) => {
          if (result.kind === 'allowed') return undefined
          if (result.kind !== 'denied' && failureModeAllow) return undefined
          const details = result.kind === 'denied' ? 'ext_authz_denied' : 'ext_authz_error'
          return { kind: 'close', details, by: name, delayMs: 0 }
        },
      }
    },
  }
}
