import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { webhookDialer } from './webhook-dialer.ts'

/** A name server that knows one name: any name is 127.0.0.1. */
async function nameServer(): Promise<{ address: string; close(): void }> {
  const socket = createSocket('udp4')
  socket.on('message', (query, from) => {
    const head = Buffer.from(query.subarray(0, 12))
    head.writeUInt16BE(0x8180, 2)
    head.writeUInt16BE(1, 6)
    head.writeUInt16BE(0, 8)
    head.writeUInt16BE(0, 10)
    const end = query.indexOf(0, 12) + 5
    const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1])
    socket.send(Buffer.concat([head, query.subarray(12, end), answer]), from.port, from.address)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return { address: `127.0.0.1:${socket.address().port}`, close: () => socket.close() }
}

test('names of webhooks are asked of cluster DNS, addresses are dialled as they are', async () => {
  const names = await nameServer()
  const server = createServer((socket) => socket.end('hello'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const dial = webhookDialer(names.address)
  try {
    for (const host of ['hook.example.com', '127.0.0.1']) {
      const socket = await dial({ host, port, inCluster: false })
      const [first] = await socket.toArray()
      assert.equal(String(first), 'hello')
    }
    await assert.rejects(dial({ host: '127.0.0.1', port: 1, inCluster: true }), {
      code: 'ECONNREFUSED',
    })
  } finally {
    names.close()
    server.close()
  }
})
