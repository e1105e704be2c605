/**
 * The C library, called through koffi: the only place that imports it. Loaded on first use, so that
 * importing this room costs nothing and works on systems other than Linux. Functions are declared
 * with fixed arguments even where C has `...`: on x86-64 and arm64 Linux both pass alike.
 */
import { createRequire } from 'node:module'
import type { PollHandle } from './poll.ts'

/** Numbers of the Linux ABI that are the same on all 64-bit architectures which we support. */
export const abi = {
  AF_UNIX: 1,
  AF_INET: 2,
  AF_INET6: 10,
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOCK_SEQPACKET: 5,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
  SOL_IP: 0,
  SOL_SOCKET: 1,
  SOL_TCP: 6,
  SOL_IPV6: 41,
  SO_REUSEADDR: 2,
  SO_KEEPALIVE: 9,
  SO_REUSEPORT: 15,
  SO_PEERCRED: 17,
  SO_MARK: 36,
  IP_TRANSPARENT: 19,
  IP_BIND_ADDRESS_NO_PORT: 24,
  IPV6_V6ONLY: 26,
  IPV6_TRANSPARENT: 75,
  SO_ORIGINAL_DST: 80,
  TCP_NODELAY: 1,
  TCP_INFO: 11,
  /** A state in TCP_INFO. */
  TCP_CLOSE: 7,
  TCP_KEEPIDLE: 4,
  TCP_KEEPINTVL: 5,
  TCP_KEEPCNT: 6,
  SHUT_RDWR: 2,
  SCM_RIGHTS: 1,
  MSG_CTRUNC: 0x8,
  MSG_TRUNC: 0x20,
  MSG_NOSIGNAL: 0x4000,
  MSG_CMSG_CLOEXEC: 0x40000000,
  F_DUPFD_CLOEXEC: 1030,
  CLONE_NEWNET: 0x40000000,
  SIOCGIFFLAGS: 0x8913,
  SIOCSIFFLAGS: 0x8914,
  IFF_UP: 1,
  TIOCGPTN: 0x80045430,
  TIOCSPTLCK: 0x40045431,
  TIOCGPTPEER: 0x5441,
  TIOCSWINSZ: 0x5414,
  P_ALL: 0,
  WNOHANG: 1,
  WEXITED: 4,
  WNOWAIT: 0x01000000,
  PR_SET_PDEATHSIG: 1,
  PR_SET_DUMPABLE: 4,
  PR_SET_CHILD_SUBREAPER: 36,
  MS_RDONLY: 1,
  MS_NOSUID: 2,
  MS_NODEV: 4,
  MS_NOEXEC: 8,
  MS_REMOUNT: 32,
  MS_BIND: 4096,
  MS_REC: 16384,
  MS_PRIVATE: 1 << 18,
  MS_SLAVE: 1 << 19,
  MNT_DETACH: 2,
} as const

export interface Libc {
  readonly socket: (domain: number, type: number, protocol: number) => number
  readonly bind: (fd: number, address: Buffer, length: number) => number
  readonly connect: (fd: number, address: Buffer, length: number) => number
  readonly listen: (fd: number, backlog: number) => number
  readonly accept4: (fd: number, address: null, length: null, flags: number) => number
  readonly shutdown: (fd: number, how: number) => number
  readonly setsockopt: (
    fd: number,
    level: number,
    name: number,
    value: Buffer,
    length: number,
  ) => number
  readonly getsockopt: (
    fd: number,
    level: number,
    name: number,
    value: Buffer,
    length: Buffer,
  ) => number
  readonly getsockname: (fd: number, address: Buffer, length: Buffer) => number
  readonly sendmsg: (fd: number, message: Buffer, flags: number) => number
  readonly recvmsg: (fd: number, message: Buffer, flags: number) => number
  readonly setns: (fd: number, kind: number) => number
  readonly unshare: (flags: number) => number
  readonly mount: (
    source: string | null,
    target: string,
    type: string | null,
    flags: number,
    data: string | null,
  ) => number
  readonly umount2: (target: string, flags: number) => number
  readonly ioctl: (fd: number, request: number, argument: Buffer) => number
  /** The same call, for requests whose argument is a number. */
  readonly ioctlValue: (fd: number, request: number, argument: number) => number
  readonly fcntl: (fd: number, command: number, argument: number) => number
  readonly prctl: (option: number, a: number, b: number, c: number, d: number) => number
  readonly waitid: (kind: number, id: number, info: Buffer, options: number) => number
  readonly waitpid: (pid: number, status: Buffer, options: number) => number
  readonly errno: () => number
  /** The address of a buffer; the caller keeps the buffer alive while C may use it. */
  readonly addressOf: (buffer: Buffer) => bigint
  readonly poll: (fd: number) => PollHandle
}

let loaded: Libc | undefined

/** The C library of this process. Throws when koffi has no build for this machine. */
export function libc(): Libc {
  loaded ??= load()
  return loaded
}

function load(): Libc {
  // The package's types describe its default export, which `require` returns.
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi').default
  // null: what this process has loaded already, whichever C library that is.
  const library = koffi.load(null)
  return {
    socket: library.func('int socket(int, int, int)'),
    bind: library.func('int bind(int, const void *, uint32_t)'),
    connect: library.func('int connect(int, const void *, uint32_t)'),
    listen: library.func('int listen(int, int)'),
    accept4: library.func('int accept4(int, void *, void *, int)'),
    shutdown: library.func('int shutdown(int, int)'),
    setsockopt: library.func('int setsockopt(int, int, int, const void *, uint32_t)'),
    getsockopt: library.func('int getsockopt(int, int, int, void *, void *)'),
    getsockname: library.func('int getsockname(int, void *, void *)'),
    sendmsg: library.func('int64_t sendmsg(int, const void *, int)'),
    recvmsg: library.func('int64_t recvmsg(int, void *, int)'),
    setns: library.func('int setns(int, int)'),
    unshare: library.func('int unshare(int)'),
    mount: library.func('int mount(const char *, const char *, const char *, ulong, const char *)'),
    umount2: library.func('int umount2(const char *, int)'),
    ioctl: library.func('int ioctl(int, ulong, void *)'),
    ioctlValue: library.func('int ioctl(int, ulong, long)'),
    fcntl: library.func('int fcntl(int, int, long)'),
    prctl: library.func('int prctl(int, ulong, ulong, ulong, ulong)'),
    waitid: library.func('int waitid(int, uint32_t, void *, int)'),
    waitpid: library.func('int waitpid(int, void *, int)'),
    errno: () => koffi.errno(),
    addressOf: (buffer) => koffi.address(buffer),
    // A handle needs a first callback; `start` replaces it before any event can come.
    // Its types leave out the first argument of the callback, the status.
    poll: (fd) => koffi.node.poll(fd, { readable: true }, () => {}) as unknown as PollHandle,
  }
}
