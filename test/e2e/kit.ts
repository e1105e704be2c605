/** Looking at real packets, certificates and connections of a mesh, with tcpdump, openssl and nsenter. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Mesh } from './mesh.ts'

export interface PodInfo {
  readonly name: string
  readonly uid: string
  readonly ip: string
  readonly restarts: number
  readonly redirection: string | undefined
}

interface PodJson {
  metadata: { name: string; uid: string; annotations?: Record<string, string> }
  status: { podIP?: string; containerStatuses?: { restartCount: number }[] }
}

export async function pods(mesh: Mesh, namespace: string, selector = ''): Promise<PodInfo[]> {
  const flags = selector === '' ? [] : ['-l', selector]
  const text = await mesh.kubectlOk('get', 'pods', '-n', namespace, '-o', 'json', ...flags)
  return (JSON.parse(text) as { items: PodJson[] }).items.map(({ metadata, status }) => ({
    name: metadata.name,
    uid: metadata.uid,
    ip: status.podIP ?? '',
    restarts: (status.containerStatuses ?? []).reduce((sum, entry) => sum + entry.restartCount, 0),
    redirection: metadata.annotations?.['ambient.istio.io/redirection'],
  }))
}

/**
 * A host PID that lives in the network namespace which owns this address. Found through /proc, as an administrator
 * of the machine would.
 */
export function pidInPod(mesh: Mesh, ip: string): number {
  const seen = new Set<string>()
  for (const { pid } of mesh.processes()) {
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/net`)
      if (seen.has(namespace)) continue
      seen.add(namespace)
      if (
        new RegExp(`\\b${ip.replaceAll('.', '\\.')}\\b`).test(
          readFileSync(`/proc/${pid}/net/fib_trie`, 'utf8'),
        )
      ) {
        const local = readFileSync(`/proc/${pid}/net/fib_trie`, 'utf8')
        if (new RegExp(`-- ${ip.replaceAll('.', '\\.')}\\s+/32 host LOCAL`).test(local)) return pid
      }
    } catch {
      // Gone meanwhile.
    }
  }
  throw new Error(`no process has the address ${ip}`)
}

/** Enters a process's network namespace, as root of the machine may, also in a rootless mesh. */
export function inNetns(pid: number, command: readonly string[]): [string, string[]] {
  return ['nsenter', ['-t', String(pid), '-n', '--', ...command]]
}

/** Packets of one pod's interface, written as text with payloads; `stop` returns them. */
export class Capture {
  readonly #child: ChildProcess
  #text = ''
  readonly #ready: Promise<void>

  constructor(pid: number, filter: string) {
    const [program, args] = inNetns(pid, [
      'tcpdump',
      '-Z',
      'root',
      '-i',
      'eth0',
      '-n',
      '-U',
      '-A',
      '-s',
      '0',
      '-l',
      filter,
    ])
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child.stdout?.on('data', (chunk: Buffer) => (this.#text += chunk.toString('latin1')))
    this.#ready = new Promise((done, fail) => {
      this.#child.stderr?.on('data', (chunk) => {
        if (String(chunk).includes('listening on')) done()
      })
      this.#child.once('exit', () => fail(new Error('tcpdump ended at once')))
    })
  }

  async ready(): Promise<this> {
    await this.#ready
    return this
  }

  get text(): string {
    return this.#text
  }

  /** `10.0.0.1.4711 > 10.0.0.2.9080` of every packet that opens a connection. */
  get opened(): string[] {
    return [...this.#text.matchAll(/IP (\S+ > \S+): Flags \[S\]/g)].map((match) => match[1] ?? '')
  }

  async stop(): Promise<string> {
    if (this.#child.exitCode !== null) return this.#text
    await new Promise((done) => setTimeout(done, 300))
    this.#child.kill('SIGINT')
    await new Promise((done) => this.#child.once('close', done))
    return this.#text
  }
}

/** Open file descriptors that are network namespaces, to see leaks. */
export function namespacesOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('net:[')
    } catch {
      return false
    }
  }).length
}

/** Argument list of a program in a pod that carries bytes between its standard streams and a TCP port. */
export function rawConnection(host: string, port: number): string[] {
  const script = `const s = require("net").connect(${port}, "${host}");
process.stdin.pipe(s); s.pipe(process.stdout);
s.on("error", () => process.exit(7)); s.on("close", () => process.exit(0))`
  return ['/opt/weft/bin/node', '-e', script]
}
