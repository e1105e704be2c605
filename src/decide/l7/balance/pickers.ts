/** Choosing among hosts that are all good: round robin, least request, random. */
import type { Host } from './endpoints.ts'
import type { LeastRequest, RoundRobin, SlowStart } from './policy.ts'
import { Scheduler } from './scheduler.ts'

/** What only the proxy knows of its hosts. */
export interface HostState {
  /** Requests in flight. */
  active(host: Host): number
  /** When the host became healthy, in milliseconds of the clock that decisions get. */
  since(host: Host): number
}

export interface Draw {
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly nowMs: number
}

export interface Picker {
  pick(draw: Draw): Host | undefined
}

export function randomPicker(hosts: readonly Host[]): Picker {
  return { pick: ({ random }) => hosts[Math.floor(random() * hosts.length)] }
}

/** The share of its weight that a host which is new gets: it grows over the window. */
export function slowStartFactor(
  slowStart: SlowStart | undefined,
  state: HostState,
  { host, nowMs }: { readonly host: Host; readonly nowMs: number },
): number {
  if (slowStart === undefined) return 1
  const { windowMs, aggression, leastShare } = slowStart
  const age = nowMs - state.since(host)
  if (age >= windowMs) return 1
  const part = Math.max(age, 1) / windowMs
  return Math.max(part ** (1 / aggression), leastShare)
}

export function roundRobinPicker(
  hosts: readonly Host[],
  { slowStart }: RoundRobin,
  state: HostState,
): Picker {
  if (slowStart === undefined && sameWeights(hosts)) {
    let turn = -1
    return {
      pick: ({ random }) => {
        // Proxies that start together must not all begin with the first.
        turn = turn < 0 ? Math.floor(random() * hosts.length) : turn + 1
        return hosts[turn % hosts.length]
      },
    }
  }
  return scheduled(hosts, ({ host, nowMs }) => {
    return host.weight * slowStartFactor(slowStart, state, { host, nowMs })
  })
}

/** @param weightOf the weight of a host when its turn is over */
function scheduled(
  hosts: readonly Host[],
  weightOf: (at: { readonly host: Host; readonly nowMs: number }) => number,
): Picker {
  let scheduler: Scheduler<Host> | undefined
  return {
    pick: ({ random, nowMs }) => {
      if (scheduler === undefined) {
        scheduler = new Scheduler()
        for (const host of hosts) scheduler.add(host, weightOf({ host, nowMs }))
        const skipped = Math.floor(random() * hosts.length)
        for (let turn = 0; turn < skipped; turn++) {
          scheduler.next((host) => weightOf({ host, nowMs }))
        }
      }
      return scheduler.next((host) => weightOf({ host, nowMs }))
    },
  }
}

export function leastRequestPicker(
  hosts: readonly Host[],
  { choices, bias, slowStart, fullScan }: LeastRequest,
  state: HostState,
): Picker {
  if (slowStart !== undefined || !sameWeights(hosts)) {
    return scheduled(hosts, ({ host, nowMs }) => {
      const weight = host.weight / (state.active(host) + 1) ** bias
      return weight * slowStartFactor(slowStart, state, { host, nowMs })
    })
  }
  return {
    pick: ({ random }) => {
      let best: Host | undefined
      let least = Number.POSITIVE_INFINITY
      const tries = fullScan ? hosts.length : choices
      for (let index = 0; index < tries; index++) {
        const host = hosts[fullScan ? index : Math.floor(random() * hosts.length)]
        if (host === undefined) continue
        const active = state.active(host)
        if (active < least) {
          best = host
          least = active
        }
      }
      return best
    },
  }
}

function sameWeights(hosts: readonly Host[]): boolean {
  const [first] = hosts
  return hosts.every(({ weight }) => weight === first?.weight)
}
