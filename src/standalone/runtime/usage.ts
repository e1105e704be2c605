/**
 * What pods and the node use, from /proc: every process belongs to the container whose PID namespace it is in, also
 * one that came by exec. Nothing is measured until somebody asks; who asks first waits a second, who
 * asks again gets the time since the last answers.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { type Clock, sleep } from '../../base/index.ts'
import type { ResourceUsage, UsageReport } from '../../registry/index.ts'
import { limits } from './limits.ts'

export interface MeasuredContainer {
  readonly podUid: string
  readonly container: string
  /** Its PID 1, as seen from here. */
  readonly pid: number
}

export interface UsageSamplerOptions {
  readonly clock: Clock
  readonly nodeName: string
  /** Those that run now. */
  readonly containers: () => Iterable<MeasuredContainer>
  /** Default `/proc`. */
  readonly procFolder?: string
}

/** Used so far, and memory now. */
interface Amount {
  cpuNanos: number
  memoryBytes: number
}

interface Sample {
  readonly atMs: number
  readonly monotonicMs: number
  readonly node: Amount
  /** By `uid/container/pid`: a container that was started again begins anew. */
  readonly containers: ReadonlyMap<string, Amount>
}

/** Of `/proc`'s clock ticks (`USER_HZ`), which Linux fixes at 100 for programs. */
const tickNanos = 10_000_000
const between = '\n'

export class UsageSampler {
  readonly #options: UsageSamplerOptions
  readonly #proc: string
  /** Oldest first. */
  #samples: Sample[] = []
  /** PID namespaces by pid and start time: they never change. */
  #namespaces = new Map<string, string>()
  #running: Promise<UsageReport> | undefined

  constructor(options: UsageSamplerOptions) {
    this.#options = options
    this.#proc = options.procFolder ?? '/proc'
  }

  /** One measurement serves all who ask while it is made. */
  usage(): Promise<UsageReport> {
    this.#running ??= this.#measure().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #measure(): Promise<UsageReport> {
    const { clock } = this.#options
    const { usageWindowMinMs, usageWindowMs, usageWindowMaxMs } = limits
    const age = (sample: Sample): number => clock.monotonic() - sample.monotonicMs
    this.#samples = this.#samples.filter((sample) => age(sample) <= usageWindowMaxMs)
    if (this.#samples.length === 0) this.#samples.push(await this.#sample())
    const oldest = this.#samples[0]
    if (oldest !== undefined && age(oldest) < usageWindowMinMs) {
      await sleep(clock, usageWindowMinMs - age(oldest))
    }
    const now = await this.#sample()
    const usable = this.#samples.filter((sample) => age(sample) >= usageWindowMinMs)
    // The newest that is old enough for a steady figure, or the oldest there is.
    const base = usable.findLast((sample) => age(sample) >= usageWindowMs) ?? usable[0] ?? now
    const last = this.#samples.at(-1)
    if (last === undefined || age(last) >= usageWindowMinMs) this.#samples.push(now)
    return this.#report(base, now)
  }

  #report(base: Sample, now: Sample): UsageReport {
    const windowMs = Math.max(1, now.monotonicMs - base.monotonicMs)
    const rate = (amount: Amount, before: Amount | undefined): ResourceUsage => ({
      cpuNanoCores: (Math.max(0, amount.cpuNanos - (before?.cpuNanos ?? 0)) * 1000) / windowMs,
      memoryBytes: amount.memoryBytes,
    })
    const pods = new Map<string, Map<string, ResourceUsage>>()
    for (const [key, amount] of now.containers) {
      const [uid = '', container = ''] = key.split(between)
      const containers = pods.get(uid) ?? new Map<string, ResourceUsage>()
      containers.set(container, rate(amount, base.containers.get(key)))
      pods.set(uid, containers)
    }
    const nodes = new Map([[this.#options.nodeName, rate(now.node, base.node)]])
    return { atMs: now.atMs, windowMs, nodes, pods }
  }

  async #sample(): Promise<Sample> {
    const { clock } = this.#options
    const byNamespace = new Map<string, { key: string; amount: Amount }>()
    for (const { podUid, container, pid } of this.#options.containers()) {
      const namespace = this.#link(pid)
      const key = [podUid, container, pid].join(between)
      if (namespace !== undefined) {
        byNamespace.set(namespace, { key, amount: { cpuNanos: 0, memoryBytes: 0 } })
      }
    }
    const node: Amount = { cpuNanos: 0, memoryBytes: 0 }
    const seen = new Map<string, string>()
    let read = 0
    for (const entry of readdirSync(this.#proc)) {
      if (!/^\d+$/.test(entry)) continue
      // A machine with many processes must not hold up everything else.
      if (++read % limits.usageReadsAtOnce === 0) await new Promise((done) => setImmediate(done))
      const process = this.#read(entry)
      if (process === undefined) continue
      add(node, process)
      const id = `${entry} ${process.startedAt}`
      const namespace = this.#namespaces.get(id) ?? this.#link(entry)
      if (namespace === undefined) continue
      seen.set(id, namespace)
      const owner = byNamespace.get(namespace)
      if (owner !== undefined) add(owner.amount, process)
    }
    this.#namespaces = seen
    return {
      atMs: clock.now(),
      monotonicMs: clock.monotonic(),
      node,
      containers: new Map([...byNamespace.values()].map(({ key, amount }) => [key, amount])),
    }
  }

  /** Undefined when it has gone meanwhile. */
  #read(pid: string): (Amount & { startedAt: string }) | undefined {
    try {
      const stat = readFileSync(`${this.#proc}/${pid}/stat`, 'utf8')
      // `pid (name) state ...`: the name may contain anything, so count from its end.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      // utime, stime, and what children used that were waited for: then nothing is lost with a process.
      const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index] ?? 0), 0)
      return {
        cpuNanos: ticks * tickNanos,
        memoryBytes: this.#memory(pid),
        startedAt: fields[19] ?? '',
      }
    } catch {
      return undefined
    }
  }

  /** Memory that is this process's own: files that it maps are in the page cache once for all. */
  #memory(pid: string): number {
    const status = readFileSync(`${this.#proc}/${pid}/status`, 'utf8')
    const kilobytes = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0)
    return (kilobytes('RssAnon') + kilobytes('RssShmem')) * 1024
  }

  #link(pid: string | number): string | undefined {
    try {
      return readlinkSync(`${this.#proc}/${pid}/ns/pid`)
    } catch {
      return undefined
    }
  }
}

function add(sum: Amount, { cpuNanos, memoryBytes }: Amount): void {
  sum.cpuNanos += cpuNanos
  sum.memoryBytes += memoryBytes
}
