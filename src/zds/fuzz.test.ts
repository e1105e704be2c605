/** ZDS packets that no agent would send, to the proxy's real socket; seeds are printed and can be repeated. */
import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { type FuzzRandom, fuzzScale, fuzzSeeds, withSeed } from '../../test/fuzz.ts'
import { MeshError, silentLogger, systemClock } from '../base/index.ts'
import { listenSeqPacket } from '../linux/index.ts'
import {
  decodeAck,
  decodeHello,
  decodeRequest,
  encodeAck,
  encodeHello,
  encodeRequest,
  ZdsClient,
  type ZdsRequest,
  zdsLimits,
} from './index.ts'

const kept = [1, 20_261_121]

function randomPacket(random: FuzzRandom): Buffer {
  const uid = 'u'.repeat(1 + random.below(40))
  const info = { name: 'n', namespace: 's', serviceAccount: 'a' }
  const request = random.pick<ZdsRequest>([
    { kind: 'add', uid, info },
    { kind: 'del', uid },
    { kind: 'keep', uid },
  ])
  const good = random.chance(80)
    ? encodeRequest(request)
    : random.chance(50)
      ? encodeAck(uid)
      : encodeHello()
  const bytes = random.chance(20) ? random.bytes(random.below(64)) : random.damage(good)
  return bytes.subarray(0, zdsLimits.packetBytes)
}

test('a damaged packet is read or refused with a ZDS error', async () => {
  for (const seed of fuzzSeeds('ZDS packets', kept)) {
    await withSeed(seed, (random) => {
      for (let round = 0; round < 3_000 * fuzzScale; round++) {
        const packet = randomPacket(random)
        for (const decode of [decodeRequest, decodeAck, decodeHello]) {
          try {
            decode(packet)
          } catch (error) {
            assert.ok(error instanceof MeshError, `${packet.toString('hex')}: ${String(error)}`)
            assert.match(error.code, /^ZDS_/)
          }
        }
      }
    })
  }
})

test('a proxy answers every packet, and closes every descriptor that came with it', {
  skip: process.platform !== 'linux',
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-zds-'))
  const fd = openSync('/dev/null', 'r')
  const listener = await listenSeqPacket(join(folder, 's'))
  const close = async (_uid: string, _info: unknown, netnsFd: number): Promise<void> =>
    closeSync(netnsFd)
  const nothing = async (): Promise<void> => {}
  const client = new ZdsClient({
    path: join(folder, 's'),
    handler: { add: close, keep: nothing, del: nothing, snapshotSent: nothing },
    logger: silentLogger,
    clock: systemClock,
  })
  t.after(async () => {
    await client.stop()
    listener.close()
    closeSync(fd)
    rmSync(folder, { recursive: true })
  })
  await client.start()
  const agent = await listener.accept()
  assert.ok(agent)
  assert.deepEqual((await agent.receive())?.data, encodeHello())
  const files = readdirSync('/proc/self/fd').length
  for (const seed of fuzzSeeds('ZDS socket', kept)) {
    await withSeed(seed, async (random) => {
      for (let round = 0; round < 300 * fuzzScale; round++) {
        const packet = randomPacket(random)
        // An empty packet means the end to whoever receives it.
        if (packet.length === 0) continue
        await agent.send(packet, Array(random.below(3)).fill(fd))
        const answer = await agent.receive()
        assert.ok(answer, `no answer to ${packet.toString('hex')}`)
        decodeAck(answer.data)
      }
    })
  }
  assert.equal(readdirSync('/proc/self/fd').length, files)
  agent.close()
})
