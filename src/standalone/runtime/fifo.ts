/**
 * Pipes for a container's output. Node connects children with sockets, which a program can't open
 * again as `/dev/stdout` or `/dev/stderr` (many shell scripts do); so these are real FIFOs.
 */
import { execFile } from 'node:child_process'
import { closeSync, constants, openSync, unlinkSync } from 'node:fs'
import { Socket } from 'node:net'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface OutputPipe {
  /** For the child's stdio; close it after the spawn. */
  readonly writeFd: number
  /** Ends when the last writer is gone. */
  readonly reader: Socket
}

/** Makes pipes at these (new) paths; the names are gone when this resolves. */
export async function outputPipes(paths: readonly string[]): Promise<OutputPipe[]> {
  await run('mkfifo', ['-m', '0666', ...paths])
  return paths.map((path) => {
    const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const writeFd = openSync(path, constants.O_WRONLY)
    unlinkSync(path)
    return { writeFd, reader: new Socket({ fd: readFd, readable: true, writable: false }) }
  })
}

export function closeWriters(pipes: readonly OutputPipe[]): void {
  for (const { writeFd } of pipes) closeSync(writeFd)
}
