/** Servers of Istio Gateways, for the gateway proxies that their selectors pick. */
import {
  type ConfigObject,
  type IstioGatewaySpec,
  type IstioServer,
  type ServerTlsSettings,
  type Service,
  selects,
} from '../../../model/index.ts'
import { configPath } from '../../provenance.ts'
import type { Reader } from '../../reader.ts'
import { credentialSecret } from '../clusters/tls.ts'
import { type Problem, problemOf } from '../policies/problem.ts'
import type { ProxyView } from '../proxy.ts'
import { rootsSuffix } from '../secrets/names.ts'
import { isBindable, usableServerNames } from './build.ts'
import {
  type CertificateSource,
  knownCipherSuites,
  meshServerTls,
  type RootsSource,
  type ServerTls,
  writtenLimits,
} from './downstream-tls.ts'
import type { GatewayServer, ServerSecurity } from './gateway-server.ts'
import { declaredOf, serverKind } from './protocols.ts'

type IstioGateway = ConfigObject<IstioGatewaySpec>

export interface FoundServers {
  readonly servers: readonly GatewayServer[]
  readonly problems: readonly Problem[]
}

export function istioServers(reader: Reader, view: ProxyView): FoundServers {
  const servers: GatewayServer[] = []
  const problems: Problem[] = []
  const gateways = reader
    .allConfigs('IstioGateway')
    .filter(({ spec }) => selects(spec.selector ?? {}, view.labels))
  if (gateways.length === 0) return { servers, problems }
  const services = frontServices(reader, view)
  for (const gateway of gateways) {
    for (const [index, server] of (gateway.spec.servers ?? []).entries()) {
      const made = serverOf(gateway, server, index, services)
      if (typeof made === 'string') {
        problems.push(problemOf(gateway, `/spec/servers/${index}`, made))
        continue
      }
      servers.push(made)
      const path = `/spec/servers/${index}`
      for (const message of tlsProblems(server.tls ?? {})) {
        problems.push(problemOf(gateway, `${path}/tls`, message))
      }
    }
  }
  return { servers, problems }
}

/** Values that Envoy would refuse the whole listener for. */
function tlsProblems(settings: ServerTlsSettings): string[] {
  const { cipherSuites = [], verifyCertificateHash = [], verifyCertificateSpki = [] } = settings
  const limits = writtenLimits(settings)
  const suites = cipherSuites.filter((name) => knownCipherSuites([name]).length === 0)
  const hashes = verifyCertificateHash.filter((hash) => !limits.hashes.includes(hash))
  const keys = verifyCertificateSpki.filter((key) => !limits.spki.includes(key))
  return [
    ...suites.map((name) => `'${name}' is no cipher suite that can be offered; it is left out`),
    ...hashes.map((hash) => `'${hash}' is no SHA-256 in hexadecimal; it matches nothing`),
    ...keys.map((key) => `'${key}' is no SHA-256 in base64; it matches nothing`),
  ]
}

/** The Services that clients reach the proxy by. */
export function frontServices(reader: Reader, view: ProxyView): readonly Service[] {
  return reader
    .servicesOf(view.namespace)
    .filter(({ selector }) => selector !== undefined && selects(selector, view.labels))
    .filter(({ labels }) => !('experimental.istio.io/disable-gateway-port-translation' in labels))
}

/** A Gateway names the port of the Service; the proxy listens at its target. */
export function targetPort(services: readonly Service[], port: number): number {
  for (const service of services) {
    const found = service.ports.find((one) => one.port === port)
    if (typeof found?.targetPort === 'number') return found.targetPort
  }
  return port
}

function serverOf(
  gateway: IstioGateway,
  server: IstioServer,
  index: number,
  services: readonly Service[],
): GatewayServer | string {
  const { number = 0, name = '', protocol } = server.port ?? {}
  const kind = serverKind(protocol)
  if (number < 1 || number > 65_535) return `port ${number} is no port; this server is left out`
  if (kind === undefined) {
    return `protocol '${protocol ?? ''}' is not known; this server is left out`
  }
  if ((server.hosts ?? []).length === 0) return 'a server needs hosts; it is left out'
  const security = securityOf(kind === 'https' || kind === 'tls', server.tls)
  if (typeof security === 'string') return security
  const owner = `${gateway.namespace}/${gateway.name}`
  const written = (server.hosts ?? []).map((host) => host.slice(host.indexOf('/') + 1))
  const isTls = security.kind !== 'none'
  const hosts = isTls ? usableServerNames(written) : written
  if (hosts.length === 0) return 'none of its hosts can be a server name; this server is left out'
  const { bind = '' } = server
  if (!isBindable(bind)) return `bind '${bind}' is no address; this server is left out`
  const isHttp = kind === 'http' || (kind === 'https' && security.kind === 'terminate')
  const httpsRedirect = kind === 'http' && server.tls?.httpsRedirect === true
  return {
    config: configPath(gateway),
    path: `/spec/servers/${index}`,
    createdAt: gateway.createdAt,
    owner,
    index,
    portName: name,
    port: targetPort(services, number),
    servicePort: number,
    bind,
    isHttp,
    declared: declaredOf(protocol),
    hosts: [...new Set(hosts)],
    security,
    routeName: `https.${number}.${name}.${gateway.name}.${gateway.namespace}`,
    routing: {
      api: 'istio',
      server: { gateway: owner, hosts: server.hosts ?? [], httpsRedirect },
    },
  }
}

/** A sentence about what is missing, when something is. */
function securityOf(
  isTls: boolean,
  settings: ServerTlsSettings | undefined,
): ServerSecurity | string {
  if (!isTls) return { kind: 'none' }
  if (settings === undefined) return 'HTTPS and TLS need tls settings; this server is left out'
  const { mode = 'PASSTHROUGH' } = settings
  if (mode === 'PASSTHROUGH') return { kind: 'passthrough' }
  if (mode === 'AUTO_PASSTHROUGH') return { kind: 'auto-passthrough' }
  if (mode === 'ISTIO_MUTUAL') {
    return { kind: 'terminate', tls: { ...meshServerTls(true), ...writtenLimits(settings) } }
  }
  const certificates = certificatesOf(settings)
  if (certificates.length === 0) {
    return 'tls needs a credentialName, or a certificate and its key; this server is left out'
  }
  const needsRoots = mode === 'MUTUAL' || mode === 'OPTIONAL_MUTUAL'
  const roots = needsRoots ? rootsOf(settings) : undefined
  if (needsRoots && roots === undefined) {
    return `tls mode ${mode} needs a CA to check clients with; this server is left out`
  }
  const limits = writtenLimits(settings)
  const tls: ServerTls = { ...limits, certificates, roots, requiresCertificate: mode === 'MUTUAL' }
  return { kind: 'terminate', tls }
}

function certificatesOf(settings: ServerTlsSettings): CertificateSource[] {
  const { credentialName = '', credentialNames = [], tlsCertificates = [] } = settings
  const names = credentialName === '' ? credentialNames : [credentialName]
  if (names.length > 0) {
    return names.map((name) => ({ kind: 'secret', name: credentialSecret(name) }))
  }
  const files = tlsCertificates.length > 0 ? tlsCertificates : [settings]
  return files.flatMap(({ serverCertificate: chain = '', privateKey: key = '' }) =>
    chain === '' || key === '' ? [] : [{ kind: 'files' as const, chain, key }],
  )
}

function rootsOf(settings: ServerTlsSettings): RootsSource | undefined {
  const { caCertCredentialName = '', credentialName = '', credentialNames = [] } = settings
  const name = caCertCredentialName || credentialName || credentialNames[0] || ''
  if (name !== '') return { kind: 'secret', name: withSuffix(credentialSecret(name)) }
  const path =
    settings.caCertificates ||
    settings.tlsCertificates?.find(({ caCertificates = '' }) => caCertificates !== '')
      ?.caCertificates ||
    ''
  return path === '' ? undefined : { kind: 'file', path, crl: settings.caCrl ?? '' }
}

/** A name that says itself that it is for roots keeps its form. */
function withSuffix(name: string): string {
  return name.endsWith(rootsSuffix) ? name : `${name}${rootsSuffix}`
}
