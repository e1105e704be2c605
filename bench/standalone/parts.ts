/** Which part of a mesh a process belongs to, and what the parts use, from /proc. */
import { readdirSync, readFileSync } from 'node:fs'
import type { Mesh } from '../../test/e2e/mesh.ts'

const entries = {
  istiod: 'controlplane/main.ts',
  ztunnel: 'nodeproxy/main.ts',
  gateway: 'l7proxy/main.ts',
} as const

/** Helpers: the shells and tools which hold namespaces, of the mesh's own parts. */
export type Part = keyof typeof entries | 'broker' | 'init' | 'helpers' | 'workloads'

interface Process {
  readonly pid: number
  readonly part: Part
}

export function isMesh(part: Part): boolean {
  return part !== 'workloads'
}

export function sum(values: Record<Part, number>, wanted: (part: Part) => boolean): number {
  const parts = Object.keys(values) as Part[]
  return parts.filter(wanted).reduce((total, part) => total + values[part], 0)
}

/** Every process of the mesh. What lives below init is one tree for each container. */
export function partsOf(mesh: Mesh): Process[] {
  const all = mesh.processes().map(({ pid, command }) => ({ pid, words: command.split('\0') }))
  const parents = new Map(all.map(({ pid }) => [pid, parentOf(pid)]))
  const titled = (title: string): number | undefined =>
    all.find(({ words }) => words[0]?.startsWith(title))?.pid
  const broker = titled('weft-broker')
  const init = titled('weft-init')
  const own = new Map<number, Part>()
  for (const { pid, words } of all) {
    for (const [part, entry] of Object.entries(entries)) {
      if (words.some((word) => word.endsWith(entry))) own.set(pid, part as Part)
    }
  }
  const top = (pid: number): number | undefined => {
    let current: number | undefined = pid
    while (current !== undefined && parents.get(current) !== init) current = parents.get(current)
    return current
  }
  const meshTrees = new Set([...own.keys()].map(top))
  return all.map(({ pid }) => {
    if (pid === broker) return { pid, part: 'broker' }
    if (pid === init) return { pid, part: 'init' }
    // A program's command line is also that of the tools which became it; only it has the memory.
    const part = own.get(pid)
    if (part !== undefined) return { pid, part }
    const container = top(pid)
    const helper = container === undefined || meshTrees.has(container)
    return { pid, part: helper ? 'helpers' : 'workloads' }
  })
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined
  }
}

/** Proportional memory: what processes share is counted once. */
export function memoryMb(processes: readonly Process[]): Record<Part, number> {
  return byPart(processes, (pid) => {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
    return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) / 1024
  })
}

/** CPU time of all threads so far, to the nanosecond. */
export function cpuSeconds(processes: readonly Process[]): Record<Part, number> {
  return byPart(processes, (pid) => {
    const tasks = readdirSync(`/proc/${pid}/task`)
    const spent = tasks.map((task) =>
      Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]),
    )
    return spent.reduce((total, ns) => total + ns, 0) / 1e9
  })
}

function byPart(
  processes: readonly Process[],
  measure: (pid: number) => number,
): Record<Part, number> {
  const totals: Record<Part, number> = {
    broker: 0,
    init: 0,
    istiod: 0,
    ztunnel: 0,
    gateway: 0,
    helpers: 0,
    workloads: 0,
  }
  for (const { pid, part } of processes) {
    try {
      totals[part] += measure(pid)
    } catch {
      // Gone meanwhile.
    }
  }
  return totals
}
