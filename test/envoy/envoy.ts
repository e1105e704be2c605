/** A stock Envoy as a process: started with a bootstrap, asked through its admin port, ended with the test. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type RequestOptions, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { envoyPath } from '../../tools/envoy.ts'

export interface Answer {
  readonly status: number
  readonly body: string
}

/** One HTTP request on a connection of its own; status 0 when there was no answer. */
export function ask(port: number, path = '/', headers: Record<string, string> = {}) {
  return askAt({ host: '127.0.0.1', port, path, headers })
}

function askAt(target: RequestOptions): Promise<Answer> {
  return new Promise<Answer>((resolve) => {
    const options = { ...target, agent: false, timeout: 5_000 }
    const outgoing = request(options, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
      response.on('error', () => resolve({ status: 0, body }))
    })
    outgoing.on('timeout', () => outgoing.destroy())
    outgoing.on('error', (error) => resolve({ status: 0, body: error.message }))
    outgoing.end()
  })
}

export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs = 10_000,
): Promise<void> {
  const deadline = Date.now() + withinMs
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export class Envoy {
  readonly #child: ChildProcess
  readonly #folder: string
  #log = ''

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child
    this.#folder = folder
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#log += text))
  }

  /**
   * @param bootstrap without `admin`, as Envoy reads it in JSON
   * @param netnsFd the network namespace it runs in; default ours
   */
  static async start(bootstrap: object, netnsFd?: number): Promise<Envoy> {
    const path = await envoyPath()
    const folder = await mkdtemp(join(tmpdir(), 'weft-envoy-'))
    const file = join(folder, 'bootstrap.json')
    // A socket in the file system is reached from every network namespace.
    const admin = { address: { pipe: { path: join(folder, 'admin') } } }
    await writeFile(file, JSON.stringify({ admin, ...bootstrap }))
    const options = ['--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning']
    const logs = ['--file-flush-interval-msec', '50']
    const enter = netnsFd === undefined ? [] : [`--net=/proc/${process.pid}/fd/${netnsFd}`]
    // It ends with us, also when the test is killed.
    const command = ['setpriv', '--pdeathsig', 'KILL', path, '--config-path', file]
    const child = spawn('nsenter', [...enter, ...command, ...options, ...logs], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const envoy = new Envoy(child, folder)
    await until('the admin port answers', async () => {
      if (child.exitCode !== null) throw new Error(`Envoy ended:\n${envoy.log}`)
      return (await envoy.admin('/server_info')).status === 200
    })
    return envoy
  }

  /** What it wrote to its log. */
  get log(): string {
    return this.#log
  }

  admin(path: string): Promise<Answer> {
    return askAt({ socketPath: join(this.#folder, 'admin'), path })
  }

  /** One of its statistics; 0 when it has none of that name yet. */
  async stat(name: string): Promise<number> {
    const { body } = await this.admin(`/stats?filter=^${name.replaceAll('.', '[.]')}$`)
    return Number(body.slice(body.lastIndexOf(':') + 1)) || 0
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null) {
      this.#child.kill('SIGKILL')
      await once(this.#child, 'exit')
    }
    await rm(this.#folder, { recursive: true, force: true })
  }
}
