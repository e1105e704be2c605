/**
 * CPU of a pair of HBONE hops per request and per gigabyte, against the same pair relaying plain TCP.
 * Only the hops' own CPU counts (from /proc); the load runs in this process.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { WorkloadCertificate } from '../../src/identity/index.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../../src/x509/index.ts'
import type { BenchResult } from '../../tools/bench.ts'
import { bulk, requests, startOrigin } from './load.ts'

const requestCount = 6000
const connections = 32
const bulkBytes = 512 * 1024 * 1024
const rounds = 3
const ticksPerSecond = 100

interface Cost {
  readonly cpuMicrosPerRequest: number
  readonly requestsPerSecond: number
  readonly cpuSecondsPerGigabyte: number
  readonly gigabitsPerSecond: number
}

async function makeCertificate(): Promise<WorkloadCertificate> {
  const [caKeys, keys] = [await generateEcKeyPair(), await generateEcKeyPair()]
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
  const rootsPem = await createCaCertificate({
    keys: caKeys,
    subject: { commonName: 'bench' },
    ...validity,
  })
  const identity = 'spiffe://cluster.local/ns/bench/sa/bench'
  const chainPem = await issueCertificate({
    issuer: { certificatePem: rootsPem, key: caKeys.privateKey },
    publicKey: keys.publicKey,
    names: { uris: [identity] },
    ...validity,
  })
  return { identity, keyPem: keys.privatePem, chainPem, rootsPem, serial: '1', ...validity }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, '127.0.0.1')
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (open) return
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error(`nothing listens on ${port}`)
}

/** CPU seconds, user and system. */
function cpuOf(children: readonly ChildProcess[]): number {
  let ticks = 0
  for (const { pid } of children) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / ticksPerSecond
}

async function withPair<T>(
  kind: string,
  origin: number,
  certificate: string,
  action: (port: number, hops: readonly ChildProcess[]) => Promise<T>,
): Promise<T> {
  const [inner, outer] = [await freePort(), await freePort()]
  const hop = (role: string, listen: number, connect: number): ChildProcess => {
    const script = join(import.meta.dirname, 'hop.ts')
    const args = [script, role, kind, String(listen), String(connect), certificate]
    return spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  }
  const hops = [hop('server', inner, origin), hop('client', outer, inner)]
  try {
    await listening(inner)
    await listening(outer)
    return await action(outer, hops)
  } finally {
    for (const child of hops) child.kill('SIGKILL')
  }
}

async function measure(kind: string, certificate: string): Promise<Cost> {
  const origin = await startOrigin()
  try {
    const [cpuMicrosPerRequest, requestsPerSecond] = await withPair(
      kind,
      origin.http,
      certificate,
      async (port, hops) => {
        await requests(port, requestCount / 3, connections)
        const before = cpuOf(hops)
        const ms = await requests(port, requestCount, connections)
        return [((cpuOf(hops) - before) * 1e6) / requestCount, requestCount / (ms / 1000)] as const
      },
    )
    const [cpuSecondsPerGigabyte, gigabitsPerSecond] = await withPair(
      kind,
      origin.bulk,
      certificate,
      async (port, hops) => {
        await bulk(port, bulkBytes / 8)
        const before = cpuOf(hops)
        const ms = await bulk(port, bulkBytes)
        const gigabytes = bulkBytes / 1e9
        return [(cpuOf(hops) - before) / gigabytes, (gigabytes * 8) / (ms / 1000)] as const
      },
    )
    return { cpuMicrosPerRequest, requestsPerSecond, cpuSecondsPerGigabyte, gigabitsPerSecond }
  } finally {
    origin.close()
  }
}

/** The middle one of several rounds, figure by figure. */
function median(costs: readonly Cost[], key: keyof Cost): number {
  const values = costs.map((cost) => cost[key]).toSorted((a, b) => a - b)
  return Number((values[Math.floor(values.length / 2)] ?? 0).toPrecision(3))
}

const keys = [
  'cpuMicrosPerRequest',
  'requestsPerSecond',
  'cpuSecondsPerGigabyte',
  'gigabitsPerSecond',
] as const

/** Runs both pairs in turn, so that the machine's noise hits both. */
export async function run(): Promise<BenchResult> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-bench-'))
  const certificate = join(folder, 'certificate.json')
  writeFileSync(certificate, JSON.stringify(await makeCertificate()))
  const raw: Record<'hbone' | 'tcp', Cost[]> = { hbone: [], tcp: [] }
  try {
    for (let round = 0; round < rounds; round++) {
      raw.tcp.push(await measure('tcp', certificate))
      raw.hbone.push(await measure('hbone', certificate))
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  const figures: Record<string, number> = {}
  const ratios: Record<string, number> = {}
  console.log(
    `${''.padEnd(24)}${'hbone pair'.padStart(14)}${'tcp pair'.padStart(14)}${'ratio'.padStart(8)}`,
  )
  for (const key of keys) {
    const [ours, plain] = [median(raw.hbone, key), median(raw.tcp, key)]
    figures[`hbone_${key}`] = ours
    figures[`tcp_${key}`] = plain
    ratios[`${key}_vs_tcp`] = Number((ours / plain).toFixed(2))
    const ratio = (ours / plain).toFixed(2)
    console.log(
      `${key.padEnd(24)}${String(ours).padStart(14)}${String(plain).padStart(14)}${ratio.padStart(8)}`,
    )
  }
  return { bench: 'hbone', figures, ratios, raw }
}
