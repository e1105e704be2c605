/** Where the standard streams of a new process go: pipes, or a terminal. */
import type { ChildProcess } from 'node:child_process'
import type { Readable } from 'node:stream'
import { closeWriters, outputPipes } from './fifo.ts'
import type { Terminal } from './terminal.ts'

export interface ProcessStreams {
  /** For `spawn`. */
  readonly stdio: readonly ['pipe' | 'ignore' | number, 'ignore' | number, 'ignore' | number]
  readonly stdout: Readable
  /** Absent with a terminal, which shows both. */
  readonly stderr: Readable | undefined
  /** After the spawn: the child has its own copies. */
  release(): void
  /** What the process reads. */
  stdinOf(child: ChildProcess): NodeJS.WritableStream | undefined
}

/** @param path of new pipes, `.out` and `.err` are appended */
export async function pipeStreams(path: string, stdin: boolean): Promise<ProcessStreams> {
  const pipes = await outputPipes([`${path}.out`, `${path}.err`])
  const [out, err] = pipes
  if (out === undefined || err === undefined) throw new Error('no output pipe')
  // A reader must survive until someone asks; failures are the log's business.
  for (const { reader } of pipes) reader.on('error', () => {})
  return {
    stdio: [stdin ? 'pipe' : 'ignore', out.writeFd, err.writeFd],
    stdout: out.reader,
    stderr: err.reader,
    release: () => closeWriters(pipes),
    stdinOf: (child) => (stdin ? (child.stdin ?? undefined) : undefined),
  }
}

/** A command on a terminal that is open. */
export function terminalStreams(terminal: Terminal, stdin: boolean): ProcessStreams {
  const fd = terminal.childFd
  return {
    stdio: [fd, fd, fd],
    stdout: terminal.output,
    stderr: undefined,
    release: () => terminal.release(),
    stdinOf: () => (stdin ? terminal.input : undefined),
  }
}

/** A container whose first process asks for its terminal, and hears of it on its standard input. */
export function askedTerminalStreams(terminal: Terminal, stdin: boolean): ProcessStreams {
  return {
    stdio: ['pipe', 'ignore', 'ignore'],
    stdout: terminal.output,
    stderr: undefined,
    release: () => {},
    stdinOf: () => (stdin ? terminal.input : undefined),
  }
}
