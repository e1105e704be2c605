/** Ranges of addresses. */
import { type Cidr, cidrContains, formatIp, parseIp } from '../../../base/index.ts'
import type { Place } from '../errors.ts'

export interface RangeMessage {
  readonly addressPrefix: string
  readonly prefixLen?: number | undefined
}

/** Undefined when refused. A range without a length is the whole address family, as in Envoy. */
export function compileRange(range: RangeMessage, place: Place): Cidr | undefined {
  const address = parseIp(range.addressPrefix)
  const length = range.prefixLen ?? 0
  if (address === undefined || length > address.length * 8) {
    place.refuse(`'${range.addressPrefix}/${length}' is no range of addresses`)
    return undefined
  }
  return { address, length }
}

/** Whether an address lies in one of the ranges; a text that is no address lies in none. */
export function compileRanges(
  ranges: readonly RangeMessage[],
  place: Place,
): (address: string) => boolean {
  const single = new Set<string>()
  const wide: Cidr[] = []
  for (const [index, range] of ranges.entries()) {
    const cidr = compileRange(range, place.at('ranges', index))
    if (cidr === undefined) continue
    if (cidr.length === cidr.address.length * 8) single.add(formatIp(cidr.address))
    else wide.push(cidr)
  }
  if (wide.length === 0) return (address) => single.has(address)
  return (text) => {
    if (single.has(text)) return true
    const address = bytesOf(text)
    return address !== undefined && wide.some((range) => cidrContains(range, address))
  }
}

let lastText = ''
let lastBytes: Uint8Array | undefined

/** One request's address is compared with many ranges: it is parsed once. */
function bytesOf(text: string): Uint8Array | undefined {
  if (text !== lastText) {
    lastText = text
    lastBytes = parseIp(text)
  }
  return lastBytes
}

/** `ip:port` without the port; brackets go. */
export function hostOf(address: string): string {
  if (address.startsWith('[')) return address.slice(1, address.indexOf(']'))
  const colon = address.indexOf(':')
  return colon >= 0 && colon === address.lastIndexOf(':') ? address.slice(0, colon) : address
}
