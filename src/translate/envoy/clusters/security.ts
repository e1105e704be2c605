/** The transport sockets of a cluster: what a DestinationRule says, else mutual TLS where it is spoken. */
import type { ClientTlsSettings } from '../../../model/index.ts'
import type { cluster as api } from '../../../proto/envoy.ts'
import { isWildcard } from '../lookup/hosts.ts'
import type { Scope } from '../lookup/scope.ts'
import { backendTls } from './backend-tls.ts'
import { serverIdentities } from './identities.ts'
import { sniOf } from './names.ts'
import type { ClusterPlan } from './policy.ts'
import type { UpstreamProtocol } from './protocol.ts'
import { mutualTlsContext, originationContext } from './tls.ts'
import {
  internalSocket,
  plainSocket,
  socketMatch,
  tlsSocket,
  withProxyProtocol,
} from './transport-sockets.ts'

export interface Security {
  readonly sockets: Partial<Pick<api.Cluster, 'transportSocket' | 'transportSocketMatches'>>
  /** TLS is made towards a server outside the mesh, whose name follows the request. */
  readonly autoSni: boolean
  readonly autoSanValidation: boolean
}

type Socket = ReturnType<typeof plainSocket>

export function securityOf(scope: Scope, plan: ClusterPlan, speaks: UpstreamProtocol): Security {
  const { policy, service } = plan
  const mesh = scope.reader.mesh()
  const backend = policy.tls === undefined ? backendTls(scope, plan) : undefined
  const settings = usable(policy.tls ?? backend?.settings, scope, plan)
  const tunnels = scope.view.sendsHbone && service.location === 'internal'
  const auto = settings === undefined && mesh.enableAutoMtls && service.location === 'internal'
  const none = { autoSni: false, autoSanValidation: false }
  if (settings === undefined || settings.mode === 'DISABLE' || settings.mode === undefined) {
    const plain = wrapped(plainSocket(), plan)
    const mutual = auto ? wrapped(mutualSocket(scope, plan, undefined, speaks), plan) : undefined
    return { sockets: combined(plain, tunnels ? internalSocket() : undefined, mutual), ...none }
  }
  if (settings.mode === 'ISTIO_MUTUAL') {
    const socket = wrapped(mutualSocket(scope, plan, settings, speaks), plan)
    return { sockets: combined(socket, tunnels ? internalSocket() : undefined), ...none }
  }
  const context = originationContext(settings, {
    sni: isWildcard(service.hostname) ? '' : service.hostname,
    subjectAltNames: service.subjectAltNames,
    verify: mesh.verifyCertificateAtClient,
    http2: speaks === 'http2',
    params: mesh.tlsDefaults,
    ...(backend?.caSecret === undefined ? {} : { caSecret: backend.caSecret }),
  })
  const socket = wrapped(tlsSocket(context), plan)
  const named = (settings.sni ?? '') !== ''
  const sans = [...(settings.subjectAltNames ?? []), ...service.subjectAltNames]
  return {
    // Also an ambient workload is asked for TLS, inside its tunnel.
    sockets: combined(socket, tunnels ? internalSocket(socket) : undefined),
    autoSni: !named,
    autoSanValidation:
      !named &&
      sans.length === 0 &&
      settings.insecureSkipVerify !== true &&
      mesh.verifyCertificateAtClient,
  }
}

/** Sidecars may use secrets only by rules that select them, since those are of their own namespace. */
function usable(
  settings: ClientTlsSettings | undefined,
  scope: Scope,
  plan: ClusterPlan,
): ClientTlsSettings | undefined {
  if (settings?.credentialName === undefined || settings.credentialName === '') return settings
  if (scope.view.kind !== 'sidecar' || plan.rule?.selector !== undefined) return settings
  const { credentialName: _, ...rest } = settings
  return rest
}

function mutualSocket(
  scope: Scope,
  plan: ClusterPlan,
  settings: ClientTlsSettings | undefined,
  speaks: UpstreamProtocol,
): Socket {
  const { hostname } = plan.service
  const names = settings?.subjectAltNames ?? []
  const sni = settings?.sni || sniOf(hostname, plan.ref.port, plan.ref.subset)
  const identities = names.length > 0 ? names : serverIdentities(scope, plan)
  // Undeclared ports must reach the server's detection, so nothing about HTTP is promised.
  const alpn = speaks === 'auto' ? 'tcp' : speaks
  return tlsSocket(mutualTlsContext(sni, identities, alpn, scope.reader.mesh().meshMTLS))
}

function wrapped(socket: Socket, plan: ClusterPlan): Socket {
  const { proxyProtocol } = plan.policy
  if (proxyProtocol === undefined) return socket
  return withProxyProtocol(socket, proxyProtocol.version ?? 'V1')
}

/** One socket for all, or a choice by each endpoint's metadata: tunnel, mutual TLS, the rest. */
function combined(rest: Socket, tunnel: Socket | undefined, mutual?: Socket): Security['sockets'] {
  if (tunnel === undefined && mutual === undefined) {
    // Plain sockets are what Envoy takes by itself.
    return rest.name === 'envoy.transport_sockets.raw_buffer' ? {} : { transportSocket: rest }
  }
  return {
    transportSocketMatches: [
      ...(tunnel === undefined ? [] : [socketMatch('hbone', { tunnel: 'http' }, tunnel)]),
      ...(mutual === undefined ? [] : [socketMatch('tlsMode-istio', { tlsMode: 'istio' }, mutual)]),
      socketMatch(mutual === undefined ? 'default' : 'tlsMode-disabled', {}, rest),
    ],
  }
}
