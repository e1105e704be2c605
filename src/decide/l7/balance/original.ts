/**
 * Clusters without hosts of their own: a connection goes where its client wanted to go, or where filter
 * state, a header or metadata say, in Envoy's order.
 */
import { parseIp } from '../../../base/index.ts'
import type { Exchange } from '../exchange.ts'
import { hostOf } from '../match/address.ts'
import type { HostAddress } from './endpoints.ts'
import type { BalancingPolicy } from './policy.ts'

type OriginalDestination = Extract<BalancingPolicy, { kind: 'original-destination' }>

const stateKey = 'envoy.network.transport_socket.original_dst_address'

/** Undefined: nothing says where, and the request is answered with 503. */
export function originalDestination(
  policy: OriginalDestination,
  exchange: Exchange,
): HostAddress | undefined {
  const { header, metadata, port } = policy
  const text =
    exchange.filterState(stateKey) ??
    (header === undefined ? undefined : exchange.firstHeader(header)) ??
    (metadata === undefined ? undefined : metadataText(exchange, metadata)) ??
    exchange.request.connection.originalDestination
  const address = text === undefined ? undefined : parseAddress(text)
  return address === undefined || port === undefined ? address : { ...address, port }
}

function metadataText(
  exchange: Exchange,
  { key, path }: { readonly key: string; readonly path: readonly string[] },
): string | undefined {
  let value: unknown = exchange.metadata(key)
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    // Checked in the line above.
    value = (value as Record<string, unknown>)[part]
  }
  return typeof value === 'string' ? value : undefined
}

function parseAddress(text: string): Extract<HostAddress, { kind: 'socket' }> | undefined {
  const ip = hostOf(text)
  const digits = text.slice(text.lastIndexOf(':') + 1)
  const port = Number(digits)
  const valid = parseIp(ip) !== undefined && /^\d{1,5}$/.test(digits) && port > 0 && port < 65_536
  return valid && text.length > ip.length ? { kind: 'socket', ip, port } : undefined
}
