/** The other headers of a CONNECT request. */
import { formatHostPort } from './authority.ts'

/** `for="10.0.0.1:4711"`, with `;host=` when the client addressed a service. */
export function formatForwarded(address: string, port: number, serviceHost?: string): string {
  const value = `for="${formatHostPort(address, port)}"`
  return serviceHost === undefined ? value : `${value};host=${serviceHost}`
}

/** A W3C trace context that says "not sampled". @param random 24 bytes */
export function formatTraceparent(random: Uint8Array): string {
  const hex = Buffer.from(random.buffer, random.byteOffset, 24).toString('hex')
  return `00-${hex.slice(0, 32)}-${hex.slice(32)}-00`
}
