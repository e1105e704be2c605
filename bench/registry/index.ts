/**
 * The registry under load, through TLS and its whole pipeline, with etcd of Debian's package as the peer for
 * durable writes. Server, load and peer are processes of their own; the load does not decode what it gets.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/base/index.ts'
import { createKubeClient, kubeconfigOptions } from '../../src/client/index.ts'
import { type KubeObject, resources } from '../../src/kube/index.ts'
import { cpuMsOf, RegistryChild } from '../../test/registry/registry-child.ts'
import type { BenchResult } from '../../tools/bench.ts'
import { Etcd } from './etcd.ts'
import type { Peer } from './h2.ts'
import type { Figures, Job } from './load.ts'
import { namespace, podsPath } from './objects.ts'

const objects = 10_000
const writers = 32
const table = 'application/json;as=Table;v=v1;g=meta.k8s.io'
const plain = 'application/json'
/** `WEFT_BENCH_PROFILE=DIR` writes CPU profiles of the server there. */
const profile = process.env.WEFT_BENCH_PROFILE
const flags = [
  '--expose-gc',
  ...(profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]),
]

export async function run(): Promise<BenchResult> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-bench-'))
  const load = new Load()
  try {
    const etcd = await etcdPuts(load)
    const writes = await underLoad(dir, load)
    const restarted = await afterStart(dir, load)
    const figures = { ...writes, ...restarted, ...etcd }
    for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(32)} ${value}`)
    const ratios: Record<string, number> =
      etcd.etcd_puts_per_second === undefined
        ? {}
        : { creates_to_etcd: round(writes.creates_per_second / etcd.etcd_puts_per_second) }
    return { bench: 'registry', figures, ratios }
  } finally {
    load.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

async function etcdPuts(load: Load): Promise<Record<string, number>> {
  const etcd = await Etcd.start()
  if (etcd === undefined) return {}
  try {
    load.peer = { host: '127.0.0.1', port: etcd.port }
    await load.do({ do: 'put', writers, count: 2_000 })
    const before = cpuMsOf(etcd.pid)
    const { seconds } = await load.do({ do: 'put', writers, count: objects })
    return {
      etcd_puts_per_second: round(objects / seconds),
      etcd_put_cpu_ms: round((cpuMsOf(etcd.pid) - before) / objects),
    }
  } finally {
    await etcd.stop()
  }
}

/** Creates 10,000 pods, and measures what can be done with them. */
async function underLoad(dir: string, load: Load) {
  const server = await RegistryChild.start(dir, flags)
  try {
    load.peer = peerOf(server)
    const idleBytes = await server.rssBytes()
    await prepare(server)
    const serial = await load.do({ do: 'create', writers: 1, count: 500 })
    const before = server.cpuMs()
    const many = await load.do({ do: 'create', writers, count: objects - 500 })
    const createCpuMs = (server.cpuMs() - before) / (objects - 500)
    const maps = await load.do({ do: 'createMap', writers, count: 5_000 })
    const list = await load.do({ do: 'read', path: podsPath, accept: plain, times: 7 })
    const page = await load.do({
      do: 'read',
      path: `${podsPath}?limit=500`,
      accept: plain,
      times: 20,
    })
    const rows = await load.do({
      do: 'read',
      path: `${podsPath}?limit=500`,
      accept: table,
      times: 20,
    })
    const fanOut = await load.do({ do: 'fanOut', watchers: 50, seconds: 6 })
    await load.do({ do: 'apply', writers, count: 200 })
    const applies = await load.do({ do: 'apply', writers, count: 3_000 })
    return {
      creates_per_second: round((objects - 500) / many.seconds),
      configmap_creates_per_second: round(5_000 / maps.seconds),
      create_cpu_ms: round(createCpuMs),
      create_p50_ms: round(median(many.ms)),
      create_p99_ms: round(percentile(many.ms, 0.99)),
      create_serial_p50_ms: round(median(serial.ms)),
      stored_pod_bytes: Math.round(list.bytes / objects),
      list_10k_ms: round(median(list.ms)),
      page_500_ms: round(median(page.ms)),
      table_page_500_ms: round(median(rows.ms)),
      fan_out_events_per_second: Math.round(fanOut.events / fanOut.seconds),
      fan_out_updates_per_second: Math.round(fanOut.updates / fanOut.seconds),
      fan_out_mb_per_second: Math.round(fanOut.bytes / 1e6 / fanOut.seconds),
      applies_per_second: round(3_000 / applies.seconds),
      idle_rss_mb: round(idleBytes / 1e6),
      loaded_rss_mb: round((await server.rssBytes()) / 1e6),
    }
  } finally {
    await server.stop()
  }
}

/** Starts again with the 10,000 pods. */
async function afterStart(dir: string, load: Load) {
  const empty = mkdtempSync(join(tmpdir(), 'weft-bench-'))
  const idle = await RegistryChild.start(empty, flags)
  const idleBytes = await idle.rssBytes()
  await idle.stop()
  rmSync(empty, { recursive: true, force: true })
  const starts: number[] = []
  for (let index = 0; ; index++) {
    const server = await RegistryChild.start(dir, flags)
    starts.push(server.startMs)
    load.peer = peerOf(server)
    const bytes = await server.rssBytes()
    const first = await load.do({ do: 'read', path: podsPath, accept: plain, times: 1 })
    const listed = await server.rssBytes()
    await server.stop()
    if (index < 4) continue
    const perPod = (rss: number): number => round((rss - idleBytes) / 1024 / objects)
    return {
      ready_10k_seconds: round(median(starts) / 1000),
      first_list_10k_ms: round(first.ms[0] ?? 0),
      rss_kb_per_pod: perPod(bytes),
      rss_kb_per_pod_after_list: perPod(listed),
    }
  }
}

/** What a controller would have made: the namespace's default ServiceAccount. */
async function prepare(server: RegistryChild): Promise<void> {
  const client = createKubeClient(kubeconfigOptions(server.ready.kubeconfig, systemClock))
  const object = (kind: string, metadata: KubeObject['metadata']): KubeObject => ({
    apiVersion: 'v1',
    kind,
    metadata,
  })
  await client.create(resources.namespaces, object('Namespace', { name: namespace }))
  await client.create(
    resources.serviceaccounts,
    object('ServiceAccount', { name: 'default', namespace }),
  )
  client.close()
}

function peerOf({ ready }: RegistryChild): Peer {
  const { hostname: host, port } = new URL(ready.url)
  const { caPem: ca, certPem: cert, keyPem: key } = ready
  return { host, port: Number(port), tls: { ca, cert, key } }
}

/** The process that makes the load. */
class Load {
  peer: Peer = { host: '127.0.0.1', port: 0 }
  readonly #child: ChildProcess = fork(fileURLToPath(new URL('./load.ts', import.meta.url)), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    serialization: 'advanced',
  })

  async do(job: Job): Promise<Figures> {
    const answer = once(this.#child, 'message')
    this.#child.send({ peer: this.peer, job })
    const [{ figures, error }] = (await answer) as [{ figures?: Figures; error?: string }]
    if (figures === undefined) throw new Error(error)
    return figures
  }

  stop(): void {
    this.#child.disconnect()
  }
}

function median(values: readonly number[]): number {
  return percentile(values, 0.5)
}

function percentile(values: readonly number[], part: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? 0
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
