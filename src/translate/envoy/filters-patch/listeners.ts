/** Patches of listeners, and of what is in them: chains, listener filters, network and HTTP filters. */
import { anyPack, anyUnpack } from '@bufbuild/protobuf/wkt'
import type { EnvoyContext } from '../../../model/index.ts'
import type { hcm, listener as listenerApi, listenerComponents } from '../../../proto/envoy.ts'
import type { ProxyView } from '../proxy.ts'
import { patchHttpFilters } from './http-filters.ts'
import { patchList } from './lists.ts'
import { managerName, namedFilter } from './names.ts'
import { isContext, merge, type Patcher, valueOf } from './patcher.ts'
import type { Patch, PatchTarget } from './select.ts'

type Listener = listenerApi.Listener
type FilterChain = listenerComponents.FilterChain

const chainType = 'envoy.config.listener.v3.FilterChain'
const managerType =
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'

/** Istio's names of the two listeners that take all connections of a pod. */
const catchAll: ReadonlySet<string> = new Set(['virtualInbound', 'virtualOutbound'])
const inbound = 1

export function listenerContext(listener: Listener, view: ProxyView): EnvoyContext {
  if (view.kind === 'gateway') return 'GATEWAY'
  if (view.kind === 'waypoint') return 'WAYPOINT'
  const isInbound =
    listener.name === 'virtualInbound' || Number(listener.trafficDirection) === inbound
  return isInbound ? 'SIDECAR_INBOUND' : 'SIDECAR_OUTBOUND'
}

/** Undefined when it is removed, or nothing is left of it. */
export function patchListener(patcher: Patcher, given: Listener): Listener | undefined {
  const context = listenerContext(given, patcher.view)
  const own = (target: PatchTarget): Patch[] =>
    patcher.patches.filter((patch) => patch.target === target && isContext(patch, context))
  let listener = given
  for (const patch of own('LISTENER')) {
    if (patch.operation === 'ADD' || !isListener(patch, listener)) continue
    if (patch.operation === 'REMOVE') return undefined
    listener = merge(patcher, 'envoy.config.listener.v3.Listener', listener, patch)
  }
  for (const patch of own('LISTENER_FILTER')) {
    if (!isListener(patch, listener)) continue
    listener.listenerFilters = [
      ...patchList(listener.listenerFilters, {
        operation: patch.operation,
        value: valueOf<listenerComponents.ListenerFilter>(patch),
        selects: namedFilter(patch.match.listener?.listenerFilter),
        merge: (filter) => merge(patcher, 'envoy.config.listener.v3.ListenerFilter', filter, patch),
        end: ({ length }) => length,
      }),
    ]
  }
  const hadChains = chainsOf(listener).length > 0
  for (const patch of own('FILTER_CHAIN')) patchChains(patcher, listener, patch)
  if (hadChains && chainsOf(listener).length === 0) return undefined
  for (const patch of own('NETWORK_FILTER')) patchNetworkFilters(patcher, listener, patch)
  const http = own('HTTP_FILTER')
  if (http.length > 0) patchManagers(patcher, listener, http)
  return listener
}

function chainsOf({ filterChains, defaultFilterChain }: Listener): FilterChain[] {
  return defaultFilterChain === undefined ? filterChains : [...filterChains, defaultFilterChain]
}

function isListener({ match, target }: Patch, listener: Listener): boolean {
  const { name = '', portNumber = 0 } = match.listener ?? {}
  if (name !== '' && name !== listener.name) return false
  const port = portNumber || (match.waypoint?.portNumber ?? 0)
  if (port === 0) return true
  // Of those that take everything the port is that of the chain; so is every service's of a waypoint.
  if (target !== 'LISTENER' && (catchAll.has(listener.name) || match.waypoint !== undefined))
    return true
  const addresses = [
    listener.address,
    ...listener.additionalAddresses.map(({ address }) => address),
  ]
  return addresses.some(
    (address) =>
      address?.address.case === 'socketAddress' &&
      address.address.value.portSpecifier.case === 'portValue' &&
      address.address.value.portSpecifier.value === port,
  )
}

function isChain({ match }: Patch, listener: Listener, chain: FilterChain): boolean {
  const { portNumber = 0, filterChain = {} } = match.listener ?? {}
  const { filterChainMatch: own } = chain
  if (portNumber > 0 && catchAll.has(listener.name) && own?.destinationPort !== portNumber) {
    return false
  }
  const waypointPort = match.waypoint?.portNumber ?? 0
  if (waypointPort > 0 && !isWaypointPort(chain.name, waypointPort)) return false
  const { name = '', sni = '', transportProtocol = '', applicationProtocols = '' } = filterChain
  const { destinationPort = 0 } = filterChain
  const protocols = applicationProtocols.split(',').filter((protocol) => protocol !== '')
  return (
    (name === '' || name === chain.name) &&
    (sni === '' || own?.serverNames.includes(sni) === true) &&
    (transportProtocol === '' || own?.transportProtocol === transportProtocol) &&
    protocols.every((protocol) => own?.applicationProtocols.includes(protocol) === true) &&
    (destinationPort === 0 || own?.destinationPort === destinationPort)
  )
}

/** A waypoint's chains are named after the port of the service: `inbound-vip|80|http|host`. */
function isWaypointPort(name: string, port: number): boolean {
  return name.split('|')[1] === String(port)
}

function patchChains(patcher: Patcher, listener: Listener, patch: Patch): void {
  if (!isListener(patch, listener)) return
  const meant = (chain: FilterChain): boolean => isChain(patch, listener, chain)
  const { operation } = patch
  if (operation === 'ADD') {
    const value = valueOf<FilterChain>(patch)
    if (value !== undefined) listener.filterChains = [...listener.filterChains, value]
    return
  }
  const changed = (chain: FilterChain): FilterChain | undefined => {
    if (!meant(chain)) return chain
    return operation === 'REMOVE' ? undefined : merge(patcher, chainType, chain, patch)
  }
  listener.filterChains = listener.filterChains.flatMap((chain) => changed(chain) ?? [])
  const { defaultFilterChain } = listener
  if (defaultFilterChain !== undefined) listener.defaultFilterChain = changed(defaultFilterChain)
}

function patchNetworkFilters(patcher: Patcher, listener: Listener, patch: Patch): void {
  if (!isListener(patch, listener)) return
  const { listener: match, waypoint } = patch.match
  const filter = waypoint?.filter ?? match?.filterChain?.filter
  for (const chain of chainsOf(listener)) {
    if (!isChain(patch, listener, chain)) continue
    chain.filters = [
      ...patchList(chain.filters, {
        operation: patch.operation,
        value: valueOf<listenerComponents.Filter>(patch),
        selects: namedFilter(filter?.name),
        merge: (one) => merge(patcher, 'envoy.config.listener.v3.Filter', one, patch),
        end: ({ length }) => length,
      }),
    ]
  }
}

/** HTTP filters are inside a network filter, packed: each manager is opened once for all patches. */
function patchManagers(patcher: Patcher, listener: Listener, patches: readonly Patch[]): void {
  const desc = patcher.registry.getMessage(managerType)
  if (desc === undefined) return
  for (const chain of chainsOf(listener)) {
    for (const filter of chain.filters) {
      const { configType } = filter
      if (configType.case !== 'typedConfig') continue
      const own = patches.filter(
        (patch) =>
          isListener(patch, listener) &&
          isChain(patch, listener, chain) &&
          isManager(patch, filter),
      )
      const opened = own.length === 0 ? undefined : anyUnpack(configType.value, desc)
      if (opened === undefined) continue
      // The descriptor is the manager's.
      const manager = opened as unknown as hcm.HttpConnectionManager
      manager.httpFilters = [...patchHttpFilters(patcher, manager.httpFilters, own)]
      configType.value = anyPack(desc, opened)
    }
  }
}

function isManager({ match }: Patch, filter: listenerComponents.Filter): boolean {
  const named = namedFilter(
    match.waypoint?.filter?.name ?? match.listener?.filterChain?.filter?.name ?? managerName,
  )
  return named?.(filter) ?? true
}
