/**
 * PROXY protocol version 2 (HAProxy's specification): who is really at the other end, said in front
 * of the first byte of a connection.
 */
import { formatIp, MeshError, parseIp } from '../base/index.ts'

const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const versionLocal = 0x20
const versionProxy = 0x21
const tcp4 = 0x11
const tcp6 = 0x21
const fixedBytes = 16
/** Addresses and TLVs that a header may have: far above what anyone sends. */
const maxBodyBytes = 4096

export interface ProxyAddress {
  readonly address: string
  readonly port: number
}

export interface ProxyHeader {
  readonly source: ProxyAddress
  readonly destination: ProxyAddress
  /** Type-length-value extensions, by type. */
  readonly extensions: ReadonlyMap<number, Uint8Array>
}

/** The header's bytes. Addresses of mixed families are both written as IPv6. */
export function encodeProxyHeader(header: ProxyHeader): Buffer {
  const source = addressBytes(header.source)
  const destination = addressBytes(header.destination)
  const ipv4 = source.length === 4 && destination.length === 4
  const parts: Uint8Array[] = [
    ipv4 ? source : toIpv6(source),
    ipv4 ? destination : toIpv6(destination),
    u16(header.source.port),
    u16(header.destination.port),
  ]
  for (const [type, value] of header.extensions) {
    parts.push(Buffer.of(type), u16(value.length), value)
  }
  const body = Buffer.concat(parts)
  if (body.length > maxBodyBytes)
    throw malformed(`${body.length} bytes of addresses and extensions`)
  const family = Buffer.of(versionProxy, ipv4 ? tcp4 : tcp6)
  return Buffer.concat([signature, family, u16(body.length), body])
}

export type ProxyDecoding =
  /** Not yet the whole header. */
  | { readonly kind: 'incomplete' }
  /** `header` is undefined for LOCAL: the sender speaks for itself. */
  | {
      readonly kind: 'complete'
      readonly header: ProxyHeader | undefined
      readonly length: number
    }

/**
 * Reads the header at the start of `data`. Throws a MeshError PROXY_HEADER for anything else, as
 * soon as that is certain.
 */
export function decodeProxyHeader(data: Uint8Array): ProxyDecoding {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const known = Math.min(bytes.length, signature.length)
  if (!bytes.subarray(0, known).equals(signature.subarray(0, known)))
    throw malformed('no signature')
  if (bytes.length < fixedBytes) return { kind: 'incomplete' }
  const version = bytes[12] ?? 0
  const family = bytes[13] ?? 0
  const length = bytes.readUInt16BE(14)
  if (version !== versionProxy && version !== versionLocal) throw malformed(`command ${version}`)
  if (length > maxBodyBytes) throw malformed(`a length of ${length}`)
  if (bytes.length < fixedBytes + length) return { kind: 'incomplete' }
  const body = bytes.subarray(fixedBytes, fixedBytes + length)
  const done = { kind: 'complete', length: fixedBytes + length } as const
  if (version === versionLocal) return { ...done, header: undefined }
  if (family !== tcp4 && family !== tcp6) throw malformed(`address family ${family}`)
  return { ...done, header: decodeBody(body, family === tcp4 ? 4 : 16) }
}

function decodeBody(body: Buffer, size: number): ProxyHeader {
  const tail = 2 * size + 4
  if (body.length < tail) throw malformed('too short for its addresses')
  const extensions = new Map<number, Uint8Array>()
  for (let at = tail; at < body.length; ) {
    if (at + 3 > body.length) throw malformed('an extension is cut off')
    const length = body.readUInt16BE(at + 1)
    if (at + 3 + length > body.length) throw malformed('an extension is cut off')
    extensions.set(body[at] ?? 0, body.subarray(at + 3, at + 3 + length))
    at += 3 + length
  }
  return {
    source: { address: formatIp(body.subarray(0, size)), port: body.readUInt16BE(2 * size) },
    destination: {
      address: formatIp(body.subarray(size, 2 * size)),
      port: body.readUInt16BE(2 * size + 2),
    },
    extensions,
  }
}

function addressBytes({ address }: ProxyAddress): Uint8Array {
  const bytes = parseIp(address)
  if (bytes === undefined) throw malformed(`"${address}" is no IP address`)
  return bytes
}

function toIpv6(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 16) return bytes
  return Buffer.concat([Buffer.alloc(10), Buffer.of(0xff, 0xff), bytes])
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

function malformed(what: string): MeshError {
  return new MeshError('PROXY_HEADER', `not a PROXY v2 header: ${what}`)
}
