/**
 * The part of DER that certificates need. The reader is for bytes from strangers: definite, minimal
 * lengths only, one-byte tags only, every value inside its parent; it never recurses.
 */
import { malformed } from './errors.ts'

export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

export interface DerValue {
  readonly tag: number
  /** The whole value, tag and length included. */
  readonly whole: Buffer
  readonly content: Buffer
}

export class DerReader {
  readonly #bytes: Buffer
  readonly #what: string
  #at = 0

  /** @param what names the thing in errors: `the certificate` */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#what = what
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** The next value's tag without taking it; undefined at the end. */
  peek(): number | undefined {
    return this.#bytes[this.#at]
  }

  /** Takes the next value; it must have the tag when one is given. */
  next(tag?: number): DerValue {
    const start = this.#at
    const found = this.#byte(start)
    if (tag !== undefined && found !== tag) {
      this.fail(`tag 0x${found.toString(16)} stands where 0x${tag.toString(16)} belongs`)
    }
    if ((found & 0x1f) === 0x1f) this.fail('a tag of more than one byte')
    let at = start + 1
    let length = this.#byte(at++)
    if (length >= 0x80) {
      const count = length & 0x7f
      if (count === 0 || count > 3) this.fail('a length of indefinite or absurd form')
      length = 0
      for (let index = 0; index < count; index++) length = (length << 8) | this.#byte(at++)
      if (length < 0x80 || length < 1 << ((count - 1) * 8))
        this.fail('a length that is not minimal')
    }
    const end = at + length
    if (end > this.#bytes.length) this.fail('a value runs past its container')
    this.#at = end
    return {
      tag: found,
      whole: this.#bytes.subarray(start, end),
      content: this.#bytes.subarray(at, end),
    }
  }

  /** Takes a constructed value and returns a reader of what is inside. */
  enter(tag: number): DerReader {
    return new DerReader(this.next(tag).content, this.#what)
  }

  /** Takes the next value if it has this tag. */
  optional(tag: number): DerValue | undefined {
    return this.peek() === tag ? this.next(tag) : undefined
  }

  end(): void {
    if (!this.done) this.fail('bytes are left over')
  }

  fail(detail: string): never {
    throw malformed(this.#what, detail)
  }

  #byte(at: number): number {
    const value = this.#bytes[at]
    if (value === undefined) return this.fail('it ends too early')
    return value
  }
}

/** One value of any tag; parts are concatenated. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content])
  const digits: number[] = []
  for (let rest = length; rest > 0; rest >>>= 8) digits.unshift(rest & 0xff)
  return Buffer.concat([Buffer.from([tag, 0x80 | digits.length, ...digits]), content])
}

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return der(tags.sequence, ...parts)
}

/** A non-negative INTEGER from big-endian bytes. */
export function integer(bytes: Uint8Array): Buffer {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const digits = bytes.subarray(start)
  const pad = (digits[0] ?? 0) >= 0x80 || digits.length === 0
  return der(tags.integer, pad ? Buffer.from([0]) : Buffer.alloc(0), digits)
}

export function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number)
  const bytes: number[] = []
  for (const arc of [first * 40 + second, ...rest]) {
    const septets = [arc & 0x7f]
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      septets.unshift((left & 0x7f) | 0x80)
    }
    bytes.push(...septets)
  }
  return der(tags.oid, Buffer.from(bytes))
}

/** A BIT STRING; `unusedBits` counts those of the last byte that don't belong to it. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return der(tags.bitString, Buffer.from([unusedBits]), bytes)
}

/** UTCTime until 2049, GeneralizedTime later (RFC 5280, 4.1.2.5); seconds only. */
export function time(ms: number): Buffer {
  const digits = `${new Date(ms).toISOString().slice(0, 19).replace(/[-T:]/g, '')}Z`
  const year = Number(digits.slice(0, 4))
  return year >= 1950 && year < 2050
    ? der(tags.utcTime, Buffer.from(digits.slice(2), 'latin1'))
    : der(tags.generalizedTime, Buffer.from(digits, 'latin1'))
}

/** Milliseconds since the epoch of a UTCTime or GeneralizedTime; undefined when it is neither. */
export function readTime(value: DerValue): number | undefined {
  const text = value.content.toString('latin1')
  let digits: string
  if (value.tag === tags.utcTime && /^\d{12}Z$/.test(text)) {
    digits = (Number(text.slice(0, 2)) >= 50 ? '19' : '20') + text
  } else if (value.tag === tags.generalizedTime && /^\d{14}Z$/.test(text)) digits = text
  else return undefined
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits) ?? []
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`
  const ms = Date.parse(iso)
  // Date.parse lets the 31st of a shorter month through; a certificate may not.
  return Number.isNaN(ms) || new Date(ms).toISOString() !== iso ? undefined : ms
}
