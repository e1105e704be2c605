/**
 * Faults between two node proxies. The kernel here may lack netem, so the loss is nftables' (real packets,
 * real retransmissions), and delay, resets and vanishing come from a wire: a pod on the way to port 15008
 * of another, where packets are led by the node as a load balancer would.
 */
import { once } from 'node:events'
import net from 'node:net'
import { connectTcp } from '../../src/linux/index.ts'
import type { TestMesh, TestPod } from './nodeproxy-kit.ts'
import { readAll } from './nodeproxy-kit.ts'
import { checkPattern, type Received, sendPattern } from './patterns.ts'

/** Rules of the node that lose packets; one table, flushed to heal. */
export class Losses {
  readonly #mesh: TestMesh

  private constructor(mesh: TestMesh) {
    this.#mesh = mesh
  }

  static async create(mesh: TestMesh): Promise<Losses> {
    await mesh.nft('add table inet fault')
    await mesh.nft('add chain inet fault way { type filter hook forward priority 10; }')
    return new Losses(mesh)
  }

  /** Each packet is lost with this probability. */
  percent(percent: number): Promise<void> {
    return this.#mesh.nft(`add rule inet fault way numgen random mod 100 < ${percent} drop`)
  }

  /** Nothing comes or goes any more, and nobody says so. */
  async blackHole({ ip }: TestPod): Promise<void> {
    await this.#mesh.nft(`add rule inet fault way ip daddr ${ip} drop`)
    await this.#mesh.nft(`add rule inet fault way ip saddr ${ip} drop`)
  }

  /** Nothing from one pod reaches the other. */
  oneWay(from: TestPod, to: TestPod): Promise<void> {
    return this.#mesh.nft(`add rule inet fault way ip saddr ${from.ip} ip daddr ${to.ip} drop`)
  }

  /** Every tunnel of the pod is reset, at both ends, as soon as it carries something. */
  async reset({ ip }: TestPod): Promise<void> {
    const { nft } = this.#mesh
    for (const [address, port] of [
      ['daddr', 'dport'],
      ['saddr', 'sport'],
    ]) {
      const rule = `add rule inet fault way ip ${address} ${ip} tcp ${port} 15008`
      await nft.call(this.#mesh, `${rule} reject with tcp reset`)
    }
  }

  heal(): Promise<void> {
    return this.#mesh.nft('flush chain inet fault way')
  }
}

/** The wire to port 15008 of a pod. */
export class Wire {
  readonly pod: TestPod
  readonly #sockets = new Set<net.Socket>()
  /** Time each chunk spends on the wire, in each direction. */
  delayMs = 0
  connections = 0

  private constructor(pod: TestPod) {
    this.pod = pod
  }

  static async create(mesh: TestMesh, server: TestPod): Promise<Wire> {
    const wire = new Wire(await mesh.pod('wire', { enrolled: false }))
    await mesh.serve(wire.pod, 15_008, (near) => void wire.#connect(near, server))
    await mesh.nft('add table ip wire')
    await mesh.nft('add chain ip wire way { type nat hook prerouting priority -100; }')
    const { ip } = wire.pod
    await mesh.nft(
      `add rule ip wire way ip saddr != ${ip} ip daddr ${server.ip} tcp dport 15008 dnat to ${ip}`,
    )
    return wire
  }

  async #connect(near: net.Socket, server: TestPod): Promise<void> {
    this.connections++
    near.pause()
    const far = await connectTcp({ netnsFd: this.pod.netnsFd, host: server.ip, port: 15_008 })
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from)
      from.on('error', () => {})
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
      this.#carry(from, to)
    }
    near.resume()
  }

  #carry(from: net.Socket, to: net.Socket): void {
    let under = 0
    const later = (action: () => void): void => {
      if (this.delayMs === 0) action()
      else setTimeout(action, this.delayMs)
    }
    from.on('data', (chunk: Buffer) => {
      under += chunk.length
      // What is on the way is bounded, as in a router's queue.
      if (under > 8 << 20) from.pause()
      later(() => {
        under -= chunk.length
        if (to.writable && !to.write(chunk)) from.pause()
        else from.resume()
      })
    })
    to.on('drain', () => from.resume())
    from.on('end', () => later(() => to.end()))
  }

  /** Every connection is reset, at both ends. */
  resetAll(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }
}

/** New connections, each with an answer of its own, that were tried while something else happened. */
export interface Attempts {
  made: number
  readonly failed: string[]
}

/** Opens `count` connections by so many workers; each sends a text and wants it back. */
export async function attempt(
  dial: () => Promise<net.Socket>,
  count: number,
  workers = 8,
): Promise<Attempts> {
  const attempts: Attempts = { made: 0, failed: [] }
  const work = async (): Promise<void> => {
    while (attempts.made < count) {
      const text = `attempt ${attempts.made++}`
      const problem = await tryOnce(dial, text)
      if (problem !== undefined) attempts.failed.push(problem)
    }
  }
  await Promise.all(Array.from({ length: workers }, work))
  return attempts
}

async function tryOnce(dial: () => Promise<net.Socket>, text: string): Promise<string | undefined> {
  try {
    const socket = await dial()
    socket.end(text)
    const answer = (await readAll(socket)).toString()
    return answer === text ? undefined : `${text}: answered "${answer}"`
  } catch (error) {
    return `${text}: ${String(error)}`
  }
}

/** Goes on with attempts until stopped. */
export function keepTrying(dial: () => Promise<net.Socket>, workers = 2): () => Promise<Attempts> {
  const attempts: Attempts = { made: 0, failed: [] }
  let running = true
  const work = async (): Promise<void> => {
    while (running) {
      const problem = await tryOnce(dial, `attempt ${attempts.made++}`)
      if (problem !== undefined) attempts.failed.push(problem)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }
  const all = Promise.all(Array.from({ length: workers }, work))
  return async () => {
    running = false
    await all
    return attempts
  }
}

/** Sends a pattern through an echo server and compares what comes back. */
export async function transfer(socket: net.Socket, bytes: number): Promise<Received> {
  const { done } = checkPattern(socket)
  await sendPattern(socket, bytes)
  socket.end()
  return done
}

export async function connected(socket: net.Socket): Promise<net.Socket> {
  socket.write('.')
  await once(socket, 'data')
  return socket
}
