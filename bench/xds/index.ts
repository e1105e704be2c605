/**
 * What a mesh of 5,000 workloads costs a control plane that 1,000 node proxies and 50 gateways are connected to: the first
 * full push, a change of one pod, memory. Server and proxies are processes of their own; the server's CPU is its own
 * count. The debounce is off, so that times are the path's.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { BenchResult } from '../../tools/bench.ts'
import type { FromClients, ToClients } from './clients.ts'
import type { MeshSize } from './mesh.ts'
import type { FromServer, ToServer, Usage } from './server.ts'

const size: MeshSize = {
  services: 1_000,
  podsPerService: 5,
  gateways: Number(process.env.BENCH_GATEWAYS ?? 50),
  routesPerGateway: 20,
}
const nodeProxies = Number(process.env.BENCH_PROXIES ?? 1_000)
const changes = 40
const changeGapMs = 250

function start(file: string, argument: string): ChildProcess {
  const execArgv = [
    '--expose-gc',
    ...(process.env.BENCH_NODE_OPTIONS ?? '').split(' ').filter(Boolean),
  ]
  return fork(join(import.meta.dirname, file), [argument], { execArgv })
}

function answer<T extends object>(child: ChildProcess, key: keyof T): Promise<T> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: T): void => {
      if (!(key in message)) return
      child.off('message', onMessage)
      child.off('exit', onExit)
      resolve(message)
    }
    const onExit = (): void => reject(new Error('a process of the bench ended'))
    child.on('message', onMessage)
    child.once('exit', onExit)
  })
}

function ask<T extends object>(child: ChildProcess, message: ToServer | ToClients, key: keyof T) {
  const found = answer<T>(child, key)
  child.send(message)
  return found
}

const usageOf = async (server: ChildProcess): Promise<Usage> => {
  const { usage } = await ask<FromServer>(server, { kind: 'usage' }, 'usage')
  if (usage === undefined) throw new Error('no usage')
  return usage
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((one, two) => one - two)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
}

export async function run(): Promise<BenchResult> {
  const server = start('server.ts', JSON.stringify(size))
  const clients = start('clients.ts', `${nodeProxies},${size.gateways}`)
  try {
    const { port = 0, rootPem = '' } = await answer<FromServer>(server, 'port')
    await pause(500)
    const idle = await usageOf(server)
    const full = await ask<FromClients>(clients, { kind: 'connect', port, rootPem }, 'readyMs')
    await pause(3_000)
    const loaded = await usageOf(server)
    await ask<FromClients>(clients, { kind: 'arrivals' }, 'arrivals')
    const addresses: number[] = []
    const endpoints: number[] = []
    const lasts: number[] = []
    // One change at a time; the first ones are not counted.
    let before = loaded
    for (let turn = -5; turn < changes; turn++) {
      if (turn === 0) before = await usageOf(server)
      const pod = (turn + 5) * 37
      const { changedAt = 0 } = await ask<FromServer>(server, { kind: 'change', pod }, 'changedAt')
      const arrivals = { address: [] as number[], endpoint: [] as number[] }
      for (let wait = 0; wait < 20 && arrivals.address.length < nodeProxies; wait++) {
        await pause(changeGapMs)
        const more = await ask<FromClients>(clients, { kind: 'arrivals' }, 'arrivals')
        arrivals.address.push(...(more.arrivals?.address ?? []))
        arrivals.endpoint.push(...(more.arrivals?.endpoint ?? []))
      }
      if (turn < 0) continue
      const latencies = arrivals.address.map((at) => at - changedAt)
      if (latencies.length !== nodeProxies) throw new Error(`${latencies.length} got the change`)
      addresses.push(...latencies)
      lasts.push(Math.max(...latencies))
      endpoints.push(...arrivals.endpoint.map((at) => at - changedAt))
    }
    const after = await usageOf(server)
    const connections = nodeProxies + size.gateways
    const pushes = after.pushes - before.pushes
    const figures = {
      firstFullPush_ms: full.readyMs ?? 0,
      firstFullPush_cpu_ms: loaded.cpuMs - idle.cpuMs,
      firstFullPush_MB: (full.bytes ?? 0) / 1e6,
      loop_lag_max_ms: after.maxLagMs,
      change_cpu_ms: (after.cpuMs - before.cpuMs) / changes,
      change_cpu_us_per_push: ((after.cpuMs - before.cpuMs) * 1000) / pushes,
      change_bytes_per_push: (after.bytes - before.bytes) / pushes,
      converge_p50_ms: quantile(addresses, 0.5),
      converge_p99_ms: quantile(addresses, 0.99),
      converge_last_p99_ms: quantile(lasts, 0.99),
      gateway_p99_ms: quantile(endpoints, 0.99),
      rss_mesh_MB: idle.rssBytes / 1e6,
      rss_connected_MB: after.rssBytes / 1e6,
      heap_per_connection_KB: (loaded.heapBytes - idle.heapBytes) / connections / 1e3,
      rss_per_connection_KB: (after.rssBytes - idle.rssBytes) / connections / 1e3,
    }
    const rounded = Object.fromEntries(
      Object.entries(figures).map(([key, value]) => [key, Number(value.toPrecision(4))]),
    )
    console.log(
      `${size.services} services, ${size.services * size.podsPerService} pods; ` +
        `${nodeProxies} node proxies, ${size.gateways} gateways`,
    )
    for (const [key, value] of Object.entries(rounded)) {
      console.log(`${key.padEnd(28)}${String(value).padStart(12)}`)
    }
    return { bench: 'xds', figures: rounded, ratios: {}, raw: { addresses, endpoints } }
  } finally {
    // They end by themselves then, with a profile if one was asked for.
    const children = [server, clients]
    for (const child of children) child.disconnect()
    await Promise.race([Promise.all(children.map((child) => once(child, 'exit'))), pause(5_000)])
    for (const child of children) child.kill('SIGKILL')
  }
}
