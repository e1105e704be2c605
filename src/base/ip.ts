/**
 * IP addresses as bytes (4 or 16, network order), the form they have in xDS.
 * IPv4-mapped IPv6 addresses become IPv4 at every entrance, so that one address has one form.
 */
import { isIP } from 'node:net'

/** Parses `10.0.0.1`, `fd00::1` or `::ffff:10.0.0.1`; undefined when it is no address. */
export function parseIp(text: string): Uint8Array | undefined {
  const kind = isIP(text)
  if (kind === 4) return Uint8Array.from(text.split('.'), Number)
  if (kind !== 6) return undefined
  const zone = text.indexOf('%')
  return unmap(parseV6(zone < 0 ? text : text.slice(0, zone)))
}

function parseV6(text: string): Uint8Array {
  let source = text
  const dot = source.lastIndexOf(':')
  if (source.includes('.')) {
    const [a = 0, b = 0, c = 0, d = 0] = source
      .slice(dot + 1)
      .split('.')
      .map(Number)
    source = `${source.slice(0, dot + 1)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  }
  const [head = '', tail] = source.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  const bytes = new Uint8Array(16)
  for (const [index, group] of groups.entries()) {
    const value = Number.parseInt(group, 16)
    bytes[index * 2] = value >> 8
    bytes[index * 2 + 1] = value & 0xff
  }
  return bytes
}

/** An IPv4-mapped address as IPv4; any other unchanged. */
export function unmap(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 16 || bytes[10] !== 0xff || bytes[11] !== 0xff) return bytes
  for (let index = 0; index < 10; index++) if (bytes[index] !== 0) return bytes
  return bytes.slice(12)
}

/** The canonical text (RFC 5952 for IPv6). Throws a RangeError on a wrong length. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length !== 16)
    throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`)
  const groups: number[] = []
  for (let index = 0; index < 16; index += 2) {
    groups.push(((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0))
  }
  let best = -1
  let bestLength = 1
  for (let start = 0; start < 8; start++) {
    let end = start
    while (end < 8 && groups[end] === 0) end++
    if (end - start > bestLength) {
      best = start
      bestLength = end - start
    }
  }
  const hex = groups.map((group) => group.toString(16))
  if (best < 0) return hex.join(':')
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + bestLength).join(':')}`
}

/** The address of a socket, as Node prints it, in canonical form (`::ffff:` removed). */
export function canonicalIp(text: string): string {
  if (!text.includes(':')) return text
  const bytes = parseIp(text)
  return bytes === undefined ? text : formatIp(bytes)
}

export interface Cidr {
  readonly address: Uint8Array
  /** Prefix length in bits. */
  readonly length: number
}

/** Parses `10.0.0.0/8` or a bare address (full length); undefined when it is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/')
  const address = parseIp(slash < 0 ? text : text.slice(0, slash))
  if (address === undefined) return undefined
  if (slash < 0) return { address, length: address.length * 8 }
  const digits = text.slice(slash + 1)
  const length = Number(digits)
  if (!/^\d{1,3}$/.test(digits) || length > address.length * 8) return undefined
  return { address, length }
}

export function cidrContains(cidr: Cidr, address: Uint8Array): boolean {
  if (cidr.address.length !== address.length) return false
  const whole = cidr.length >> 3
  for (let index = 0; index < whole; index++) {
    if (cidr.address[index] !== address[index]) return false
  }
  const rest = cidr.length & 7
  if (rest === 0) return true
  const mask = (0xff << (8 - rest)) & 0xff
  return ((cidr.address[whole] ?? 0) & mask) === ((address[whole] ?? 0) & mask)
}
