/** One running container: its output, its signals, commands executed inside it, its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { ExecSession } from '../../registry/index.ts'
import { containerError } from './errors.ts'
import { childOf, exitOf, killTree, sendSignal } from './exit.ts'
import { execArguments } from './init-script.ts'
import type { ExecRequest, Exit, RunningContainer } from './launcher.ts'
import { limits } from './limits.ts'
import { type ProcessStreams, pipeStreams, terminalStreams } from './streams.ts'
import { Terminal } from './terminal.ts'

export interface ContainerProcessOptions {
  /** `unshare`, the parent of the container's PID 1. */
  readonly child: ChildProcess
  readonly streams: ProcessStreams
  readonly terminal: Terminal | undefined
  readonly terminationFile: string
  readonly bootFolder: string
  readonly execSetup: {
    readonly nsenter: string
    readonly setsid: string
    readonly dropPrivileges: readonly string[]
    /** Absent in rootless mode. */
    readonly user: { readonly uid: number; readonly gid: number } | undefined
    readonly workingDir: string
  }
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
    const { child, streams } = options
    this.exit = exitOf(child, outputsOf(streams)).then((exit) => {
      this.#ended = true
      return exit
    })
  }

  get pid(): number | undefined {
    return this.#ended ? undefined : this.#pid
  }

  get stdin(): NodeJS.WritableStream | undefined {
    return this.#options.streams.stdinOf(this.#options.child)
  }

  get stdout(): Readable {
    return this.#options.streams.stdout
  }

  get stderr(): Readable | undefined {
    return this.#options.streams.stderr
  }

  resize(columns: number, rows: number): void {
    this.#options.terminal?.resize(columns, rows)
  }

  /** Makes the terminal that PID 1 has asked for, and tells it the number. */
  giveTerminal(): void {
    const { child, terminal, execSetup } = this.#options
    const pid = childOf(child.pid)
    if (terminal === undefined || pid === undefined) return
    child.stdin?.end(`${terminal.open(pid, execSetup.user)}\n`)
  }

  /** Called once the command runs. */
  started(): void {
    this.#options.terminal?.release()
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
    const pid = this.#pid
    if (this.#ended || pid === undefined)
      throw containerError('CONTAINER_ENDED', 'the container is not running')
    if (this.#sessions >= limits.execSessionsMax) {
      throw containerError(
        'CONTAINER_ENDED',
        `the container already runs ${limits.execSessionsMax} commands by exec; end one of them first`,
      )
    }
    this.#sessions++
    try {
      const session = await this.#exec(pid, request)
      void session.exitCode.finally(() => this.#sessions--)
      return session
    } catch (error) {
      this.#sessions--
      throw error
    }
  }

  async #exec(pid: number, request: ExecRequest): Promise<ExecSession> {
    const { stdin, tty } = request
    const { bootFolder, execSetup } = this.#options
    const terminal = tty ? new Terminal() : undefined
    terminal?.open(pid, execSetup.user)
    const streams =
      terminal === undefined
        ? await pipeStreams(join(bootFolder, `exec${this.#sequence++}`), stdin)
        : terminalStreams(terminal, stdin)
    let child: ChildProcess
    try {
      child = this.#enter(pid, request, streams)
    } finally {
      streams.release()
    }
    child.stdin?.on('error', () => {})
    return {
      stdin: streams.stdinOf(child),
      stdout: streams.stdout,
      stderr: streams.stderr,
      resize: (columns, rows) => terminal?.resize(columns, rows),
      exitCode: exitOf(child, outputsOf(streams)).then(({ code }) => code),
      kill: () => {
        killTree(child)
        terminal?.close()
      },
    }
  }

  #enter(pid: number, { command, tty }: ExecRequest, streams: ProcessStreams): ChildProcess {
    const { nsenter, setsid, dropPrivileges, user, workingDir } = this.#options.execSetup
    const inner = execArguments({
      command,
      workingDir,
      terminalWith: tty ? setsid : undefined,
      singleUser: user === undefined,
    })
    const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid']
    const args = ['--target', String(pid), ...namespaces, '--', ...dropPrivileges]
    return spawn(nsenter, [...args, '/bin/sh', ...inner], {
      cwd: '/',
      detached: true,
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      stdio: [...streams.stdio],
    })
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
}

function outputsOf({ stdout, stderr }: ProcessStreams): Readable[] {
  return stderr === undefined ? [stdout] : [stdout, stderr]
}
