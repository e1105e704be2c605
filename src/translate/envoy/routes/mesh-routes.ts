/** Gateway API routes whose parent is a service: what its clients, or its waypoint, obey. */
import type { ParentRefSpec, Service } from '../../../model/index.ts'
import type { RouteContext } from './context.ts'
import {
  compareRules,
  gatewayApiRules,
  type HttpRouteObject,
  type RankedRule,
} from './gateway-api.ts'

export interface ParentRules {
  readonly rules: readonly RankedRule[]
  /** They stand in the client's own namespace and go before what the service's owner wrote. */
  readonly isConsumer: boolean
  /** Of the oldest of the routes. */
  readonly createdAt: number
}

/**
 * A route in the service's own namespace is for all clients; one elsewhere is for the clients of its
 * namespace, and a waypoint, which knows no client's namespace, leaves it out.
 */
export function parentRules(context: RouteContext, service: Service): ParentRules {
  const { scope, port } = context
  const { view } = scope
  const routes = routesOf(context, service).filter(({ object }) =>
    (object.spec.parentRefs ?? []).some(
      (parent) => isParent(parent, object.namespace, service) && isForPort(parent, service, port),
    ),
  )
  const producer = routes.filter(({ object }) => object.namespace === service.namespace)
  const consumer =
    view.kind === 'waypoint' || view.namespace === service.namespace
      ? []
      : routes.filter(({ object }) => object.namespace === view.namespace)
  const candidates = consumer.length > 0 ? consumer : producer
  // Only one kind of route can be in effect; the more specific one is.
  const grpc = candidates.filter(({ kind }) => kind === 'GRPCRoute')
  const chosen = grpc.length > 0 ? grpc : candidates
  const rules = chosen.flatMap((route) => gatewayApiRules(context, route)).toSorted(compareRules)
  return {
    rules,
    isConsumer: consumer.length > 0,
    createdAt: Math.min(...chosen.map(({ object }) => object.createdAt)),
  }
}

/** A parent may name one port: by its number, or by its name as the section. */
function isForPort(parent: ParentRefSpec, service: Service, port: number): boolean {
  if (parent.port !== undefined && parent.port !== port) return false
  if (parent.sectionName === undefined || parent.sectionName === '') return true
  return service.ports.some((one) => one.port === port && one.name === parent.sectionName)
}

export function isParent(parent: ParentRefSpec, namespace: string, service: Service): boolean {
  return (
    (parent.kind ?? 'Gateway') === service.source &&
    parent.name === service.name &&
    (parent.namespace ?? namespace) === service.namespace
  )
}

function routesOf(context: RouteContext, service: Service): HttpRouteObject[] {
  const { reader } = context.scope
  const parent = `${service.source}|${service.namespace}/${service.name}`
  return reader.routesOfParent(parent).flatMap((name): HttpRouteObject[] => {
    const [kind = '', namespace = '', object = ''] = name.split('/')
    if (kind === 'HTTPRoute') {
      const found = reader.httpRoute(`${namespace}/${object}`)
      return found === undefined ? [] : [{ kind, object: found.config }]
    }
    if (kind !== 'GRPCRoute') return []
    const found = reader.config('GRPCRoute', namespace, object)
    return found === undefined ? [] : [{ kind, object: found }]
  })
}
