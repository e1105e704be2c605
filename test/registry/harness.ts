/** A registry on a loopback port, the real kubectl, and a backend that runs pods' commands as local processes. */
import { spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Duplex, PassThrough, Readable } from 'node:stream'
import { ReadStream } from 'node:tty'
import { type Logger, silentLogger, systemClock } from '../../src/base/index.ts'
import type { KubectlVersion } from '../../src/cli/kubectl-tool.ts'
import { openPty, setTerminalSize } from '../../src/linux/index.ts'
import {
  createRegistry,
  type ExecOptions,
  type ExecSession,
  type LogOptions,
  type PodBackend,
  type Registry,
} from '../../src/registry/index.ts'
import { kubectlPath } from '../../tools/kubectl.ts'

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Exec runs on this machine, a forwarded port is a loopback port, and logs are three lines. */
export class LocalBackend implements PodBackend {
  readonly forwarded: number[] = []
  /** What was asked of the logs, in order. */
  readonly logged: LogOptions[] = []

  logs(_pod: unknown, options: LogOptions): Promise<Readable> {
    this.logged.push(options)
    const lines = ['one', 'two', 'three'].slice(-(options.tailLines ?? 3))
    const text = lines.map((line) => `${line}\n`)
    if (!options.follow) return Promise.resolve(Readable.from(text))
    const stream = new PassThrough()
    stream.write(text.join(''))
    setTimeout(() => stream.end('four\n'), 100)
    return Promise.resolve(stream)
  }

  exec(_pod: unknown, options: ExecOptions): Promise<ExecSession> {
    const [program = '', ...args] = options.command
    if (options.tty) return Promise.resolve(onTerminal(options.command))
    const child = spawn(program, args, { stdio: 'pipe' })
    const exitCode = new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code) => resolve(code ?? 137))
    })
    if (!options.stdin) child.stdin.end()
    return Promise.resolve({
      stdin: options.stdin ? child.stdin : undefined,
      stdout: child.stdout,
      stderr: child.stderr,
      resize: () => {},
      exitCode,
      kill: () => void child.kill('SIGKILL'),
    })
  }

  attach(): Promise<ExecSession> {
    return this.exec(undefined, {
      container: '',
      command: ['echo', 'attached'],
      stdin: false,
      tty: false,
    })
  }

  portForward(_pod: unknown, port: number): Promise<Duplex> {
    this.forwarded.push(port)
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () =>
        resolve(socket),
      )
      socket.once('error', reject)
    })
  }
}

/** A command on a terminal of its own, with what it shows. */
export function onTerminal(
  command: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): ExecSession & { readonly stdin: ReadStream } {
  const { controllerFd, terminalFd } = openPty()
  const child = spawn('setsid', ['--ctty', ...command], {
    env,
    stdio: [terminalFd, terminalFd, terminalFd],
  })
  closeSync(terminalFd)
  const terminal = new ReadStream(controllerFd)
  const stdout = new PassThrough()
  terminal.on('data', (chunk: Buffer) => stdout.write(chunk))
  // A terminal that nobody has open any more says so with an error.
  terminal.on('error', () => {})
  terminal.once('close', () => stdout.end())
  return {
    stdin: terminal,
    stdout,
    stderr: undefined,
    resize: (columns, rows) => setTerminalSize(controllerFd, columns, rows),
    exitCode: new Promise((resolve) => child.once('close', (code) => resolve(code ?? 137))),
    kill: () => terminal.destroy(),
  }
}

export class RegistryHarness {
  readonly registry: Registry
  readonly backend: LocalBackend
  readonly dir: string
  readonly url: string
  readonly #listener: Server
  readonly #kubectl: string

  private constructor(parts: {
    registry: Registry
    backend: LocalBackend
    dir: string
    url: string
    listener: Server
    kubectl: string
  }) {
    this.registry = parts.registry
    this.backend = parts.backend
    this.dir = parts.dir
    this.url = parts.url
    this.#listener = parts.listener
    this.#kubectl = parts.kubectl
  }

  static async start(
    version: KubectlVersion = '1.35',
    logger: Logger = silentLogger,
  ): Promise<RegistryHarness> {
    const kubectl = await kubectlPath(version)
    const dir = await mkdtemp(join(tmpdir(), 'weft-registry-'))
    const backend = new LocalBackend()
    const registry = createRegistry({
      dir,
      name: 'test',
      clock: systemClock,
      logger,
      version: '0.0.0',
      backend,
    })
    const listener = createServer()
    registry.attach(listener)
    await registry.start()
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    const url = `https://127.0.0.1:${(listener.address() as AddressInfo).port}`
    await registry.writeKubeconfig(join(dir, 'kubeconfig'), url)
    return new RegistryHarness({ registry, backend, dir, url, listener, kubectl })
  }

  async stop(): Promise<void> {
    this.#listener.close()
    await this.registry.stop(200)
    await rm(this.dir, { recursive: true, force: true })
  }

  /** Environment of programs that use the kubeconfig. */
  get environment(): NodeJS.ProcessEnv {
    return { PATH: process.env.PATH, HOME: this.dir, KUBECONFIG: join(this.dir, 'kubeconfig') }
  }

  get kubectlProgram(): string {
    return this.#kubectl
  }

  /** Runs kubectl; never rejects. */
  run(args: readonly string[], input?: string, env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
    return this.runProgram(this.#kubectl, args, { input: input ?? '', env })
  }

  /** Runs any client with the kubeconfig; never rejects. */
  runProgram(
    program: string,
    args: readonly string[],
    { input = '', env = {} }: { input?: string; env?: NodeJS.ProcessEnv } = {},
  ): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, { env: { ...this.environment, ...env }, stdio: 'pipe' })
      const chunks = { stdout: '', stderr: '' }
      child.stdout.on('data', (chunk: Buffer) => {
        chunks.stdout += chunk.toString()
      })
      child.stderr.on('data', (chunk: Buffer) => {
        chunks.stderr += chunk.toString()
      })
      child.once('error', reject)
      child.once('close', (code) => resolve({ code: code ?? -1, ...chunks }))
      // A command that does not read its input ends before it is written.
      child.stdin.on('error', () => {})
      child.stdin.end(input)
    })
  }

  /** Runs kubectl with arguments divided by blanks; rejects when it fails. Returns its output. */
  async kubectl(line: string, input?: string): Promise<string> {
    const outcome = await this.run(line.split(' '), input)
    if (outcome.code !== 0) throw new Error(`kubectl ${line}\n${outcome.stderr}${outcome.stdout}`)
    return outcome.stdout
  }
}
