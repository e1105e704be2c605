/** `struct sockaddr_in`, `sockaddr_in6` and `sockaddr_un` as bytes. */
import { formatIp, MeshError, parseIp } from '../base/index.ts'
import { abi } from './libc.ts'
import { limits } from './limits.ts'
import type { OriginalDestination } from './types.ts'

export const socketAddressBytes = 28

/** @param family 6 turns an IPv4 address into its mapped form */
export function encodeInet(family: 4 | 6, address: string, port: number): Buffer {
  const bytes = parseIp(address)
  if (bytes === undefined || (family === 4 && bytes.length === 16)) {
    throw new MeshError('LINUX_ADDRESS', `"${address}" is no IPv${family} address`, {
      hint: 'Socket addresses are IP addresses; resolve names first.',
    })
  }
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new MeshError('LINUX_ADDRESS', `port ${port} of ${address} is not between 0 and 65535`)
  }
  const out = Buffer.alloc(family === 4 ? 16 : socketAddressBytes)
  out.writeUInt16LE(family === 4 ? abi.AF_INET : abi.AF_INET6, 0)
  out.writeUInt16BE(port, 2)
  if (family === 4) out.set(bytes, 4)
  else if (bytes.length === 16) out.set(bytes, 8)
  else {
    out.writeUInt16BE(0xffff, 18)
    out.set(bytes, 20)
  }
  return out
}

/** Undefined when it is neither IPv4 nor IPv6. Mapped addresses become IPv4. */
export function decodeInet(bytes: Buffer): OriginalDestination | undefined {
  const family = bytes.readUInt16LE(0)
  const port = bytes.readUInt16BE(2)
  if (family === abi.AF_INET) return { address: formatIp(bytes.subarray(4, 8)), port, family: 4 }
  if (family !== abi.AF_INET6) return undefined
  // Through the text form, because that is where mapped addresses are made one.
  const address = formatIp(parseIp(formatIp(bytes.subarray(8, 24))) ?? bytes.subarray(8, 24))
  return { address, port, family: address.includes(':') ? 6 : 4 }
}

export function encodeUnix(path: string): Buffer {
  const text = Buffer.from(path)
  if (text.length > limits.unixPathBytes) {
    throw new MeshError(
      'LINUX_SOCKET_PATH',
      `the socket path ${path} has ${text.length} bytes; the kernel takes ${limits.unixPathBytes}`,
      { hint: 'Put the socket into a folder with a shorter path.' },
    )
  }
  const out = Buffer.alloc(2 + text.length + 1)
  out.writeUInt16LE(abi.AF_UNIX, 0)
  out.set(text, 2)
  return out
}
