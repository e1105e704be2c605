/**
 * TCP and UDP sockets with what Node has no option for: the namespace they live in, SO_MARK,
 * transparency, a source address together with SO_REUSEPORT. They come back as descriptors that
 * Node's own classes take over (`{fd}`), so that reading and writing are Node's fast path.
 */
import { closeSync } from 'node:fs'
import { type OnReadOpts, Socket } from 'node:net'
import { encodeInet } from './address.ts'
import { check } from './errors.ts'
import { abi, libc } from './libc.ts'
import { withNetns } from './netns.ts'
import type { BindOptions, SocketOptions } from './types.ts'

/** A listening descriptor for `net.createServer().listen({fd})`; accepted sockets inherit its options. */
export function listenTcp(options: BindOptions & { readonly backlog?: number }): number {
  return openSocket(options, abi.SOCK_STREAM, (fd) => {
    setOption(fd, abi.SOL_SOCKET, abi.SO_REUSEADDR, 1)
    bind(fd, options)
    check(libc().listen(fd, options.backlog ?? 128), 'listen', place(options))
  })
}

/** A descriptor that is not connected yet; `new net.Socket({fd}).connect(...)` uses its namespace. */
export function tcpSocket(
  options: SocketOptions & { readonly bind?: { readonly address: string; readonly port: number } },
): number {
  return openSocket(options, abi.SOCK_STREAM, (fd) => {
    if (options.bind === undefined) return
    // Leaves the choice of the port to `connect`, which knows the whole 4-tuple.
    if (options.bind.port === 0) setOption(fd, abi.SOL_IP, abi.IP_BIND_ADDRESS_NO_PORT, 1)
    else setOption(fd, abi.SOL_SOCKET, abi.SO_REUSEADDR, 1)
    bind(fd, { ...options, ...options.bind })
  })
}

/** A bound descriptor for `dgram.createSocket(...).bind({fd})`. */
export function udpSocket(options: BindOptions): number {
  return openSocket(options, abi.SOCK_DGRAM, (fd) => bind(fd, options))
}

/**
 * Takes a bound UDP socket out of the choice among sockets of its port (SO_REUSEPORT): datagrams that
 * come from now on go to another one. What it has received already can be read, and it can still answer.
 * Node does not know of the peer that the kernel connects it to, and so goes on naming each receiver.
 */
export function stopReceiving(fd: number, family: 4 | 6): void {
  const nobody = encodeInet(family, family === 4 ? '127.0.0.1' : '::1', 9)
  check(libc().connect(fd, nobody, nobody.length), 'connect', 'the discard port')
}

export interface ConnectOptions extends Omit<SocketOptions, 'family'> {
  /** An IP address. */
  readonly host: string
  readonly port: number
  /** Source address, and port (0: any). */
  readonly bind?: { readonly address: string; readonly port: number }
  readonly connectTimeoutMs?: number
  readonly allowHalfOpen?: boolean
  /** Reused read buffer, as in `net.Socket`. */
  readonly onread?: OnReadOpts
}

/** Connects with the options of `tcpSocket`. Half-open by default, as a proxy needs it. */
export async function connectTcp(options: ConnectOptions, signal?: AbortSignal): Promise<Socket> {
  signal?.throwIfAborted()
  const fd = tcpSocket({ ...options, family: options.host.includes(':') ? 6 : 4 })
  const { onread } = options
  const socket = new Socket({
    fd,
    allowHalfOpen: options.allowHalfOpen ?? true,
    ...(onread === undefined ? {} : { onread }),
  })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onAbort = (): void => void socket.destroy(signal?.reason as Error)
  const onTimeout = (): void => {
    const error = Object.assign(
      new Error(`connecting to ${options.host}:${options.port} timed out`),
      {
        code: 'ETIMEDOUT',
      },
    )
    socket.destroy(error)
  }
  const onClose = (): void => reject(new Error(`connecting to ${options.host} was given up`))
  socket.once('connect', resolve).once('error', reject).once('close', onClose)
  signal?.addEventListener('abort', onAbort, { once: true })
  if (options.connectTimeoutMs !== undefined) socket.setTimeout(options.connectTimeoutMs, onTimeout)
  socket.connect({ host: options.host, port: options.port })
  try {
    await promise
  } finally {
    signal?.removeEventListener('abort', onAbort)
    if (options.connectTimeoutMs !== undefined) socket.setTimeout(0, onTimeout)
    socket.off('connect', resolve).off('error', reject).off('close', onClose)
    // Between this turn and the caller's own handler an error must not be fatal.
    if (socket.destroyed) socket.on('error', () => {})
  }
  return socket
}

function openSocket(options: SocketOptions, kind: number, prepare: (fd: number) => void): number {
  const open = (): number => {
    const domain = options.family === 4 ? abi.AF_INET : abi.AF_INET6
    const type = kind | abi.SOCK_CLOEXEC | abi.SOCK_NONBLOCK
    const fd = check(libc().socket(domain, type, 0), 'socket', `an IPv${options.family} socket`)
    try {
      applyOptions(fd, options, kind)
      prepare(fd)
      return fd
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }
  return options.netnsFd === undefined ? open() : withNetns(options.netnsFd, open)
}

function applyOptions(fd: number, options: SocketOptions, kind: number): void {
  const { family, mark, keepalive } = options
  if (mark !== undefined) setOption(fd, abi.SOL_SOCKET, abi.SO_MARK, mark)
  if (options.reusePort === true) setOption(fd, abi.SOL_SOCKET, abi.SO_REUSEPORT, 1)
  if (family === 6) setOption(fd, abi.SOL_IPV6, abi.IPV6_V6ONLY, options.ipv6Only === true ? 1 : 0)
  if (options.transparent === true) {
    // Best effort: without it the peer sees the proxy's address instead of the caller's.
    const value = int(1)
    libc().setsockopt(fd, abi.SOL_IP, abi.IP_TRANSPARENT, value, 4)
    if (family === 6) libc().setsockopt(fd, abi.SOL_IPV6, abi.IPV6_TRANSPARENT, value, 4)
  }
  if (kind !== abi.SOCK_STREAM) return
  setOption(fd, abi.SOL_TCP, abi.TCP_NODELAY, 1)
  if (keepalive !== undefined) {
    setOption(fd, abi.SOL_SOCKET, abi.SO_KEEPALIVE, 1)
    setOption(fd, abi.SOL_TCP, abi.TCP_KEEPIDLE, keepalive.idle)
    setOption(fd, abi.SOL_TCP, abi.TCP_KEEPINTVL, keepalive.interval)
    setOption(fd, abi.SOL_TCP, abi.TCP_KEEPCNT, keepalive.count)
  }
}

function bind(fd: number, options: BindOptions): void {
  const address = encodeInet(options.family, options.address, options.port)
  check(libc().bind(fd, address, address.length), 'bind', place(options))
}

function place({ address, port }: BindOptions): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function int(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  return bytes
}

/** setsockopt with an integer. */
export function setOption(fd: number, level: number, name: number, value: number): void {
  check(
    libc().setsockopt(fd, level, name, int(value), 4),
    'setsockopt',
    `option ${level}/${name} of fd ${fd}`,
  )
}
