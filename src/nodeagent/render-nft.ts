/**
 * The rules as one nft transaction for both families (reference: ambient nftables variant). It
 * empties and refills the tables, so the same text serves for the first time and for every change.
 */
import {
  addresses,
  type Chain,
  chains,
  markMask,
  type PodRule,
  type RuleMatch,
  type RuleTarget,
  type Table,
  tables,
} from './rules.ts'

const tableName = (table: Table): string => `istio-ambient-${table}`

/** Marks must be restored in a `route` chain, or the packet would not be routed again. */
const hooks: Readonly<Record<Table, Readonly<Record<Chain, string>>>> = {
  mangle: {
    prerouting: 'type filter hook prerouting priority -150',
    output: 'type route hook output priority -150',
  },
  nat: {
    prerouting: 'type nat hook prerouting priority -100',
    output: 'type nat hook output priority -100',
  },
  raw: {
    prerouting: 'type filter hook prerouting priority -300',
    output: 'type filter hook output priority -300',
  },
}

/** Input for `nft -f -`. No rules: removal, which succeeds when nothing is there as well. */
export function renderNft(rules: readonly PodRule[], options: { readonly ipv6: boolean }): string {
  const lines = tables.flatMap((table) => {
    const name = tableName(table)
    const wanted = rules.filter((rule) => rule.table === table)
    const add = `add table inet ${name}`
    // Adding first makes deleting and flushing succeed in every state.
    if (wanted.length === 0) return [add, `delete table inet ${name}`]
    return [
      add,
      `flush table inet ${name}`,
      ...chains.flatMap((chain) => [
        `add chain inet ${name} ${chain} { ${hooks[table][chain]}; policy accept; }`,
        `add chain inet ${name} istio-${chain}`,
        `add rule inet ${name} ${chain} jump istio-${chain}`,
      ]),
      ...wanted.flatMap((rule) =>
        matchTexts(rule.match, options.ipv6).map(
          (match) =>
            `add rule inet ${name} istio-${rule.chain} ${match} counter ${targetText(rule.target)}`,
        ),
      ),
    ]
  })
  return `${lines.join('\n')}\n`
}

/** One text for both families, or one for each when the rule names an address. */
function matchTexts(match: RuleMatch, ipv6: boolean): string[] {
  const rest = restText(match)
  if (match.source === undefined && match.destination === undefined) {
    return [ipv6 ? rest : `meta nfproto ipv4 ${rest}`]
  }
  const families = ipv6 ? ([4, 6] as const) : ([4] as const)
  return families.map((family) => {
    const { loopback, probe } = addresses[family]
    const ip = family === 4 ? 'ip' : 'ip6'
    const parts: string[] = []
    if (match.source === 'probe') parts.push(`${ip} saddr ${probe}`)
    if (match.destination === 'probe') parts.push(`${ip} daddr ${probe}`)
    if (match.destination === 'notLoopback') parts.push(`${ip} daddr != ${loopback}`)
    return [...parts, rest].filter((part) => part !== '').join(' ')
  })
}

function restText(match: RuleMatch): string {
  const parts: string[] = []
  const { protocol, destinationPort, sourcePort, mark } = match
  if (match.inInterface !== undefined) parts.push(`iifname "${match.inInterface}"`)
  if (match.outInterface !== undefined) {
    parts.push(`oifname ${not(match.outInterface)}"${match.outInterface.name}"`)
  }
  if (protocol !== undefined && destinationPort === undefined && sourcePort === undefined) {
    parts.push(`meta l4proto ${protocol}`)
  }
  if (destinationPort !== undefined) {
    parts.push(`${protocol} dport ${not(destinationPort)}${destinationPort.port}`)
  }
  if (sourcePort !== undefined) parts.push(`${protocol} sport ${sourcePort}`)
  if (mark !== undefined) {
    parts.push(
      `meta mark and ${hex(markMask)} ${mark.not === true ? '!=' : '=='} ${hex(mark.value)}`,
    )
  }
  if (match.connectionMark !== undefined) {
    parts.push(`ct mark and ${hex(markMask)} == ${hex(match.connectionMark)}`)
  }
  return parts.join(' ')
}

function targetText(target: RuleTarget): string {
  switch (target.kind) {
    case 'accept':
    case 'return':
      return target.kind
    case 'redirect':
      return `redirect to :${target.port}`
    case 'setConnectionMark':
      return `ct mark set ct mark and ${hex(0xffffffff - markMask)} or ${hex(target.value)}`
    case 'restoreMark':
      return 'meta mark set ct mark'
    case 'conntrackZone':
      return `ct zone set ${target.zone}`
  }
}

function not({ not: negated }: { readonly not?: boolean }): string {
  return negated === true ? '!= ' : ''
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}
