/** Listeners of Gateway API: of the Gateway that a proxy is deployed for, and of its ListenerSets. */
import {
  type FrontendValidationSpec,
  type Gateway,
  type ObjectReferenceSpec,
  selects,
} from '../../../model/index.ts'
import { configPath } from '../../provenance.ts'
import { olderFirst, type Reader } from '../../reader.ts'
import { type Problem, problemOf } from '../policies/problem.ts'
import type { ProxyView } from '../proxy.ts'
import { gatewayController } from '../routes/attach.ts'
import { rootsSuffix, secretName } from '../secrets/names.ts'
import { attachedTo, isSelected, type PlacedListener } from './api-routes.ts'
import {
  type CertificateSource,
  knownCipherSuites,
  meshServerTls,
  type RootsSource,
  type ServerTls,
} from './downstream-tls.ts'
import type { GatewayServer, ServerSecurity } from './gateway-server.ts'
import { type FoundServers, frontServices, targetPort } from './istio-gateway.ts'

export function apiServers(reader: Reader, view: ProxyView): FoundServers {
  const problems: Problem[] = []
  const servers: GatewayServer[] = []
  for (const gateway of gatewaysOf(reader, view)) {
    const listeners = listenersOf(reader, gateway)
    const isOwn = view.gateway === `${gateway.namespace}/${gateway.name}`
    // The Service that is deployed with a Gateway has the listeners' own ports.
    const services = isOwn ? [] : frontServices(reader, view)
    for (const listener of listeners) {
      const server = serverOf(reader, listener, listeners)
      if (typeof server === 'string') {
        problems.push(problemOf(listener.owner, listener.path, server))
      } else servers.push({ ...server, port: targetPort(services, server.servicePort) })
    }
  }
  return { servers, problems }
}

/** The Gateway that the proxy was deployed for, and those that name its Service as their address. */
function gatewaysOf(reader: Reader, view: ProxyView): Gateway[] {
  const own = view.gateway === undefined ? undefined : reader.gateway(view.gateway)
  const manual = reader
    .gateways()
    .filter((gateway) => gateway !== own && addressedServices(gateway).length > 0)
    .filter((gateway) =>
      addressedServices(gateway).some(([namespace, name]) => {
        if (namespace !== view.namespace) return false
        const selector = reader.kubernetesService(namespace, name)?.selector
        return selector !== undefined && selects(selector, view.labels)
      }),
    )
  return [...(own === undefined ? [] : [own]), ...manual].filter(
    ({ className }) => reader.gatewayClass(className)?.controllerName === gatewayController,
  )
}

/** `spec.addresses` of type Hostname: a Service, by its name or by its name in full. */
function addressedServices(gateway: Gateway): (readonly [namespace: string, name: string])[] {
  return (gateway.config.spec.addresses ?? []).flatMap(({ type = 'IPAddress', value = '' }) => {
    if (type !== 'Hostname' || value === '') return []
    const [name = '', namespace = gateway.namespace] = value.split('.')
    return [[namespace, name] as const]
  })
}

function listenersOf(reader: Reader, gateway: Gateway): PlacedListener[] {
  const own = (gateway.config.spec.listeners ?? []).map(
    (spec, index): PlacedListener => ({
      spec,
      owner: gateway.config,
      path: `/spec/listeners/${index}`,
      index,
      gateway,
    }),
  )
  const names = reader.routesOfParent(`Gateway|${gateway.namespace}/${gateway.name}`)
  const sets = names
    .flatMap((name) => {
      const [kind, namespace = '', set = ''] = name.split('/')
      const object =
        kind === 'ListenerSet' ? reader.config('ListenerSet', namespace, set) : undefined
      return object !== undefined && admitsSet(reader, gateway, namespace) ? [object] : []
    })
    .toSorted(olderFirst)
  const more = sets.flatMap((set, position) =>
    (set.spec.listeners ?? []).map(
      (spec, index): PlacedListener => ({
        spec,
        owner: set,
        path: `/spec/listeners/${index}`,
        // Behind the Gateway's own, the sets in the order of their age.
        index: own.length + position * maxListeners + index,
        gateway,
      }),
    ),
  )
  return [...own, ...more]
}

/** What the schema allows in one object. */
const maxListeners = 64

function admitsSet(reader: Reader, gateway: Gateway, namespace: string): boolean {
  const { from = 'None', selector } = gateway.config.spec.allowedListeners?.namespaces ?? {}
  if (from === 'Same') return namespace === gateway.namespace
  return from === 'All' || (from === 'Selector' && isSelected(reader, selector, namespace))
}

function serverOf(
  reader: Reader,
  listener: PlacedListener,
  all: readonly PlacedListener[],
): GatewayServer | string {
  const { spec, owner, path, index, gateway } = listener
  const { protocol = '', port = 0, hostname = '', name = '' } = spec
  const isHttp = protocol === 'HTTP' || protocol === 'HTTPS'
  if (!isHttp && protocol !== 'TLS' && protocol !== 'TCP') {
    return `protocol '${protocol}' is not supported; use HTTP, HTTPS, TLS or TCP`
  }
  const security = securityOf(reader, listener)
  if (typeof security === 'string') return security
  const { http, streams } = attachedTo(reader, listener, all)
  const key = `${gateway.namespace}/${gateway.name}`
  return {
    config: configPath(owner),
    path,
    createdAt: gateway.createdAt,
    owner: key,
    index,
    portName: name,
    port,
    servicePort: port,
    bind: '',
    isHttp,
    declared: isHttp ? 'HTTP' : '',
    hosts: [hostname === '' ? '*' : hostname],
    security,
    routeName: `https.${port}.${name}.${owner.name}.${owner.namespace}`,
    routing: { api: 'gateway', http, streams },
  }
}

const optionPrefix = 'gateway.istio.io/'

function securityOf(reader: Reader, listener: PlacedListener): ServerSecurity | string {
  const { protocol, tls = {} } = listener.spec
  if (protocol === 'HTTP' || protocol === 'TCP') return { kind: 'none' }
  const options = tls.options ?? {}
  if (tls.mode === 'Passthrough') {
    if (protocol === 'HTTPS') return 'HTTPS can not be passed through; use protocol TLS'
    const isAuto = options[`${optionPrefix}listener-protocol`] === 'auto-passthrough'
    return { kind: isAuto ? 'auto-passthrough' : 'passthrough' }
  }
  const cipherSuites = (options[`${optionPrefix}tls-cipher-suites`] ?? '').split(',')
  const base = {
    ...meshServerTls(false),
    cipherSuites: knownCipherSuites(cipherSuites.map((one) => one.trim())),
  }
  const terminate = (server: Partial<ServerTls>): ServerSecurity => ({
    kind: 'terminate',
    tls: { ...base, ...server },
  })
  const mode = options[`${optionPrefix}tls-terminate-mode`]
  if (mode === 'ISTIO_MUTUAL') return terminate({ requiresCertificate: true })
  if (mode === 'ISTIO_SIMPLE') return terminate({ roots: undefined })
  const certificates = certificatesOf(reader, listener)
  if (certificates.length === 0) {
    return 'no certificateRef can be used: each must name a Secret that is there and may be read'
  }
  const [first] = certificates
  const isMutual = mode === 'MUTUAL' || mode === 'OPTIONAL_MUTUAL'
  if (isMutual && first?.kind === 'secret') {
    const roots: RootsSource = { kind: 'secret', name: `${first.name}${rootsSuffix}` }
    return terminate({ certificates, roots, requiresCertificate: mode === 'MUTUAL' })
  }
  const checked = frontendRoots(reader, listener)
  if (typeof checked === 'string') return checked
  return terminate({ certificates, ...(checked ?? { roots: undefined }) })
}

function certificatesOf(reader: Reader, listener: PlacedListener): CertificateSource[] {
  const from = { kind: listener.owner.kind, namespace: listener.owner.namespace }
  return (listener.spec.tls?.certificateRefs ?? []).flatMap((reference) => {
    const { group = '', kind = 'Secret', name = '', namespace = from.namespace } = reference
    if (group !== '' || kind !== 'Secret' || !isGranted(reader, from, reference)) return []
    const credential = reader.credential('Secret', `${namespace}/${name}`)
    if (credential === undefined || credential.certificate === '') return []
    return [{ kind: 'secret' as const, name: secretName('Secret', namespace, name) }]
  })
}

/** How all listeners of a port check their clients: for the port, else for the whole Gateway. */
function frontendRoots(
  reader: Reader,
  { gateway, spec }: PlacedListener,
): Partial<ServerTls> | string | undefined {
  const frontend = gateway.config.spec.tls?.frontend
  const chosen: FrontendValidationSpec | undefined =
    frontend?.perPort?.find(({ port }) => port === spec.port)?.tls ?? frontend?.default
  const validation = chosen?.validation
  if (validation === undefined) return undefined
  const [reference] = validation.caCertificateRefs ?? []
  const kind = reference?.kind ?? 'ConfigMap'
  const from = { kind: 'Gateway', namespace: gateway.namespace }
  if (reference === undefined || (kind !== 'ConfigMap' && kind !== 'Secret')) {
    return 'the CA for clients must be a ConfigMap or a Secret; this listener is left out'
  }
  if (!isGranted(reader, from, reference)) {
    return 'the CA for clients is in another namespace and no ReferenceGrant there allows it'
  }
  const namespace = reference.namespace ?? gateway.namespace
  const isOpen = validation.mode === 'AllowInsecureFallback'
  return {
    roots: {
      kind: 'secret',
      name: `${secretName(kind, namespace, reference.name ?? '')}${rootsSuffix}`,
    },
    requiresCertificate: !isOpen,
    skipsVerification: isOpen,
  }
}

/** Whether whoever refers may use an object of another namespace. */
export function isGranted(
  reader: Reader,
  from: { readonly kind: string; readonly namespace: string },
  reference: ObjectReferenceSpec,
): boolean {
  const { group = '', kind = 'Secret', name = '', namespace = from.namespace } = reference
  if (namespace === from.namespace) return true
  return reader.grants(namespace).some((grant) => {
    const fromHere = grant.from.some(
      (one) =>
        one.group === 'gateway.networking.k8s.io' &&
        one.kind === from.kind &&
        one.namespace === from.namespace,
    )
    const toThere = grant.to.some(
      (one) => one.group === group && one.kind === kind && (one.name === '' || one.name === name),
    )
    return fromHere && toThere
  })
}
