/**
 * Pseudo terminals of any devpts instance: the path of its `ptmx` may lead into another mount namespace
 * (`/proc/<pid>/root/dev/pts/ptmx`), and the terminal's other end comes as a descriptor, without a path.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { check } from './errors.ts'
import { abi, libc } from './libc.ts'

export interface PseudoTerminal {
  /** What the terminal's user types goes in here, and what is shown comes out. */
  readonly controllerFd: number
  /** The terminal itself, for a child's standard streams. */
  readonly terminalFd: number
  /** It is `/dev/pts/<number>` for those who see that devpts. */
  readonly number: number
}

/** Opens a new pair; the caller owns both descriptors. */
export function openPty(ptmxPath = '/dev/ptmx'): PseudoTerminal {
  const controllerFd = openSync(ptmxPath, constants.O_RDWR | constants.O_NOCTTY)
  try {
    const word = Buffer.alloc(4)
    check(libc().ioctl(controllerFd, abi.TIOCSPTLCK, word), 'ioctl', `TIOCSPTLCK of ${ptmxPath}`)
    check(libc().ioctl(controllerFd, abi.TIOCGPTN, word), 'ioctl', `TIOCGPTN of ${ptmxPath}`)
    const flags = constants.O_RDWR | constants.O_NOCTTY | abi.SOCK_CLOEXEC
    const terminalFd = check(
      libc().ioctlValue(controllerFd, abi.TIOCGPTPEER, flags),
      'ioctl',
      `TIOCGPTPEER of ${ptmxPath}`,
    )
    return { controllerFd, terminalFd, number: word.readUInt32LE() }
  } catch (error) {
    closeSync(controllerFd)
    throw error
  }
}

/** Sets the size that programs on the terminal see; they are told by SIGWINCH when it changes. */
export function setTerminalSize(fd: number, columns: number, rows: number): void {
  const size = Buffer.alloc(8)
  size.writeUInt16LE(rows, 0)
  size.writeUInt16LE(columns, 2)
  check(libc().ioctl(fd, abi.TIOCSWINSZ, size), 'ioctl', `TIOCSWINSZ of fd ${fd}`)
}
