/** PROXY v2 headers, damaged and in pieces; seeds are printed and can be repeated. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { type FuzzRandom, fuzzScale, fuzzSeeds, withSeed } from '../../test/fuzz.ts'
import { MeshError } from '../base/index.ts'
import { decodeProxyHeader, encodeProxyHeader } from './index.ts'

const kept = [1, 20_261_121]

function header(random: FuzzRandom): Buffer {
  const address = (): string =>
    random.chance(50)
      ? `10.0.${random.below(256)}.${random.below(256)}`
      : `fd00::${random.below(9)}`
  const extensions = Array.from(
    { length: random.below(4) },
    (_, index) => [0xd0 + index, random.bytes(random.below(60))] as const,
  )
  return encodeProxyHeader({
    source: { address: address(), port: random.below(65_536) },
    destination: { address: address(), port: random.below(65_536) },
    extensions: new Map(extensions),
  })
}

/** What the decoder says of bytes: a refusal is an answer, everything else is a fault. */
function outcome(bytes: Uint8Array): string {
  try {
    const decoded = decodeProxyHeader(bytes)
    return decoded.kind === 'incomplete' ? 'incomplete' : `complete ${decoded.length}`
  } catch (error) {
    if (error instanceof MeshError && error.code === 'PROXY_HEADER') return 'refused'
    throw error
  }
}

test('a damaged header is read or refused, and pieces of it never change the verdict', async () => {
  for (const seed of fuzzSeeds('PROXY v2', kept)) {
    await withSeed(seed, (random) => {
      for (let round = 0; round < 1_000 * fuzzScale; round++) {
        const bytes = Buffer.concat([random.damage(header(random)), random.bytes(random.below(9))])
        const whole = outcome(bytes)
        let early = 'incomplete'
        for (let length = 0; length <= bytes.length && early === 'incomplete'; length++) {
          early = outcome(bytes.subarray(0, length))
        }
        assert.equal(early, whole, bytes.toString('hex'))
      }
    })
  }
})
