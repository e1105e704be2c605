/**
 * Which filter chain a connection gets. Attributes are compared in Envoy's order (port, address, server name,
 * transport, application protocol, direct source, source type, source, source port); at each the most
 * specific value wins and there is no way back, so that a chain which is better early may lose it all later.
 */
import { type Cidr, cidrContains, formatIp, parseIp } from '../../../base/index.ts'
import { listenerComponents as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import { compileRange, type RangeMessage } from '../match/address.ts'
import type { ConnectionFacts } from '../types.ts'

/** The levels as a tree; the last one holds the index of a chain. */
export interface Node {
  readonly children: Map<string, Node>
  /** Of levels with addresses: the ranges among the keys, longest first. */
  ranges: { readonly cidr: Cidr; readonly key: string }[]
  chain: number | undefined
}

function emptyNode(): Node {
  return { children: new Map(), ranges: [], chain: undefined }
}

type Level = {
  readonly keys: (match: api.FilterChainMatch | undefined, place: Place) => Key[]
  /** The child for a connection; undefined ends the search. */
  readonly next: (node: Node, facts: ConnectionFacts) => Node | undefined
}

interface Key {
  readonly key: string
  readonly cidr?: Cidr
}

/** The key of what is not restricted. */
const any: Key = { key: '' }

function orAny(keys: Key[]): Key[] {
  return keys.length === 0 ? [any] : keys
}

function rangeLevel(
  field: 'prefixRanges' | 'directSourcePrefixRanges' | 'sourcePrefixRanges',
  read: (facts: ConnectionFacts) => string,
): Level {
  return {
    keys: (match, place) => {
      const ranges: readonly RangeMessage[] = match?.[field] ?? []
      return orAny(
        ranges.flatMap((range, index) => {
          const cidr = compileRange(range, place.at(field, index))
          return cidr === undefined
            ? []
            : [{ key: `${formatIp(cidr.address)}/${cidr.length}`, cidr }]
        }),
      )
    },
    next: (node, facts) => {
      const address = node.ranges.length === 0 ? undefined : parseIp(read(facts))
      if (address !== undefined) {
        const range = node.ranges.find(({ cidr }) => cidrContains(cidr, address))
        if (range !== undefined) return node.children.get(range.key)
      }
      return node.children.get('')
    },
  }
}

function textLevel(
  read: (match: api.FilterChainMatch) => readonly string[],
  pick: (node: Node, facts: ConnectionFacts) => Node | undefined,
): Level {
  return {
    keys: (match) =>
      orAny((match === undefined ? [] : read(match)).map((key) => ({ key: key.toLowerCase() }))),
    next: (node, facts) => pick(node, facts) ?? node.children.get(''),
  }
}

const sourceTypes = api.FilterChainMatch_ConnectionSourceType
const sourceTypeKeys: Readonly<Record<number, string>> = {
  [sourceTypes.SAME_IP_OR_LOOPBACK]: 'local',
  [sourceTypes.EXTERNAL]: 'external',
}

const levels: readonly Level[] = [
  rangeLevel('prefixRanges', (facts) => facts.destinationIp),
  textLevel((match) => match.serverNames.map(serverNameKey), pickServerName),
  textLevel(
    (match) => (match.transportProtocol === '' ? [] : [match.transportProtocol]),
    (node, facts) => node.children.get(facts.transportProtocol ?? 'raw_buffer'),
  ),
  textLevel(
    (match) => match.applicationProtocols,
    (node, facts) => {
      for (const protocol of facts.alpn ?? []) {
        const child = node.children.get(protocol.toLowerCase())
        if (child !== undefined) return child
      }
      return undefined
    },
  ),
  rangeLevel('directSourcePrefixRanges', (facts) => facts.sourceIp),
  textLevel(
    (match) => {
      const key = sourceTypeKeys[match.sourceType]
      return key === undefined ? [] : [key]
    },
    (node, facts) => node.children.get(isLocal(facts) ? 'local' : 'external'),
  ),
  rangeLevel('sourcePrefixRanges', (facts) => facts.sourceIp),
  textLevel(
    (match) => match.sourcePorts.map(String),
    (node, facts) => node.children.get(String(facts.sourcePort)),
  ),
]

/** `*.example.com` is looked up as `.example.com`. */
function serverNameKey(name: string): string {
  return name.startsWith('*.') ? name.slice(1) : name
}

function pickServerName(node: Node, { sni }: ConnectionFacts): Node | undefined {
  if (sni === undefined || sni === '') return undefined
  const name = sni.toLowerCase()
  const exact = node.children.get(name)
  if (exact !== undefined) return exact
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
    const child = node.children.get(name.slice(dot))
    if (child !== undefined) return child
  }
  return undefined
}

function isLocal({ sourceIp, destinationIp }: ConnectionFacts): boolean {
  return sourceIp === destinationIp || sourceIp === '::1' || sourceIp.startsWith('127.')
}

/** The index of the chain, or -1. */
export type ChainChoice = (facts: ConnectionFacts) => number

export function compileChainMatch(chains: readonly api.FilterChain[], place: Place): ChainChoice {
  const ports = new Map<number, Node>()
  for (const [index, { filterChainMatch: match }] of chains.entries()) {
    const at = place.at('filter_chains', index).at('filter_chain_match')
    if (match?.addressSuffix !== undefined && match.addressSuffix !== '') {
      at.at('address_suffix').refuse('is not implemented, neither in Envoy')
    }
    for (const name of match?.serverNames ?? []) {
      if (name.includes('*') && !/^\*\.[^*]+$/.test(name)) {
        at.at('server_names').refuse(`'${name}': partial wildcards are not supported`)
      }
    }
    const port = match?.destinationPort ?? 0
    let node = ports.get(port)
    if (node === undefined) ports.set(port, (node = emptyNode()))
    insert(node, levels, { index, match, place: at })
  }
  sortRanges(ports.values())
  return (facts) => {
    for (const port of [facts.destinationPort, 0]) {
      const found = find(ports.get(port), facts)
      if (found >= 0) return found
    }
    return -1
  }
}

interface Chain {
  readonly index: number
  readonly match: api.FilterChainMatch | undefined
  readonly place: Place
}

function insert(node: Node, rest: readonly Level[], chain: Chain): void {
  const [level, ...deeper] = rest
  if (level === undefined) {
    if (node.chain !== undefined) {
      chain.place.refuse(`matches the same connections as filter chain ${node.chain}`)
    }
    node.chain = chain.index
    return
  }
  for (const { key, cidr } of level.keys(chain.match, chain.place)) {
    let child = node.children.get(key)
    if (child === undefined) {
      node.children.set(key, (child = emptyNode()))
      if (cidr !== undefined) node.ranges.push({ cidr, key })
    }
    insert(child, deeper, chain)
  }
}

function sortRanges(nodes: Iterable<Node>): void {
  for (const node of nodes) {
    node.ranges.sort((left, right) => right.cidr.length - left.cidr.length)
    sortRanges(node.children.values())
  }
}

function find(start: Node | undefined, facts: ConnectionFacts): number {
  let node = start
  for (const level of levels) node = node === undefined ? undefined : level.next(node, facts)
  return node?.chain ?? -1
}
