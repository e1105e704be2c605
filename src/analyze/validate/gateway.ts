/** Gateway of networking.istio.io, and the TLS settings of servers, which sidecars have as well. */
import type { Complaint, Place } from './findings.ts'
import {
  ipAddress,
  isDnsLabel,
  isIpAddress,
  partialWildcard,
  port,
  protocolClass,
  quote,
  unixPath,
  wildcardDomain,
} from './values.ts'

const unixPrefix = 'unix://'

export function checkGateway(spec: Place, name: string): void {
  if (!isDnsLabel(name)) spec.error(`invalid gateway name: ${quote(name)}`)
  const servers = spec.at('servers').items
  if (servers.length === 0) spec.error('gateway must have at least one server')
  for (const server of servers) checkServer(server)
  const names = new Set<string>()
  for (const server of servers) {
    const [portName, protocol] = [server.at('port').at('name'), server.at('port').at('protocol')]
    if (!server.at('port').present) continue
    if (names.has(portName.text)) {
      portName.error(`port names in servers must be unique: duplicate name ${portName.text}`)
    }
    names.add(portName.text)
    if (server.at('tls').at('httpsRedirect').flag && protocolClass(protocol.text) !== 'http') {
      server.at('tls').warn('tls.httpsRedirect should only be used with http servers')
    }
  }
}

function checkServer(server: Place): void {
  const hosts = server.at('hosts')
  if (hosts.items.length === 0) server.error('server config must contain at least one host')
  for (const host of hosts.items) checkScopedHost(host, 'gateway')
  const tls = server.at('tls')
  const goodPort = checkServerPort(server)
  checkServerTls(tls)
  if (!goodPort) return
  const protocol = protocolClass(server.at('port').at('protocol').text)
  if (protocol === 'tls' && !tls.present) {
    server.error('server must have TLS settings for HTTPS/TLS protocols')
  } else if (protocol === 'http' && tls.present) {
    // A server of plain text may redirect; `mode` defaults to PASSTHROUGH.
    const passes = ['', 'PASSTHROUGH', 'AUTO_PASSTHROUGH'].includes(tls.at('mode').text)
    const files = ['caCertificates', 'privateKey', 'serverCertificate']
    if (!passes || files.some((field) => tls.at(field).text !== '')) {
      server.error('server cannot have TLS settings for plain text HTTP ports')
    }
  } else if (protocol !== 'tls' && tls.present) {
    server.error('server cannot have TLS settings for non HTTPS/TLS ports')
  }
}

function checkServerPort(server: Place): boolean {
  const [place, bind] = [server.at('port'), server.at('bind')]
  if (!place.present) return server.check('port is required')
  const [number, protocol] = [place.at('number').number, place.at('protocol').text]
  let good = true
  if (protocolClass(protocol) === undefined) {
    good = place.check(
      `invalid protocol ${quote(protocol)}, supported protocols are HTTP, HTTP2, GRPC, GRPC-WEB, MONGO, REDIS, MYSQL, TCP`,
    )
  }
  const unix = bind.text.startsWith(unixPrefix)
  if (number > 0 || !unix) good = place.check(port(number)) && good
  if (place.at('targetPort').number > 0) {
    good = place.check('targetPort has no impact on Gateways')
  }
  if (place.at('name').text === '') good = place.check(`port name must be set: number:${number}`)
  if (unix) {
    bind.check(unixPath(bind.text.slice(unixPrefix.length)))
    if (number !== 0) place.error(`port number must be 0 for unix domain socket: number:${number}`)
  } else if (bind.text !== '') bind.check(ipAddress(bind.text))
  return good
}

/** `namespace/name`; gateways take a name alone and addresses as well. */
export function checkScopedHost(host: Place, of: 'gateway' | 'sidecar'): void {
  const slash = host.text.indexOf('/')
  if (slash < 0) {
    if (of === 'gateway') checkHostPart(host, host.text, of)
    else host.error('host must be of form namespace/dnsName')
    return
  }
  const [namespace, name] = [host.text.slice(0, slash), host.text.slice(slash + 1)]
  if (namespace === '' || name === '') {
    host.error('config namespace and dnsName in host entry cannot be empty')
  }
  const special = of === 'gateway' ? ['*', '.'] : ['*', '.', '~']
  if (!special.includes(namespace) && !isDnsLabel(withoutExclusion(namespace, of))) {
    host.error(`invalid namespace value ${quote(namespace)} in ${of}`)
  }
  checkHostPart(host, name, of)
}

/** `~namespace` takes hosts of a namespace out of what a sidecar imports. */
function withoutExclusion(namespace: string, of: 'gateway' | 'sidecar'): string {
  return of === 'sidecar' ? namespace.replace(/^~/, '') : namespace
}

function checkHostPart(place: Place, name: string, of: 'gateway' | 'sidecar'): void {
  if (name !== '*' && !name.includes('.')) {
    place.error('short names (non FQDN) are not allowed')
  }
  const bad: Complaint = wildcardDomain(name)
  if (bad !== undefined && !(of === 'gateway' && isIpAddress(name))) place.error(bad)
  place.check(partialWildcard(name))
}

const cipherSuites = new Set([
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-SHA',
  'ECDHE-RSA-AES128-SHA',
  'ECDHE-ECDSA-AES256-SHA',
  'ECDHE-RSA-AES256-SHA',
  'AES128-GCM-SHA256',
  'AES256-GCM-SHA384',
  'AES128-SHA',
  'AES256-SHA',
  'DES-CBC3-SHA',
])

function checkCiphers(tls: Place): void {
  const old = ['TLSV1_0', 'TLSV1_1'].includes(tls.at('minProtocolVersion').text)
  const names = tls.at('cipherSuites').texts
  if (old && names.length === 0) {
    tls.warn(
      'TLS version below TLSV1_2 require setting compatible ciphers as by default they no longer include compatible ciphers.',
    )
  }
  // Expressions of OpenSSL begin with a sign; they are not taken apart.
  const known = (name: string): boolean =>
    name === '' || name === 'ALL' || !/^[a-z0-9]/i.test(name) || cipherSuites.has(name)
  const show = (list: string[]): string => `[${[...new Set(list)].toSorted().join(' ')}]`
  const invalid = names.filter((name) => !known(name))
  if (invalid.length > 0) tls.warn(`ignoring invalid cipher suites: ${show(invalid)}`)
  const repeated = names.filter((name, index) => known(name) && names.indexOf(name) < index)
  if (repeated.length > 0) tls.warn(`ignoring duplicate cipher suites: ${show(repeated)}`)
}

/** ServerTLSSettings. */
export function checkServerTls(tls: Place): void {
  if (!tls.present) return
  checkCiphers(tls)
  const mode = tls.at('mode').text
  const set = (field: string): boolean => tls.at(field).text !== ''
  const pairs = tls.at('tlsCertificates').items
  const remote = set('credentialName') || tls.at('credentialNames').items.length > 0
  if (mode === 'ISTIO_MUTUAL') return checkMeshTls(tls, set)
  const files = ['caCrl', 'serverCertificate', 'privateKey', 'caCertificates']
  if (['PASSTHROUGH', 'AUTO_PASSTHROUGH'].includes(mode)) {
    // They were let through always, so that an error would break what works.
    if (remote || files.some(set)) {
      tls.warn(`${mode} mode does not use certificates, they will be ignored`)
    }
  }
  const terminates = ['SIMPLE', 'MUTUAL', 'OPTIONAL_MUTUAL'].includes(mode)
  if (terminates && set('caCrl')) checkRevocationList(tls, mode, remote)
  if (!terminates || remote) return
  const name = mode === 'SIMPLE' ? 'SIMPLE' : 'MUTUAL'
  if (pairs.length === 0) {
    if (!set('serverCertificate')) tls.error(`${name} TLS requires a server certificate`)
    if (!set('privateKey')) tls.error(`${name} TLS requires a private key`)
  }
  for (const pair of pairs) {
    if (pair.at('serverCertificate').text === '') {
      pair.error(`${name} TLS requires a server certificate`)
    }
    if (pair.at('privateKey').text === '') pair.error(`${name} TLS requires a private key`)
  }
  if (name === 'MUTUAL' && !set('caCertificates') && !set('caCertCredentialName')) {
    tls.error('MUTUAL TLS requires a client CA bundle')
  }
}

function checkMeshTls(tls: Place, set: (field: string) => boolean): void {
  const refused: Readonly<Record<string, string>> = {
    serverCertificate: 'server certificate',
    privateKey: 'private key',
    caCertificates: 'CA bundle',
    credentialName: 'credentialName',
  }
  for (const [field, text] of Object.entries(refused)) {
    if (set(field)) tls.error(`ISTIO_MUTUAL TLS cannot have associated ${text}`)
  }
  if (tls.at('credentialNames').items.length > 0) {
    tls.error('ISTIO_MUTUAL TLS cannot have associated credentialNames')
  }
}

function checkRevocationList(tls: Place, mode: string, remote: boolean): void {
  if (remote) {
    tls.error('CRL is not supported with credentialName. CRL has to be specified in the credential')
  }
  if (mode === 'SIMPLE') tls.error('CRL is not supported with SIMPLE TLS')
}
