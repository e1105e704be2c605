/**
 * XXH64, with which Envoy makes hashes of hash policies, rings and Maglev tables; the same values mean
 * the same endpoint for the same client. 64-bit numbers are pairs of 32-bit halves: BigInt arithmetic
 * would take microseconds for each key.
 */

/** Low and high half; functions below write their result here, so that nothing is allocated. */
let low = 0
let high = 0

/** 32 × 32 → 64, into `low` and `high`. */
function multiply32(left: number, right: number): void {
  const a = left & 0xffff
  const b = left >>> 16
  const c = right & 0xffff
  const d = right >>> 16
  const ac = a * c
  const bc = b * c + (ac >>> 16)
  const ad = a * d + (bc & 0xffff)
  low = ((ad & 0xffff) << 16) | (ac & 0xffff)
  high = (b * d + Math.floor(bc / 65_536) + Math.floor(ad / 65_536)) | 0
}

function multiply(l: number, h: number, ml: number, mh: number): void {
  const cross = Math.imul(l, mh) + Math.imul(h, ml)
  multiply32(l, ml)
  high = (high + cross) | 0
}

function add(l: number, h: number, al: number, ah: number): void {
  const sum = (l >>> 0) + (al >>> 0)
  low = sum | 0
  high = (h + ah + (sum > 0xffff_ffff ? 1 : 0)) | 0
}

function rotate(l: number, h: number, by: number): void {
  const near = by & 31
  const x = by >= 32 ? h : l
  const y = by >= 32 ? l : h
  if (near === 0) {
    low = x
    high = y
    return
  }
  low = (x << near) | (y >>> (32 - near))
  high = (y << near) | (x >>> (32 - near))
}

/** The five primes, low and high half. */
const oneLow = 0x85ebca87 | 0
const oneHigh = 0x9e3779b1 | 0
const twoLow = 0x27d4eb4f | 0
const twoHigh = 0xc2b2ae3d | 0
const threeLow = 0x9e3779f9 | 0
const threeHigh = 0x165667b1 | 0
const fourLow = 0xc2b2ae63 | 0
const fourHigh = 0x85ebca77 | 0
const fiveLow = 0x165667c5 | 0
const fiveHigh = 0x27d4eb2f | 0

const encoder = new TextEncoder()

/** @param seed up to 2^53 or any 64-bit number */
export function xxHash64(input: string | Uint8Array, seed: bigint = 0n): bigint {
  hashInto(typeof input === 'string' ? encoder.encode(input) : input, seed)
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
}

function hashInto(bytes: Uint8Array, seed: bigint): void {
  const seedLow = Number(BigInt.asIntN(32, seed))
  const seedHigh = Number(BigInt.asIntN(32, seed >> 32n))
  const { length } = bytes
  let at = 0
  if (length >= 32) at = stripes(bytes, seedLow, seedHigh)
  else add(seedLow, seedHigh, fiveLow, fiveHigh)
  add(low, high, length | 0, Math.floor(length / 4_294_967_296))
  for (; at + 8 <= length; at += 8) {
    const l = low
    const h = high
    round(0, 0, word(bytes, at), word(bytes, at + 4))
    low ^= l
    high ^= h
    rotate(low, high, 27)
    multiply(low, high, oneLow, oneHigh)
    add(low, high, fourLow, fourHigh)
  }
  if (at + 4 <= length) {
    const l = low
    const h = high
    multiply(word(bytes, at), 0, oneLow, oneHigh)
    low ^= l
    high ^= h
    rotate(low, high, 23)
    multiply(low, high, twoLow, twoHigh)
    add(low, high, threeLow, threeHigh)
    at += 4
  }
  for (; at < length; at++) {
    const l = low
    const h = high
    multiply(bytes[at] ?? 0, 0, fiveLow, fiveHigh)
    low ^= l
    high ^= h
    rotate(low, high, 11)
    multiply(low, high, oneLow, oneHigh)
  }
  avalanche()
}

function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  )
}

/** acc = rotl(acc + input * P2, 31) * P1 */
function round(accLow: number, accHigh: number, inLow: number, inHigh: number): void {
  multiply(inLow, inHigh, twoLow, twoHigh)
  add(low, high, accLow, accHigh)
  rotate(low, high, 31)
  multiply(low, high, oneLow, oneHigh)
}

/** Four lanes over blocks of 32 bytes; returns where the rest begins. */
function stripes(bytes: Uint8Array, seedLow: number, seedHigh: number): number {
  const lanes = new Int32Array(8)
  const keep = (lane: number): void => {
    lanes[lane * 2] = low
    lanes[lane * 2 + 1] = high
  }
  add(seedLow, seedHigh, oneLow, oneHigh)
  add(low, high, twoLow, twoHigh)
  keep(0)
  add(seedLow, seedHigh, twoLow, twoHigh)
  keep(1)
  low = seedLow
  high = seedHigh
  keep(2)
  // seed - P1: two's complement of P1.
  add(seedLow, seedHigh, ~oneLow + 1, ~oneHigh)
  keep(3)
  let at = 0
  for (; at + 32 <= bytes.length; at += 32) {
    for (let lane = 0; lane < 4; lane++) {
      const from = at + lane * 8
      round(
        lanes[lane * 2] ?? 0,
        lanes[lane * 2 + 1] ?? 0,
        word(bytes, from),
        word(bytes, from + 4),
      )
      keep(lane)
    }
  }
  let sumLow = 0
  let sumHigh = 0
  for (const [lane, by] of [1, 7, 12, 18].entries()) {
    rotate(lanes[lane * 2] ?? 0, lanes[lane * 2 + 1] ?? 0, by)
    add(low, high, sumLow, sumHigh)
    sumLow = low
    sumHigh = high
  }
  for (let lane = 0; lane < 4; lane++) {
    round(0, 0, lanes[lane * 2] ?? 0, lanes[lane * 2 + 1] ?? 0)
    low ^= sumLow
    high ^= sumHigh
    multiply(low, high, oneLow, oneHigh)
    add(low, high, fourLow, fourHigh)
    sumLow = low
    sumHigh = high
  }
  return at
}

function avalanche(): void {
  // 33 bits to the right: the upper half, one further.
  low ^= high >>> 1
  multiply(low, high, twoLow, twoHigh)
  const l = low
  const h = high
  low = l ^ ((l >>> 29) | (h << 3))
  high = h ^ (h >>> 29)
  multiply(low, high, threeLow, threeHigh)
  low ^= high
}
