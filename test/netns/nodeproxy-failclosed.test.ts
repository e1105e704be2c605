/** What the node proxy must never do: plaintext in the place of HBONE, trust without proof, detours. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import { after, before, describe, test } from 'node:test'
import tls from 'node:tls'
import { tlsServerOptions } from '../../src/identity/index.ts'
import { connectTcp } from '../../src/linux/index.ts'
import { workload } from '../../src/proto/index.ts'
import {
  certificateOf,
  createAuthority,
  readAll,
  refusal,
  type TestAuthority,
  TestMesh,
  type TestPod,
  until,
} from './nodeproxy-kit.ts'

const skip = refusal('test/netns/nodeproxy-failclosed.test.ts')

describe('the node proxy fails closed', { skip }, () => {
  let authority: TestAuthority
  let refusing = false
  let mesh: TestMesh
  let client: TestPod
  let server: TestPod
  let outsider: TestPod

  before(async () => {
    authority = await createAuthority()
    mesh = await TestMesh.create({
      authority: {
        async request(csr, identity, ttl) {
          if (refusing) throw new Error('the authority is away')
          return authority.request(csr, identity, ttl)
        },
      },
    })
    client = await mesh.pod('client')
    server = await mesh.pod('server')
    outsider = await mesh.pod('outsider', { enrolled: false })
    await mesh.serve(server, 9000, (socket) => socket.pipe(socket))
  })
  after(() => mesh.close())

  const hbone = { tunnelProtocol: workload.TunnelProtocol.HBONE }

  async function fails(from: TestPod, host: string, port: number): Promise<void> {
    await assert.rejects(async () => {
      const socket = await mesh.connect(from, host, port)
      socket.write('secret')
      const answer = await readAll(socket)
      if (answer.length === 0) throw new Error('closed without an answer')
    })
  }

  test('a peer with another identity than the workload’s is refused, and no byte reaches it in the clear', async () => {
    const impostor = await mesh.pod('impostor', { enrolled: false, workload: hbone })
    let plaintext = ''
    await mesh.serve(
      impostor,
      9000,
      (socket) => void socket.on('data', (data) => (plaintext += data.toString())),
    )
    const evil = await certificateOf(authority, 'spiffe://cluster.local/ns/default/sa/evil')
    const handshakes = tls.createServer(tlsServerOptions(evil))
    await mesh.serve(impostor, 15_008, (socket) => void handshakes.emit('connection', socket))
    await fails(client, impostor.ip, 9000)
    assert.equal(plaintext, '')
    await until('the reason in the log', () =>
      mesh.accessLines.some((line) => /sa\/impostor failed: .*sa\/evil/.test(line)),
    )
  })

  test('an HBONE workload without a proxy is not reached in plaintext instead', async () => {
    const bare = await mesh.pod('bare', { enrolled: false, workload: hbone })
    let reached = false
    await mesh.serve(bare, 9000, () => (reached = true))
    await fails(client, bare.ip, 9000)
    assert.equal(reached, false)
  })

  test('without a certificate there is no connection', async () => {
    const fresh = await mesh.pod('fresh', { enrolled: false })
    refusing = true
    try {
      await mesh.enrol(fresh)
      mesh.announce(fresh)
      await fails(fresh, server.ip, 9000)
      await fails(client, fresh.ip, 9000)
    } finally {
      refusing = false
    }
    await until('the reason in the log', () =>
      mesh.accessLines.some((line) => line.includes('there is no certificate for spiffe')),
    )
  })

  test('a waypoint that is not there fails the call instead of being passed by', async () => {
    let reached = 0
    await mesh.serve(server, 9001, () => void reached++)
    const waypoint = {
      destination: {
        case: 'hostname' as const,
        value: { namespace: 'default', hostname: 'waypoint.default.svc.cluster.local' },
      },
    }
    mesh.announce(server, { waypoint })
    await fails(client, server.ip, 9001)
    mesh.announce(server)
    assert.equal(reached, 0)
  })

  test('a workload of another network is refused, not called directly', async () => {
    const far = await mesh.pod('far', { workload: { network: 'other' } })
    mesh.service('far', '10.96.0.99', { 80: 9000 })
    mesh.announce(far, {
      network: 'other',
      services: {
        'default/far.default.svc.cluster.local': { ports: [{ servicePort: 80, targetPort: 9000 }] },
      },
    })
    await fails(client, '10.96.0.99', 80)
  })

  test('a service without endpoints, or without the port, resets the client', async () => {
    mesh.service('empty', '10.96.0.78', { 80: 80 })
    await fails(client, '10.96.0.78', 80)
    await fails(client, '10.96.0.78', 81)
  })

  test('the proxy’s own ports can’t be reached through it', async () => {
    for (const port of [15_001, 15_006]) await fails(outsider, server.ip, port)
    for (const port of [15_001, 15_006, 15_008]) await fails(server, server.ip, port)
  })

  test('a pod whose workload comes late is served when it comes', async () => {
    const late = await mesh.pod('late', { enrolled: false })
    mesh.proxy.store.removeAddress('Kubernetes//Pod/default/late')
    await mesh.enrol(late)
    const socket = await mesh.connect(late, server.ip, 9000)
    socket.end('x')
    const answer = readAll(socket)
    await new Promise((resolve) => setTimeout(resolve, 300))
    mesh.announce(late)
    assert.equal((await answer).toString(), 'x')
  })

  describe('a hand-made HBONE client', () => {
    async function session(identity?: string): Promise<http2.ClientHttp2Session> {
      const certificate =
        identity === undefined ? undefined : await certificateOf(authority, identity)
      const socket = await connectTcp({
        netnsFd: outsider.netnsFd,
        host: server.ip,
        port: 15_008,
        allowHalfOpen: false,
      })
      const secure = tls.connect({
        socket,
        ca: authority.rootPem,
        ALPNProtocols: ['h2'],
        checkServerIdentity: () => undefined,
        ...(certificate && { key: certificate.keyPem, cert: certificate.chainPem }),
      })
      await once(secure, 'secureConnect')
      secure.on('error', () => socket.destroy())
      assert.equal(secure.getProtocol(), 'TLSv1.3')
      return http2.connect('https://x', { createConnection: () => secure })
    }

    async function ask(headers: http2.OutgoingHttpHeaders, identity: string): Promise<number> {
      const peer = await session(identity)
      try {
        const stream = peer.request(headers)
        stream.on('error', () => {})
        const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
        return Number(answer[':status'])
      } finally {
        peer.destroy()
      }
    }

    const friend = 'spiffe://cluster.local/ns/default/sa/outsider'
    const connect = (authorityText: string) => ({
      ':method': 'CONNECT',
      ':authority': authorityText,
    })

    test('is served with a certificate of the mesh', async () => {
      assert.equal(await ask(connect(`${server.ip}:9000`), friend), 200)
    })

    test('is refused without a certificate and with one of another trust domain', async () => {
      for (const identity of [undefined, 'spiffe://elsewhere/ns/default/sa/client']) {
        const peer = await session(identity)
        peer.on('error', () => {})
        const stream = peer.request(connect(`${server.ip}:9000`))
        stream.on('error', () => {})
        let answered = false
        stream.on('response', () => (answered = true))
        await new Promise<void>((resolve) => void stream.once('close', resolve))
        peer.destroy()
        assert.equal(answered, false)
      }
    })

    test('gets 400 for other methods, broken authorities and other pods, 503 for ports of the proxy', async () => {
      assert.equal(await ask({ ':method': 'GET', ':path': '/' }, friend), 400)
      assert.equal(await ask(connect('nonsense'), friend), 400)
      assert.equal(await ask(connect(`${client.ip}:9000`), friend), 400)
      assert.equal(await ask(connect(`${server.ip}:15001`), friend), 503)
      assert.equal(await ask(connect('unknown.default.svc.cluster.local:80'), friend), 503)
    })
  })
})
