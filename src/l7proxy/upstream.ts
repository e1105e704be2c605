/** Upstream connections: which endpoint takes a request, and the pool of kept-alive connections. */
import { Agent } from 'node:http'
import { limits } from './limits.ts'
import type { ClusterConfig, Endpoint } from './types.ts'

export class UpstreamPool {
  readonly #agents = new Map<string, Agent>()
  readonly #active = new Map<string, number>()
  readonly #turns = new Map<string, number>()
  readonly #random: () => number

  constructor(random: () => number) {
    this.#random = random
  }

  /** One endpoint of the cluster, if possible none of those already tried. */
  choose(
    cluster: ClusterConfig,
    endpoints: readonly Endpoint[],
    tried: ReadonlySet<string>,
  ): Endpoint | undefined {
    const fresh = tried.size === 0 ? endpoints : endpoints.filter((item) => !tried.has(keyOf(item)))
    const usable = (fresh.length > 0 ? fresh : endpoints).filter(({ weight }) => weight > 0)
    if (cluster.policy === 'round-robin') {
      const turn = this.#turns.get(cluster.name) ?? 0
      this.#turns.set(cluster.name, turn + 1)
      return usable[turn % usable.length]
    }
    const first = this.#pick(usable)
    if (cluster.policy === 'random' || first === undefined) return first
    const second = this.#pick(usable) ?? first
    return this.#load(second) < this.#load(first) ? second : first
  }

  #pick(endpoints: readonly Endpoint[]): Endpoint | undefined {
    return endpoints[Math.floor(this.#random() * endpoints.length)]
  }

  #load(endpoint: Endpoint): number {
    return (this.#active.get(keyOf(endpoint)) ?? 0) / endpoint.weight
  }

  /** Counts a request as in progress; call the result when it ends. */
  begin(endpoint: Endpoint): () => void {
    const key = keyOf(endpoint)
    this.#active.set(key, (this.#active.get(key) ?? 0) + 1)
    let open = true
    return () => {
      if (!open) return
      open = false
      const left = (this.#active.get(key) ?? 1) - 1
      if (left === 0) this.#active.delete(key)
      else this.#active.set(key, left)
    }
  }

  agent(cluster: string): Agent {
    let agent = this.#agents.get(cluster)
    if (agent === undefined) {
      agent = new Agent({
        keepAlive: true,
        maxFreeSockets: limits.upstreamIdleMax,
        scheduling: 'lifo',
        // Ends idle connections only; one with a request in progress takes no notice.
        timeout: limits.upstreamIdleMs,
      })
      this.#agents.set(cluster, agent)
    }
    return agent
  }

  /** Closes idle connections of clusters that are gone. */
  retain(clusters: { has(name: string): boolean }): void {
    for (const [name, agent] of this.#agents) {
      if (clusters.has(name)) continue
      agent.destroy()
      this.#agents.delete(name)
    }
  }

  close(): void {
    for (const agent of this.#agents.values()) agent.destroy()
    this.#agents.clear()
  }
}

export function keyOf(endpoint: Endpoint): string {
  return endpoint.address.includes(':')
    ? `[${endpoint.address}]:${endpoint.port}`
    : `${endpoint.address}:${endpoint.port}`
}
