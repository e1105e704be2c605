/**
 * How the connection to an endpoint is secured. The cluster holds one transport socket for each way;
 * the endpoint's metadata says which of them it wants.
 */
import type { PeerAuthentication, Workload } from '../../../model/index.ts'
import { selects } from '../../../model/index.ts'
import type { Reader } from '../../reader.ts'
import type { ProxyView } from '../proxy.ts'
import type { Endpoint } from './collect.ts'

/** `tunnel`: HBONE to its node proxy. `mtls`: mutual TLS to its sidecar. `plain`: neither. */
export type Transport = 'tunnel' | 'mtls' | 'plain'

const tlsModeLabel = 'security.istio.io/tlsMode'

export function transportOf(reader: Reader, endpoint: Endpoint, view: ProxyView): Transport {
  const { workload } = endpoint
  if (workload === undefined || workload.external) return 'plain'
  const sidecar = endpoint.labels[tlsModeLabel] === 'istio'
  const tunnels = view.sendsHbone && workload.tunnel !== 'none' && workload.addresses.length > 0
  // Sidecars are called the way they always were; only those without one need the tunnel.
  if (tunnels && (workload.tunnel === 'hbone' || !sidecar || view.kind === 'waypoint')) {
    return 'tunnel'
  }
  if (!sidecar || refusesMutualTls(reader, workload, endpoint.port)) return 'plain'
  return 'mtls'
}

/** Whether PeerAuthentication turned mutual TLS off at a port of a workload. */
export function refusesMutualTls(reader: Reader, workload: Workload, port: number): boolean {
  const { rootNamespace } = reader.settings
  const own = reader.peerAuthentications(workload.namespace)
  const matching = own.find(
    ({ selector }) => selector !== undefined && selects(selector, workload.labels),
  )
  const level = matching?.portModes.find((entry) => entry.port === port)?.mode
  const whole = (policies: readonly PeerAuthentication[]): PeerAuthentication | undefined =>
    policies.find(({ selector }) => selector === undefined)
  const modes = [
    level,
    matching?.mode,
    whole(own)?.mode,
    whole(reader.peerAuthentications(rootNamespace))?.mode,
  ]
  return modes.find((mode) => mode !== undefined && mode !== 'UNSET') === 'DISABLE'
}
