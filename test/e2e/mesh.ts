/**
 * The whole-system test kit: a mesh of the test's own, started with ./weft as a user would, with its own state
 * directory and ports, and the pinned kubectl. Everything it starts is stopped by `stop`.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { kubectlPath } from '../../tools/kubectl.ts'
import { freePort } from '../free-port.ts'

export { freePort }

export const root = resolve(import.meta.dirname, '../..')
export const weft = join(root, 'weft')

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface MeshOptions {
  /** Default: root when the tests run as root. `nobody` drops to an unprivileged user. */
  readonly user?: 'root' | 'nobody'
  readonly sample?: string
  readonly flags?: readonly string[]
  readonly environment?: Record<string, string>
  /** Runs every command through this one: `nsenter` into other surroundings. */
  readonly enter?: readonly string[]
}

const nobody = 65534

/** Why whole-system tests can't run here, or false. For the `skip` of tests. */
export function cannotRun(): string | false {
  if (process.platform !== 'linux') return 'needs Linux'
  if (process.getuid?.() !== 0) return 'needs root (to run also as another user)'
  return false
}

export class Mesh {
  readonly name: string
  readonly stateHome: string
  readonly registryPort: number
  readonly ingressPort: number
  readonly #options: MeshOptions
  readonly #kubectl: string
  readonly #children = new Set<ChildProcess>()

  private constructor(
    options: MeshOptions,
    places: {
      name: string
      stateHome: string
      registryPort: number
      ingressPort: number
      kubectl: string
    },
  ) {
    this.#options = options
    this.name = places.name
    this.stateHome = places.stateHome
    this.registryPort = places.registryPort
    this.ingressPort = places.ingressPort
    this.#kubectl = places.kubectl
  }

  /** Ports and a state directory, nothing running yet. */
  static async prepare(options: MeshOptions = {}): Promise<Mesh> {
    const stateHome = mkdtempSync(join(tmpdir(), 'weft-e2e-'))
    if (options.user === 'nobody') chownSync(stateHome, nobody, nobody)
    else chmodSync(stateHome, 0o700)
    return new Mesh(options, {
      name: `t${process.pid}`,
      stateHome,
      registryPort: await freePort(),
      ingressPort: await freePort(),
      kubectl: await kubectlPath('1.35'),
    })
  }

  static async up(options: MeshOptions = {}): Promise<Mesh> {
    const mesh = await Mesh.prepare(options)
    const ran = await mesh.weft(mesh.upArguments())
    if (ran.code !== 0) {
      const logs = mesh.logs()
      await mesh.stop()
      assert.fail(`weft up failed with ${ran.code}:\n${ran.stdout}${ran.stderr}\n${logs}`)
    }
    return mesh
  }

  upArguments(): string[] {
    return [
      'up',
      '--name',
      this.name,
      '--registry-port',
      String(this.registryPort),
      '--ingress-port',
      String(this.ingressPort),
      ...(this.#options.sample === undefined ? [] : ['--sample', this.#options.sample]),
      ...(this.#options.flags ?? []),
    ]
  }

  get kubeconfig(): string {
    return join(this.stateHome, 'weft', this.name, 'kubeconfig')
  }

  get environment(): Record<string, string> {
    return {
      PATH: process.env.PATH ?? '',
      HOME: this.stateHome,
      XDG_STATE_HOME: this.stateHome,
      KUBECONFIG: this.kubeconfig,
      KUBECACHEDIR: join(this.stateHome, 'cache'),
      // `npm run features -- --sabotage` reaches the programs of the mesh through this.
      ...(process.env.WEFT_SABOTAGE === undefined
        ? {}
        : { WEFT_SABOTAGE: process.env.WEFT_SABOTAGE }),
      ...this.#options.environment,
    }
  }

  weft(args: readonly string[], timeoutMs = 120_000): Promise<Ran> {
    return this.run(weft, args, { timeoutMs })
  }

  kubectl(...args: string[]): Promise<Ran> {
    return this.run(this.#kubectl, args)
  }

  /** Fails the test when kubectl fails; its standard output. */
  async kubectlOk(...args: string[]): Promise<string> {
    const ran = await this.kubectl(...args)
    assert.equal(ran.code, 0, `kubectl ${args.join(' ')}: ${ran.stderr}${ran.stdout}`)
    return ran.stdout
  }

  /** Applies YAML from a string. */
  async apply(yaml: string, ...flags: string[]): Promise<void> {
    const ran = await this.run(this.#kubectl, ['apply', ...flags, '-f', '-'], { input: yaml })
    assert.equal(ran.code, 0, `kubectl apply: ${ran.stderr}`)
  }

  run(
    command: string,
    args: readonly string[],
    options: { input?: string; timeoutMs?: number } = {},
  ): Promise<Ran> {
    const [program, all] = this.#asUser(command, args)
    return new Promise((done) => {
      const child = execFile(
        program,
        all,
        {
          env: this.environment,
          cwd: this.stateHome,
          timeout: options.timeoutMs ?? 60_000,
          maxBuffer: 64 * 1024 * 1024,
        },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1
          done({ code, stdout, stderr: error?.killed === true ? `${stderr}(timed out)` : stderr })
        },
      )
      // A program that ended without reading its input is judged by its exit code.
      child.stdin?.on('error', () => {})
      child.stdin?.end(options.input ?? '')
    })
  }

  /** A long-running command, ended by `stop` at the latest. */
  spawn(command: string, args: readonly string[]): ChildProcess {
    const [program, all] = this.#asUser(command, args)
    const child = spawn(program, all, { env: this.environment, cwd: this.stateHome })
    child.stdin.on('error', () => {})
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    return child
  }

  spawnKubectl(...args: string[]): ChildProcess {
    return this.spawn(this.#kubectl, args)
  }

  /** Runs a shell line in the sample's curl pod. */
  exec(namespace: string, target: string, line: string): Promise<Ran> {
    return this.kubectl('exec', '-n', namespace, target, '--', 'sh', '-c', line)
  }

  #asUser(command: string, args: readonly string[]): [string, string[]] {
    const { user, enter = [] } = this.#options
    const drop =
      user === 'nobody'
        ? ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups']
        : []
    const [program = command, ...rest] = [...enter, ...drop, command, ...args]
    return [program, rest]
  }

  get brokerPid(): number {
    const record = readFileSync(join(this.stateHome, 'weft', this.name, 'broker.json'), 'utf8')
    return (JSON.parse(record) as { pid: number }).pid
  }

  /** All processes of the mesh, the broker first; found by walking down from it. */
  processes(): { pid: number; command: string }[] {
    return descendants(this.brokerPid)
  }

  /** The process that runs this entry point, like `nodeproxy/main.ts`. */
  processOf(part: string): number {
    const found = this.processes().filter(({ command }) =>
      command.split('\0').some((word) => word.endsWith(part)),
    )
    const last = found.at(-1)
    assert.ok(last, `no process runs ${part}`)
    return last.pid
  }

  logs(): string {
    const folder = join(this.stateHome, 'weft', this.name, 'logs')
    try {
      return readdirSync(folder)
        .map((file) => `--- ${file}\n${readFileSync(join(folder, file), 'utf8').slice(-6000)}`)
        .join('\n')
    } catch {
      return '(no logs)'
    }
  }

  async stop(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL')
    await this.weft(['down', '--name', this.name, '--purge'])
    rmSync(this.stateHome, { recursive: true, force: true, maxRetries: 3 })
  }
}

export function descendants(pid: number): { pid: number; command: string }[] {
  const parents = new Map<number, number[]>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      parents.set(parent, [...(parents.get(parent) ?? []), Number(entry)])
    } catch {
      // Gone meanwhile.
    }
  }
  const found: { pid: number; command: string }[] = []
  const visit = (current: number): void => {
    try {
      found.push({ pid: current, command: readFileSync(`/proc/${current}/cmdline`, 'utf8') })
    } catch {
      return
    }
    for (const child of parents.get(current) ?? []) visit(child)
  }
  visit(pid)
  return found
}

/** Tries until it doesn't throw, at most `timeoutMs`; the last failure is the test's. */
export async function eventually<T>(
  attempt: () => Promise<T> | T,
  timeoutMs = 20_000,
  pauseMs = 100,
): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (performance.now() > deadline) throw error
      await new Promise((done) => setTimeout(done, pauseMs))
    }
  }
}

/** The PID of a pod's first process, seen from the host; for nsenter in tests. */
export function netnsInode(pid: number): string {
  return execFileSync('readlink', [`/proc/${pid}/ns/net`])
    .toString()
    .trim()
}

export async function httpStatus(url: string): Promise<{ status: number; body: string }> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) }).catch(
    (error: Error) => {
      throw new Error(`GET ${url}: ${error.message}`, { cause: error.cause })
    },
  )
  return { status: response.status, body: await response.text() }
}
