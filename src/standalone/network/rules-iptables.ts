/**
 * The same rules in iptables, for machines without nft. Services are one flat chain that is written
 * anew in one transaction at each change: slower with many Services, and simple.
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
import { hairpinAddresses } from './rules-nft.ts'
import type { VirtualPort } from './service-table.ts'

const pods = `-i ${podInterfacePrefix}+`

/** iptables-restore input of everything but the Services; chains of ours are made anew. */
export function baseTables(relayPort: number): string {
  const relay = `-p tcp -j DNAT --to-destination ${nodeAddress}:${relayPort}`
  const refuse = (chain: string, match = ''): string[] => [
    `-A ${chain} ${match} -p tcp -j REJECT --reject-with tcp-reset`,
    `-A ${chain} ${match} -j REJECT`,
  ]
  const open = nodePortsForPods.join(',')
  return [
    '*nat',
    ':WEFT-SERVICES - [0:0]',
    ':WEFT-HAIRPIN - [0:0]',
    '-F PREROUTING',
    '-F OUTPUT',
    '-F POSTROUTING',
    '-A PREROUTING -j WEFT-SERVICES',
    `-A PREROUTING -d ${podCidr} -j RETURN`,
    `-A PREROUTING -d ${serviceCidr} -j RETURN`,
    `-A PREROUTING ${pods} ${relay}`,
    '-A OUTPUT -j WEFT-SERVICES',
    `-A OUTPUT -d ${hostAlias} ${relay}`,
    ...[serviceCidr, ...insideCidrs].map((cidr) => `-A OUTPUT -d ${cidr} -j RETURN`),
    `-A OUTPUT ${relay}`,
    '-A POSTROUTING -m conntrack --ctstate DNAT -j WEFT-HAIRPIN',
    'COMMIT',
    '*filter',
    '-F INPUT',
    '-F FORWARD',
    '-F OUTPUT',
    '-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED,DNAT -j ACCEPT',
    `-A INPUT ${pods} -p icmp -j ACCEPT`,
    `-A INPUT ${pods} -d ${nodeAddress} -p udp --dport 53 -j ACCEPT`,
    `-A INPUT ${pods} -d ${nodeAddress} -p tcp -m multiport --dports 53,${open} -j ACCEPT`,
    ...refuse('INPUT', pods),
    `-A FORWARD -o ${podInterfacePrefix}+ -j ACCEPT`,
    ...refuse('FORWARD'),
    ...insideCidrs.map((cidr) => `-A OUTPUT -d ${cidr} -j ACCEPT`),
    ...refuse('OUTPUT'),
    'COMMIT',
    '',
  ].join('\n')
}

/** iptables-restore input of the Services; declaring a chain empties it. */
export function serviceTables(wanted: ReadonlyMap<string, VirtualPort>): string {
  const lines = ['*nat', ':WEFT-SERVICES - [0:0]', ':WEFT-HAIRPIN - [0:0]']
  for (const { address, protocol, port, targets } of wanted.values()) {
    targets.forEach((target, index) => {
      const left = targets.length - index
      const choice =
        left > 1 ? `-m statistic --mode random --probability ${(1 / left).toFixed(8)} ` : ''
      lines.push(
        `-A WEFT-SERVICES -d ${address} -p ${protocol} --dport ${port} ${choice}` +
          `-j DNAT --to-destination ${target.address}:${target.port}`,
      )
    })
  }
  for (const address of hairpinAddresses(wanted)) {
    lines.push(`-A WEFT-HAIRPIN -s ${address} -d ${address} -j SNAT --to-source ${nodeAddress}`)
  }
  return [...lines, 'COMMIT', ''].join('\n')
}

export class IptablesRules implements RuleWriter {
  readonly #path: string
  readonly #relayPort: number
  #loaded = false

  constructor(restorePath: string, relayPort: number) {
    this.#path = restorePath
    this.#relayPort = relayPort
  }

  async apply(wanted: ReadonlyMap<string, VirtualPort>): Promise<void> {
    const base = this.#loaded ? '' : baseTables(this.#relayPort)
    const stdin = base + serviceTables(wanted)
    await runRules({ path: this.#path, args: ['-w', '5', '--noflush'], stdin })
    this.#loaded = true
  }
}
