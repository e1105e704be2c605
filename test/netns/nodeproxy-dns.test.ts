/** DNS of pods in the mesh: real questions, captured by real rules. */
import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import net from 'node:net'
import { after, before, test } from 'node:test'
import { silentLogger } from '../../src/base/index.ts'
import {
  addressRecord,
  answerMessage,
  DnsServer,
  decodeMessage,
  encodeMessage,
  exchange,
  queryMessage,
  recordTypes,
  responseCodes,
} from '../../src/dns/index.ts'
import { tcpSocket, udpSocket } from '../../src/linux/index.ts'
import { expose } from '../../src/metrics/index.ts'
import { refusal, TestMesh, type TestPod } from './nodeproxy-kit.ts'

const skip = refusal('nodeproxy-dns.test.ts') ?? false
let mesh: TestMesh
let client: TestPod
let upstream: TestPod
let upstreamUdp: Socket
const asked: string[] = []

before(async () => {
  if (skip !== false) return
  let servers: { address: string; port: number }[] = []
  mesh = await TestMesh.create({ nameServers: () => servers })
  upstream = await mesh.pod('upstream', { enrolled: false })
  servers = [{ address: upstream.ip, port: 53 }]
  const server = new DnsServer(async (query) => {
    const name = query.questions[0]?.name ?? ''
    asked.push(name)
    if (name === 'silent.example.com') return undefined
    const count = name === 'long.example.com' ? 60 : 1
    const answers = Array.from({ length: count }, (_, index) =>
      addressRecord(name, `192.0.2.${index + 1}`, 5),
    )
    return answerMessage(query, { answers })
  }, silentLogger)
  upstreamUdp = createSocket('udp4')
  const place = { netnsFd: upstream.netnsFd, family: 4, address: '0.0.0.0', port: 53 } as const
  upstreamUdp.bind({ fd: udpSocket(place) })
  server.serveUdp(upstreamUdp)
  await mesh.serve(upstream, 53, (socket) => {
    const fake = new net.Server()
    server.serveTcp(fake)
    fake.emit('connection', socket)
  })
  client = await mesh.pod('client')
  mesh.service('cart', '10.96.0.7', { 80: 80 })
})

after(async () => {
  upstreamUdp?.close()
  await mesh?.close()
})

/** As a program in the pod asks: unmarked, at the address of cluster DNS. */
async function ask(name: string, type: number = recordTypes.A, transport: 'udp' | 'tcp' = 'udp') {
  const { netnsFd } = client
  const answer = await exchange(
    { address: '10.96.0.10', port: 53 },
    encodeMessage({
      ...queryMessage(7, name, type),
      ...(transport === 'tcp' ? { truncated: true } : {}),
    }),
    5_000,
    {
      udp() {
        const socket = createSocket('udp4')
        socket.bind({ fd: udpSocket({ netnsFd, family: 4, address: client.ip, port: 0 }) })
        return socket
      },
      tcp: ({ address, port }) =>
        new net.Socket({ fd: tcpSocket({ netnsFd, family: 4 }) }).connect({ host: address, port }),
    },
  )
  return decodeMessage(answer)
}

const addresses = (message: Awaited<ReturnType<typeof ask>>): string[] =>
  message.answers.flatMap(({ data }) => (data.kind === 'address' ? [data.address] : []))

test('names of the mesh are answered in the pod, without any name server', { skip }, async () => {
  const answer = await ask('cart.default.svc.cluster.local')
  assert.deepEqual(addresses(answer), ['10.96.0.7'])
  assert.equal(answer.authoritative, true)
  assert.deepEqual(addresses(await ask('cart')), ['10.96.0.7'])
  const v6 = await ask('cart', recordTypes.AAAA)
  assert.deepEqual([v6.responseCode, v6.answers.length], [responseCodes.noError, 0])
  assert.deepEqual(asked, [])
})

test('other names, and other types, go to the name server', { skip }, async () => {
  assert.deepEqual(addresses(await ask('example.com')), ['192.0.2.1'])
  await ask('cart.default.svc.cluster.local', recordTypes.SRV)
  assert.deepEqual(asked.splice(0), ['example.com', 'cart.default.svc.cluster.local'])
})

test('an answer too long for UDP arrives whole over TCP', { skip }, async () => {
  assert.equal(addresses(await ask('long.example.com')).length, 60)
})

test('a name server that is silent is SERVFAIL, and metrics count all of it', {
  skip,
}, async () => {
  const answer = await ask('silent.example.com')
  assert.equal(answer.responseCode, responseCodes.serverFailure)
  const text = expose(mesh.proxy.metrics.families(), 'prometheus')
  const labels = 'request_query_type="A",request_protocol="udp",source_canonical_service="client"'
  assert.match(text, new RegExp(`istio_dns_requests_total\\{${labels}`))
  assert.match(text, new RegExp(`istio_dns_upstream_failures_total\\{${labels}.*\\} 1`))
  assert.match(text, /istio_dns_upstream_request_duration_seconds_bucket/)
})
