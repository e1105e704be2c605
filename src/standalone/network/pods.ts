/**
 * Pod networks: a namespace per pod and a routed veth, no bridge (a bridge needs a kernel module
 * for Services to work between pods). The gateway address is answered by ARP on every veth because
 * the node has it; the host end needs no address of its own.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock, Logger, Timer } from '../../base/index.ts'
import { toError } from '../../base/index.ts'
import { closeFd, createNetns, ipBatch, removeNetns, withNetns } from '../../linux/index.ts'
import type { PodNetwork, PodNetworkRequest, PodSandbox } from '../runtime/network.ts'
import { readStateFile, writeStateFile } from '../state/files.ts'
import { nodeAddress, podGateway } from './addresses.ts'
import { AddressAllocator } from './allocator.ts'
import { limits } from './limits.ts'
import { setSystem, trySetSystem } from './node.ts'

export interface PodNetworksOptions {
  /** Folder of the namespaces' names, inside the tree. */
  readonly netnsFolder: string
  /** Where addresses are remembered. */
  readonly stateFile: string
  readonly clock: Clock
  readonly logger: Logger
}

/** Interfaces of pods on the node begin with this; the rules know them by it. */
export const podInterfacePrefix = 'pod'

export class PodNetworks implements PodNetwork {
  readonly hostIp = nodeAddress
  readonly #options: PodNetworksOptions
  readonly #allocator: AddressAllocator
  readonly #pods = new Map<string, Promise<PodSandbox>>()
  #persistTimer: Timer | undefined

  constructor(options: PodNetworksOptions) {
    this.#options = options
    this.#allocator = new AddressAllocator(readRemembered(options))
    mkdirSync(options.netnsFolder, { recursive: true })
  }

  /** Makes the pod's namespace and its way out; the same answer when it is there already. */
  setup(pod: PodNetworkRequest): Promise<PodSandbox> {
    const known = this.#pods.get(pod.uid)
    if (known !== undefined) return known
    const made = this.#make(pod.uid)
    this.#pods.set(pod.uid, made)
    made.catch(() => this.#pods.delete(pod.uid))
    return made
  }

  /** Takes everything of the pod away; its address can go to another one. */
  async teardown(uid: string): Promise<void> {
    const info = await this.#pods.get(uid)?.catch(() => undefined)
    this.#pods.delete(uid)
    this.#allocator.release(uid)
    this.#persistSoon()
    if (info === undefined) return
    // By hand, as the kernel removes what is left in a namespace only some time after its end.
    await ipBatch([`link del ${interfaceOf(info.ip)}`], { ignore: /Cannot find device/ })
    closeFd(info.netnsFd)
    removeNetns(info.netnsPath)
  }

  /** Writes what would be forgotten otherwise. */
  close(): void {
    this.#persistTimer?.cancel()
    this.#persist()
  }

  async #make(uid: string): Promise<PodSandbox> {
    const ip = this.#allocator.allocate(uid)
    this.#persistSoon()
    const netnsPath = join(this.#options.netnsFolder, uid)
    const link = interfaceOf(ip)
    removeNetns(netnsPath)
    const netnsFd = createNetns(netnsPath)
    try {
      await ipBatch([
        `link add ${link} type veth peer name eth0 netns ${netnsPath}`,
        `link set ${link} up`,
        `route add ${ip}/32 dev ${link} src ${nodeAddress}`,
      ])
      withNetns(netnsFd, setPodSettings)
      await ipBatch(
        [
          `addr add ${ip}/32 dev eth0`,
          'link set eth0 up',
          `route add ${podGateway}/32 dev eth0 scope link`,
          `route add default via ${podGateway} dev eth0 src ${ip}`,
        ],
        { netnsFd },
      )
    } catch (error) {
      closeFd(netnsFd)
      removeNetns(netnsPath)
      this.#allocator.release(uid)
      throw error
    }
    return { ip, netnsPath, netnsFd }
  }

  #persistSoon(): void {
    if (this.#persistTimer !== undefined) return
    this.#persistTimer = this.#options.clock.after(
      limits.persistDelayMs,
      () => {
        this.#persistTimer = undefined
        this.#persist()
      },
      { background: true },
    )
  }

  #persist(): void {
    try {
      writeStateFile(this.#options.stateFile, JSON.stringify(this.#allocator.snapshot()))
    } catch (error) {
      // Only a convenience is lost: pods may get other addresses after a restart.
      this.#options.logger.warn('pod addresses not saved', { error: toError(error).message })
    }
  }
}

function setPodSettings(): void {
  // Replies of the node proxy leave by its own routes; the node checks the source instead.
  for (const device of ['all', 'default', 'lo', 'eth0']) {
    trySetSystem(`ipv4/conf/${device}/rp_filter`, '0')
  }
  setSystem('ipv4/ip_unprivileged_port_start', '0')
  trySetSystem('ipv4/ping_group_range', '0 2147483647')
  // There is no way for IPv6 out of a pod; `::1` stays.
  trySetSystem('ipv6/conf/eth0/disable_ipv6', '1')
}

function interfaceOf(ip: string): string {
  const [, , third = '', fourth = ''] = ip.split('.')
  return `${podInterfacePrefix}${third}-${fourth}`
}

function readRemembered(options: PodNetworksOptions): Record<string, string> {
  try {
    const value: unknown = JSON.parse(readStateFile(options.stateFile) ?? '{}')
    if (typeof value !== 'object' || value === null) return {}
    return Object.fromEntries(
      Object.entries(value).filter(
        (entry): entry is [string, string] => typeof entry[1] === 'string',
      ),
    )
  } catch (error) {
    options.logger.warn('remembered pod addresses ignored', { error: toError(error).message })
    return {}
  }
}
