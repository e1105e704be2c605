/** Whether the certificates that a listener names are there, may be read, and can be parsed. */
import type { FrontendValidationSpec, Gateway, ObjectReferenceSpec } from '../../model/index.ts'
import type { GatewayListener } from '../envoy/routes/gateway-listeners.ts'
import { isCertificates, isPrivateKey } from '../envoy/secrets/pem.ts'
import type { Reader } from '../reader.ts'
import type { Fault } from './condition.ts'
import { isGranted, type Referrer } from './grants.ts'

const modeOption = 'gateway.istio.io/tls-terminate-mode'
/** The proxy's own certificate from the mesh is used: none is named. */
const meshModes: ReadonlySet<string | undefined> = new Set(['ISTIO_MUTUAL', 'ISTIO_SIMPLE'])
const maxCertificates = 2

/** The first fault of the kind that users should see; undefined when TLS can be served. */
export function listenerTlsFault(
  reader: Reader,
  gateway: Gateway,
  { spec, owner }: GatewayListener,
): Fault | undefined {
  const { tls, protocol } = spec
  if (tls === undefined || (protocol !== 'HTTPS' && protocol !== 'TLS')) return undefined
  if (tls.mode === 'Passthrough' || meshModes.has(tls.options?.[modeOption])) return undefined
  const references = tls.certificateRefs ?? []
  if (references.length === 0 || references.length > maxCertificates) {
    const message = 'exactly 1 or 2 certificateRefs should be present for TLS termination'
    return { reason: 'InvalidCertificateRef', message }
  }
  const from = { kind: owner.kind, namespace: owner.namespace }
  const faults = references.flatMap((reference) => certificateFault(reader, from, reference) ?? [])
  const [first] = faults
  if (first !== undefined) {
    const messages = faults.filter(({ reason }) => reason === first.reason)
    return { ...first, message: messages.map(({ message }) => message).join('; ') }
  }
  return clientCaFault(reader, gateway, spec.port)
}

/** A Secret with a certificate and its key: of a listener, or of the Gateway as a client. */
export function certificateFault(
  reader: Reader,
  from: Referrer,
  reference: ObjectReferenceSpec,
): Fault | undefined {
  const { group = '', kind = 'Secret', name = '', namespace = from.namespace } = reference
  const shown = `invalid certificate reference ${group}/${kind}/${name}.${reference.namespace ?? ''}`
  const invalid = (why: string): Fault => ({
    reason: 'InvalidCertificateRef',
    message: `${shown}, ${why}`,
  })
  if (group !== '' || kind !== 'Secret') return invalid('only secret is allowed')
  if (!isGranted(reader, from, { ...reference, group, kind })) {
    const whose = `a ${from.kind} in namespace "${from.namespace}"`
    return {
      reason: 'RefNotPermitted',
      message: `certificateRef ${name}/${namespace} not accessible to ${whose} (missing a ReferenceGrant?)`,
    }
  }
  const credential = reader.credential('Secret', `${namespace}/${name}`)
  if (credential === undefined) return invalid(`secret ${namespace}/${name} not found`)
  if (!isCertificates(credential.certificate)) return invalid('its certificate is no valid PEM')
  if (!isPrivateKey(credential.revealPrivateKey())) return invalid('its key is no valid PEM')
  return undefined
}

/** How all listeners of a port check their clients: for the port, else for the whole Gateway. */
export function frontendOf(
  gateway: Gateway,
  port: number | undefined,
): FrontendValidationSpec | undefined {
  const { frontend } = gateway.config.spec.tls ?? {}
  return frontend?.perPort?.find((one) => one.port === port)?.tls ?? frontend?.default
}

function clientCaFault(
  reader: Reader,
  gateway: Gateway,
  port: number | undefined,
): Fault | undefined {
  const references = frontendOf(gateway, port)?.validation?.caCertificateRefs ?? []
  if (references.length === 0) return undefined
  if (references.length > 1) {
    const message = 'only one caCertificateRef is supported'
    return { reason: 'InvalidCACertificateRef', message }
  }
  const [reference = {}] = references
  const { group = '', kind = 'ConfigMap', name = '', namespace = gateway.namespace } = reference
  if (group !== '' || (kind !== 'ConfigMap' && kind !== 'Secret')) {
    const shown = `${group}/${kind}/${name}.${reference.namespace ?? ''}`
    return {
      reason: 'InvalidCACertificateKind',
      message: `invalid CA certificate reference ${shown}, only secret and configmap are allowed`,
    }
  }
  const from = { kind: 'Gateway', namespace: gateway.namespace }
  if (!isGranted(reader, from, { ...reference, group, kind })) {
    const whose = `a Gateway in namespace "${gateway.namespace}"`
    return {
      reason: 'RefNotPermitted',
      message: `caCertificateRef ${namespace}/${name} not accessible to ${whose} (missing a ReferenceGrant?)`,
    }
  }
  const roots = reader.credential(kind, `${namespace}/${name}`)
  const problem =
    roots === undefined
      ? `${kind.toLowerCase()} ${namespace}/${name} not found`
      : isCertificates(roots.ca || (kind === 'Secret' ? roots.certificate : ''))
        ? undefined
        : `${kind.toLowerCase()} ${namespace}/${name} has no valid PEM`
  if (problem === undefined) return undefined
  const message = `invalid CA certificate reference, ${problem}`
  return { reason: 'InvalidCACertificateRef', message }
}
