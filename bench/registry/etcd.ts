/** The peer: etcd of Debian's package, taken from apt once and unpacked beside the other tools. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../../test/free-port.ts'

const run = promisify(execFile)
const home = resolve(import.meta.dirname, '../../.tools/etcd')

/** The path of etcd; undefined when it is not installed and apt can't give it. */
async function program(): Promise<string | undefined> {
  const own = join(home, 'usr/bin/etcd')
  if (existsSync(own)) return own
  const installed = await run('which', ['etcd']).catch(() => undefined)
  if (installed !== undefined) return installed.stdout.trim()
  console.log('etcd is missing: fetching the package etcd-server with apt-get ...')
  const download = mkdtempSync(join(tmpdir(), 'weft-etcd-'))
  try {
    await run('apt-get', ['download', 'etcd-server'], { cwd: download })
    const [file = ''] = readdirSync(download)
    mkdirSync(home, { recursive: true })
    await run('dpkg-deb', ['-x', join(download, file), home])
    return own
  } catch (error) {
    console.log(`no etcd, so nothing to compare with: ${String(error).split('\n')[0]}`)
    return undefined
  } finally {
    rmSync(download, { recursive: true, force: true })
  }
}

export class Etcd {
  readonly port: number
  readonly #child: ChildProcess
  readonly #dir: string

  private constructor(port: number, child: ChildProcess, dir: string) {
    this.port = port
    this.#child = child
    this.#dir = dir
  }

  static async start(): Promise<Etcd | undefined> {
    const path = await program()
    if (path === undefined) return undefined
    const dir = mkdtempSync(join(tmpdir(), 'weft-etcd-'))
    const [client, peer] = [await freePort(), await freePort()]
    const at = (port: number): string => `http://127.0.0.1:${port}`
    const child = spawn(
      path,
      [
        ['--data-dir', dir],
        ['--listen-client-urls', at(client), '--advertise-client-urls', at(client)],
        ['--listen-peer-urls', at(peer), '--initial-advertise-peer-urls', at(peer)],
        [
          '--initial-cluster',
          `default=${at(peer)}`,
          '--logger',
          'zap',
          '--log-outputs',
          '/dev/null',
        ],
      ].flat(),
      { stdio: 'ignore' },
    )
    const etcd = new Etcd(client, child, dir)
    for (let attempt = 0; !(await answers(client)); attempt++) {
      if (attempt === 200) {
        await etcd.stop()
        throw new Error('etcd did not come up')
      }
      await new Promise((done) => setTimeout(done, 50))
    }
    return etcd
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async stop(): Promise<void> {
    const closed = new Promise((done) => this.#child.once('close', done))
    if (this.#child.kill()) await closed
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      done(true)
    })
    socket.once('error', () => done(false))
  })
}
