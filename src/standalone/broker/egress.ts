/**
 * Connections from the mesh to the world, dialled on the host. What the broker refuses is the
 * fence around the host itself: without `--host-access` no pod gets at a service of this machine.
 */
import { connect, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { type Cidr, cidrContains, errnoOf, parseCidr, parseIp } from '../../base/index.ts'
import { hostAlias } from '../network/addresses.ts'
import { limits } from './limits.ts'

/** Never destinations of a dial, whatever the options: nothing or everything could be behind them. */
const neverCidrs = cidrs('0.0.0.0/8', '224.0.0.0/3', '::/128', 'ff00::/8')
/** The machine itself and its link (cloud metadata services are there). */
const hostCidrs = cidrs('127.0.0.0/8', '169.254.0.0/16', '::1/128', 'fe80::/10')

function cidrs(...texts: string[]): Cidr[] {
  return texts.flatMap((text) => parseCidr(text) ?? [])
}

export interface EgressPolicy {
  readonly hostAccess: boolean
  /** The host's own addresses at this moment. */
  readonly ownAddresses: () => readonly string[]
}

/** The addresses of this machine's interfaces. */
export function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) => list?.map((one) => one.address) ?? [])
}

/** The address to dial for what a pod asked for, or undefined when it is refused. */
export function egressTarget(address: string, policy: EgressPolicy): string | undefined {
  if (address === hostAlias) return policy.hostAccess ? '127.0.0.1' : undefined
  const bytes = parseIp(address)
  if (bytes === undefined || neverCidrs.some((cidr) => cidrContains(cidr, bytes))) return undefined
  if (policy.hostAccess) return address
  if (hostCidrs.some((cidr) => cidrContains(cidr, bytes))) return undefined
  return policy.ownAddresses().includes(address) ? undefined : address
}

export class EgressDialer {
  readonly #policy: EgressPolicy
  readonly #pending = new Set<Socket>()

  constructor(policy: EgressPolicy) {
    this.#policy = policy
  }

  /**
   * Connects, and answers once: with a socket that was not read from yet (the server may speak
   * first, and its bytes must reach the process that the socket is handed to), or with an errno.
   */
  dial(
    address: string,
    port: number,
    done: (socket: Socket | undefined, errno: string) => void,
  ): void {
    const target = egressTarget(address, this.#policy)
    if (target === undefined) return done(undefined, 'EACCES')
    if (this.#pending.size >= limits.pendingDials) return done(undefined, 'EAGAIN')
    const socket = connect({ host: target, port, allowHalfOpen: true, noDelay: true })
    socket.pause()
    this.#pending.add(socket)
    socket.setTimeout(limits.dialTimeoutMs, () => {
      socket.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' }))
    })
    socket.once('error', (error) => {
      this.#pending.delete(socket)
      done(undefined, errnoOf(error) ?? 'EIO')
    })
    socket.once('connect', () => {
      this.#pending.delete(socket)
      socket.setTimeout(0)
      socket.removeAllListeners('error')
      socket.on('error', () => socket.destroy())
      done(socket, '')
    })
  }

  close(): void {
    for (const socket of this.#pending) socket.destroy()
    this.#pending.clear()
  }
}
