/**
 * What a mesh on one machine costs, for the record (no peer): cold start until a request has gone through mutual
 * TLS, memory of everything but the workloads, the start of one pod, and CPU when nothing happens.
 */
import { readFileSync } from 'node:fs'
import { pods } from '../../test/e2e/kit.ts'
import { eventually, httpStatus, Mesh } from '../../test/e2e/mesh.ts'
import type { BenchResult } from '../../tools/bench.ts'

const podRounds = 5
const idleSeconds = 20
const ticksPerSecond = 100

export async function run(): Promise<BenchResult> {
  const mesh = await Mesh.prepare()
  try {
    const startedMs = performance.now()
    const up = await mesh.weft(mesh.upArguments())
    if (up.code !== 0) throw new Error(up.stderr)
    const returnedMs = performance.now() - startedMs
    await eventually(
      async () => {
        const { status, body } = await httpStatus(
          `http://127.0.0.1:${mesh.ingressPort}/productpage`,
        )
        if (status !== 200 || body.includes('Error fetching')) throw new Error(`answered ${status}`)
      },
      60_000,
      20,
    )
    const firstPageMs = performance.now() - startedMs
    await throughMutualTls(mesh)
    const podMs = await podStarts(mesh)
    // Let the start's own work settle before anything is weighed.
    await new Promise((done) => setTimeout(done, 5_000))
    const memory = memoryOfParts(mesh)
    const idle = await idleCpu(mesh)
    const figures = {
      up_returns_seconds: round(returnedMs / 1000),
      first_page_seconds: round(firstPageMs / 1000),
      memory_mb: round(Object.values(memory).reduce((sum, mb) => sum + mb, 0)),
      ...Object.fromEntries(
        Object.entries(memory).map(([part, mb]) => [`memory_${part}_mb`, round(mb)]),
      ),
      pod_ready_ms_median: round(
        podMs.toSorted((a, b) => a - b)[Math.floor(podMs.length / 2)] ?? 0,
      ),
      idle_cpu_percent_of_core: round(idle),
    }
    for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(28)} ${value}`)
    return { bench: 'standalone', figures, ratios: {}, raw: { podMs, memory } }
  } finally {
    await mesh.stop()
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}

/** Proves that the page came through the mesh: the node proxy has counted it as mutual TLS. */
async function throughMutualTls(mesh: Mesh): Promise<void> {
  const log = await mesh.kubectlOk('logs', '-n', 'istio-system', 'ds/ztunnel')
  if (!/bookinfo-productpage/.test(log))
    throw new Error('the first page did not go through the mesh')
}

async function podStarts(mesh: Mesh): Promise<number[]> {
  const times: number[] = []
  for (let index = 0; index < podRounds; index++) {
    const name = `bench-${index}`
    const startedMs = performance.now()
    await mesh.apply(
      `{apiVersion: v1, kind: Pod, metadata: {name: ${name}, namespace: default}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: curlimages/curl, command: [sleep, infinity]}]}}`,
    )
    const created = performance.now()
    await mesh.kubectlOk('wait', '--for=condition=ready', `pod/${name}`, '--timeout=30s')
    times.push(performance.now() - startedMs - (created - startedMs) / 2)
  }
  const [pod] = await pods(mesh, 'default')
  if (pod === undefined) throw new Error('no pod was made')
  return times
}

/** Proportional memory in MB of the mesh's own parts; shared pages count once. */
function memoryOfParts(mesh: Mesh): Record<string, number> {
  const parts: Record<string, RegExp> = {
    broker: /standalone\/broker\/main\.ts/,
    init: /standalone\/init\/main\.ts/,
    istiod: /controlplane\/main\.ts/,
    ztunnel: /nodeproxy\/main\.ts/,
  }
  const memory: Record<string, number> = {}
  for (const { pid, command } of mesh.processes()) {
    for (const [part, pattern] of Object.entries(parts)) {
      if (!pattern.test(command)) continue
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
      memory[part] = (memory[part] ?? 0) + Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) / 1024
    }
  }
  return memory
}

async function idleCpu(mesh: Mesh): Promise<number> {
  const used = (): number =>
    mesh.processes().reduce((sum, { pid }) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        return sum + Number(fields[11]) + Number(fields[12])
      } catch {
        return sum
      }
    }, 0)
  const before = used()
  await new Promise((done) => setTimeout(done, idleSeconds * 1000))
  return ((used() - before) / ticksPerSecond / idleSeconds) * 100
}
