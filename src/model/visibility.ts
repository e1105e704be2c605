/** Who may see what: `exportTo` of services, VirtualServices and DestinationRules. */
import { hostMatches, isWildcard } from './hosts.ts'
import type { ConfigObject } from './istio/index.ts'
import { matchesSelector } from './mesh-defaults.ts'
import type { Snapshot } from './snapshot.ts'
import type { Service } from './types.ts'

/** @param exportTo `*`, `.`, `~` or names of namespaces; nothing at all: the mesh's default */
export function isExportedTo(
  exportTo: readonly string[] | undefined,
  defaults: readonly string[],
  from: string,
  to: string,
): boolean {
  const list = exportTo === undefined || exportTo.length === 0 ? defaults : exportTo
  return list.some((item) => item === '*' || item === to || (item === '.' && from === to))
}

/** Whether clients of a namespace may see a service. */
export function serviceVisibleTo(snapshot: Snapshot, service: Service, client: string): boolean {
  const { defaultServiceExportTo } = snapshot.mesh
  return isExportedTo(service.exportTo, defaultServiceExportTo, service.namespace, client)
}

/** Whether a VirtualService or DestinationRule has effect for clients of a namespace. */
export function configVisibleTo(
  snapshot: Snapshot,
  kind: 'VirtualService' | 'DestinationRule',
  config: ConfigObject<{ readonly exportTo?: readonly string[] }>,
  client: string,
): boolean {
  const { defaultVirtualServiceExportTo, defaultDestinationRuleExportTo } = snapshot.mesh
  const defaults =
    kind === 'VirtualService' ? defaultVirtualServiceExportTo : defaultDestinationRuleExportTo
  return isExportedTo(config.spec.exportTo, defaults, config.namespace, client)
}

/**
 * Whether a service is shared between clusters (`serviceScopeConfigs`): the first entry that selects it
 * and its namespace decides; without any it is of its own cluster only.
 */
export function serviceScope(snapshot: Snapshot, service: Service): 'local' | 'global' {
  const namespaceLabels = snapshot.objects.Namespace.get(service.namespace)?.labels ?? {}
  for (const { namespaceSelector, servicesSelector, scope } of snapshot.mesh.serviceScopeConfigs) {
    if (namespaceSelector !== undefined && !matchesSelector(namespaceSelector, namespaceLabels)) {
      continue
    }
    if (servicesSelector !== undefined && !matchesSelector(servicesSelector, service.labels)) {
      continue
    }
    return scope === 'GLOBAL' ? 'global' : 'local'
  }
  return 'local'
}

/** Whether only endpoints of the own cluster may serve a host (`serviceSettings`): the closest wins. */
export function isClusterLocal(snapshot: Snapshot, hostname: string): boolean {
  let found = { weight: -1, clusterLocal: false }
  for (const { settings, hosts = [] } of snapshot.mesh.serviceSettings) {
    for (const host of hosts) {
      const weight = isWildcard(host) ? host.length : Number.POSITIVE_INFINITY
      if (!hostMatches(host, hostname) || weight <= found.weight) continue
      found = { weight, clusterLocal: settings?.clusterLocal === true }
    }
  }
  return found.clusterLocal
}
