/**
 * How load falls on priorities: by their health, the first ones first. When too few hosts of a priority are
 * healthy, health is not believed any more and all of its hosts are used (panic).
 */
export interface PriorityCount {
  /** Without hosts that are left out for good. */
  readonly hosts: number
  readonly healthy: number
  readonly degraded: number
}

export interface PriorityLoad {
  /** Per cent of all requests, for each priority; together 100, or 0 when there are no hosts. */
  readonly healthy: readonly number[]
  readonly degraded: readonly number[]
  readonly panic: readonly boolean[]
}

/**
 * @param overprovisioning 1.4: a priority is whole while five of seven hosts are healthy
 * @param panicPercent of hosts that have to be healthy; zero turns panic off
 */
export function priorityLoads(
  counts: readonly PriorityCount[],
  overprovisioning: number,
  panicPercent: number,
): PriorityLoad {
  const share = (part: number, of: number): number =>
    of === 0 ? 0 : Math.min(100, Math.floor((overprovisioning * 100 * part) / of))
  const health = counts.map(({ hosts, healthy }) => share(healthy, hosts))
  const degradedHealth = counts.map(({ hosts, degraded }) => share(degraded, hosts))
  const total = Math.min(
    100,
    [...health, ...degradedHealth].reduce((sum, value) => sum + value, 0),
  )
  const panic = counts.map((count) => total < 100 && isPanic(count, panicPercent))
  if (panic.every(Boolean)) return inTotalPanic(counts, panic)
  const given = { left: 100 }
  const healthy = distribute(health, total, given)
  const degraded = distribute(degradedHealth, total, given)
  // Rounding leaves a rest, which the first that has anything gets.
  const firstHealthy = health.findIndex((value) => value > 0)
  const [list, first] =
    firstHealthy >= 0
      ? [healthy, firstHealthy]
      : [degraded, degradedHealth.findIndex((value) => value > 0)]
  if (given.left > 0 && first >= 0) list[first] = (list[first] ?? 0) + given.left
  return { healthy, degraded, panic }
}

function isPanic({ hosts, healthy, degraded }: PriorityCount, panicPercent: number): boolean {
  const percent = hosts === 0 ? 0 : (100 * (healthy + degraded)) / hosts
  return percent < panicPercent
}

function distribute(health: readonly number[], total: number, given: { left: number }): number[] {
  return health.map((value) => {
    const load = total === 0 ? 0 : Math.min(given.left, Math.floor((value * 100) / total))
    given.left -= load
    return load
  })
}

/** No priority can be trusted: each gets what its number of hosts makes. */
function inTotalPanic(counts: readonly PriorityCount[], panic: readonly boolean[]): PriorityLoad {
  const all = counts.reduce((sum, { hosts }) => sum + hosts, 0)
  const healthy = counts.map(({ hosts }) => (all === 0 ? 0 : Math.floor((100 * hosts) / all)))
  const rest = 100 - healthy.reduce((sum, value) => sum + value, 0)
  const first = counts.findIndex(({ hosts }) => hosts > 0)
  if (first >= 0) healthy[first] = (healthy[first] ?? 0) + rest
  return { healthy, degraded: counts.map(() => 0), panic }
}

export interface ChosenPriority {
  readonly priority: number
  readonly degraded: boolean
}

/** @param draw any whole number; undefined when there is no load anywhere */
export function choosePriority(load: PriorityLoad, draw: number): ChosenPriority | undefined {
  const wanted = (draw % 100) + 1
  let sum = 0
  for (const [priority, part] of load.healthy.entries()) {
    sum += part
    if (wanted <= sum) return { priority, degraded: false }
  }
  for (const [priority, part] of load.degraded.entries()) {
    sum += part
    if (wanted <= sum) return { priority, degraded: true }
  }
  return undefined
}
