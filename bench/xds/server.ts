/** The process under measurement: model, translation and ADS server over TLS, without a debounce. */
import { silentLogger, systemClock } from '../../src/base/index.ts'
import { MeshSource } from '../../src/controlplane/index.ts'
import { GrpcServer } from '../../src/grpc/index.ts'
import { modelEvents } from '../../src/ingest/index.ts'
import { defaultMeshSettings } from '../../src/model/index.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../../src/x509/index.ts'
import { createXdsServer } from '../../src/xds/index.ts'
import { noMetrics } from '../../src/xds/metrics.ts'
import { type MeshSize, meshObjects, podObject, sliceObject } from './mesh.ts'

export type ToServer =
  | { readonly kind: 'change'; readonly pod: number }
  | { readonly kind: 'usage' }

export interface Usage {
  readonly cpuMs: number
  readonly rssBytes: number
  readonly heapBytes: number
  readonly pushes: number
  readonly bytes: number
  readonly maxLagMs: number
}

export interface FromServer {
  readonly port?: number
  readonly rootPem?: string
  readonly usage?: Usage
  /** When the change was applied, on the clock that all processes share. */
  readonly changedAt?: number
}

const size = JSON.parse(process.argv[2] ?? '{}') as MeshSize
const send = (message: FromServer): void => void process.send?.(message)

const source = new MeshSource({
  settings: defaultMeshSettings,
  clock: systemClock,
  logger: silentLogger,
})
source.apply(modelEvents([...meshObjects(size)], defaultMeshSettings))

const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
const [keys, own] = [await generateEcKeyPair(), await generateEcKeyPair()]
const rootPem = await createCaCertificate({ keys, subject: { commonName: 'bench' }, ...validity })
const chainPem = await issueCertificate({
  issuer: { certificatePem: rootPem, key: keys.privateKey },
  publicKey: own.publicKey,
  names: { dns: ['istiod.istio-system.svc'] },
  ...validity,
})

let [pushes, bytes] = [0, 0]
const xds = createXdsServer({
  source,
  authenticate: async () => ({ identity: undefined }),
  clock: systemClock,
  logger: silentLogger,
  limits: { debounceQuietMs: 0, connectionsPerSecond: 100_000 },
  metrics: {
    ...noMetrics,
    pushed: (push) => {
      pushes++
      bytes += push.bytes
    },
  },
})
const server = new GrpcServer({
  listeners: [{ host: '127.0.0.1', port: 0, tls: true }],
  certificate: () => ({ keyPem: own.privatePem, chainPem, clientRootsPem: rootPem }),
  logger: silentLogger,
})
xds.register(server)
await xds.start()
await server.start()

let maxLagMs = 0
let last = performance.now()
setInterval(() => {
  const now = performance.now()
  maxLagMs = Math.max(maxLagMs, now - last - 5)
  last = now
}, 5).unref()

const unready = new Set<number>()
process.on('message', (message: ToServer) => {
  if (message.kind === 'usage') {
    globalThis.gc?.()
    const { user, system } = process.cpuUsage()
    const memory = process.memoryUsage()
    const cpuMs = (user + system) / 1000
    const [rssBytes, heapBytes] = [memory.rss, memory.heapUsed + memory.external]
    send({ usage: { cpuMs, rssBytes, heapBytes, pushes, bytes, maxLagMs } })
    maxLagMs = 0
    return
  }
  const { pod } = message
  if (!unready.delete(pod)) unready.add(pod)
  const service = Math.floor(pod / size.podsPerService)
  const objects = [podObject(size, pod, !unready.has(pod)), sliceObject(size, service, unready)]
  const changedAt = performance.timeOrigin + performance.now()
  source.apply(modelEvents(objects, defaultMeshSettings))
  send({ changedAt })
})
process.on('disconnect', () => process.exit(0))
send({ port: server.ports[0] ?? 0, rootPem })
