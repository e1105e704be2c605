/** Resource names and aliases of the ambient API. */
import { parseCidr } from '../../base/index.ts'

/** Underscores can't occur in Kubernetes names, so these never meet a user's policy. */
export const staticStrictName = 'istio_converted_static_strict'

export function convertedName(name: string): string {
  return `converted_peer_authentication_${name}`
}

/** `<network>/<ip>`, or `<network>/<ip>/<prefix length>` for a range. */
export function addressAlias(network: string, address: string): string {
  const cidr = parseCidr(address)
  if (cidr === undefined || !address.includes('/') || cidr.length === cidr.address.length * 8) {
    return `${network}/${address.split('/')[0]}`
  }
  return `${network}/${address}`
}
