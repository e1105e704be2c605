/**
 * What a mesh on one machine costs, for the record (no peer): cold start until a page has come through mutual
 * TLS, memory of everything but the workloads, the start of one pod, and CPU when nothing happens. Each round is
 * a new mesh with an empty state directory; figures are medians, all rounds are in the raw data.
 */

import { systemClock } from '../../src/base/index.ts'
import { createKubeClient, type KubeClient, kubeconfigOptions } from '../../src/client/index.ts'
import { type KubeObject, resources } from '../../src/kube/index.ts'
import { eventually, httpStatus, Mesh } from '../../test/e2e/mesh.ts'
import type { BenchResult } from '../../tools/bench.ts'
import { cpuSeconds, isMesh, memoryMb, type Part, partsOf, sum } from './parts.ts'

const rounds = 3
const podRounds = 9
const settleMs = 5_000
const idleSeconds = 20

interface Round {
  readonly upMs: number
  readonly firstPageMs: number
  readonly podReadyMs: number[]
  readonly memoryMb: Record<Part, number>
  readonly idlePercent: Record<Part, number>
}

export async function run(): Promise<BenchResult> {
  const raw: Round[] = []
  for (let index = 0; index < rounds; index++) raw.push(await oneRound())
  const middle = (value: (round: Round) => number): number => round(median(raw.map(value)))
  const memory = (part: Part): number => middle(({ memoryMb }) => memoryMb[part])
  const figures = {
    up_returns_seconds: middle(({ upMs }) => upMs / 1000),
    first_page_seconds: middle(({ firstPageMs }) => firstPageMs / 1000),
    memory_mb: middle(({ memoryMb }) => sum(memoryMb, isMesh)),
    memory_init_mb: memory('init'),
    memory_istiod_mb: memory('istiod'),
    memory_ztunnel_mb: memory('ztunnel'),
    memory_gateway_mb: memory('gateway'),
    memory_broker_mb: memory('broker'),
    memory_helpers_mb: memory('helpers'),
    memory_workloads_mb: memory('workloads'),
    pod_ready_ms: round(median(raw.flatMap(({ podReadyMs }) => podReadyMs))),
    idle_cpu_percent_of_core: middle(({ idlePercent }) => sum(idlePercent, isMesh)),
  }
  for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(28)} ${value}`)
  return { bench: 'standalone', figures, ratios: {}, raw }
}

async function oneRound(): Promise<Round> {
  const mesh = await Mesh.prepare()
  try {
    const startedMs = performance.now()
    const up = await mesh.weft(mesh.upArguments())
    if (up.code !== 0) throw new Error(up.stderr)
    const upMs = performance.now() - startedMs
    await eventually(() => page(mesh), 60_000, 20)
    const firstPageMs = performance.now() - startedMs
    await throughMutualTls(mesh)
    const client = createKubeClient(kubeconfigOptions(mesh.kubeconfig, systemClock))
    const podReadyMs: number[] = []
    for (let index = 0; index < podRounds; index++) podReadyMs.push(await podStart(client, index))
    client.close()
    // What starting has left over is not what idling costs.
    await pause(settleMs)
    const idlePercent = await idleCpu(mesh)
    return { upMs, firstPageMs, podReadyMs, memoryMb: memoryMb(partsOf(mesh)), idlePercent }
  } finally {
    await mesh.stop()
  }
}

async function page(mesh: Mesh): Promise<void> {
  const { status, body } = await httpStatus(`http://127.0.0.1:${mesh.ingressPort}/productpage`)
  if (status !== 200 || body.includes('Error fetching')) throw new Error(`answered ${status}`)
}

/** Proves that the page came through the mesh: the node proxy has counted mutual TLS to the product page. */
async function throughMutualTls(mesh: Mesh): Promise<void> {
  const path = '/api/v1/namespaces/istio-system/pods'
  const [pod] = JSON.parse(
    await mesh.kubectlOk('get', '--raw', `${path}?labelSelector=app%3Dztunnel`),
  ).items as KubeObject[]
  const log = await mesh.kubectlOk('logs', '-n', 'istio-system', pod?.metadata.name ?? 'ds/ztunnel')
  const line = log.split('\n').find((text) => text.includes('bookinfo-productpage'))
  if (line === undefined) throw new Error('the first page did not go through the mesh')
}

/** From sending the pod to seeing it ready, both on a watch that is open before. */
async function podStart(client: KubeClient, index: number): Promise<number> {
  const name = `bench-${index}`
  const abort = new AbortController()
  const { metadata } = await client.list(resources.pods, { namespace: 'default' })
  const seen = untilReady(client, name, metadata.resourceVersion ?? '', abort.signal)
  const sentMs = performance.now()
  await client.create(resources.pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'c', image: 'curlimages/curl', command: ['sleep', 'infinity'] }],
    },
  } as KubeObject)
  const readyMs = await seen
  abort.abort()
  return readyMs - sentMs
}

async function untilReady(
  client: KubeClient,
  name: string,
  resourceVersion: string,
  signal: AbortSignal,
): Promise<number> {
  const options = {
    namespace: 'default',
    fieldSelector: `metadata.name=${name}`,
    resourceVersion,
  }
  type Pod = KubeObject<unknown, { conditions?: { type: string; status: string }[] }>
  for await (const { object } of client.watch<Pod>(resources.pods, options, signal)) {
    const ready = object.status?.conditions?.find(({ type }) => type === 'Ready')
    if (ready?.status === 'True') return performance.now()
  }
  throw new Error(`the watch ended before ${name} was ready`)
}

/** Nobody asks anything meanwhile, this process included. */
async function idleCpu(mesh: Mesh): Promise<Record<Part, number>> {
  const before = cpuSeconds(partsOf(mesh))
  const startedMs = performance.now()
  await pause(idleSeconds * 1000)
  const seconds = (performance.now() - startedMs) / 1000
  const after = cpuSeconds(partsOf(mesh))
  const parts = Object.keys(after) as Part[]
  return Object.fromEntries(
    parts.map((part) => [part, ((after[part] - before[part]) / seconds) * 100]),
  ) as Record<Part, number>
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms))
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
