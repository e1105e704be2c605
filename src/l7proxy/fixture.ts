/** For tests: a mesh out of YAML, served by the real xDS server over TLS to a real proxy. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger, systemClock } from '../base/index.ts'
import { MeshSource } from '../controlplane/index.ts'
import { GrpcServer } from '../grpc/index.ts'
import { modelEvents, objectsFromYaml } from '../ingest/index.ts'
import { defaultMeshSettings, type ModelEvent } from '../model/index.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../x509/index.ts'
import { createXdsServer } from '../xds/index.ts'
import { L7Proxy } from './app.ts'

export function eventsOf(yaml: string): ModelEvent[] {
  const objects = objectsFromYaml(yaml).map(({ object }) => object)
  return modelEvents(objects, defaultMeshSettings)
}

/** A Service with the addresses of its endpoints. */
export function serviceYaml(name: string, port: number, addresses: readonly string[]): string {
  return `
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: demo}
spec: {clusterIP: 10.96.0.9, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${name}-1, namespace: demo, labels: {kubernetes.io/service-name: ${name}}}
addressType: IPv4
ports: [{name: http, port: ${port}, protocol: TCP}]
endpoints: [${addresses.map((address) => `{addresses: ["${address}"]}`).join(', ')}]
---`
}

/** Port 0 lets the kernel choose; the proxy tells what it got. */
export const gatewayYaml = `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "accessLogFile: /dev/stdout"}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: istio}
spec: {controllerName: istio.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: demo}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 0, protocol: HTTP}]}
---`

export function routeYaml(name: string, spec: string): string {
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}, namespace: demo}
spec:
  parentRefs: [{name: gw}]
${spec}
---`
}

export interface Harness {
  readonly source: MeshSource
  readonly proxy: L7Proxy
  readonly log: string[]
  /** The port of the only listener. */
  readonly port: number
  stop(): Promise<void>
}

export async function startHarness(yaml: string): Promise<Harness> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-l7-'))
  const source = new MeshSource({
    settings: defaultMeshSettings,
    clock: systemClock,
    logger: silentLogger,
  })
  source.apply(eventsOf(yaml))
  const keys = await generateEcKeyPair()
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
  const root = await createCaCertificate({ keys, subject: { commonName: 'test' }, ...validity })
  const serving = await generateEcKeyPair()
  const chainPem = await issueCertificate({
    issuer: { certificatePem: root, key: keys.privateKey },
    publicKey: serving.publicKey,
    names: { dns: ['localhost'] },
    ...validity,
  })
  const grpc = new GrpcServer({
    listeners: [{ host: '127.0.0.1', port: 0, tls: true }],
    certificate: () => ({ keyPem: serving.privatePem, chainPem, clientRootsPem: root }),
    logger: silentLogger,
  })
  const xds = createXdsServer({
    source,
    authenticate: async () => ({ identity: undefined }),
    clock: systemClock,
    logger: silentLogger,
    limits: { debounceQuietMs: 10 },
  })
  xds.register(grpc)
  await xds.start()
  await grpc.start()
  writeFileSync(join(folder, 'root.pem'), root)
  writeFileSync(join(folder, 'token'), 'token')
  const log: string[] = []
  const proxy = new L7Proxy({
    config: {
      xdsAddress: `localhost:${grpc.ports[0] ?? 0}`,
      rootCaPath: join(folder, 'root.pem'),
      tokenPath: join(folder, 'token'),
      clusterId: 'Kubernetes',
      node: {
        id: 'router~127.0.0.1~gw-1.demo~demo.svc.cluster.local',
        metadata: {
          NAMESPACE: 'demo',
          LABELS: { 'gateway.networking.k8s.io/gateway-name': 'gw' },
        },
      },
      workload: 'gw-istio',
      namespace: 'demo',
      readyPort: 0,
      metricsPort: 0,
      drainMs: 2000,
    },
    clock: systemClock,
    logger: silentLogger,
    random: Math.random,
    accessLog: (line) => log.push(line),
  })
  await proxy.start()
  await eventually(() => proxy.ready && proxy.ports.size === 1)
  return {
    source,
    proxy,
    log,
    port: [...proxy.ports.values()][0] ?? 0,
    async stop() {
      await proxy.stop(500)
      await xds.stop()
      await grpc.stop()
      rmSync(folder, { recursive: true })
    },
  }
}

export async function eventually(check: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 5000
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`not within 5 s: ${check}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export interface Ask {
  readonly path?: string
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

export function ask(port: number, options: Ask = {}): Promise<Answer> {
  const { path = '/', method = 'GET', headers = {}, body } = options
  return new Promise((resolve, reject) => {
    const call = request({ host: '127.0.0.1', port, path, method, headers, agent: false })
    call.on('error', reject)
    call.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
      )
    })
    call.end(body)
  })
}

export interface Echo {
  readonly who: string
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: string
}

/** A server that answers with what it got. */
export async function startEcho(who: string, host = '127.0.0.1', port = 0): Promise<Server> {
  const server = createServer((incoming, response) => {
    let body = ''
    incoming.setEncoding('utf8')
    incoming.on('data', (chunk: string) => (body += chunk))
    incoming.on('end', () => {
      const { method, url, headers } = incoming
      response.writeHead(200, {
        'content-type': 'application/json',
        'x-two': ['a', 'b'],
        server: 'echo',
      })
      response.end(JSON.stringify({ who, method, url, headers, body }))
    })
  })
  await new Promise<void>((resolve) => server.listen(port, host, resolve))
  return server
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port // listening on TCP
}

export function echoOf(answer: Answer): Echo {
  return JSON.parse(answer.body) as Echo
}
