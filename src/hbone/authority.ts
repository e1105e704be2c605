/** The `:authority` of a CONNECT: where the tunnel leads. */
import { canonicalIp, parseIp } from '../base/index.ts'

export type Authority =
  | { readonly kind: 'ip'; readonly address: string; readonly port: number }
  | { readonly kind: 'host'; readonly host: string; readonly port: number }

const hostPattern =
  /^(?=.{1,253}$)[a-zA-Z0-9_*]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?)*$/

/** Reads `10.0.0.1:80`, `[fd00::1]:80` or `reviews.ns.svc.cluster.local:80`; else undefined. */
export function parseAuthority(text: string): Authority | undefined {
  const colon = text.lastIndexOf(':')
  if (colon <= 0) return undefined
  const digits = text.slice(colon + 1)
  const port = Number(digits)
  if (!/^[0-9]{1,5}$/.test(digits) || port < 1 || port > 65_535) return undefined
  const host = text.slice(0, colon)
  if (host.startsWith('[')) {
    if (!host.endsWith(']') || !host.includes(':') || host.includes('%')) return undefined
    const inner = host.slice(1, -1)
    if (parseIp(inner) === undefined) return undefined
    return { kind: 'ip', address: canonicalIp(inner), port }
  }
  if (host.includes(':')) return undefined
  if (parseIp(host) !== undefined) return { kind: 'ip', address: host, port }
  // All-digit labels at the end would be an address that isn't one, like 10.0.0.
  if (!hostPattern.test(host) || /(^|\.)[0-9]+$/.test(host)) return undefined
  return { kind: 'host', host: host.toLowerCase(), port }
}

/** `address:port`, with brackets for IPv6. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
