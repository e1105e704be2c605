/**
 * The node's network namespace: one interface that holds the node's addresses, forwarding, and a
 * default route that gives every destination a source address; what the rules don't catch on its
 * way there is refused, nothing ever leaves through it.
 */
import { writeFileSync } from 'node:fs'
import { MeshError, toError } from '../../base/index.ts'
import { ipBatch } from '../../linux/index.ts'
import { nodeAddress, podGateway, probeSource } from './addresses.ts'

/** A veth pair rather than a dummy: kernels that have no dummy driver have this one, which pods need. */
const nodeLines = [
  'link set lo up',
  'link add node0 type veth peer name node0-end',
  'link set node0-end up',
  'link set node0 up',
  `addr add ${nodeAddress}/32 dev node0`,
  `addr add ${podGateway}/32 dev node0 scope link`,
  `addr add ${probeSource}/32 dev node0 scope link`,
  `route add default dev node0 src ${nodeAddress}`,
]

const nodeSettings: readonly (readonly [string, string])[] = [
  ['ipv4/ip_forward', '1'],
  // A pod's packets must come from its own address, and it is never told of a better way.
  ['ipv4/conf/all/rp_filter', '1'],
  ['ipv4/conf/default/rp_filter', '1'],
  ['ipv4/conf/all/send_redirects', '0'],
  ['ipv4/conf/default/send_redirects', '0'],
  ['ipv4/conf/node0/send_redirects', '0'],
  ['ipv4/ip_unprivileged_port_start', '0'],
]

/** Settings that not every kernel or sandbox has; without them things work as well. */
const wishes: readonly (readonly [string, string])[] = [
  ['ipv6/conf/all/disable_ipv6', '0'],
  ['ipv6/conf/default/disable_ipv6', '1'],
  ['ipv4/neigh/default/gc_thresh3', '8192'],
  ['netfilter/nf_conntrack_tcp_be_liberal', '1'],
]

/** Sets up the namespace in which this process is. */
export async function setUpNode(): Promise<void> {
  await ipBatch(nodeLines, { ignore: /File exists/ })
  for (const [name, value] of nodeSettings) setSystem(name, value)
  for (const [name, value] of wishes) trySetSystem(name, value)
}

/** Writes a setting of the network namespace of this thread (below /proc/sys/net). */
export function setSystem(name: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/net/${name}`, value)
  } catch (error) {
    throw new MeshError(
      'NETWORK_SYSCTL',
      `can't set net/${name} to ${value}: ${toError(error).message}`,
      {
        cause: error,
        hint: '/proc/sys must be writable in the mesh: this sandbox forbids it.',
      },
    )
  }
}

export function trySetSystem(name: string, value: string): boolean {
  try {
    writeFileSync(`/proc/sys/net/${name}`, value)
    return true
  } catch {
    return false
  }
}
