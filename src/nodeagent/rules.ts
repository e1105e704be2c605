/**
 * The redirection inside a pod's network namespace as one table (reference: ambient iptables). Both
 * renderers, iptables and nft, read it, so that they can't differ. Order is meaning.
 */

/** Ports of the node proxy inside the pod. */
const outboundPort = 15001
const inboundPort = 15006
const hbonePort = 15008
const dnsPort = 15053

export const markMask = 0xfff
/** On every packet of the node proxy's own sockets. */
export const proxyMark = 0x539
/** On connections that the node proxy opened to the pod, so that replies find the way back to it. */
export const replyMark = 0x111

/** What differs between the families. */
export const addresses = {
  4: { loopback: '127.0.0.1', probe: '169.254.7.127' },
  6: { loopback: '::1', probe: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' },
} as const

export interface PodRuleOptions {
  /** Redirect DNS to the node proxy. */
  readonly dns: boolean
  /** Redirect plaintext that comes in. */
  readonly inbound: boolean
  readonly ipv6: boolean
  /** Interfaces whose traffic counts as outgoing (a bridge to virtual machines in the pod). */
  readonly virtualInterfaces: readonly string[]
}

export type Table = 'mangle' | 'nat' | 'raw'
export const tables: readonly Table[] = ['mangle', 'nat', 'raw']
export type Chain = 'prerouting' | 'output'
export const chains: readonly Chain[] = ['prerouting', 'output']

/** All present parts must hold. */
export interface RuleMatch {
  readonly inInterface?: string
  readonly outInterface?: { readonly name: string; readonly not?: boolean }
  readonly source?: 'probe'
  readonly destination?: 'probe' | 'notLoopback'
  readonly protocol?: 'tcp' | 'udp'
  readonly sourcePort?: number
  readonly destinationPort?: { readonly port: number; readonly not?: boolean }
  /** The packet's mark, under the mask. */
  readonly mark?: { readonly value: number; readonly not?: boolean }
  readonly connectionMark?: number
}

export type RuleTarget =
  | { readonly kind: 'accept' | 'return' | 'restoreMark' }
  | { readonly kind: 'redirect'; readonly port: number }
  | { readonly kind: 'setConnectionMark'; readonly value: number }
  | { readonly kind: 'conntrackZone'; readonly zone: number }

export interface PodRule {
  readonly table: Table
  readonly chain: Chain
  readonly match: RuleMatch
  readonly target: RuleTarget
}

interface TableRule extends PodRule {
  readonly only?: 'dns' | 'inbound'
}

const notProxy = { value: proxyMark, not: true }

const podRules: readonly TableRule[] = [
  {
    table: 'mangle',
    chain: 'prerouting',
    match: { mark: { value: proxyMark } },
    target: { kind: 'setConnectionMark', value: replyMark },
  },
  {
    table: 'mangle',
    chain: 'output',
    match: { connectionMark: replyMark },
    target: { kind: 'restoreMark' },
  },
  {
    only: 'inbound',
    table: 'nat',
    chain: 'prerouting',
    match: { source: 'probe', protocol: 'tcp' },
    target: { kind: 'accept' },
  },
  {
    only: 'inbound',
    table: 'nat',
    chain: 'prerouting',
    match: {
      destination: 'notLoopback',
      protocol: 'tcp',
      destinationPort: { port: hbonePort, not: true },
      mark: notProxy,
    },
    target: { kind: 'redirect', port: inboundPort },
  },
  {
    table: 'nat',
    chain: 'output',
    match: { destination: 'probe', protocol: 'tcp' },
    target: { kind: 'accept' },
  },
  {
    only: 'dns',
    table: 'nat',
    chain: 'output',
    match: {
      outInterface: { name: 'lo', not: true },
      protocol: 'udp',
      destinationPort: { port: 53 },
      mark: notProxy,
    },
    target: { kind: 'redirect', port: dnsPort },
  },
  {
    only: 'dns',
    table: 'nat',
    chain: 'output',
    match: {
      destination: 'notLoopback',
      protocol: 'tcp',
      destinationPort: { port: 53 },
      mark: notProxy,
    },
    target: { kind: 'redirect', port: dnsPort },
  },
  {
    table: 'nat',
    chain: 'output',
    match: { protocol: 'tcp', mark: { value: replyMark } },
    target: { kind: 'accept' },
  },
  {
    // A pod that calls itself by its own address.
    table: 'nat',
    chain: 'output',
    match: { destination: 'notLoopback', outInterface: { name: 'lo' } },
    target: { kind: 'accept' },
  },
  {
    table: 'nat',
    chain: 'output',
    match: { destination: 'notLoopback', protocol: 'tcp', mark: notProxy },
    target: { kind: 'redirect', port: outboundPort },
  },
  // The proxy's own DNS queries in a zone of their own: otherwise their conntrack entries collide
  // with those of the redirected queries, which have the same ports.
  {
    only: 'dns',
    table: 'raw',
    chain: 'output',
    match: { protocol: 'udp', destinationPort: { port: 53 }, mark: { value: proxyMark } },
    target: { kind: 'conntrackZone', zone: 1 },
  },
  {
    only: 'dns',
    table: 'raw',
    chain: 'prerouting',
    match: { protocol: 'udp', sourcePort: 53, mark: notProxy },
    target: { kind: 'conntrackZone', zone: 1 },
  },
]

/** The rules of one pod, in order. */
export function rulesOf(options: PodRuleOptions): PodRule[] {
  const interfaces = options.virtualInterfaces.flatMap((name): PodRule[] => {
    const match = { inInterface: name, protocol: 'tcp' } as const
    return [
      {
        table: 'nat',
        chain: 'prerouting',
        match,
        target: { kind: 'redirect', port: outboundPort },
      },
      { table: 'nat', chain: 'prerouting', match, target: { kind: 'return' } },
    ]
  })
  const wanted = podRules.filter(
    ({ only }) =>
      only === undefined ||
      (only === 'dns' && options.dns) ||
      (only === 'inbound' && options.inbound),
  )
  return [...interfaces, ...wanted]
}

/** Policy routing: replies to the node proxy's transparent sockets are delivered locally. */
export const routing = {
  table: 100,
  preference: 32764,
} as const
