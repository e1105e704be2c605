/** Workloads behind a gateway of another network, and pods that take traffic meant for others. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import tls from 'node:tls'
import { systemClock } from '../../src/base/index.ts'
import { relay, serveHbone } from '../../src/hbone/index.ts'
import { tlsServerOptions } from '../../src/identity/index.ts'
import { connectTcp } from '../../src/linux/index.ts'
import { expose } from '../../src/metrics/index.ts'
import { workload } from '../../src/proto/index.ts'
import { decodeProxyHeader } from '../../src/streams/index.ts'
import {
  bytes,
  certificateOf,
  createAuthority,
  portList,
  readAll,
  refusal,
  TestMesh,
  type TestPod,
  until,
} from './nodeproxy-kit.ts'

const skip = refusal('test/netns/nodeproxy-networks.test.ts')
const farHost = 'far.default.svc.cluster.local'

describe('the node proxy across networks', { skip }, () => {
  let mesh: TestMesh
  let client: TestPod
  let gateway: TestPod
  let far: TestPod
  /** What the gateway was asked for, and whether it could read what went through. */
  const seen: { authority: string; network: unknown; firstByte: number }[] = []

  before(async () => {
    const authority = await createAuthority()
    mesh = await TestMesh.create({ authority })
    client = await mesh.pod('client', { workload: { clusterId: 'near', canonicalName: 'client' } })
    gateway = await mesh.pod('gateway', {
      enrolled: false,
      workload: { network: 'west', tunnelProtocol: workload.TunnelProtocol.HBONE },
    })
    const certificate = await certificateOf(
      authority,
      'spiffe://cluster.local/ns/default/sa/gateway',
    )
    const server = tls.createServer(tlsServerOptions(certificate), (socket) => {
      socket.on('error', () => {})
      serveHbone(socket, {
        clock: systemClock,
        onRequest: (request) => {
          const entry = {
            authority: request.authorityText,
            network: request.headers['x-forwarded-network'],
            firstByte: 0,
          }
          seen.push(entry)
          const stream = request.accept()
          const open = connectTcp({ netnsFd: gateway.netnsFd, host: far.ip, port: 15_008 })
          const carry = open.then((socket) => {
            stream.once('data', (data: Buffer) => (entry.firstByte = data[0] ?? 0))
            const ended = relay({ client: stream, server: socket, onForward() {}, onBackward() {} })
            return ended.finally(() => socket.destroy())
          })
          carry.catch(() => {})
        },
      })
    })
    await mesh.serve(gateway, 15_008, (socket) => void server.emit('connection', socket))
    far = await mesh.pod('far', {
      workload: {
        network: 'west',
        services: { [`default/${farHost}`]: portList({ 80: 9000 }) },
        networkGateway: {
          destination: {
            case: 'address',
            value: { network: 'west', address: bytes(gateway.ip) },
          },
          hboneMtlsPort: 15_008,
        },
      },
    })
    await mesh.serve(far, 9000, (socket) => socket.pipe(socket))
    mesh.service(
      'far',
      '10.96.0.50',
      { 80: 9000 },
      {
        subjectAltNames: ['spiffe://cluster.local/ns/default/sa/far'],
      },
    )
  })
  after(() => mesh.close())

  async function echo(host: string, port: number, text: string): Promise<string> {
    const socket = await mesh.connect(client, host, port)
    socket.end(text)
    return (await readAll(socket)).toString()
  }

  test('a service there is reached by a tunnel in a tunnel, which the gateway can not read', async () => {
    const text = 'x'.repeat(300_000)
    assert.equal(await echo('10.96.0.50', 80, text), text)
    assert.deepEqual(seen.splice(0), [
      // 22: a TLS handshake record, of the client with the far pod.
      { authority: `${farHost}:80`, network: undefined, firstByte: 22 },
    ])
    await until('the far end has logged it', () =>
      mesh.accessLines.some(
        (line) =>
          line.includes('direction="inbound"') &&
          line.includes('src.identity="spiffe://cluster.local/ns/default/sa/client"') &&
          line.includes('dst.workload="far"'),
      ),
    )
  })

  test('there the client is described by its baggage, since the address is the gateway’s', () => {
    const series = expose(mesh.proxy.metrics.families(), 'prometheus')
      .split('\n')
      .find(
        (line) =>
          line.startsWith('istio_tcp_connections_opened_total') &&
          line.includes('reporter="destination"') &&
          line.includes('destination_workload="far"'),
      )
    assert.match(series ?? '', /source_canonical_service="client".*source_cluster="near"/)
  })

  test('the far end must prove an identity of the service: the gateway’s is not enough', async () => {
    mesh.service(
      'far',
      '10.96.0.50',
      { 80: 9000 },
      {
        subjectAltNames: ['spiffe://cluster.local/ns/default/sa/other'],
      },
    )
    await assert.rejects(echo('10.96.0.50', 80, 'secret'))
    await until('the reason in the log', () =>
      mesh.accessLines.some((line) => /sa\/other failed/.test(line)),
    )
  })

  test('a workload there without a gateway is refused, and the log says why', async () => {
    const lonely = await mesh.pod('lonely', {
      enrolled: false,
      workload: {
        network: 'east',
        services: { 'default/alone.default.svc.cluster.local': portList({ 80: 9000 }) },
      },
    })
    mesh.service('alone', '10.96.0.51', { 80: 9000 })
    await assert.rejects(echo('10.96.0.51', 80, 'x'))
    await until('the reason in the log', () =>
      mesh.accessLines.some(
        (line) => line.includes(`Pod/default/${lonely.name}`) && line.includes('has no gateway'),
      ),
    )
  })
})

describe('the node proxy before an application tunnel', { skip }, () => {
  let mesh: TestMesh
  let client: TestPod
  let waypoint: TestPod

  before(async () => {
    mesh = await TestMesh.create()
    client = await mesh.pod('client')
    waypoint = await mesh.pod('waypoint', {
      workload: {
        services: { 'default/waypoint.default.svc.cluster.local': portList({ 15008: 15008 }) },
        applicationTunnel: { protocol: workload.ApplicationTunnel_Protocol.PROXY, port: 15_088 },
      },
    })
    mesh.service('waypoint', '10.96.0.60', { 15008: 15008 })
    mesh.service(
      'shop',
      '10.96.0.61',
      { 80: 8080 },
      {
        waypoint: {
          destination: {
            case: 'hostname',
            value: { namespace: 'default', hostname: 'waypoint.default.svc.cluster.local' },
          },
          hboneMtlsPort: 15_008,
        },
      },
    )
  })
  after(() => mesh.close())

  test('the application learns client, destination and identity from a PROXY header', async () => {
    const received = Promise.withResolvers<Buffer>()
    await mesh.serve(waypoint, 15_088, (socket) => {
      assert.equal(socket.localAddress, '127.0.0.1')
      void readAll(socket).then(received.resolve, received.reject)
      socket.end('answer')
    })
    const socket = await mesh.connect(client, '10.96.0.61', 80)
    socket.end('GET /')
    assert.equal((await readAll(socket)).toString(), 'answer')
    const data = await received.promise
    const decoded = decodeProxyHeader(data)
    assert.ok(decoded.kind === 'complete' && decoded.header !== undefined)
    const { source, destination, extensions } = decoded.header
    assert.equal(source.address, client.ip)
    assert.deepEqual(destination, { address: '10.96.0.61', port: 80 })
    assert.equal(
      Buffer.from(extensions.get(0xd0) ?? []).toString(),
      'spiffe://cluster.local/ns/default/sa/client',
    )
    assert.equal(data.subarray(decoded.length).toString(), 'GET /')
  })
})
