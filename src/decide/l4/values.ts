/** Compiles the lists of values of a match into predicates. */
import { type Cidr, cidrContains, formatIp, MeshError, parseIp, unmap } from '../../base/index.ts'
import type { security } from '../../proto/index.ts'

/**
 * What predicates read. Addresses are parsed when a policy first asks, once a decision.
 */
export interface Attributes {
  /** `<trust domain>/ns/<namespace>/sa/<service account>`, or undefined without identity. */
  readonly principal: string | undefined
  readonly namespace: string | undefined
  readonly serviceAccount: string | undefined
  readonly destinationPort: number
  readonly sourceIp: () => Uint8Array
  readonly destinationIp: () => Uint8Array
}

export type Predicate<T> = (value: T) => boolean

/** True when any of the matchers holds; an absent value matches none. */
export function compileStrings(
  matchers: readonly security.StringMatch[],
  where: string,
): Predicate<string | undefined> {
  const exact = new Set<string>()
  const prefixes: string[] = []
  const suffixes: string[] = []
  let presence = false
  for (const { matchType } of matchers) {
    if (matchType.case === 'exact') exact.add(matchType.value)
    else if (matchType.case === 'prefix') prefixes.push(matchType.value)
    else if (matchType.case === 'suffix') suffixes.push(matchType.value)
    else if (matchType.case === 'presence') presence = true
    else throw invalid(where, 'a string match without a kind')
  }
  if (prefixes.length === 0 && suffixes.length === 0 && !presence) {
    return (value) => value !== undefined && exact.has(value)
  }
  return (value) =>
    value !== undefined &&
    ((presence && value !== '') ||
      exact.has(value) ||
      prefixes.some((prefix) => value.startsWith(prefix)) ||
      suffixes.some((suffix) => value.endsWith(suffix)))
}

/** True when an address lies in any of the ranges; full-length ones are looked up in a set. */
export function compileRanges(
  ranges: readonly security.Address[],
  where: string,
): Predicate<Uint8Array> {
  const single = new Set<string>()
  const wide: Cidr[] = []
  for (const { address, length } of ranges) {
    const plain = unmap(address)
    const mapped = plain.length !== address.length
    const bits = mapped ? length - 96 : length
    if (plain.length !== 4 && plain.length !== 16) {
      throw invalid(where, `an address of ${address.length} bytes`)
    }
    if (bits < 0 || bits > plain.length * 8) throw invalid(where, `a prefix length of ${length}`)
    if (bits === plain.length * 8) single.add(formatIp(plain))
    else wide.push({ address: plain, length: bits })
  }
  return (value) =>
    value.length > 0 &&
    (wide.some((range) => cidrContains(range, value)) ||
      (single.size > 0 && single.has(formatIp(value))))
}

/** An address of a request as bytes; empty, which no range holds, when it is no address. */
export function addressBytes(text: string): Uint8Array {
  return parseIp(text) ?? new Uint8Array()
}

export function compilePorts(ports: readonly number[]): Predicate<number> {
  const [first] = ports
  if (first !== undefined && ports.length === 1) return (port) => port === first
  const set = new Set(ports)
  return (port) => set.has(port)
}

export function compileServiceAccounts(
  accounts: readonly security.ServiceAccountMatch[],
): Predicate<Attributes> {
  const set = new Set(accounts.map((account) => `${account.namespace}/${account.serviceAccount}`))
  return ({ namespace, serviceAccount }) =>
    namespace !== undefined && set.has(`${namespace}/${serviceAccount}`)
}

export function invalid(where: string, what: string): MeshError {
  return new MeshError('L4_POLICY_INVALID', `Authorization ${where} holds ${what}`, {
    hint: 'the control plane sent a resource that this version cannot enforce; upgrade the node proxy',
  })
}
