/** The rules of a waypoint for one port of a service that it serves. */
import type { Service } from '../../../model/index.ts'
import type { TranslatedResource } from '../../types.ts'
import { waypointRef } from '../clusters/names.ts'
import { covers } from '../lookup/hosts.ts'
import type { Scope } from '../lookup/scope.ts'
import { type VirtualService, virtualServicesIn } from '../lookup/virtual-services.ts'
import type { RouteContext } from './context.ts'
import { encodeRoutes } from './emit.ts'
import type { HttpRule, VirtualHost } from './ir.ts'
import { parentRules } from './mesh-routes.ts'
import { defaultRule } from './sidecar.ts'
import { virtualServiceRules } from './virtual-service.ts'

export interface WaypointRouteOptions {
  readonly scope: Scope
  readonly service: Service
  readonly port: number
  /** Whether the same waypoint serves a destination: then the request is at its end here. */
  readonly serves: (service: Service) => boolean
}

/** The resource is named like the service's cluster. */
export function waypointRoutes(options: WaypointRouteOptions): TranslatedResource {
  const { service, port } = options
  return encodeRoutes(waypointRef(service, port, 'http').name, [waypointHost(options)])
}

export function waypointHost(options: WaypointRouteOptions): VirtualHost {
  const { scope, service, port, serves } = options
  const context: RouteContext = {
    scope,
    port,
    gateway: 'mesh',
    refOf: (target, number, subset) =>
      serves(target) ? waypointRef(target, number, 'http', subset) : undefined,
  }
  const rules = writtenRules(context, service)
  const chosen = rules.length > 0 ? rules : [defaultRule(context, service)]
  return {
    name: `inbound|http|${port}`,
    // Whatever the request calls it: its destination address has decided which service it is for.
    domains: ['*'],
    rules: chosen,
    config: chosen[0]?.config,
    requireTls: false,
  }
}

/** Of all objects for the host, one after the other: the oldest first. */
function writtenRules(context: RouteContext, service: Service): readonly HttpRule[] {
  const attached = parentRules(context, service)
  const groups: { readonly createdAt: number; readonly rules: readonly HttpRule[] }[] =
    waypointVirtuals(context.scope, service).map((virtual) => ({
      createdAt: virtual.createdAt,
      rules: virtualServiceRules(context, virtual),
    }))
  if (attached.rules.length > 0) groups.push(attached)
  return groups
    .toSorted((left, right) => left.createdAt - right.createdAt)
    .flatMap(({ rules }) => rules)
}

/** Those of the service's or the waypoint's namespace; what is bound to gateways stays at these. */
export function waypointVirtuals(scope: Scope, service: Service): VirtualService[] {
  const namespaces = new Set([service.namespace, scope.view.namespace])
  return [...namespaces]
    .flatMap((namespace) => virtualServicesIn(scope.reader, namespace))
    .filter(({ gateways }) => gateways.includes('mesh'))
    .filter(({ hosts }) => hosts.some((host) => covers(host, service.hostname)))
    .toSorted((left, right) => left.createdAt - right.createdAt)
}
