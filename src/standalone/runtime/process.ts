/** One running container: its output, its signals, commands executed inside it, its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { ExecSession } from '../../registry/index.ts'
import { containerError } from './errors.ts'
import { closeWriters, outputPipes } from './fifo.ts'
import { execArguments } from './init-script.ts'
import type { ExecRequest, Exit, RunningContainer } from './launcher.ts'
import { limits } from './limits.ts'

export interface ContainerProcessOptions {
  /** `unshare`, the parent of the container's PID 1. */
  readonly child: ChildProcess
  readonly stdout: Socket
  readonly stderr: Socket | undefined
  readonly terminationFile: string
  readonly bootFolder: string
  readonly execSetup: {
    readonly nsenter: string
    readonly dropPrivileges: readonly string[]
    readonly workingDir: string
  }
  readonly tty: boolean
}

export class ContainerProcess implements RunningContainer {
  readonly #options: ContainerProcessOptions
  readonly exit: Promise<Exit>
  /** The container's PID 1 as we see it. */
  #pid: number | undefined
  #ended = false
  #sessions = 0
  #sequence = 0

  constructor(options: ContainerProcessOptions) {
    this.#options = options
    const outputs = [options.stdout, ...(options.stderr === undefined ? [] : [options.stderr])]
    this.exit = exitOf(options.child, outputs).then((exit) => {
      this.#ended = true
      return exit
    })
    // A container's reader must survive until someone asks; failures are the log's business.
    for (const output of outputs) output.on('error', () => {})
  }

  get stdin(): NodeJS.WritableStream | undefined {
    return this.#options.child.stdin ?? undefined
  }

  get stdout(): Readable {
    return this.#options.stdout
  }

  get stderr(): Readable | undefined {
    return this.#options.stderr
  }

  /** Called once the command runs. */
  started(): void {
    this.#pid = childOf(this.#options.child.pid)
  }

  signal(name: NodeJS.Signals): void {
    if (this.#ended || this.#pid === undefined) return
    sendSignal(this.#pid, name)
  }

  kill(): void {
    if (this.#ended) return
    // The end of PID 1 is the end of the whole namespace; with `--kill-child` so is that of unshare.
    const pid = this.#pid ?? this.#options.child.pid
    if (pid !== undefined) sendSignal(pid, 'SIGKILL')
  }

  async exec(request: ExecRequest): Promise<ExecSession> {
    if (this.#ended || this.#pid === undefined)
      throw containerError('CONTAINER_ENDED', 'the container is not running')
    if (this.#sessions >= limits.execSessionsMax) {
      throw containerError(
        'CONTAINER_ENDED',
        `the container already runs ${limits.execSessionsMax} commands by exec; end one of them first`,
      )
    }
    this.#sessions++
    const { bootFolder, execSetup } = this.#options
    const name = `exec${this.#sequence++}`
    const pipes = await outputPipes(
      (request.tty ? ['out'] : ['out', 'err']).map((kind) => join(bootFolder, `${name}.${kind}`)),
    )
    const [out, err = out] = pipes
    if (out === undefined || err === undefined)
      throw containerError('CONTAINER_ENDED', 'no output pipe')
    const { nsenter, dropPrivileges, workingDir } = execSetup
    const args = [
      '--target',
      String(this.#pid),
      '--mount',
      '--uts',
      '--ipc',
      '--net',
      '--pid',
      '--',
    ]
    const inner = ['/bin/sh', ...execArguments(request.command, workingDir, request.tty)]
    let child: ChildProcess
    try {
      child = spawn(nsenter, [...args, ...dropPrivileges, ...inner], {
        cwd: '/',
        detached: true,
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
        stdio: [request.stdin ? 'pipe' : 'ignore', out.writeFd, err.writeFd],
      })
    } finally {
      closeWriters(pipes)
    }
    const outputs = [...new Set([out.reader, err.reader])]
    const exit = exitOf(child, outputs)
    void exit.finally(() => this.#sessions--)
    child.stdin?.on('error', () => {})
    return {
      stdin: child.stdin ?? undefined,
      stdout: out.reader,
      stderr: err === out ? undefined : err.reader,
      resize: (columns, rows) => void this.#resize(child, columns, rows),
      exitCode: exit.then(({ code }) => code),
      kill: () => killTree(child.pid),
    }
  }

  async terminationMessage(): Promise<string> {
    const file = await open(this.#options.terminationFile, 'r').catch(() => undefined)
    if (file === undefined) return ''
    try {
      const { size } = await file.stat()
      const length = Math.min(size, limits.terminationMessageBytesMax)
      const bytes = Buffer.alloc(length)
      await file.read(bytes, 0, length, size - length)
      return bytes.toString()
    } finally {
      await file.close()
    }
  }

  /** The terminal is `script`'s, inside the container; `stty` there sets its size. */
  async #resize(child: ChildProcess, columns: number, rows: number): Promise<void> {
    if (!Number.isInteger(columns) || !Number.isInteger(rows) || child.exitCode !== null) return
    const size = `for t in /dev/pts/[0-9]*; do stty -F "$t" cols ${columns} rows ${rows}; done 2>/dev/null`
    const session = await this.exec({
      command: ['/bin/sh', '-c', size],
      stdin: false,
      tty: false,
    }).catch(() => undefined)
    session?.stdout.resume()
    session?.stderr?.resume()
    await session?.exitCode
  }
}

/** The code as shells count it, after the output has been read to its end. */
function exitOf(child: ChildProcess, outputs: readonly Socket[]): Promise<Exit> {
  const { promise, resolve } = Promise.withResolvers<Exit>()
  let exit: Exit | undefined
  let open = outputs.length
  const done = (): void => {
    if (exit !== undefined && open === 0) resolve(exit)
  }
  for (const output of outputs) {
    output.once('close', () => {
      open--
      done()
    })
  }
  const end = (code: number | null, signal: NodeJS.Signals | null): void => {
    const number = signal === null ? undefined : constants.signals[signal]
    exit = { code: code ?? 128 + (number ?? 0), signal: number }
    done()
    for (const output of outputs) destroyWhenIdle(output)
  }
  child.once('exit', end)
  child.once('error', () => end(1, null))
  return promise
}

/** A process that still holds the output open must not hold us up; what was read already is not lost. */
function destroyWhenIdle(output: Socket): void {
  const timer = setTimeout(() => {
    if (output.readableLength > 0) destroyWhenIdle(output)
    else output.destroy()
  }, 1_000)
  timer.unref()
  output.once('close', () => clearTimeout(timer))
}

/** The only child of a process. */
function childOf(pid: number | undefined): number | undefined {
  if (pid === undefined) return undefined
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    const child = Number(text.trim().split(' ')[0])
    return child > 0 ? child : undefined
  } catch {
    return undefined
  }
}

/** `nsenter` and the command that it waits for. */
function killTree(pid: number | undefined): void {
  if (pid === undefined) return
  const child = childOf(pid)
  if (child !== undefined) sendSignal(child, 'SIGKILL')
  sendSignal(pid, 'SIGKILL')
}

function sendSignal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It is gone already.
  }
}
