/** The node proxy as a process of its own, with a control plane and an authority over gRPC. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { create, security, typeUrl } from '../../src/proto/index.ts'
import {
  createAuthority,
  podAddress,
  portList,
  readAll,
  refusal,
  serviceAddress,
  TestNetwork,
  type TestPod,
  until,
} from './nodeproxy-kit.ts'
import { ControlPlane, page, type Resources } from './nodeproxy-process-kit.ts'

const skip = refusal('test/netns/nodeproxy-process.test.ts')
const vip = '10.96.0.77'

describe('the node proxy process', { skip }, () => {
  const resources: Resources = { addresses: new Map(), policies: new Map() }
  const ports = { admin: 25_000, metrics: 25_020, ready: 25_021 }
  let network: TestNetwork
  let controlPlane: ControlPlane
  let xdsPort: number
  let child: ChildProcess | undefined
  let output = ''
  let client: TestPod
  let server: TestPod

  before(async () => {
    network = new TestNetwork()
    const authority = await createAuthority()
    controlPlane = new ControlPlane(authority, resources)
    xdsPort = await controlPlane.start()
    writeFileSync(join(network.folder, 'root.pem'), authority.rootPem)
    writeFileSync(join(network.folder, 'token'), 'the-token')
    client = await network.addPod('client')
    server = await network.addPod('server')
    await network.serve(server, 9000, (socket) => socket.pipe(socket))
  })
  after(async () => {
    child?.kill('SIGKILL')
    await controlPlane.stop()
    await network.close()
  })

  function startProxy(): ChildProcess {
    output = ''
    const started = spawn(process.execPath, [resolve('src/nodeproxy/main.ts')], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        XDS_ADDRESS: `127.0.0.1:${xdsPort}`,
        ALT_XDS_HOSTNAME: 'istiod.istio-system.svc',
        ALT_CA_HOSTNAME: 'istiod.istio-system.svc',
        XDS_ROOT_CA: join(network.folder, 'root.pem'),
        AUTH_TOKEN: join(network.folder, 'token'),
        INPOD_UDS: network.zdsPath,
        POD_NAME: 'ztunnel-1',
        POD_NAMESPACE: 'istio-system',
        INSTANCE_IP: '10.244.0.1',
        ADMIN_PORT: String(ports.admin),
        STATS_PORT: String(ports.metrics),
        READINESS_PORT: String(ports.ready),
        NODE_OPTIONS: '--disable-warning=ExperimentalWarning',
      },
    })
    started.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
    return started
  }

  async function ready(): Promise<void> {
    const end = Date.now() + 10_000
    while ((await page(ports.ready, '/healthz/ready'))?.[0] !== 200) {
      if (Date.now() > end) throw new Error(`the proxy does not become ready: ${output}`)
      await new Promise((done) => setTimeout(done, 30))
    }
  }

  async function echo(): Promise<string> {
    const socket = await network.connect(client, vip, 80)
    socket.end('hello')
    return (await readAll(socket)).toString()
  }

  test('it is not ready before the agent’s pods are there, and names what it waits for', async () => {
    child = startProxy()
    let answer: [number, string] | undefined
    const end = Date.now() + 10_000
    while ((answer = await page(ports.ready, '/healthz/ready')) === undefined && Date.now() < end) {
      await new Promise((done) => setTimeout(done, 20))
    }
    assert.equal(answer?.[0], 500)
    assert.match(answer?.[1] ?? '', /the node agent has not sent its pods/)
    await network.zds.start()
    await ready()
  })

  test('pods enrolled over ZDS talk through services that came over xDS', async () => {
    await network.enrol(client)
    await network.enrol(server)
    const services = { 'default/echo.default.svc.cluster.local': portList({ 80: 9000 }) }
    resources.addresses.set('client', podAddress(client))
    resources.addresses.set('server', podAddress(server, { services }))
    resources.addresses.set('echo', serviceAddress('echo', vip, { 80: 9000 }))
    controlPlane.push(typeUrl.address)
    assert.equal(await echo(), 'hello')
    assert.equal(
      controlPlane.seen.node,
      'ztunnel~10.244.0.1~ztunnel-1.istio-system~istio-system.svc.cluster.local',
    )
    assert.ok(
      controlPlane.seen.impersonated.includes('spiffe://cluster.local/ns/default/sa/client'),
    )
    await until('the access log on standard output', () => /direction="inbound"/.test(output))
  })

  test('its pages show metrics, configuration and log levels', async () => {
    for (const path of ['/metrics', '/stats/prometheus']) {
      const [status, text] = (await page(ports.metrics, path)) ?? []
      assert.equal(status, 200)
      assert.match(text ?? '', /^istio_tcp_connections_opened_total\{reporter="source"/m)
      assert.match(text ?? '', /^istio_build\{component="ztunnel"/m)
    }
    const dump = JSON.parse((await page(ports.admin, '/config_dump'))?.[1] ?? '') as {
      workloads: { name: string; protocol: string }[]
      services: { endpoints: Record<string, unknown> }[]
      certificates: { identity: string; state: string; certChain: { pem: string }[] }[]
      workloadState: Record<string, { info: { name: string } }>
    }
    assert.deepEqual(dump.workloads.map(({ name, protocol }) => `${name} ${protocol}`).toSorted(), [
      'client HBONE',
      'server HBONE',
    ])
    assert.equal(Object.keys(dump.services[0]?.endpoints ?? {}).length, 1)
    assert.equal(dump.workloadState[server.uid]?.info.name, 'server')
    const certificate = dump.certificates.find(({ identity }) => identity.endsWith('/sa/client'))
    assert.equal(certificate?.state, 'Available')
    assert.match(
      Buffer.from(certificate?.certChain[0]?.pem ?? '', 'base64').toString(),
      /BEGIN CERT/,
    )
    assert.equal((await page(ports.admin, '/logging?level=access=debug', 'POST'))?.[0], 200)
    assert.equal((await page(ports.admin, '/logging?level=loud', 'POST'))?.[0], 400)
    await echo()
    await until('debug lines', () => /\tdebug\taccess\tconnection opened/.test(output))
    assert.equal((await page(ports.admin, '/logging?reset', 'POST'))?.[0], 200)
  })

  test('a policy over xDS closes a live connection within a second', async () => {
    const socket = await network.connect(client, vip, 80)
    socket.write('x')
    await once(socket, 'data')
    const closed = once(socket, 'error')
    const startedAt = Date.now()
    const scope = security.Scope.NAMESPACE
    resources.policies.set(
      'default/deny',
      create(security.AuthorizationSchema, { name: 'deny', namespace: 'default', scope }),
    )
    controlPlane.push(typeUrl.authorization)
    await closed
    assert.ok(Date.now() - startedAt < 1000)
    resources.policies.clear()
  })

  test('without the control plane everything goes on, and it converges when that is back', async () => {
    await controlPlane.stop()
    await assert.rejects(echo(), 'the last policy stays in force')
    assert.equal((await page(ports.ready, '/healthz/ready'))?.[0], 200)
    assert.equal(await controlPlane.start(xdsPort), xdsPort)
    const allow = create(security.AuthorizationSchema, {
      name: 'deny',
      namespace: 'default',
      scope: security.Scope.NAMESPACE,
      rules: [{}],
    })
    resources.policies.set('default/deny', allow)
    const end = Date.now() + 10_000
    while ((await echo().catch(() => '')) !== 'hello') {
      assert.ok(Date.now() < end, 'it converges')
      await new Promise((done) => setTimeout(done, 50))
    }
  })

  test('kill -9: nothing passes while it is away, and traffic resumes with the next one', async () => {
    let leaked = 0
    await network.serve(server, 9001, () => void leaked++)
    child?.kill('SIGKILL')
    if (child !== undefined) await once(child, 'exit')
    await assert.rejects(network.connect(client, server.ip, 9001), { code: 'ECONNREFUSED' })
    assert.equal(leaked, 0)
    child = startProxy()
    await ready()
    assert.equal(await echo(), 'hello')
  })

  test('SIGTERM ends it with status 0', async () => {
    assert.ok(child)
    child.kill('SIGTERM')
    const [code] = (await once(child, 'exit')) as [number | null]
    assert.equal(code, 0)
    child = undefined
  })
})
