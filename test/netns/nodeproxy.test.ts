/** The node proxy carrying real traffic between network namespaces. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { after, before, describe, test } from 'node:test'
import { listenTcp } from '../../src/linux/index.ts'
import { expose } from '../../src/metrics/index.ts'
import type { RuleBackend } from '../../src/nodeagent/index.ts'
import { Pods } from '../../src/nodeproxy/index.ts'
import { portList, readAll, refusal, TestMesh, type TestPod, until } from './nodeproxy-kit.ts'

const skip = refusal('test/netns/nodeproxy.test.ts')
const echoHost = 'echo.default.svc.cluster.local'
const vip = '10.96.0.77'

for (const backend of ['nft', 'iptables'] as const)
  describe(`the node proxy between pods (${backend})`, { skip }, () => traffic(backend))

function traffic(backend: RuleBackend): void {
  let mesh: TestMesh
  let client: TestPod
  let server: TestPod
  let outsider: TestPod
  const peers: (string | undefined)[] = []

  before(async () => {
    mesh = await TestMesh.create({ backend })
    client = await mesh.pod('client')
    server = await mesh.pod('server', {
      workload: {
        services: { [`default/${echoHost}`]: portList({ 80: 9000, 81: 9001, 82: 9002, 83: 9003 }) },
      },
    })
    outsider = await mesh.pod('outsider', { enrolled: false })
    mesh.service('echo', vip, { 80: 9000, 81: 9001, 82: 9002, 83: 9003 })
    for (const pod of [server, outsider]) {
      await mesh.serve(pod, 9000, (socket) => {
        peers.push(socket.remoteAddress)
        socket.pipe(socket)
      })
    }
  })
  after(() => mesh.close())

  async function echo(from: TestPod, host: string, port: number, text = 'hello'): Promise<string> {
    const socket = await mesh.connect(from, host, port)
    socket.end(text)
    return (await readAll(socket)).toString()
  }

  async function logged(direction: 'inbound' | 'outbound', from: number): Promise<string> {
    let line: string | undefined
    await until(`an ${direction} log line`, () => {
      line = mesh.accessLines.slice(from).find((text) => text.includes(`direction="${direction}"`))
      return line !== undefined
    })
    return line ?? ''
  }

  test('a call to a pod goes by HBONE, keeps the client’s address and is logged at both ends', async () => {
    const from = mesh.accessLines.length
    assert.equal(await echo(client, server.ip, 9000), 'hello')
    assert.equal(peers.at(-1), client.ip)
    const outbound = await logged('outbound', from)
    assert.ok(outbound.includes(`dst.addr=${server.ip}:15008 dst.hbone_addr=${server.ip}:9000`))
    assert.ok(outbound.includes('src.identity="spiffe://cluster.local/ns/default/sa/client"'))
    assert.ok(outbound.includes('dst.identity="spiffe://cluster.local/ns/default/sa/server"'))
    assert.match(outbound, /bytes_sent=5 bytes_recv=5 duration="\d+ms"\n$/)
    const inbound = await logged('inbound', from)
    assert.ok(inbound.includes(`src.workload="client"`))
    assert.ok(inbound.includes(`dst.service="${echoHost}"`))
  })

  test('a call to a virtual address reaches an endpoint on its target port', async () => {
    const from = mesh.accessLines.length
    assert.equal(await echo(client, vip, 80), 'hello')
    const outbound = await logged('outbound', from)
    assert.ok(outbound.includes(`dst.hbone_addr=${server.ip}:9000 dst.service="${echoHost}"`))
  })

  test('a pod reaches itself through its own service', async () => {
    assert.equal(await echo(server, vip, 80), 'hello')
  })

  test('plaintext flows to and from pods outside the mesh, with the client’s address', async () => {
    const from = mesh.accessLines.length
    assert.equal(await echo(client, outsider.ip, 9000), 'hello')
    assert.equal(peers.at(-1), client.ip)
    assert.doesNotMatch(await logged('outbound', from), /identity|hbone_addr/)
    assert.equal(await echo(outsider, server.ip, 9000), 'hello')
    assert.equal(peers.at(-1), outsider.ip)
    assert.doesNotMatch(await logged('inbound', from), /identity|hbone_addr/)
  })

  test('HTTP with keep-alive works through curl', async () => {
    const web = http.createServer((request, response) => {
      response.end(`${request.method} ${request.url} from ${request.socket.remoteAddress}`)
    })
    web.listen({
      fd: listenTcp({ netnsFd: server.netnsFd, family: 4, address: '0.0.0.0', port: 9001 }),
    })
    await once(web, 'listening')
    try {
      const url = `http://${vip}:81/x`
      const result = await mesh.run(client, 'curl', ['-s', '--max-time', '5', url, url])
      assert.equal(result.stdout, `GET /x from ${client.ip}`.repeat(2))
    } finally {
      web.close()
      web.closeAllConnections()
    }
  })

  test('servers that speak first, and each half-close, pass through', async () => {
    const seen = Promise.withResolvers<string>()
    await mesh.serve(server, 9002, (socket) => {
      socket.write('220 ready\r\n')
      socket.once('data', (chunk) => {
        socket.end(`got ${chunk.toString()}`)
        // The server has ended; the client still speaks.
        void readAll(socket).then((rest) => seen.resolve(rest.toString()))
      })
    })
    const socket = await mesh.connect(client, vip, 82)
    const [banner] = (await once(socket, 'data')) as [Buffer]
    assert.equal(banner.toString(), '220 ready\r\n')
    socket.write('EHLO')
    assert.equal((await readAll(socket)).toString(), 'got EHLO')
    socket.end('after the end')
    assert.equal(await seen.promise, 'after the end')
  })

  test('ten megabytes arrive unchanged in each direction at the same time', async () => {
    const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex')
    const up = randomBytes(10 << 20)
    const down = randomBytes(10 << 20)
    const received = Promise.withResolvers<Buffer>()
    await mesh.serve(server, 9003, (socket) => {
      socket.end(down)
      void readAll(socket).then(received.resolve, received.reject)
    })
    const socket = await mesh.connect(client, vip, 83)
    socket.end(up)
    assert.equal(sha(await readAll(socket)), sha(down))
    assert.equal(sha(await received.promise), sha(up))
  })

  test('a reader that stops reading stops the writer', async () => {
    await mesh.serve(server, 9004, (socket) => void socket.pause())
    const socket = await mesh.connect(client, server.ip, 9004)
    let taken = 0
    const chunk = Buffer.alloc(256 * 1024)
    const push = (): void => {
      while (socket.write(chunk)) taken += chunk.length
    }
    socket.on('drain', push)
    push()
    await new Promise((resolve) => setTimeout(resolve, 700))
    const before = taken
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.equal(taken, before, 'nothing more is taken')
    assert.ok(taken < 64 << 20, `${taken} bytes are under way`)
    socket.destroy()
  })

  test('an application that is not there resets the client and is counted as CONNECT', async () => {
    const from = mesh.accessLines.length
    await assert.rejects(echo(client, server.ip, 9999))
    assert.match(await logged('inbound', from), /\terror\t.*error="the application does not answer/)
    const text = expose(mesh.proxy.metrics.families(), 'prometheus')
    assert.match(
      text,
      /istio_tcp_connections_failed_total\{reporter="destination".*response_flags="CONNECT",connection_security_policy="mutual_tls"/,
    )
  })

  test('a reset by the application reaches the client as a reset', async () => {
    await mesh.serve(
      server,
      9005,
      (socket) => void socket.once('data', () => socket.resetAndDestroy()),
    )
    const socket = await mesh.connect(client, server.ip, 9005)
    socket.write('x')
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
    assert.equal(error.code, 'ECONNRESET')
  })

  test('connections of many clients share few HBONE connections', async () => {
    const results = await Promise.all(Array.from({ length: 50 }, () => echo(client, vip, 80)))
    assert.ok(results.every((text) => text === 'hello'))
    assert.ok(mesh.proxy.pods instanceof Pods)
    const pods = [...mesh.proxy.pods.proxies()].map((proxy) => proxy.pod)
    const pool = pods.find((pod) => pod.uid === client.uid)?.pool
    assert.equal(pool?.connectionCount, 1)
  })

  test('metrics count connections and bytes for both reporters', () => {
    const text = expose(mesh.proxy.metrics.families(), 'prometheus')
    for (const reporter of ['source', 'destination']) {
      const labels = `reporter="${reporter}",source_workload="client".*destination_service="${echoHost}".*destination_workload="server".*connection_security_policy="mutual_tls"`
      for (const name of [
        'connections_opened',
        'connections_closed',
        'sent_bytes',
        'received_bytes',
      ]) {
        assert.match(text, new RegExp(`^istio_tcp_${name}_total\\{${labels}.*\\} [1-9]`, 'm'))
      }
    }
    assert.match(text, /^workload_manager_active_proxy_count 2$/m)
  })

  test('a pod that is withdrawn loses its connections at once, the others go on', async () => {
    const late = await mesh.pod('late')
    await mesh.serve(late, 9000, (socket) => socket.pipe(socket))
    const gone = await mesh.connect(client, late.ip, 9000)
    const stays = await mesh.connect(client, server.ip, 9000)
    gone.write('x')
    stays.write('x')
    await Promise.all([once(gone, 'data'), once(stays, 'data')])
    const closed = once(gone, 'error')
    await mesh.withdraw(late)
    await closed
    stays.end('y')
    assert.equal((await readAll(stays)).toString(), 'y')
  })
}

test('draining refuses new connections and lets old ones finish', { skip }, async () => {
  const mesh = await TestMesh.create()
  const client = await mesh.pod('client')
  const server = await mesh.pod('server')
  await mesh.serve(server, 9000, (socket) => socket.pipe(socket))
  const socket = await mesh.connect(client, server.ip, 9000)
  socket.write('a')
  await once(socket, 'data')
  const stopped = mesh.proxy.stop(5000)
  await new Promise((resolve) => setTimeout(resolve, 100))
  await assert.rejects(mesh.connect(client, server.ip, 9000), { code: 'ECONNREFUSED' })
  socket.end('b')
  assert.equal((await readAll(socket)).toString(), 'b')
  const startedAt = Date.now()
  await stopped
  assert.ok(Date.now() - startedAt < 2000, 'it does not wait for the deadline')
  await mesh.close()
})
