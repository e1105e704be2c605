/** Looking at real packets, certificates and connections of a mesh, with tcpdump, openssl and nsenter. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
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

/**
 * A shell line for a pod: connects, waits until the server has said a line by itself, says `ping`, and prints
 * everything up to the second line; fails when that does not happen within 5 seconds.
 */
export function serverFirst(host: string, port: number): string {
  const script = `const s = require("net").connect(${port}, "${host}"); let t = "", said = false
s.on("data", (d) => { t += d
  if (!said && t.includes("\\n")) { said = true; s.write("ping\\n") }
  if (t.split("\\n").length > 2) { process.stdout.write(t); process.exit(0) } })
s.on("error", (e) => { console.error(e.code); process.exit(7) }); s.on("close", () => process.exit(8))
setTimeout(() => process.exit(9), 5000)`
  return `/opt/weft/bin/node -e '${script}'`
}

/** What a server of `OutsideHost` says first. */
export const outsideBanner = 'hello from outside'

const outsideServer = `require("net").createServer((s) => {
  s.write("${outsideBanner}\\n"); s.on("data", (d) => s.write("you said " + d)); s.on("error", () => {})
}).listen(7000, "0.0.0.0", () => console.log("listening"))`

/**
 * A machine outside the mesh, played by a network namespace of its own behind a veth pair. `address` is its own, with a
 * server that speaks first on port 7000; `hostAddress` is this machine's on the wire between them.
 */
export class OutsideHost {
  readonly address: string
  readonly hostAddress: string
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, address: string, hostAddress: string) {
    this.#child = child
    this.address = address
    this.hostAddress = hostAddress
  }

  static async start(): Promise<OutsideHost> {
    // Of the block for documentation; the process id keeps test runs side by side apart.
    const base = (process.pid % 60) * 4
    const [hostAddress, address] = [`198.51.100.${base + 1}`, `198.51.100.${base + 2}`]
    const device = `wt${process.pid}`
    const ready = 'read ready; exec "$@"'
    const command = ['--net', 'sh', '-c', ready, 'sh', process.execPath, '-e', outsideServer]
    const child = spawn('unshare', command, { stdio: ['pipe', 'pipe', 'inherit'] })
    const host = new OutsideHost(child, address, hostAddress)
    const listening = new Promise<void>((done) => child.stdout.once('data', () => done()))
    // unshare must have made the namespace before the wire is laid into it.
    const own = readlinkSync('/proc/self/ns/net')
    while (readlinkSync(`/proc/${child.pid}/ns/net`) === own) {
      await new Promise((done) => setTimeout(done, 5))
    }
    const ip = (...args: string[]): void => void execFileSync('ip', args)
    ip('link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(child.pid))
    ip('address', 'add', `${hostAddress}/30`, 'dev', device)
    ip('link', 'set', device, 'up')
    const inside = (...args: string[]): void =>
      void execFileSync(...inNetns(child.pid ?? 0, ['ip', ...args]))
    inside('address', 'add', `${address}/30`, 'dev', 'eth0')
    inside('link', 'set', 'eth0', 'up')
    child.stdin.write('\n')
    await listening
    return host
  }

  /** The namespace goes with its process, and the wire with the namespace. */
  stop(): void {
    this.#child.kill('SIGKILL')
  }
}
