/**
 * The node's rules in nftables. One table; the fixed part is loaded once, and per Service port
 * there is a chain and one element of the verdict map, changed in one transaction each time.
 */
import { runRules } from '../../linux/index.ts'
import {
  hostAlias,
  insideCidrs,
  nodeAddress,
  nodePortsForPods,
  podCidr,
  serviceCidr,
} from './addresses.ts'
import { podInterfacePrefix } from './pods.ts'
import type { RuleWriter } from './rules.ts'
import { type VirtualPort, virtualKey } from './service-table.ts'

const table = 'ip weft'
const pods = `"${podInterfacePrefix}*"`

/** Everything but the Services. Loading it again starts from nothing, in one transaction. */
export function baseRules(relayPort: number): string {
  const relay = `meta l4proto tcp dnat to ${nodeAddress}:${relayPort}`
  return `table ${table}
delete table ${table}
table ${table} {
  map services { type ipv4_addr . inet_proto . inet_service : verdict; }
  set hairpin { type ipv4_addr . ipv4_addr; }
  chain services {
    ip daddr . meta l4proto . th dport vmap @services
  }
  chain prerouting {
    type nat hook prerouting priority -100
    jump services
    iifname ${pods} ip daddr != { ${podCidr}, ${serviceCidr} } ${relay}
  }
  chain output {
    type nat hook output priority -100
    jump services
    ip daddr ${hostAlias} ${relay}
    ip daddr != { ${[serviceCidr, ...insideCidrs].join(', ')} } ${relay}
  }
  chain postrouting {
    type nat hook postrouting priority 100
    ip saddr . ip daddr @hairpin ct status dnat snat to ${nodeAddress}
  }
  chain input {
    type filter hook input priority 0
    iifname != ${pods} accept
    ct state established,related accept
    ct status dnat accept
    meta l4proto icmp accept
    ip daddr ${nodeAddress} meta l4proto { tcp, udp } th dport 53 accept
    ip daddr ${nodeAddress} tcp dport { ${nodePortsForPods.join(', ')} } accept
    meta l4proto tcp reject with tcp reset
    reject with icmp type admin-prohibited
  }
  chain forward {
    type filter hook forward priority 0
    oifname ${pods} accept
    meta l4proto tcp reject with tcp reset
    reject
  }
  chain leaving {
    type filter hook output priority 0
    ip daddr { ${insideCidrs.join(', ')} } accept
    meta l4proto tcp reject with tcp reset
    reject
  }
}
`
}

/** The commands that bring the rules from one set of virtual ports to another. */
export function serviceRules(
  changes: ReadonlyMap<string, VirtualPort | undefined>,
  before: ReadonlyMap<string, VirtualPort>,
): string {
  const lines: string[] = []
  for (const [key, after] of changes) {
    const chain = `svc-${key.replaceAll('/', '-')}`
    const previous = before.get(key)
    const known = previous !== undefined && previous.targets.length > 0
    const element = `${table} services { ${key.replaceAll('/', ' . ')}`
    if (after === undefined || after.targets.length === 0) {
      if (known)
        lines.push(
          `delete element ${element} }`,
          `flush chain ${table} ${chain}`,
          `delete chain ${table} ${chain}`,
        )
      continue
    }
    lines.push(`add chain ${table} ${chain}`, `flush chain ${table} ${chain}`)
    lines.push(`add rule ${table} ${chain} ${destination(after)}`)
    if (!known) lines.push(`add element ${element} : goto ${chain} }`)
  }
  return lines.join('\n')
}

function destination({ protocol, targets }: VirtualPort): string {
  const [only] = targets
  if (targets.length === 1 && only !== undefined) {
    return `meta l4proto ${protocol} dnat to ${only.address}:${only.port}`
  }
  const choices = targets.map((target, index) => `${index} : ${target.address} . ${target.port}`)
  return `meta l4proto ${protocol} dnat ip to numgen random mod ${targets.length} map { ${choices.join(', ')} }`
}

export class NftRules implements RuleWriter {
  readonly #path: string
  readonly #relayPort: number
  #applied = new Map<string, VirtualPort>()
  #hairpins = new Set<string>()
  #loaded = false

  constructor(path: string, relayPort: number) {
    this.#path = path
    this.#relayPort = relayPort
  }

  async apply(wanted: ReadonlyMap<string, VirtualPort>): Promise<void> {
    const fresh = !this.#loaded
    const before = fresh ? new Map<string, VirtualPort>() : this.#applied
    const changes = difference(before, wanted)
    const hairpins = hairpinAddresses(wanted)
    const known = fresh ? new Set<string>() : this.#hairpins
    const script = [
      fresh ? baseRules(this.#relayPort) : '',
      serviceRules(changes, before),
      elements('delete', known.difference(hairpins)),
      elements('add', hairpins.difference(known)),
    ].filter((part) => part !== '')
    if (script.length === 0) return
    // After a refusal nobody knows what is there: the next time everything is loaded again.
    this.#loaded = false
    await runRules({ path: this.#path, args: ['-f', '-'], stdin: `${script.join('\n')}\n` })
    this.#loaded = true
    this.#applied = new Map(wanted)
    this.#hairpins = hairpins
  }
}

function elements(verb: 'add' | 'delete', addresses: ReadonlySet<string>): string {
  if (addresses.size === 0) return ''
  const pairs = [...addresses].map((address) => `${address} . ${address}`)
  return `${verb} element ${table} hairpin { ${pairs.join(', ')} }`
}

/** A pod that reaches itself through a Service would get packets from its own address, and drop them. */
export function hairpinAddresses(ports: ReadonlyMap<string, VirtualPort>): Set<string> {
  const addresses = new Set<string>()
  for (const { targets } of ports.values()) {
    for (const { address } of targets) if (address !== nodeAddress) addresses.add(address)
  }
  return addresses
}

/** What has to change; absent targets count as absent ports. */
export function difference(
  before: ReadonlyMap<string, VirtualPort>,
  after: ReadonlyMap<string, VirtualPort>,
): Map<string, VirtualPort | undefined> {
  const changes = new Map<string, VirtualPort | undefined>()
  for (const [key, port] of after) {
    const previous = before.get(key)
    if (previous === undefined ? port.targets.length > 0 : !sameTargets(previous, port)) {
      changes.set(virtualKey(port), port)
    }
  }
  for (const [key, port] of before) {
    if (!after.has(key) && port.targets.length > 0) changes.set(key, undefined)
  }
  return changes
}

function sameTargets(a: VirtualPort, b: VirtualPort): boolean {
  return (
    a.targets.length === b.targets.length &&
    a.targets.every(
      (target, index) =>
        target.address === b.targets[index]?.address && target.port === b.targets[index]?.port,
    )
  )
}
