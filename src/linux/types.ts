/**
 * The OS surface that the mesh needs and Node lacks. `linux` is the only importer of the FFI; the
 * functions are in `index.ts`. All file descriptors are plain numbers, owned by the caller.
 */

export interface SocketOptions {
  /** Create the socket in this network namespace; absent: the process's own. */
  readonly netnsFd?: number
  readonly family: 4 | 6
  /** SO_MARK. */
  readonly mark?: number
  /** IP_TRANSPARENT / IPV6_TRANSPARENT, best effort. */
  readonly transparent?: boolean
  readonly reusePort?: boolean
  /** Family 6 only: refuse IPv4. Default false, so that one socket serves both. */
  readonly ipv6Only?: boolean
  /** TCP keepalive in seconds. */
  readonly keepalive?: { readonly idle: number; readonly interval: number; readonly count: number }
}

export interface BindOptions extends SocketOptions {
  readonly address: string
  readonly port: number
}

export interface OriginalDestination {
  readonly address: string
  readonly port: number
  readonly family: 4 | 6
}

/** SO_PEERCRED: the process that connected, or that listens. */
export interface PeerCredentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/** A child that ended: with a code, or by a signal. */
export interface EndedChild {
  readonly pid: number
  readonly exitCode?: number
  readonly signal?: number
}

/** One packet of a SEQPACKET socket. */
export interface Packet {
  readonly data: Uint8Array
  /** Descriptors that came with it (SCM_RIGHTS); the receiver owns them. */
  readonly fds: readonly number[]
}

/** One end of a SEQPACKET connection, driven by the event loop. */
export interface SeqPacketConnection {
  readonly peer: PeerCredentials
  /** Rejects when the packet is longer than the peer's buffer or the peer is gone. */
  send(data: Uint8Array, fds?: readonly number[]): Promise<void>
  /** Undefined at the end of the stream, and after `close`. One call at a time. */
  receive(): Promise<Packet | undefined>
  /** Also closes descriptors which were received but not taken. */
  close(): void
}

export interface SeqPacketListener {
  /** Undefined after `close`. */
  accept(): Promise<SeqPacketConnection | undefined>
  close(): void
}
