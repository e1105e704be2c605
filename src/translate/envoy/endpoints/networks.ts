/**
 * Endpoints of other networks are reached through these networks' gateways, which route by the server
 * name of mutual TLS. Without a gateway the address is taken to be routable.
 */
import { parseIp } from '../../../base/index.ts'
import type { Gateway } from '../../../model/index.ts'
import type { Reader } from '../../reader.ts'
import type { Endpoint } from './collect.ts'
import type { Transport } from './transport.ts'

const networkLabel = 'topology.istio.io/network'
/** Where east-west gateways take mutual TLS that they pass on by its server name. */
const autoPassthroughPort = 15443

export interface NetworkGateway {
  readonly address: string
  readonly port: number
}

/** Gateways of class `istio-remote` stand for the entrances of other networks. */
export function networkGateways(reader: Reader): ReadonlyMap<string, readonly NetworkGateway[]> {
  return reader.memo('network-gateways', (inner) => {
    const found = new Map<string, NetworkGateway[]>()
    for (const gateway of inner.gateways()) {
      const name = gateway.labels[networkLabel]
      if (name === undefined || gateway.className !== 'istio-remote') continue
      const port = portOf(gateway)
      for (const { value } of gateway.statusAddresses) {
        if (port === undefined || parseIp(value) === undefined) continue
        const list = found.get(name) ?? []
        found.set(name, list)
        list.push({ address: value, port })
      }
    }
    return found
  })
}

function portOf(gateway: Gateway): number | undefined {
  return gateway.listeners.find(({ port }) => port === autoPassthroughPort)?.port
}

export interface Located {
  readonly endpoint: Endpoint
  readonly transport: Transport
}

/** Replaces endpoints of other networks by their gateways; plain ones can't be reached and go. */
export function throughGateways(
  reader: Reader,
  located: readonly Located[],
  ownNetwork: string,
): readonly Located[] {
  const isRemote = ({ endpoint }: Located): boolean =>
    endpoint.network !== '' && endpoint.network !== ownNetwork
  if (!located.some(isRemote)) return located
  const gateways = networkGateways(reader)
  const result: Located[] = []
  const weights = new Map<string, { one: Located; weight: number }>()
  for (const one of located) {
    const { endpoint, transport } = one
    const entrances = isRemote(one) ? gateways.get(endpoint.network) : undefined
    if (entrances === undefined) {
      result.push(one)
      continue
    }
    if (transport !== 'mtls') continue
    for (const { address, port } of entrances) {
      const { region = '', zone = '', subzone = '' } = endpoint.locality ?? {}
      const key = `${address}|${port}|${region}/${zone}/${subzone}`
      const known = weights.get(key)
      if (known !== undefined) known.weight += endpoint.weight
      else {
        const remote = { ...endpoint, address, port, workload: undefined }
        weights.set(key, { one: { endpoint: remote, transport }, weight: endpoint.weight })
      }
    }
  }
  for (const { one, weight } of weights.values()) {
    result.push({ ...one, endpoint: { ...one.endpoint, weight } })
  }
  return result
}
