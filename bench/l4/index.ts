/**
 * What layer 4 of the mesh costs: our node proxy, a pair of stock Envoy sidecars, a pair of stock Envoys
 * with CONNECT tunnels, and no mesh, in one run over the same kind of namespaces and veth. Mutual TLS and
 * authorization by identity in all three; metrics in all three; a log line per connection in ours. CPU is
 * that of the proxies alone (from /proc); load and application run in this process. `rounds` rounds, medians.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import type net from 'node:net'
import { join } from 'node:path'
import { withNetns } from '../../src/linux/index.ts'
import { create, security, typeUrl } from '../../src/proto/index.ts'
import {
  certificateOf,
  createAuthority,
  podAddress,
  type TestAuthority,
  type TestPod,
} from '../../test/netns/nodeproxy-kit.ts'
import { ProcessMesh } from '../../test/netns/nodeproxy-process-kit.ts'
import type { BenchResult } from '../../tools/bench.ts'
import { envoyPath } from '../../tools/envoy.ts'
import { type EnvoyPlan, sidecars, tunnels } from './envoy-config.ts'
import { bulk, type Dial, idle, requests, setUps, sinkServer, webServer } from './load.ts'

const only = process.env['BENCH_ONLY']
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3)
const requestCount = 10_000
const connections = 32
const bulkBytes = 512 * 1024 * 1024
const setUpCount = 2_000
const idleCount = 1_000
const ticksPerSecond = 100
const applicationHttp = 9000
const applicationBulk = 9001

interface Setup {
  readonly name: string
  readonly web: Dial
  readonly sink: Dial
  /** The processes that count. */
  readonly pids: readonly number[]
}

interface Cost {
  cpuMicrosPerRequest: number
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  cpuSecondsPerGigabyte: number
  gigabitsPerSecond: number
  setUpsPerSecond: number
  cpuMicrosPerSetUp: number
  idleMegabytes: number
  megabytesPer1000Streams: number
}

/** CPU seconds of all of them, user and system. */
function cpuOf(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / ticksPerSecond
}

function memoryOf(pids: readonly number[]): number {
  let kilobytes = 0
  for (const pid of pids) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    kilobytes += Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1])
  }
  return kilobytes / 1024
}

async function measure({ web, sink, pids }: Setup): Promise<Cost> {
  const idleMegabytes = memoryOf(pids)
  const release = await idle(sink, idleCount)
  const megabytesPer1000Streams = ((memoryOf(pids) - idleMegabytes) * 1000) / idleCount
  release()
  await requests(web, requestCount / 5, connections)
  let before = cpuOf(pids)
  const { seconds, p50Ms, p99Ms } = await requests(web, requestCount, connections)
  const cpuMicrosPerRequest = ((cpuOf(pids) - before) * 1e6) / requestCount
  await bulk(sink, bulkBytes / 16)
  before = cpuOf(pids)
  const bulkSeconds = await bulk(sink, bulkBytes)
  const cpuSecondsPerGigabyte = ((cpuOf(pids) - before) * 1e9) / bulkBytes
  before = cpuOf(pids)
  const setUpSeconds = await setUps(sink, setUpCount, connections)
  return {
    cpuMicrosPerRequest,
    requestsPerSecond: requestCount / seconds,
    p50Ms,
    p99Ms,
    cpuSecondsPerGigabyte,
    gigabitsPerSecond: (bulkBytes * 8) / 1e9 / bulkSeconds,
    setUpsPerSecond: setUpCount / setUpSeconds,
    cpuMicrosPerSetUp: ((cpuOf(pids) - before) * 1e6) / setUpCount,
    idleMegabytes,
    megabytesPer1000Streams,
  }
}

/** Two pods with the application in the second. */
async function pods(mesh: ProcessMesh, name: string): Promise<[client: TestPod, server: TestPod]> {
  const { network } = mesh
  const client = await network.addPod(`${name}-client`)
  const server = await network.addPod(`${name}-server`)
  await network.serve(server, applicationHttp, webServer())
  await network.serve(server, applicationBulk, sinkServer())
  return [client, server]
}

function dialer(mesh: ProcessMesh, from: TestPod, host: string, port: number): Dial {
  return async () => {
    const socket: net.Socket = await mesh.network.connect(from, host, port)
    return socket.on('error', () => {})
  }
}

async function noMesh(mesh: ProcessMesh): Promise<Setup> {
  const [client, server] = await pods(mesh, 'plain')
  const web = dialer(mesh, client, server.ip, applicationHttp)
  return { name: 'none', web, sink: dialer(mesh, client, server.ip, applicationBulk), pids: [] }
}

async function ours(mesh: ProcessMesh): Promise<Setup> {
  const [client, server] = await pods(mesh, 'ours')
  const { addresses, policies } = mesh.resources
  for (const pod of [client, server]) {
    await mesh.network.enrol(pod)
    addresses.set(pod.name, podAddress(pod))
  }
  const principals = [{ matchType: { case: 'exact' as const, value: identityOf(client).slice(9) } }]
  const policy = create(security.AuthorizationSchema, {
    name: 'client',
    namespace: 'default',
    scope: security.Scope.NAMESPACE,
    action: security.Action.ALLOW,
    rules: [{ clauses: [{ matches: [{ principals }] }] }],
  })
  policies.set('default/client', policy)
  mesh.controlPlane.push(typeUrl.address)
  mesh.controlPlane.push(typeUrl.authorization)
  const web = dialer(mesh, client, server.ip, applicationHttp)
  const sink = dialer(mesh, client, server.ip, applicationBulk)
  return { name: 'ours', web, sink, pids: [mesh.pid] }
}

function identityOf({ namespace, serviceAccount }: TestPod): string {
  return `spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`
}

interface EnvoyOptions {
  readonly mesh: ProcessMesh
  readonly authority: TestAuthority
  readonly name: 'sidecars' | 'tunnels'
  readonly children: ChildProcess[]
}

async function envoys({ mesh, authority, name, children }: EnvoyOptions): Promise<Setup> {
  const [client, server] = await pods(mesh, name)
  const plan: EnvoyPlan = {
    http: 15_101,
    bulk: 15_102,
    inboundHttp: 15_103,
    inboundBulk: 15_104,
    serverIp: server.ip,
    applicationHttp,
    applicationBulk,
    clientIdentity: identityOf(client),
  }
  const own = await certificateOf(authority, identityOf(client))
  const peer = await certificateOf(authority, identityOf(server))
  const pair = (name === 'sidecars' ? sidecars : tunnels)(plan, own, peer)
  const path = await envoyPath()
  const start = (pod: TestPod, config: object, number: number): number => {
    const file = join(mesh.network.folder, `${pod.name}.json`)
    writeFileSync(file, JSON.stringify(config))
    const base = String(process.pid * 10 + number)
    const args = ['-c', file, '--concurrency', '2', '-l', 'error', '--base-id', base]
    const child = withNetns(pod.netnsFd, () =>
      spawn(path, args, { stdio: ['ignore', 'ignore', 'inherit'] }),
    )
    children.push(child)
    return child.pid ?? 0
  }
  const number = name === 'sidecars' ? 0 : 2
  const pids = [start(client, pair.client, number), start(server, pair.server, number + 1)]
  const web = dialer(mesh, client, '127.0.0.1', plan.http)
  return { name, web, sink: dialer(mesh, client, '127.0.0.1', plan.bulk), pids }
}

/** Until requests come through. */
async function works(setup: Setup): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await requests(setup.web, 3, 1)
      return
    } catch (error) {
      if (attempt > 200) throw error
      await new Promise((done) => setTimeout(done, 50))
    }
  }
}

function median(costs: readonly Cost[], key: keyof Cost): number {
  const values = costs.map((cost) => cost[key]).toSorted((a, b) => a - b)
  return Number((values[Math.floor(values.length / 2)] ?? 0).toPrecision(3))
}

/** Runs all in turn, so that the machine's noise hits all. */
export async function run(): Promise<BenchResult> {
  const mesh = await ProcessMesh.create()
  const children: ChildProcess[] = []
  try {
    const authority = await createAuthority()
    const all = [
      await ours(mesh),
      await envoys({ mesh, authority, name: 'sidecars', children }),
      await envoys({ mesh, authority, name: 'tunnels', children }),
      await noMesh(mesh),
    ]
    const setups = all.filter(({ name }) => only === undefined || only === name)
    const raw: Record<string, Cost[]> = {}
    for (const setup of setups) await works(setup)
    for (let round = 0; round < rounds; round++) {
      for (const setup of setups) (raw[setup.name] ??= []).push(await measure(setup))
    }
    return report(raw)
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await mesh.close()
  }
}

function report(raw: Record<string, Cost[]>): BenchResult {
  const figures: Record<string, number> = {}
  const ratios: Record<string, number> = {}
  const names = Object.keys(raw)
  console.log(`${''.padEnd(26)}${names.map((name) => name.padStart(12)).join('')}`)
  const [first] = Object.values(raw).flat()
  // The keys of an object that is made in one place.
  for (const key of Object.keys(first ?? {}) as (keyof Cost)[]) {
    // Before the first round memory is idle, after it no more.
    const pick = (name: string): number => {
      const costs = raw[name] ?? []
      const early = key === 'idleMegabytes' || key === 'megabytesPer1000Streams'
      return median(early ? costs.slice(0, 1) : costs, key)
    }
    for (const name of names) figures[`${name}_${key}`] = pick(name)
    for (const peer of ['sidecars', 'tunnels']) {
      if (!names.includes(peer) || !names.includes('ours')) continue
      ratios[`${key}_vs_${peer}`] = Number((pick('ours') / pick(peer)).toFixed(2))
    }
    console.log(`${key.padEnd(26)}${names.map((name) => String(pick(name)).padStart(12)).join('')}`)
  }
  return { bench: 'l4', figures, ratios, raw }
}
