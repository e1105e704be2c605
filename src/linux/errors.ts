/** Failed system calls as errors that say which right, limit or setting is missing. */
import { constants } from 'node:os'
import { getSystemErrorMessage, getSystemErrorName } from 'node:util'
import { MeshError } from '../base/index.ts'
import { libc } from './libc.ts'

// Backwards, so that of two names for one number the first wins: EAGAIN, not EWOULDBLOCK.
const errnoNames = new Map(
  Object.entries(constants.errno)
    .toReversed()
    .map(([name, value]) => [value, name]),
)

/** A system call that failed; `errno` is its name, like `EPERM`. */
export class SystemCallError extends MeshError {
  readonly errno: string
  readonly syscall: string

  constructor(syscall: string, object: string, errno: string, message: string) {
    super(`LINUX_${errno}`, `${syscall} failed for ${object}: ${message} (${errno})`, {
      hint:
        hints[`${syscall} ${errno}`] ?? hints[errno] ?? 'See the manual page of that system call.',
      retryable: errno === 'EAGAIN' || errno === 'EINTR' || errno === 'ECONNREFUSED',
    })
    this.errno = errno
    this.syscall = syscall
  }
}

const needsAdmin =
  'This needs CAP_SYS_ADMIN in the user namespace that owns the network namespace: run as root, or inside ' +
  '`unshare -Urnm`. Where user namespaces are restricted: sysctl kernel.apparmor_restrict_unprivileged_userns=0 ' +
  'or user.max_user_namespaces above 0.'
const needsNetAdmin =
  'This needs CAP_NET_ADMIN in the user namespace that owns the network namespace.'

const hints: Readonly<Record<string, string>> = {
  'setns EPERM': needsAdmin,
  'setns EINVAL':
    'The descriptor is not a network namespace; open /proc/<pid>/ns/net or a bind mount of it.',
  'unshare EPERM': needsAdmin,
  'unshare ENOSPC':
    'The limit of network namespaces is reached: raise sysctl user.max_net_namespaces.',
  'mount EPERM': needsAdmin,
  'umount2 EPERM': needsAdmin,
  'umount2 EINVAL': 'Nothing is mounted there.',
  'umount2 EBUSY': 'Something still uses the mount; end it, or unmount with `detach`.',
  'setsockopt EPERM': needsNetAdmin,
  'ioctl EPERM': needsNetAdmin,
  'bind EACCES':
    'Ports below 1024 need CAP_NET_BIND_SERVICE, or sysctl net.ipv4.ip_unprivileged_port_start.',
  'bind EADDRINUSE':
    'Another socket has this address: find its owner with `ss -lntup`, or choose another port.',
  'bind EADDRNOTAVAIL':
    'No interface in this network namespace has the address (is `lo` up?), and the socket is not transparent.',
  'connect ENOENT': 'Nothing listens there yet; start the server, or check the path.',
  'connect ECONNREFUSED': 'The socket file is there but its server is gone; start the server.',
  'connect EACCES': 'This user may not write to the socket; check its mode and owner.',
  'socket EAFNOSUPPORT': 'The kernel lacks this address family (IPv6 disabled?).',
  EMFILE: 'Too many open files in this process: raise `ulimit -n`.',
  ENFILE: 'Too many open files on this machine: raise sysctl fs.file-max.',
  ENOSYS: 'The kernel is too old or a sandbox forbids this call.',
}

/** The error of the call that has just failed. Must be called before any other C function. */
export function lastError(syscall: string, object: string): SystemCallError {
  return systemCallError(syscall, object, libc().errno())
}

export function systemCallError(syscall: string, object: string, errno: number): SystemCallError {
  const name = errnoNames.get(errno) ?? `E${errno}`
  // libuv's table has good sentences but lacks some numbers (ECHILD ...).
  const known = errno > 0 && !getSystemErrorName(-errno).startsWith('Unknown')
  return new SystemCallError(
    syscall,
    object,
    name,
    known ? getSystemErrorMessage(-errno) : 'refused',
  )
}

/** Returns the result of a C function, or throws what `errno` says. */
export function check(result: number, syscall: string, object: string): number {
  if (result < 0) throw lastError(syscall, object)
  return result
}
