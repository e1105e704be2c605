import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import test, { type TestContext } from 'node:test'
import { silentLogger } from '../base/index.ts'
import {
  addressRecord,
  answerMessage,
  type DnsHandler,
  DnsServer,
  decodeMessage,
  encodeMessage,
  exchange,
  queryMessage,
  recordTypes,
} from './index.ts'

async function serve(t: TestContext, handler: DnsHandler): Promise<number> {
  const tcp = createServer().listen(0, '127.0.0.1')
  await once(tcp, 'listening')
  const { port } = tcp.address() as AddressInfo
  const udp = createSocket('udp4')
  udp.bind(port, '127.0.0.1')
  await once(udp, 'listening')
  const server = new DnsServer(handler, silentLogger)
  server.serveUdp(udp)
  server.serveTcp(tcp)
  t.after(() => {
    server.close()
    udp.close()
    tcp.close()
  })
  return port
}

const manyAnswers: DnsHandler = async (query) =>
  answerMessage(query, {
    answers: Array.from({ length: 100 }, (_, index) =>
      addressRecord(query.questions[0]?.name ?? '', `10.0.0.${index}`, 5),
    ),
  })

test('a real resolver gets an answer too long for UDP over TCP, as does our own exchange', async (t) => {
  const port = await serve(t, manyAnswers)
  const resolver = new Resolver({ timeout: 2000, tries: 1 })
  resolver.setServers([`127.0.0.1:${port}`])
  assert.equal((await resolver.resolve4('many.test')).length, 100)
  const query = encodeMessage(queryMessage(99, 'many.test', recordTypes.A))
  const answer = decodeMessage(await exchange({ address: '127.0.0.1', port }, query, 2000))
  assert.equal(answer.id, 99)
  assert.equal(answer.answers.length, 100)
})

test('a handler that fails gives SERVFAIL, rubbish gives FORMERR, and responses get no answer', async (t) => {
  const port = await serve(t, () => Promise.reject(new Error('no')))
  const server = { address: '127.0.0.1', port }
  const query = encodeMessage(queryMessage(5, 'x.test', 1))
  assert.equal(decodeMessage(await exchange(server, query, 2000)).responseCode, 2)
  const socket = createSocket('udp4')
  t.after(() => socket.close())
  socket.send(
    Buffer.from('zz\x81\x80 this is a response, not a query', 'latin1'),
    port,
    '127.0.0.1',
  )
  socket.send(Buffer.from('ab\x01\x00\x00\x09and rubbish after', 'latin1'), port, '127.0.0.1')
  const [first] = (await once(socket, 'message')) as [Buffer]
  assert.equal(first.subarray(0, 2).toString(), 'ab')
  assert.equal(decodeMessage(first).responseCode, 1)
})

test('several queries on one TCP connection are each answered, however they are cut', async (t) => {
  const port = await serve(t, manyAnswers)
  const socket = connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  const frames = [1, 2, 3].map((id) => {
    const wire = encodeMessage(queryMessage(id, 'cut.test', 1))
    return Buffer.concat([Buffer.from([0, wire.length]), wire])
  })
  const all = Buffer.concat(frames)
  socket.write(all.subarray(0, 1))
  await new Promise((resolve) => setTimeout(resolve, 20))
  socket.write(all.subarray(1, 50))
  socket.write(all.subarray(50))
  let received = Buffer.alloc(0)
  const ids = new Set<number>()
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk])
    while (received.length >= 2 && received.length >= received.readUInt16BE(0) + 2) {
      const end = received.readUInt16BE(0) + 2
      ids.add(decodeMessage(received.subarray(2, end)).id)
      received = received.subarray(end)
    }
    if (ids.size === 3) break
  }
  assert.deepEqual(ids, new Set([1, 2, 3]))
})

test('a name server that is silent or closed ends in an error within the time given', async () => {
  const closed = { address: '127.0.0.1', port: 1 }
  const query = encodeMessage(queryMessage(1, 'x.test', 1))
  await assert.rejects(exchange(closed, query, 500))
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const silent = { address: '127.0.0.1', port: socket.address().port }
  await assert.rejects(exchange(silent, query, 100), { code: 'DNS_TIMEOUT' })
  socket.close()
})
