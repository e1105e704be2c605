/** What can be asked of, or set on, a socket that exists. */
import type { Server, Socket } from 'node:net'
import { MeshError } from '../base/index.ts'
import { decodeInet, socketAddressBytes } from './address.ts'
import { check } from './errors.ts'
import { abi, libc } from './libc.ts'
import { setOption } from './sockets.ts'
import type { OriginalDestination, PeerCredentials } from './types.ts'

/** The descriptor of an open socket or listening server, which keeps owning it. */
export function fdOf(socket: Socket | Server): number {
  // Node has no public way; the field has been there since 0.10.
  const fd = (socket as { _handle?: { fd?: number } | null })._handle?.fd
  if (fd === undefined || fd < 0) {
    throw new MeshError('LINUX_SOCKET_CLOSED', 'the socket is closed and has no descriptor')
  }
  return fd
}

/**
 * Where a redirected connection wanted to go (SO_ORIGINAL_DST). Undefined when the kernel keeps no
 * translation for it; then the socket's own local address is the answer.
 */
export function originalDestination(
  socket: Socket | Server | number,
): OriginalDestination | undefined {
  const fd = typeof socket === 'number' ? socket : fdOf(socket)
  const local = localAddress(fd)
  if (local === undefined) return undefined
  const bytes = Buffer.alloc(socketAddressBytes)
  const level = local.family === 4 ? abi.SOL_IP : abi.SOL_IPV6
  const length = lengthOf(local.family === 4 ? 16 : socketAddressBytes)
  if (libc().getsockopt(fd, level, abi.SO_ORIGINAL_DST, bytes, length) < 0) return undefined
  return decodeInet(bytes)
}

/** The local address of a TCP or UDP socket; mapped IPv4 counts as IPv4. */
export function localAddress(fd: number): OriginalDestination | undefined {
  const bytes = Buffer.alloc(socketAddressBytes)
  const length = lengthOf(bytes.length)
  check(libc().getsockname(fd, bytes, length), 'getsockname', `fd ${fd}`)
  return decodeInet(bytes)
}

/**
 * Whether the kernel has given up a TCP connection: reset by the peer or timed out, told or not yet told
 * to who owns the descriptor. One that was ended in good order is not.
 */
export function isDisconnected(fd: number): boolean {
  const info = Buffer.alloc(8)
  const result = libc().getsockopt(fd, abi.SOL_TCP, abi.TCP_INFO, info, lengthOf(info.length))
  return result === 0 && info[0] === abi.TCP_CLOSE
}

/** Who is at the other end of a Unix socket, as seen from this process's namespaces. */
export function peerCredentials(fd: number): PeerCredentials {
  const bytes = Buffer.alloc(12)
  check(
    libc().getsockopt(fd, abi.SOL_SOCKET, abi.SO_PEERCRED, bytes, lengthOf(bytes.length)),
    'getsockopt',
    `the peer of fd ${fd}`,
  )
  return { pid: bytes.readInt32LE(0), uid: bytes.readUInt32LE(4), gid: bytes.readUInt32LE(8) }
}

/** Sets SO_MARK on a socket that is open already. */
export function setMark(fd: number, mark: number): void {
  setOption(fd, abi.SOL_SOCKET, abi.SO_MARK, mark)
}

function lengthOf(bytes: number): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes)
  return length
}
