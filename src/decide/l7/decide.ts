/**
 * The decision about one request: route, filters in order, and then what the route does. Nothing is done
 * here; the proxy does what the decision says.
 */
import { sabotaged } from '../../base/index.ts'
import { Exchange } from './exchange.ts'
import type { FilterChain } from './filters/chain.ts'
import { runFilters } from './filters/filter.ts'
import type { Effect, EffectResult, Reply, Stop } from './filters/reply.ts'
import { reply } from './filters/reply.ts'
import { type ForwardAction, timeoutOf } from './route/action.ts'
import type { HashResult } from './route/hash.ts'
import { type ChosenMirror, chooseMirrors } from './route/mirror.ts'
import { chooseRoute, hostOf, needsTls, type RouteChoice, type RouteTable } from './route/table.ts'
import type { DecideContext, HeaderOperation, L7Request, ResponseFacts } from './types.ts'

/** Filters of a connection manager with the routes it uses now. */
export interface HttpConfig {
  readonly chain: FilterChain
  /** Undefined: not there yet, or not there any more. */
  readonly routes: RouteTable | undefined
}

export interface ForwardDecision {
  readonly kind: 'forward'
  readonly choice: RouteChoice
  readonly action: ForwardAction
  readonly cluster: string
  /** With the query. */
  readonly path: string
  readonly authority: string
  /** Changes of the request's headers, in order. Path and authority are not among them. */
  readonly requestHeaders: readonly HeaderOperation[]
  /** Zero: none. */
  readonly timeoutMs: number
  readonly mirrors: readonly ChosenMirror[]
  readonly hash: HashResult | undefined
  /** Criteria of subsets. */
  readonly metadataMatch: Readonly<Record<string, unknown>> | undefined
  /** For the response, logs and statistics. */
  readonly exchange: Exchange
}

export interface ReplyDecision extends Reply {
  readonly choice: RouteChoice | undefined
  readonly exchange: Exchange
}

export interface PauseDecision {
  readonly kind: 'pause'
  readonly effect: Effect
  readonly exchange: Exchange
  resume(result: EffectResult): HttpDecision
}

export type HttpDecision = ForwardDecision | ReplyDecision | PauseDecision

/** Decides about a request. Filters that need something from outside make it a pause. */
export function decideHttp(
  config: HttpConfig,
  request: L7Request,
  context: DecideContext,
): HttpDecision {
  return decideExchange(config, new Exchange(request, context))
}

/** The same for an exchange that has been made already, as an explanation does. */
export function decideExchange(config: HttpConfig, exchange: Exchange): HttpDecision {
  const { chain, routes } = config
  if (routes !== undefined && !sabotaged('l7-routes')) {
    exchange.route = chooseRoute(routes, exchange)
    exchange.reroute = () => {
      exchange.route = chooseRoute(routes, exchange)
    }
  }
  return settle(runFilters(chain.filters, exchange), config, exchange)
}

function settle(stop: Stop | undefined, config: HttpConfig, exchange: Exchange): HttpDecision {
  if (stop === undefined) return routed(config, exchange)
  if (stop.kind === 'reply') return { ...stop, choice: exchange.route, exchange }
  return {
    kind: 'pause',
    effect: stop.effect,
    exchange,
    resume: (result) => settle(stop.resume(result), config, exchange),
  }
}

const noRoute = reply({ status: 404, details: 'route_not_found', flag: 'NR', by: 'router' })

function routed({ chain, routes }: HttpConfig, exchange: Exchange): HttpDecision {
  const choice = exchange.route
  if (choice === undefined) {
    const { authority } = exchange.request
    const host = routes === undefined ? undefined : hostOf(routes, authority)
    return host !== undefined && needsTls(host, exchange)
      ? redirected(exchange, 301, `https://${authority}${exchange.fullPath}`)
      : { ...noRoute, choice, exchange }
  }
  const { action } = choice.route
  if (action.kind === 'redirect') {
    return { ...redirected(exchange, action.status, action.location(exchange)), choice }
  }
  if (action.kind === 'direct') {
    const { status, body } = action
    const answer = reply({ status, body, details: 'direct_response', by: 'router' })
    return { ...answer, choice, exchange }
  }
  const { cluster } = choice
  if (cluster === '' || exchange.context.hasCluster?.(cluster) === false) {
    const status = action.notFoundStatus
    const missing = reply({ status, details: 'cluster_not_found', flag: 'NC', by: 'router' })
    return { ...missing, choice, exchange }
  }
  return forwarded(choice, action, { exchange, suppress: chain.suppressEnvoyHeaders })
}

function redirected(exchange: Exchange, status: number, location: string): ReplyDecision {
  const answer = reply({
    status,
    headers: [['location', location]],
    details: 'direct_response',
    by: 'router',
  })
  return { ...answer, choice: undefined, exchange }
}

function forwarded(
  choice: RouteChoice,
  action: ForwardAction,
  { exchange, suppress }: { readonly exchange: Exchange; readonly suppress: boolean },
): ForwardDecision {
  const { route, target, cluster } = choice
  const mirrors = chooseMirrors(action.mirrors, exchange)
  const timeoutMs = timeoutOf(action, exchange)
  target?.requestHeaders?.request(exchange)
  for (const change of route.requestChanges) change.request(exchange)
  const before = exchange.request.authority
  const literal = target?.hostLiteral ?? ''
  const rewritten = action.rewriteHost?.(exchange) ?? (literal === '' ? undefined : literal)
  const authority = rewritten ?? before
  if (rewritten !== undefined) noteHost(exchange, { before, action, suppress })
  const from = exchange.fullPath
  const path = action.rewritePath?.(from) ?? from
  if (action.rewritePath !== undefined && !suppress) {
    exchange.change({ kind: 'set', name: 'x-envoy-original-path', value: from })
  }
  exchange.fullPath = path
  exchange.authority = authority
  const own = target?.metadataMatch
  return {
    kind: 'forward',
    choice,
    action,
    cluster,
    path,
    authority,
    requestHeaders: exchange.requestHeaders,
    timeoutMs,
    mirrors,
    // Of the request as it goes upstream, as in Envoy.
    hash: action.hash?.(exchange),
    metadataMatch: own === undefined ? action.metadataMatch : { ...action.metadataMatch, ...own },
    exchange,
  }
}

function noteHost(
  exchange: Exchange,
  { before, action, suppress }: { before: string; action: ForwardAction; suppress: boolean },
): void {
  if (action.appendForwardedHost) {
    exchange.change({ kind: 'add', name: 'x-forwarded-host', value: before })
  }
  if (!suppress) exchange.change({ kind: 'set', name: 'x-envoy-original-host', value: before })
}

/**
 * What happens to the headers of a response on its way to the client, in order: first what the route says,
 * then the filters from the last to the first. Also for answers of our own.
 */
export function responseHeaders(
  { choice, exchange }: Pick<ForwardDecision | ReplyDecision, 'choice' | 'exchange'>,
  response: ResponseFacts,
): readonly HeaderOperation[] {
  const hooks = exchange.responseHooks
  const changes = choice?.route.responseChanges ?? []
  const own = choice?.target?.responseHeaders
  if (hooks.length === 0 && changes.length === 0 && own === undefined) return none
  const view = new ResponseView(response)
  if (own !== undefined) view.apply(own.response(exchange, view.facts))
  for (const change of changes) view.apply(change.response(exchange, view.facts))
  for (let index = hooks.length - 1; index >= 0; index--) {
    view.apply(hooks[index]?.(exchange, view.facts) ?? none)
  }
  return view.operations
}

/** The response as the changes so far have left it. */
class ResponseView {
  readonly operations: HeaderOperation[] = []
  readonly facts: ResponseFacts
  readonly #changed = new Map<string, string | undefined>()
  readonly #firsts = new Map<string, string>()

  constructor(response: ResponseFacts) {
    const get = (name: string): string | undefined =>
      this.#changed.has(name) ? this.#changed.get(name) : response.headers.get(name)
    const first = (name: string): string | undefined =>
      this.#changed.has(name)
        ? (this.#firsts.get(name) ?? this.#changed.get(name))
        : response.headers.first?.(name)
    this.facts = { ...response, headers: { get, first } }
  }

  apply(operations: readonly HeaderOperation[]): void {
    for (const operation of operations) {
      const { name } = operation
      const before = operation.kind === 'add' ? this.facts.headers.get(name) : undefined
      const value = operation.kind === 'remove' ? undefined : operation.value
      if (before === undefined) this.#firsts.delete(name)
      else this.#firsts.set(name, this.facts.headers.first?.(name) ?? before)
      this.#changed.set(name, before === undefined ? value : `${before},${value ?? ''}`)
      this.operations.push(operation)
    }
  }
}

const none: readonly HeaderOperation[] = []
