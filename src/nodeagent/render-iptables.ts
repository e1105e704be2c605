/** The rules as input of iptables-restore and ip6tables-restore, and what -save says of them. */
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

const builtIn: Readonly<Record<Chain, string>> = { prerouting: 'PREROUTING', output: 'OUTPUT' }
const ours: Readonly<Record<Chain, string>> = { prerouting: 'ISTIO_PRERT', output: 'ISTIO_OUTPUT' }

/** What of ours a namespace has: per table the own chains, and the built-in chains that jump to them. */
export type InstalledTables = ReadonlyMap<
  Table,
  { readonly own: ReadonlySet<Chain>; readonly jumps: ReadonlySet<Chain> }
>

/** Reads the output of iptables-save. */
export function parseSave(text: string): InstalledTables {
  const found = new Map<Table, { own: Set<Chain>; jumps: Set<Chain> }>()
  let current: { own: Set<Chain>; jumps: Set<Chain> } | undefined
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      const name = tables.find((table) => line === `*${table}`)
      current = name === undefined ? undefined : { own: new Set(), jumps: new Set() }
      if (name !== undefined && current !== undefined) found.set(name, current)
    }
    for (const chain of chains) {
      if (line.startsWith(`:${ours[chain]} `)) current?.own.add(chain)
      if (line === `-A ${builtIn[chain]} -j ${ours[chain]}`) current?.jumps.add(chain)
    }
  }
  return found
}

/**
 * Input that brings a namespace from `installed` to exactly these rules, each table in one step, so
 * that at no moment a packet meets half of them. No rules: removal. Undefined when nothing is to do.
 */
export function renderIptables(
  rules: readonly PodRule[],
  family: 4 | 6,
  installed: InstalledTables = new Map(),
): string | undefined {
  const sections = tables.flatMap((table) => {
    const wanted = rules.filter((rule) => rule.table === table)
    const present = installed.get(table)
    if (wanted.length > 0) return section(table, wanted, family, present?.jumps ?? new Set())
    return present === undefined || present.own.size === 0 ? [] : removal(table, present)
  })
  return sections.length === 0 ? undefined : `${sections.join('\n')}\n`
}

function section(
  table: Table,
  rules: readonly PodRule[],
  family: 4 | 6,
  jumps: ReadonlySet<Chain>,
): string[] {
  return [
    `*${table}`,
    // Makes the chain, or empties it when it is there.
    ...chains.map((chain) => `:${ours[chain]} - [0:0]`),
    ...chains
      .filter((chain) => !jumps.has(chain))
      .map((chain) => `-A ${builtIn[chain]} -j ${ours[chain]}`),
    ...rules.map(
      (rule) =>
        `-A ${ours[rule.chain]} ${matchText(rule.match, family)}-j ${targetText(rule.target)}`,
    ),
    'COMMIT',
  ]
}

function removal(
  table: Table,
  present: { readonly own: ReadonlySet<Chain>; readonly jumps: ReadonlySet<Chain> },
): string[] {
  return [
    `*${table}`,
    ...[...present.jumps].map((chain) => `-D ${builtIn[chain]} -j ${ours[chain]}`),
    ...[...present.own].map((chain) => `-F ${ours[chain]}`),
    ...[...present.own].map((chain) => `-X ${ours[chain]}`),
    'COMMIT',
  ]
}

/** Ends with a space when it is not empty. */
function matchText(match: RuleMatch, family: 4 | 6): string {
  const { loopback, probe } = addresses[family]
  const length = family === 4 ? 32 : 128
  const parts: string[] = []
  if (match.inInterface !== undefined) parts.push(`-i ${match.inInterface}`)
  if (match.source === 'probe') parts.push(`-s ${probe}/${length}`)
  if (match.destination === 'probe') parts.push(`-d ${probe}/${length}`)
  if (match.destination === 'notLoopback') parts.push(`! -d ${loopback}/${length}`)
  if (match.outInterface !== undefined) {
    parts.push(`${not(match.outInterface)}-o ${match.outInterface.name}`)
  }
  if (match.protocol !== undefined) parts.push(`-p ${match.protocol}`)
  if (match.mark !== undefined)
    parts.push(`-m mark ${not(match.mark)}--mark ${masked(match.mark.value)}`)
  if (match.connectionMark !== undefined) {
    parts.push(`-m connmark --mark ${masked(match.connectionMark)}`)
  }
  if (match.destinationPort !== undefined) {
    parts.push(
      `-m ${match.protocol} ${not(match.destinationPort)}--dport ${match.destinationPort.port}`,
    )
  }
  if (match.sourcePort !== undefined) parts.push(`-m ${match.protocol} --sport ${match.sourcePort}`)
  return parts.map((part) => `${part} `).join('')
}

function targetText(target: RuleTarget): string {
  switch (target.kind) {
    case 'accept':
      return 'ACCEPT'
    case 'return':
      return 'RETURN'
    case 'redirect':
      return `REDIRECT --to-ports ${target.port}`
    case 'setConnectionMark':
      return `CONNMARK --set-xmark ${masked(target.value)}`
    case 'restoreMark':
      return 'CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff'
    case 'conntrackZone':
      return `CT --zone ${target.zone}`
  }
}

function not({ not: negated }: { readonly not?: boolean }): string {
  return negated === true ? '! ' : ''
}

function masked(value: number): string {
  return `0x${value.toString(16)}/0x${markMask.toString(16)}`
}
