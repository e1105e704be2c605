/**
 * A mesh small enough for one test process: a node's network namespace, pods as namespaces with
 * routed veths, a node proxy fed through a real ZDS socket, a certificate authority, and the store
 * in the place of the control plane. Packets, TLS, redirection rules and sockets are real.
 */
import { type KeyObject, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { MessageInitShape } from '@bufbuild/protobuf'
import {
  type Clock,
  createLogger,
  LogControl,
  type Logger,
  parseIp,
  silentLogger,
  systemClock,
} from '../../src/base/index.ts'
import type { NameServer } from '../../src/dns/index.ts'
import type { CertificateSource, WorkloadCertificate } from '../../src/identity/index.ts'
import {
  closeFd,
  connectTcp,
  createNetns,
  findTool,
  ipBatch,
  listenTcp,
  runTool,
  SystemCallError,
  type ToolResult,
  withNetns,
} from '../../src/linux/index.ts'
import { choosePodRules, type PodRules, type RuleBackend } from '../../src/nodeagent/index.ts'
import { NodeProxy, readConfig } from '../../src/nodeproxy/index.ts'
import { create, security, workload } from '../../src/proto/index.ts'
import {
  createCaCertificate,
  createCsr,
  generateEcKeyPair,
  issueCertificate,
  parseCsr,
} from '../../src/x509/index.ts'
import { ZdsServer } from '../../src/zds/index.ts'

/** Why network tests can't run here, or undefined. */
export function refusal(file: string): string | undefined {
  try {
    closeFd(createNetns())
    if (findTool('ip') === undefined) throw new Error('no ip')
    return undefined
  } catch (error) {
    const known = error instanceof SystemCallError && error.errno === 'EPERM'
    if (!known && !(error instanceof Error && error.message.startsWith('no '))) throw error
    process.stderr.write(`SKIPPED ${file}: ${error.message}\n`)
    return error.message
  }
}

export interface TestPod {
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
  readonly ip: string
  readonly uid: string
  readonly netnsFd: number
  enrolled: boolean
}

type WorkloadInit = MessageInitShape<typeof workload.WorkloadSchema>
type ServiceInit = MessageInitShape<typeof workload.ServiceSchema>
type PolicyInit = MessageInitShape<typeof security.AuthorizationSchema>

export interface MeshOptions {
  readonly authority?: CertificateSource
  readonly clock?: Clock
  /** What writes the redirection rules; default what this machine has. */
  readonly backend?: RuleBackend
  /** Lead the pods' DNS questions to the proxy, which asks these about other names. */
  readonly nameServers?: () => readonly NameServer[]
  /** More of the proxy's environment. */
  readonly environment?: Readonly<Record<string, string>>
}

/** Signs whatever is asked for. */
export interface TestAuthority extends CertificateSource {
  readonly rootPem: string
  readonly key: KeyObject
}

export async function createAuthority(): Promise<TestAuthority> {
  const keys = await generateEcKeyPair()
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
  const subject = { organizations: ['test'] }
  const rootPem = await createCaCertificate({ keys, subject, ...validity })
  return {
    rootPem,
    key: keys.privateKey,
    async request(csrPem, identity) {
      const issuer = { certificatePem: rootPem, key: keys.privateKey }
      const { publicKey } = parseCsr(csrPem)
      const names = { uris: [identity] }
      return [await issueCertificate({ issuer, publicKey, names, ...validity }), rootPem]
    },
  }
}

/** A certificate for a peer that is not the node proxy. */
export async function certificateOf(
  authority: CertificateSource,
  identity: string,
): Promise<WorkloadCertificate> {
  const keys = await generateEcKeyPair()
  const chain = await authority.request(await createCsr(keys, [identity]), identity, 3_600_000)
  const [chainPem = '', rootsPem = ''] = chain
  const keyPem = keys.privatePem
  return { identity, keyPem, chainPem, rootsPem, notBefore: 0, notAfter: Infinity, serial: '1' }
}

/** The node: namespaces, veths, rules, and the agent's end of ZDS. */
export class TestNetwork {
  readonly folder: string
  readonly zdsPath: string
  readonly zds: ZdsServer
  readonly #node: number
  readonly #pods: TestPod[] = []
  readonly #closers: (() => void)[] = []

  readonly #backend: RuleBackend | undefined
  readonly #dns: boolean
  #rules: Promise<PodRules> | undefined

  constructor({ clock = systemClock, backend, nameServers }: MeshOptions = {}) {
    this.#backend = backend
    this.#dns = nameServers !== undefined
    this.#node = createNetns()
    withNetns(this.#node, () => {
      writeFileSync('/proc/sys/net/ipv4/ip_forward', '1')
      writeFileSync('/proc/sys/net/ipv4/conf/all/rp_filter', '0')
    })
    this.folder = mkdtempSync(join(tmpdir(), 'weft-np-'))
    this.zdsPath = join(this.folder, 'z.sock')
    this.zds = new ZdsServer({ path: this.zdsPath, logger: silentLogger, clock })
  }

  /** A pod with its namespace and route. */
  async addPod(name: string, namespace = 'default'): Promise<TestPod> {
    const number = this.#pods.length + 10
    const pod: TestPod = {
      name,
      namespace,
      serviceAccount: name,
      ip: `10.244.9.${number}`,
      uid: randomUUID(),
      netnsFd: createNetns(),
      enrolled: false,
    }
    this.#pods.push(pod)
    await this.#wire(pod, `v${number}`)
    return pod
  }

  async #wire(pod: TestPod, outside: string): Promise<void> {
    const peer = `/proc/${process.pid}/fd/${pod.netnsFd}`
    await ipBatch(
      [
        `link add ${outside} type veth peer name eth0 netns ${peer}`,
        `addr add 169.254.1.1/32 dev ${outside}`,
        `link set ${outside} up`,
        `route add ${pod.ip}/32 dev ${outside}`,
      ],
      { netnsFd: this.#node },
    )
    await ipBatch(
      [
        'link set lo up',
        'link set eth0 up',
        `addr add ${pod.ip}/32 dev eth0`,
        'route add 169.254.1.1 dev eth0 scope link',
        `route add default via 169.254.1.1 dev eth0 src ${pod.ip}`,
      ],
      { netnsFd: pod.netnsFd },
    )
  }

  async enrol(pod: TestPod): Promise<void> {
    this.#rules ??= choosePodRules({
      tools: [],
      logger: silentLogger,
      ...(this.#backend === undefined ? {} : { backend: this.#backend }),
    })
    await (await this.#rules).apply(pod.netnsFd, {
      dns: this.#dns,
      inbound: true,
      ipv6: false,
      virtualInterfaces: [],
    })
    const { uid, name, namespace, serviceAccount, netnsFd } = pod
    const state = await this.zds.add({ uid, info: { name, namespace, serviceAccount }, netnsFd })
    if (state.state !== 'enabled') throw new Error(`pod ${name}: ${state.reason}`)
    pod.enrolled = true
  }

  withdraw(pod: TestPod): Promise<void> {
    return this.zds.delete(pod.uid)
  }

  /** Connects as a program of the pod would. */
  connect(pod: TestPod, host: string, port: number): Promise<net.Socket> {
    return connectTcp({ netnsFd: pod.netnsFd, host, port, connectTimeoutMs: 8000 })
  }

  /** A TCP server in the pod. */
  async serve(
    pod: TestPod,
    port: number,
    onConnection: (socket: net.Socket) => void,
  ): Promise<void> {
    const sockets = new Set<net.Socket>()
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
      onConnection(socket)
    })
    server.listen({ fd: listenTcp({ netnsFd: pod.netnsFd, family: 4, address: '0.0.0.0', port }) })
    await once(server, 'listening')
    this.#closers.push(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
  }

  /** Runs nft where the node forwards packets between pods. */
  async nft(...args: readonly string[]): Promise<void> {
    const path = findTool('nft') ?? 'nft'
    const result = await runTool({ path, args, netnsFd: this.#node, timeoutMs: 5_000 })
    if (result.code !== 0) throw new Error(`nft ${args.join(' ')}: ${result.stderr}`)
  }

  /** Runs a program inside the pod's namespace. */
  run(pod: TestPod, tool: string, args: readonly string[]): Promise<ToolResult> {
    return runTool({ path: findTool(tool) ?? tool, args, netnsFd: pod.netnsFd, timeoutMs: 15_000 })
  }

  async close(): Promise<void> {
    for (const close of this.#closers) close()
    await this.zds.stop()
    for (const pod of this.#pods) closeFd(pod.netnsFd)
    closeFd(this.#node)
    rmSync(this.folder, { recursive: true })
  }
}

/** A node with a node proxy inside this process. */
export class TestMesh extends TestNetwork {
  readonly proxy: NodeProxy
  readonly accessLines: string[] = []

  private constructor(authority: CertificateSource, options: MeshOptions) {
    super(options)
    const { clock = systemClock } = options
    const logControl = new LogControl('info')
    const verbose = process.env['WEFT_TEST_LOG'] === '1'
    const write = (line: string): void => {
      if (verbose) process.stderr.write(line)
      if (line.includes('\taccess\t')) this.accessLines.push(line)
    }
    const logger: Logger = createLogger('ztunnel', { write, now: () => clock.now() }, logControl)
    const loopback = { host: '127.0.0.1', port: 0 }
    this.proxy = new NodeProxy({
      config: {
        ...readConfig({ XDS_ADDRESS: '', INPOD_UDS: this.zdsPath, ...options.environment }),
        adminAddress: loopback,
        metricsAddress: loopback,
        readinessAddress: loopback,
      },
      authority,
      clock,
      logger,
      logControl,
      write,
      random: Math.random,
      ...(options.nameServers === undefined ? {} : { nameServers: options.nameServers }),
      onQuit: () => {},
    })
  }

  static async create(options: MeshOptions = {}): Promise<TestMesh> {
    const authority = options.authority ?? (await createAuthority())
    const mesh = new TestMesh(authority, options)
    await mesh.zds.start()
    await mesh.proxy.start()
    await mesh.proxy.pods.ready
    return mesh
  }

  /** A pod as the control plane knows it; unless `enrolled` is false, with rules and the proxy. */
  async pod(
    name: string,
    options: { enrolled?: boolean; workload?: WorkloadInit } = {},
  ): Promise<TestPod> {
    const pod = await this.addPod(name)
    if (options.enrolled ?? true) await this.enrol(pod)
    this.announce(pod, options.workload)
    return pod
  }

  /** What the control plane says of a pod. */
  announce(pod: TestPod, init: WorkloadInit = {}): void {
    this.proxy.store.putAddress(podAddress(pod, init))
  }

  /** A Service; its pods list it in their workload's `services`. */
  service(name: string, vip: string, ports: Record<number, number>, init: ServiceInit = {}): void {
    this.proxy.store.putAddress(serviceAddress(name, vip, ports, init))
  }

  policy(init: PolicyInit): void {
    this.proxy.store.putPolicy(
      create(security.AuthorizationSchema, { name: 'p', namespace: 'default', ...init }),
    )
  }

  override async close(): Promise<void> {
    await this.proxy.stop(0)
    await super.close()
  }
}

/** The Address resource of a pod. */
export function podAddress(pod: TestPod, init: WorkloadInit = {}): workload.Address {
  const value = create(workload.WorkloadSchema, {
    uid: `Kubernetes//Pod/${pod.namespace}/${pod.name}`,
    name: pod.name,
    namespace: pod.namespace,
    serviceAccount: pod.serviceAccount,
    addresses: [bytes(pod.ip)],
    tunnelProtocol: pod.enrolled ? workload.TunnelProtocol.HBONE : workload.TunnelProtocol.NONE,
    canonicalName: pod.name,
    workloadName: pod.name,
    ...init,
  })
  return create(workload.AddressSchema, { type: { case: 'workload', value } })
}

export function serviceAddress(
  name: string,
  vip: string,
  ports: Record<number, number>,
  init: ServiceInit = {},
): workload.Address {
  const value = create(workload.ServiceSchema, {
    name,
    namespace: 'default',
    hostname: `${name}.default.svc.cluster.local`,
    addresses: [{ address: bytes(vip) }],
    ports: portList(ports).ports,
    ...init,
  })
  return create(workload.AddressSchema, { type: { case: 'service', value } })
}

export function bytes(ip: string): Uint8Array {
  return parseIp(ip) ?? new Uint8Array()
}

export function portList(ports: Record<number, number>): {
  ports: { servicePort: number; targetPort: number }[]
} {
  const entries = Object.entries(ports)
  return {
    ports: entries.map(([servicePort, targetPort]) => ({
      servicePort: Number(servicePort),
      targetPort,
    })),
  }
}

/** All bytes until the peer's end; rejects when it resets instead. */
export function readAll(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  return new Promise((resolve, reject) => {
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('end', () => resolve(Buffer.concat(chunks)))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed without an end')))
  })
}

export async function until(what: string, check: () => boolean, timeoutMs = 3000): Promise<void> {
  const end = Date.now() + timeoutMs
  while (!check()) {
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
