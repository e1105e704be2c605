/**
 * Server-side apply: what the merge alone costs, and how many applies a second the whole server takes
 * (TLS, HTTP/2, decoding, merge, defaults, validation, the commit to disk) from another thread.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { silentLogger, systemClock } from '../../src/base/index.ts'
import { applyServerSide, trackUpdate } from '../../src/patch/index.ts'
import { createRegistry } from '../../src/registry/index.ts'
import { loadBuiltinSchemas } from '../../src/schema/index.ts'
import type { BenchResult } from '../../tools/bench.ts'
import { deployment, type LoadReport, type LoadRequest } from './load.ts'

const rounds = 5_000
const seconds = 4

export async function run(): Promise<BenchResult> {
  const figures: Record<string, number> = mergeFigures()
  const dir = await mkdtemp(join(tmpdir(), 'weft-bench-'))
  const registry = createRegistry({
    dir,
    name: 'bench',
    clock: systemClock,
    logger: silentLogger,
    version: '0.0.0',
  })
  const listener = createServer()
  registry.attach(listener)
  try {
    await registry.start()
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    const { port } = listener.address() as AddressInfo
    const { certPem: cert, keyPem: key } = registry.adminCredentials
    const server = { url: `https://127.0.0.1:${port}`, ca: registry.caCertificatePem, cert, key }
    for (const kind of ['create', 'change', 'same'] as const) {
      const before = process.threadCpuUsage()
      const { applies, elapsedMs, failed } = await load({ ...server, kind, seconds })
      if (failed !== undefined) throw new Error(failed)
      const { user, system } = process.threadCpuUsage(before)
      figures[`${kind}_per_second`] = Math.round((applies * 1000) / elapsedMs)
      // Of the server's main thread: what the rate would be bounded by on an idle machine.
      figures[`${kind}_cpu_us`] = Math.round((user + system) / applies)
    }
  } finally {
    listener.close()
    await registry.stop(200)
    await rm(dir, { recursive: true, force: true })
  }
  for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(24)} ${value}`)
  return { bench: 'apply', figures, ratios: {} }
}

/** The pure part, on a Deployment that a controller's status and a client-side apply share. */
function mergeFigures(): Record<string, number> {
  const schema = loadBuiltinSchemas().get({
    group: 'apps',
    version: 'v1',
    kind: 'Deployment',
  })?.node
  const base = { schema, apiVersion: 'apps/v1', time: '2026-01-01T00:00:00Z' }
  const first = applyServerSide({
    ...base,
    live: undefined,
    config: deployment('d', 0),
    manager: 'bench',
    force: false,
  }).object
  const status = { ...first, status: { replicas: 2, observedGeneration: 1, readyReplicas: 2 } }
  const managedFields = trackUpdate({
    ...base,
    live: first,
    object: status,
    manager: 'controller',
    subresource: 'status',
  })
  const metadata = { ...(first['metadata'] as object), managedFields }
  const live = { ...status, metadata }
  let round = 0
  const apply = (): unknown =>
    applyServerSide({
      ...base,
      live,
      config: deployment('d', ++round),
      manager: 'bench',
      force: false,
    })
  const update = (): unknown =>
    trackUpdate({ ...base, live, object: deployment('d', ++round), manager: 'kubectl' })
  return { merge_us: time(apply), update_us: time(update) }
}

/** Microseconds of one round, after as many for warming up. */
function time(work: () => unknown): number {
  for (let i = 0; i < rounds; i++) work()
  const started = performance.now()
  for (let i = 0; i < rounds; i++) work()
  return Math.round(((performance.now() - started) * 10_000) / rounds) / 10
}

function load(request: LoadRequest): Promise<LoadReport> {
  const worker = new Worker(new URL('./load.ts', import.meta.url), { workerData: request })
  return new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}
