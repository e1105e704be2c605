/** DNS messages out of nowhere, to the codec and to a server; seeds are printed and can be repeated. */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import test from 'node:test'
import { type FuzzRandom, fuzzScale, fuzzSeeds, withSeed } from '../../test/fuzz.ts'
import { MeshError, silentLogger } from '../base/index.ts'
import {
  addressRecord,
  answerMessage,
  DnsServer,
  decodeMessage,
  encodeMessage,
  queryMessage,
  recordTypes,
} from './index.ts'

const kept = [1, 20_261_121]

function randomMessage(random: FuzzRandom): Buffer {
  const name = Array.from({ length: 1 + random.below(5) }, () =>
    'x'.repeat(1 + random.below(20)),
  ).join('.')
  const query = queryMessage(random.below(65_536), name, random.pick([1, 28, 33, 255]))
  const answers = Array.from({ length: random.below(5) }, (_, index) =>
    addressRecord(random.chance(50) ? name : `a.${name}`, `10.0.0.${index}`, 30),
  )
  const good = encodeMessage(random.chance(50) ? query : answerMessage(query, { answers }))
  return random.chance(10) ? random.bytes(random.below(300)) : random.damage(good)
}

test('a damaged message is refused as DNS_FORMAT, or means the same when written again', async () => {
  for (const seed of fuzzSeeds('dns messages', kept)) {
    await withSeed(seed, (random) => {
      for (let round = 0; round < 3_000 * fuzzScale; round++) {
        const wire = randomMessage(random)
        try {
          const message = decodeMessage(new Uint8Array(wire))
          assert.deepEqual(decodeMessage(encodeMessage(message)), message)
        } catch (error) {
          if (error instanceof MeshError && error.code === 'DNS_FORMAT') continue
          throw new Error(`${wire.toString('hex')}: ${String(error)}`, { cause: error })
        }
      }
    })
  }
})

test('a message made of names that point at names costs bounded time', () => {
  const wire = Buffer.alloc(65_535)
  wire.writeUInt16BE(10_000, 4)
  // A chain of pointers, each to the one before it, then questions that start at its end.
  let at = 12
  wire.writeUInt16BE(0x0161, at)
  at += 3
  for (; at < 0x3fff - 2; at += 2) wire.writeUInt16BE(0xc000 | (at === 15 ? 12 : at - 2), at)
  for (let question = at; question + 6 <= wire.length; question += 6) {
    wire.writeUInt16BE(0xc000 | (at - 2), question)
    wire.writeUInt16BE(1, question + 2)
    wire.writeUInt16BE(1, question + 4)
  }
  const startedAt = performance.now()
  assert.throws(() => decodeMessage(wire), { code: 'DNS_FORMAT' })
  assert.ok(performance.now() - startedAt < 1_000)
})

test('a server that gets rubbish goes on to answer questions', async (t) => {
  const server = new DnsServer(
    async (query) => answerMessage(query, { answers: [addressRecord('a.b', '10.0.0.1', 5)] }),
    silentLogger,
  )
  const socket = createSocket('udp4')
  const client = createSocket('udp4')
  t.after(() => {
    socket.close()
    client.close()
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  server.serveUdp(socket)
  const { port } = socket.address()
  let answers = 0
  const wanted = Promise.withResolvers<void>()
  client.on('message', (data) => {
    answers++
    assert.ok(data.length >= 12)
    if (data.readUInt16BE(0) === 4711 && data.readUInt16BE(6) === 1) wanted.resolve()
  })
  for (const seed of fuzzSeeds('dns server', kept)) {
    await withSeed(seed, async (random) => {
      for (let round = 0; round < 500 * fuzzScale; round++) {
        client.send(randomMessage(random), port, '127.0.0.1')
        if (round % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 2))
      }
    })
  }
  const ask = setInterval(() => {
    client.send(encodeMessage(queryMessage(4711, 'a.b', recordTypes.A)), port, '127.0.0.1')
  }, 20)
  await wanted.promise
  clearInterval(ask)
  assert.ok(answers > 0)
})
