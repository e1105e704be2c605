/**
 * A balancer over the hosts of a cluster as they are now. It is made anew when hosts or their health change;
 * what changes with every request (requests in flight, age of hosts) is read when a host is chosen.
 */
import type { CompiledCluster } from './cluster.ts'
import type { CompiledEndpoints, Health, Host, LocalityGroup } from './endpoints.ts'
import {
  type HostState,
  leastRequestPicker,
  type Picker,
  randomPicker,
  roundRobinPicker,
} from './pickers.ts'
import type { BalancingPolicy } from './policy.ts'
import {
  type ChosenPriority,
  choosePriority,
  type PriorityLoad,
  priorityLoads,
} from './priorities.ts'
import { Scheduler } from './scheduler.ts'
import { buildMaglev, buildRing, type HashTable, type Weighted } from './tables.ts'

export interface BalancerState extends HostState {
  /** What health checks and outlier detection say; the control plane's word is in the host itself. */
  health(host: Host): Health
}

export interface PickContext {
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly nowMs: number
  /** Of the hash policies; undefined: a random host of the table. */
  readonly hash?: bigint | undefined
  /** Retries that look for another host. */
  readonly attempt?: number | undefined
  /** Criteria of subsets. */
  readonly metadataMatch?: Readonly<Record<string, unknown>> | undefined
  /** Priorities that a retry leaves out. */
  readonly without?: ReadonlySet<number> | undefined
}

export interface Balancer {
  choose(pick: PickContext): Host | undefined
  /** For explanations and admin pages. */
  readonly load: PriorityLoad
}

type Config = Pick<CompiledCluster, 'balancing' | 'panicPercent'>

/** A balancer without subsets. */
export function createPlainBalancer(
  config: Config,
  endpoints: CompiledEndpoints,
  state: BalancerState,
): Balancer {
  const sets = endpoints.priorities.map(
    (groups) => new HostSet(groups, config, { endpoints, state }),
  )
  const loadOf = (without?: ReadonlySet<number>): PriorityLoad =>
    priorityLoads(
      sets.map(({ counts }, priority) => (without?.has(priority) === true ? none : counts)),
      endpoints.overprovisioning,
      config.panicPercent,
    )
  const load = loadOf()
  const hashed = isHashed(config.balancing.policy)
  return {
    load,
    choose: (pick) => {
      const hash = hashed ? (pick.hash ?? randomHash(pick.random)) : undefined
      const draw =
        hash === undefined ? Math.floor(pick.random() * 4_294_967_296) : Number(hash % 100n)
      const current = pick.without === undefined ? load : loadOf(pick.without)
      const chosen = choosePriority(current, draw)
      if (chosen === undefined) return undefined
      const panic = current.panic[chosen.priority] === true
      return sets[chosen.priority]?.choose({ chosen, panic, hash, pick })
    },
  }
}

const none = { hosts: 0, healthy: 0, degraded: 0 }

function isHashed({ kind }: BalancingPolicy): boolean {
  return kind === 'ring-hash' || kind === 'maglev'
}

function randomHash(random: () => number): bigint {
  const half = (): bigint => BigInt(Math.floor(random() * 4_294_967_296))
  return (half() << 32n) | half()
}

interface Choice {
  readonly chosen: ChosenPriority
  readonly panic: boolean
  readonly hash: bigint | undefined
  readonly pick: PickContext
}

type Kind = Health | 'all'

/** The hosts of one priority. */
class HostSet {
  readonly counts: { readonly hosts: number; readonly healthy: number; readonly degraded: number }
  readonly #groups: readonly LocalityGroup[]
  readonly #config: Config
  readonly #state: BalancerState
  readonly #overprovisioning: number
  readonly #pickers = new Map<string, Picker>()
  readonly #tables = new Map<Kind, HashTable>()
  readonly #localities = new Map<Kind, Scheduler<{ group: number; weight: number }>>()

  constructor(
    groups: readonly LocalityGroup[],
    config: Config,
    { endpoints, state }: { readonly endpoints: CompiledEndpoints; readonly state: BalancerState },
  ) {
    this.#groups = groups
    this.#config = config
    this.#state = state
    this.#overprovisioning = endpoints.overprovisioning
    const weigh = endpoints.weightedPriorityHealth
    const count = (kind: Kind): number =>
      groups.reduce((sum, group) => {
        const hosts = this.#hostsOf(group, kind)
        return sum + (weigh ? hosts.reduce((all, { weight }) => all + weight, 0) : hosts.length)
      }, 0)
    this.counts = { hosts: count('all'), healthy: count('healthy'), degraded: count('degraded') }
  }

  #hostsOf(group: LocalityGroup, kind: Kind): readonly Host[] {
    if (kind === 'all') return group.hosts
    return group.hosts.filter((host) => worse(host.health, this.#state.health(host)) === kind)
  }

  choose({ chosen, panic, hash, pick }: Choice): Host | undefined {
    const kind: Kind = panic ? 'all' : chosen.degraded ? 'degraded' : 'healthy'
    if (hash !== undefined) return this.#table(kind).choose(hash, pick.attempt ?? 0)
    // In panic, weights of localities count as little as health does.
    const group = this.#config.balancing.localityWeighted && !panic ? this.#locality(kind) : -1
    return this.#picker(kind, group).pick(pick)
  }

  #picker(kind: Kind, group: number): Picker {
    const key = `${kind} ${group}`
    let picker = this.#pickers.get(key)
    if (picker === undefined) {
      const groups = group < 0 ? this.#groups : this.#groups.slice(group, group + 1)
      const hosts = groups.flatMap((each) => this.#hostsOf(each, kind))
      picker = pickerOf(this.#config.balancing.policy, hosts, this.#state)
      this.#pickers.set(key, picker)
    }
    return picker
  }

  /** The group whose turn it is; -1: all hosts alike, when no locality has a weight. */
  #locality(kind: Kind): number {
    let scheduler = this.#localities.get(kind)
    if (scheduler === undefined) {
      scheduler = new Scheduler()
      for (const [group, weight] of this.#localityWeights(kind).entries()) {
        if (weight > 0) scheduler.add({ group, weight }, weight)
      }
      this.#localities.set(kind, scheduler)
    }
    return scheduler.next(({ weight }) => weight)?.group ?? -1
  }

  /** A locality keeps its weight while enough of its hosts can be used. */
  #localityWeights(kind: Kind): number[] {
    return this.#groups.map((group) => {
      const usable = this.#hostsOf(group, kind).length
      if (usable === 0) return 0
      const share = Math.min(1, (this.#overprovisioning * usable) / group.hosts.length)
      return (group.weight ?? 0) * share
    })
  }

  #table(kind: Kind): HashTable {
    let table = this.#tables.get(kind)
    if (table === undefined) {
      const { policy } = this.#config.balancing
      const hosts = this.#shares(kind)
      table =
        policy.kind === 'ring-hash'
          ? buildRing(hosts, policy)
          : policy.kind === 'maglev'
            ? buildMaglev(hosts, policy)
            : { choose: () => undefined }
      this.#tables.set(kind, table)
    }
    return table
  }

  #shares(kind: Kind): Weighted[] {
    const byLocality = this.#config.balancing.localityWeighted && kind !== 'all'
    const weights = byLocality ? this.#localityWeights(kind) : []
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    const lists = this.#groups.map((group) => this.#hostsOf(group, kind))
    if (total === 0) return sharesOf(lists.flat(), 1)
    return lists.flatMap((hosts, group) => {
      const share = (weights[group] ?? 0) / total
      return share === 0 ? [] : sharesOf(hosts, share)
    })
  }
}

function sharesOf(hosts: readonly Host[], whole: number): Weighted[] {
  const sum = hosts.reduce((all, { weight }) => all + weight, 0)
  return hosts.map((host) => ({ host, share: (whole * host.weight) / sum }))
}

function worse(left: Health, right: Health): Health {
  if (left === 'unhealthy' || right === 'unhealthy') return 'unhealthy'
  return left === 'degraded' || right === 'degraded' ? 'degraded' : 'healthy'
}

function pickerOf(policy: BalancingPolicy, hosts: readonly Host[], state: BalancerState): Picker {
  if (policy.kind === 'round-robin') return roundRobinPicker(hosts, policy, state)
  if (policy.kind === 'least-request') return leastRequestPicker(hosts, policy, state)
  return randomPicker(hosts)
}
