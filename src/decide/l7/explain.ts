/**
 * The same decision with its reasons: which virtual host and route, which object made them, why the routes
 * before it did not match, and what every filter said.
 */
import { decideExchange, type HttpConfig, type HttpDecision } from './decide.ts'
import { Exchange, type Note } from './exchange.ts'
import { limits } from './limits.ts'
import { hostOf, type Route, type RouteTable, routeOf } from './route/table.ts'
import type { DecideContext, L7Request, Origin } from './types.ts'

/** A route that did not take the request. */
export interface RouteMiss {
  readonly index: number
  readonly name: string
  readonly origin: Origin | undefined
  /** The first condition that did not hold. */
  readonly reason: string
  /** Whether the path did: such a miss is nearer. */
  readonly pathMatched: boolean
}

export interface HttpExplanation {
  readonly decision: HttpDecision
  /** Undefined: no virtual host has the authority. */
  readonly virtualHost: { readonly name: string; readonly origin: Origin | undefined } | undefined
  readonly route:
    | { readonly index: number; readonly name: string; readonly origin: Origin | undefined }
    | undefined
  /** The nearest first; all of them when there is no route, else those before it. */
  readonly misses: readonly RouteMiss[]
  /** What filters said, in order. After a pause, more is added by resuming. */
  readonly notes: readonly Note[]
}

/** Decides, and tells why. */
export function explainHttp(
  config: HttpConfig,
  request: L7Request,
  context: DecideContext,
): HttpExplanation {
  const exchange = new Exchange(request, context)
  const notes: Note[] = []
  exchange.notes = notes
  const decision = decideExchange(config, exchange)
  const { routes } = config
  const found = routes === undefined ? noRoutes : explainRoute(routes, exchange)
  return { decision, ...found, notes }
}

type Found = Pick<HttpExplanation, 'virtualHost' | 'route' | 'misses'>

const noRoutes: Found = { virtualHost: undefined, route: undefined, misses: [] }

function explainRoute(table: RouteTable, exchange: Exchange): Found {
  const host = exchange.route?.host ?? hostOf(table, exchange.request.authority)
  if (host === undefined) return noRoutes
  const route = exchange.route?.route ?? routeOf(host, exchange)
  const before = route === undefined ? host.routes : host.routes.slice(0, route.index)
  const misses = before
    .map((candidate) => missOf(candidate, exchange))
    .toSorted(
      (left, right) =>
        Number(right.pathMatched) - Number(left.pathMatched) || left.index - right.index,
    )
  return {
    virtualHost: { name: host.name, origin: host.origin },
    route:
      route === undefined
        ? undefined
        : { index: route.index, name: route.name, origin: route.origin },
    misses: misses.slice(0, limits.explainedRoutes),
  }
}

function missOf({ index, name, origin, match }: Route, exchange: Exchange): RouteMiss {
  const pathMatched = match.path.holds(exchange)
  const failed = pathMatched ? match.conditions.find(({ holds }) => !holds(exchange)) : match.path
  return { index, name, origin, reason: failed?.what ?? 'path', pathMatched }
}
