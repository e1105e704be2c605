/** The shape of a compiled HTTP filter, and what compiling one may need. */
import type { Exchange } from '../exchange.ts'
import type { Stop } from './reply.ts'

export interface HttpFilter {
  /** In the configuration, by which routes override it. */
  readonly name: string
  /** Undefined: the next filter goes on. */
  run(exchange: Exchange): Stop | undefined
  /** Runs only where a route asks for it. */
  readonly disabled?: boolean
  /** Ends the chain: requests that come here are routed. */
  readonly terminal?: boolean
}

/** Runs the filters from one on; undefined when all of them let the request pass. */
export function runFilters(
  filters: readonly HttpFilter[],
  exchange: Exchange,
  from = 0,
): Stop | undefined {
  for (let index = from; index < filters.length; index++) {
    const filter = filters[index]
    if (filter === undefined || isOff(filter, exchange)) continue
    const stop = filter.run(exchange)
    if (stop === undefined) continue
    if (stop.kind === 'reply') return stop
    return continued(stop, filters, { exchange, next: index + 1 })
  }
  return undefined
}

function isOff(filter: HttpFilter, exchange: Exchange): boolean {
  const { route } = exchange
  if (route === undefined || (route.route.overrides.length === 0 && filter.disabled !== true)) {
    const own = route?.target?.overrides
    if (own === undefined || own.size === 0) return filter.disabled === true
  }
  const override = exchange.override(filter.name)
  if (override === undefined) return filter.disabled === true
  return override.disabled ?? false
}

/** After the pause, the filters behind it run. */
function continued(
  pause: Extract<Stop, { kind: 'pause' }>,
  filters: readonly HttpFilter[],
  { exchange, next }: { readonly exchange: Exchange; readonly next: number },
): Stop {
  return {
    kind: 'pause',
    effect: pause.effect,
    resume: (result) => {
      const stop = pause.resume(result)
      if (stop === undefined) return runFilters(filters, exchange, next)
      return stop.kind === 'reply' ? stop : continued(stop, filters, { exchange, next })
    },
  }
}
