/** IP addresses and CIDR blocks, as strict as Kubernetes is about their texts. */
import { isIP } from 'node:net'
import { cidrContains, formatIp, parseIp } from '../../base/index.ts'
import { CelError } from '../errors.ts'
import { type FunctionDeclaration, fn, type Library, method, parsingCost } from '../library.ts'
import { opaqueType, types } from '../types.ts'
import { CelOpaque } from '../values.ts'

const { bool, int, string } = types
const ipType = opaqueType('net.IP')
const cidrType = opaqueType('net.CIDR')

class Ip extends CelOpaque {
  readonly typeName = 'net.IP'
  readonly bytes: Uint8Array
  constructor(bytes: Uint8Array) {
    super()
    this.bytes = bytes
  }
  equals(other: CelOpaque): boolean {
    return other instanceof Ip && Buffer.compare(this.bytes, other.bytes) === 0
  }
  get text(): string {
    return formatIp(this.bytes)
  }
}

class Block extends CelOpaque {
  readonly typeName = 'net.CIDR'
  readonly address: Uint8Array
  readonly length: number
  constructor(address: Uint8Array, length: number) {
    super()
    this.address = address
    this.length = length
  }
  equals(other: CelOpaque): boolean {
    return other instanceof Block && this.text === other.text
  }
  get text(): string {
    return `${formatIp(this.address)}/${this.length}`
  }
  /** The block with the bits beyond its length cleared. */
  masked(): Block {
    const bytes = Uint8Array.from(this.address, (byte, i) => {
      const kept = Math.min(Math.max(this.length - 8 * i, 0), 8)
      return byte & (0xff << (8 - kept)) & 0xff
    })
    return new Block(bytes, this.length)
  }
}

/** No zones, and no IPv4 in IPv6's clothes. */
function ipOf(text: string): Ip | undefined {
  if (text.includes('%')) return undefined
  const bytes = parseIp(text)
  if (bytes === undefined || (bytes.length === 4 && isIP(text) === 6)) return undefined
  return new Ip(bytes)
}

function blockOf(text: string): Block | undefined {
  const [address = '', bits = '', ...rest] = text.split('/')
  const ip = ipOf(address)
  if (ip === undefined || rest.length > 0 || !/^(?:0|[1-9]\d{0,2})$/.test(bits)) return undefined
  const length = Number(bits)
  return length > ip.bytes.length * 8 ? undefined : new Block(ip.bytes, length)
}

function ip(text: string): Ip {
  const found = ipOf(text)
  if (found === undefined) throw new CelError(`IP Address ${JSON.stringify(text)} parse error`)
  return found
}

function cidr(text: string): Block {
  const found = blockOf(text)
  if (found === undefined) {
    throw new CelError(`network address parse error during conversion from string: ${text}`)
  }
  return found
}

function containsIp(block: Block, address: Ip): boolean {
  return cidrContains(block, address.bytes)
}

function containsBlock(outer: Block, inner: Block): boolean {
  return inner.length >= outer.length && cidrContains(outer, inner.address)
}

/** Predicates by family: on the bytes of IPv4, then of IPv6. */
function predicate(
  name: string,
  v4: (bytes: Uint8Array) => boolean,
  v6: (bytes: Uint8Array) => boolean,
): FunctionDeclaration {
  const call = ({ bytes }: Ip) => (bytes.length === 4 ? v4(bytes) : v6(bytes))
  return method(name, [ipType], bool, call)
}

const isZero = (bytes: Uint8Array) => bytes.every((byte) => byte === 0)
const isLast = (bytes: Uint8Array) => bytes.at(-1) === 1 && isZero(bytes.slice(0, -1))
const isLinkLocal4 = ([a, b]: Uint8Array) => a === 169 && b === 254
const isLinkLocal6 = ([a, b]: Uint8Array) => a === 0xfe && ((b ?? 0) & 0xc0) === 0x80
const isMulticast4 = ([a]: Uint8Array) => ((a ?? 0) & 0xf0) === 0xe0

const parsing = { cost: parsingCost }

export const addresses: Library = [
  fn('isIP', [string], bool, (text: string) => ipOf(text) !== undefined, parsing),
  fn('ip', [string], ipType, ip, parsing),
  fn('ip.isCanonical', [string], bool, (text: string) => ip(text).text === text, parsing),
  fn('string', [ipType], string, (address: Ip) => address.text),
  method('family', [ipType], int, ({ bytes }: Ip) => (bytes.length === 4 ? 4n : 6n)),
  predicate('isUnspecified', isZero, isZero),
  predicate('isLoopback', ([a]) => a === 127, isLast),
  predicate(
    'isLinkLocalMulticast',
    ([a, b, c]) => a === 224 && b === 0 && c === 0,
    ([a, b]) => a === 0xff && ((b ?? 0) & 0x0f) === 2,
  ),
  predicate('isLinkLocalUnicast', isLinkLocal4, isLinkLocal6),
  predicate(
    'isGlobalUnicast',
    (bytes) =>
      !isZero(bytes) &&
      !bytes.every((byte) => byte === 255) &&
      bytes[0] !== 127 &&
      !isMulticast4(bytes) &&
      !isLinkLocal4(bytes),
    (bytes) => !isZero(bytes) && !isLast(bytes) && bytes[0] !== 0xff && !isLinkLocal6(bytes),
  ),
  fn('isCIDR', [string], bool, (text: string) => blockOf(text) !== undefined, parsing),
  fn('cidr', [string], cidrType, cidr, parsing),
  fn('string', [cidrType], string, (block: Block) => block.text),
  method('containsIP', [cidrType, ipType], bool, containsIp),
  method('containsIP', [cidrType, string], bool, (a: Block, b: string) => containsIp(a, ip(b))),
  method('containsCIDR', [cidrType, cidrType], bool, containsBlock),
  method('containsCIDR', [cidrType, string], bool, (a: Block, b: string) =>
    containsBlock(a, cidr(b)),
  ),
  method('ip', [cidrType], ipType, ({ address }: Block) => new Ip(address)),
  method('masked', [cidrType], cidrType, (block: Block) => block.masked()),
  method('prefixLength', [cidrType], int, ({ length }: Block) => BigInt(length)),
]
