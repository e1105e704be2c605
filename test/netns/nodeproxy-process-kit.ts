/** The node proxy as a process of its own, and a control plane with an authority for it over gRPC. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { silentLogger } from '../../src/base/index.ts'
import { GrpcServer } from '../../src/grpc/index.ts'
import {
  AggregatedDiscoveryService,
  AnySchema,
  ca,
  create,
  DeltaDiscoveryResponseSchema,
  ResourceSchema,
  security,
  toBinary,
  typeUrl,
  workload,
} from '../../src/proto/index.ts'
import { generateEcKeyPair, issueCertificate } from '../../src/x509/index.ts'
import { freePort } from '../free-port.ts'
import { createAuthority, type TestAuthority, TestNetwork } from './nodeproxy-kit.ts'

export interface Resources {
  readonly addresses: Map<string, workload.Address>
  readonly policies: Map<string, security.Authorization>
}

/** Sends all it has at the first request of a type on a stream, and changes when told. */
export class ControlPlane {
  readonly #authority: TestAuthority
  readonly #resources: Resources
  readonly #pushers = new Set<(type: string) => void>()
  readonly seen: { token: string | undefined; node: string; impersonated: string[] } = {
    token: undefined,
    node: '',
    impersonated: [],
  }
  #server: GrpcServer | undefined

  constructor(authority: TestAuthority, resources: Resources) {
    this.#authority = authority
    this.#resources = resources
  }

  async start(port = 0): Promise<number> {
    const keys = await generateEcKeyPair()
    const { rootPem, key } = this.#authority
    const chainPem = await issueCertificate({
      issuer: { certificatePem: rootPem, key },
      publicKey: keys.publicKey,
      names: { dns: ['istiod.istio-system.svc'] },
      notBefore: Date.now() - 60_000,
      notAfter: Date.now() + 3_600_000,
    })
    const server = new GrpcServer({
      listeners: [{ host: '127.0.0.1', port, tls: true }],
      certificate: () => ({ keyPem: keys.privatePem, chainPem, clientRootsPem: rootPem }),
      logger: silentLogger,
    })
    this.#serveXds(server)
    server.registerUnary(ca.IstioCertificateService.method.createCertificate, async (request) => {
      const wanted = String(request.metadata?.['ImpersonatedIdentity'])
      this.seen.impersonated.push(wanted)
      const certChain = [...(await this.#authority.request(request.csr, wanted, 0))]
      return create(ca.IstioCertificateResponseSchema, { certChain })
    })
    await server.start()
    this.#server = server
    return server.ports[0] ?? 0
  }

  #serveXds(server: GrpcServer): void {
    const method = AggregatedDiscoveryService.method.deltaAggregatedResources
    server.registerBidi(method, (stream) => {
      const push = (type: string): void => void stream.send(this.#response(type))
      this.#pushers.add(push)
      stream.onClose(() => this.#pushers.delete(push))
      stream.onMessage((request) => {
        if (request.node !== undefined) this.seen.node = request.node.id
        if (request.responseNonce === '') push(request.typeUrl)
      })
    })
  }

  #response(type: string) {
    const { addresses, policies } = this.#resources
    const encoded: [string, Uint8Array][] =
      type === typeUrl.address
        ? [...addresses].map(([name, value]) => [name, toBinary(workload.AddressSchema, value)])
        : [...policies].map(([name, value]) => [
            name,
            toBinary(security.AuthorizationSchema, value),
          ])
    return create(DeltaDiscoveryResponseSchema, {
      typeUrl: type,
      nonce: `n${Math.random()}`,
      resources: encoded.map(([name, value]) =>
        create(ResourceSchema, {
          name,
          version: '1',
          resource: create(AnySchema, { typeUrl: type, value }),
        }),
      ),
    })
  }

  push(type: string): void {
    for (const push of this.#pushers) push(type)
  }

  async stop(): Promise<void> {
    await this.#server?.stop(0)
  }
}

/** A page of the proxy's own; undefined while it does not answer. */
export async function page(
  port: number,
  path: string,
  method = 'GET',
): Promise<[number, string] | undefined> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method })
    return [response.status, await response.text()]
  } catch {
    return undefined
  }
}

/** A node, a control plane and the proxy's process, which can be measured and squeezed from outside. */
export class ProcessMesh {
  readonly network = new TestNetwork()
  readonly resources: Resources = { addresses: new Map(), policies: new Map() }
  readonly controlPlane: ControlPlane
  readonly #environment: Record<string, string>
  readonly #ports: { readonly admin: number; readonly metrics: number; readonly ready: number }
  child: ChildProcess
  /** What it wrote to standard output. */
  output = ''

  private constructor(
    authority: TestAuthority,
    ports: { admin: number; metrics: number; ready: number },
  ) {
    this.#ports = ports
    this.controlPlane = new ControlPlane(authority, this.resources)
    const folder = this.network.folder
    writeFileSync(join(folder, 'root.pem'), authority.rootPem)
    writeFileSync(join(folder, 'token'), 'the-token')
    this.#environment = {
      ALT_XDS_HOSTNAME: 'istiod.istio-system.svc',
      ALT_CA_HOSTNAME: 'istiod.istio-system.svc',
      XDS_ROOT_CA: join(folder, 'root.pem'),
      AUTH_TOKEN: join(folder, 'token'),
      INPOD_UDS: this.network.zdsPath,
      POD_NAME: 'ztunnel-1',
      POD_NAMESPACE: 'istio-system',
      INSTANCE_IP: '10.244.0.1',
      ADMIN_PORT: String(ports.admin),
      STATS_PORT: String(ports.metrics),
      READINESS_PORT: String(ports.ready),
      NODE_OPTIONS: '--disable-warning=ExperimentalWarning',
    }
    // Assigned for good by `create`, which starts it.
    this.child = undefined as unknown as ChildProcess
  }

  static async create(): Promise<ProcessMesh> {
    const ports = { admin: await freePort(), metrics: await freePort(), ready: await freePort() }
    const mesh = new ProcessMesh(await createAuthority(), ports)
    const xdsPort = await mesh.controlPlane.start()
    mesh.#environment['XDS_ADDRESS'] = `127.0.0.1:${xdsPort}`
    await mesh.network.zds.start()
    mesh.startProxy()
    await mesh.ready()
    return mesh
  }

  startProxy(): void {
    this.child = spawn(process.execPath, [resolve('src/nodeproxy/main.ts')], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: this.#environment,
    })
    this.child.stdout?.on('data', (chunk: Buffer) => (this.output += chunk.toString()))
  }

  async ready(): Promise<void> {
    const end = Date.now() + 20_000
    while ((await page(this.#ports.ready, '/healthz/ready'))?.[0] !== 200) {
      if (Date.now() > end) throw new Error(`the proxy does not become ready: ${this.output}`)
      await new Promise((done) => setTimeout(done, 30))
    }
  }

  /** A metric's first value. */
  async metric(name: string): Promise<number> {
    const [, text = ''] = (await page(this.#ports.metrics, '/metrics')) ?? []
    return Number(new RegExp(`^${name}(\\{.*\\})? (.*)$`, 'm').exec(text)?.[2] ?? Number.NaN)
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error('the proxy did not start')
    return this.child.pid
  }

  /** Resident memory in bytes. */
  rss(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
  }

  openFiles(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length
  }

  async close(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exit = once(this.child, 'exit')
      this.child.kill('SIGKILL')
      await exit
    }
    await this.controlPlane.stop()
    await this.network.close()
  }
}
