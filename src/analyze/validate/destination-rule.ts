/** DestinationRule: its host, policies on every level, subsets. */
import { checkExportTo, checkLabels, checkSelector } from './common.ts'
import { subsetName } from './destinations.ts'
import type { Place } from './findings.ts'
import { checkLoadBalancer } from './load-balancer.ts'
import { duration, fqdn, ipAddress, port, wholePercent, wildcardDomain } from './values.ts'

export function checkDestinationRule(spec: Place, namespace: string): void {
  const host = spec.at('host')
  host.check(wildcardDomain(host.text))
  checkTrafficPolicy(spec.at('trafficPolicy'))
  const names = new Set<string>()
  for (const subset of spec.at('subsets').items) {
    const name = subset.at('name')
    if (names.has(name.text)) name.error(`duplicate subset names: ${name.text}`)
    names.add(name.text)
    name.check(subsetName(name.text))
    checkLabels(subset.at('labels'))
    checkTrafficPolicy(subset.at('trafficPolicy'))
  }
  const selector = spec.at('workloadSelector')
  checkExportTo(spec.at('exportTo'), { namespace, ownNamespaceOnly: selector.present })
  checkSelector(selector, 'matchLabels')
}

const portFields = ['outlierDetection', 'connectionPool', 'loadBalancer', 'tls']
const policyFields = [...portFields, 'portLevelSettings', 'tunnel', 'proxyProtocol', 'retryBudget']

function checkTrafficPolicy(policy: Place): void {
  if (!policy.present) return
  if (policyFields.every((field) => !policy.at(field).present)) {
    policy.error('traffic policy must have at least one field')
    return
  }
  const [tunnel, proxyProtocol] = [policy.at('tunnel'), policy.at('proxyProtocol')]
  if (tunnel.present && proxyProtocol.present) {
    policy.error('tunnel and proxyProtocol must not be set together')
    return
  }
  checkPortPolicy(policy)
  for (const settings of policy.at('portLevelSettings').items) {
    if (!settings.at('port').present) settings.error('portTrafficPolicy must have valid port')
    if (portFields.every((field) => !settings.at(field).present)) {
      settings.error('port traffic policy must have at least one field')
    } else checkPortPolicy(settings)
  }
  if (tunnel.present) checkTunnel(tunnel)
  if (proxyProtocol.present) checkProxyProtocol(proxyProtocol)
  checkRetryBudget(policy.at('retryBudget'))
}

/** What may be said for all ports and for one. */
function checkPortPolicy(policy: Place): void {
  const outlier = policy.at('outlierDetection')
  checkOutlierDetection(outlier)
  checkConnectionPool(policy.at('connectionPool'))
  checkLoadBalancer(policy.at('loadBalancer'), outlier.present)
  checkClientTls(policy.at('tls'))
}

function checkProxyProtocol(proxyProtocol: Place): void {
  const version = proxyProtocol.at('version')
  if (version.present && !['V1', 'V2', 0, 1].includes(version.value as string | number)) {
    version.error(`proxy protocol version is invalid: ${String(version.value)}`)
  }
}

function checkTunnel(tunnel: Place): void {
  if (!['', 'CONNECT', 'POST'].includes(tunnel.at('protocol').text)) {
    tunnel.at('protocol').error('tunnel protocol must be "CONNECT" or "POST"')
  }
  const host = tunnel.at('targetHost')
  const [name, address] = [fqdn(host.text), ipAddress(host.text)]
  if (name !== undefined && address !== undefined) {
    host.error(`tunnel target host must be valid FQDN or IP address: ${name}; ${address}`)
  }
  const bad = port(tunnel.at('targetPort').number)
  if (bad !== undefined) tunnel.at('targetPort').error(`tunnel target port is invalid: ${bad}`)
}

function checkRetryBudget(budget: Place): void {
  const percent = budget.at('percent')
  if (percent.present && (percent.number < 0 || percent.number > 100)) {
    percent.error('percent must be in range [0.0, 100.0]')
  }
}

function checkOutlierDetection(outlier: Place): void {
  checkDurations(outlier, ['baseEjectionTime'])
  if (outlier.at('consecutiveErrors').number !== 0) {
    outlier
      .at('consecutiveErrors')
      .warn(
        'outlier detection consecutive errors is deprecated, use consecutiveGatewayErrors or consecutive5xxErrors instead',
      )
  }
  const split = outlier.at('splitExternalLocalOriginErrors').flag
  if (!split && outlier.at('consecutiveLocalOriginFailures').number > 0) {
    outlier.error(
      'outlier detection consecutive local origin failures is specified, but split external local origin errors is set to false',
    )
  }
  checkDurations(outlier, ['interval'])
  for (const field of ['maxEjectionPercent', 'minHealthPercent']) {
    outlier.at(field).check(wholePercent(outlier.at(field).number))
  }
}

/** Checks those that are there. */
export function checkDurations(holder: Place, fields: readonly string[]): void {
  for (const field of fields) {
    const place = holder.at(field)
    if (place.present) place.check(duration(place.text))
  }
}

export function checkConnectionPool(pool: Place): void {
  if (!pool.present) return
  const [http, tcp] = [pool.at('http'), pool.at('tcp')]
  if (!http.present && !tcp.present) {
    pool.error('connection pool must have at least one field')
    return
  }
  const notNegative = (place: Place, what: string): void => {
    if (place.number < 0) place.error(`${what} must be non-negative`)
  }
  notNegative(http.at('http1MaxPendingRequests'), 'http1 max pending requests')
  notNegative(http.at('http2MaxRequests'), 'http2 max requests')
  notNegative(http.at('maxRequestsPerConnection'), 'max requests per connection')
  notNegative(http.at('maxRetries'), 'max retries')
  checkDurations(http, ['idleTimeout'])
  if (http.at('h2UpgradePolicy').text === 'UPGRADE' && http.at('useClientProtocol').flag) {
    http.error('use client protocol must not be true when H2UpgradePolicy is UPGRADE')
  }
  notNegative(http.at('maxConcurrentStreams'), 'max concurrent streams')
  checkKeepalive(http.at('http2KeepAlive'))
  notNegative(tcp.at('maxConnections'), 'max connections')
  checkDurations(tcp, ['connectTimeout', 'maxConnectionDuration'])
  // Zero means that idle connections stay.
  if (!/^0(?:\.0*)?(?:s|ms|m|h)?$/.test(tcp.at('idleTimeout').text)) {
    checkDurations(tcp, ['idleTimeout'])
  }
  checkDurations(tcp.at('tcpKeepalive'), ['time', 'interval'])
}

function checkKeepalive(keepalive: Place): void {
  if (!keepalive.present) return
  if (!keepalive.at('interval').present || !keepalive.at('timeout').present) {
    keepalive.error('http2KeepAlive requires both interval and timeout')
  }
  checkDurations(keepalive, ['interval', 'timeout'])
}

/** ClientTLSSettings. */
export function checkClientTls(tls: Place): void {
  if (!tls.present) return
  const mode = tls.at('mode').text
  const set = (...fields: string[]): boolean => fields.some((field) => tls.at(field).text !== '')
  const remote = tls.at('credentialName').text !== ''
  if (tls.at('insecureSkipVerify').flag) {
    const names = tls.at('subjectAltNames').present
    if (mode === 'SIMPLE' && (remote || set('caCertificates') || names)) {
      tls.error(
        'cannot specify CaCertificates or CredentialName or SubjectAltNames when InsecureSkipVerify is set true',
      )
    }
    if (mode === 'MUTUAL' && (set('caCertificates') || names)) {
      tls.error(
        'cannot specify CaCertificates or SubjectAltNames when InsecureSkipVerify is set true',
      )
    }
  }
  if ((mode === 'SIMPLE' || mode === 'MUTUAL') && remote) {
    if (set('clientCertificate', 'caCertificates', 'privateKey', 'caCrl')) {
      tls.error(
        'cannot specify client certificates or CA certificate or CA CRL If credentialName is set',
      )
    }
    return
  }
  if (mode === 'MUTUAL') {
    if (!set('clientCertificate')) tls.error('client certificate required for mutual tls')
    if (!set('privateKey')) tls.error('private key required for mutual tls')
  }
  if (
    mode === 'ISTIO_MUTUAL' &&
    set('clientCertificate', 'privateKey', 'caCertificates', 'credentialName')
  ) {
    tls.error('ISTIO_MUTUAL uses the certificates of the mesh; no others can be given with it')
  }
}
