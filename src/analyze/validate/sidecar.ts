/** Sidecar: what a proxy listens on, and what it gets to know of the mesh. */
import { checkSelector } from './common.ts'
import { checkConnectionPool } from './destination-rule.ts'
import { checkDestination } from './destinations.ts'
import type { Place } from './findings.ts'
import { checkScopedHost, checkServerTls } from './gateway.ts'
import {
  fqdn,
  ipAddress,
  port,
  portName,
  protocol,
  protocolClass,
  quote,
  unixPath,
} from './values.ts'

const unixPrefix = 'unix://'
const sectionNames = ['egress', 'ingress', 'outboundTrafficPolicy', 'inboundConnectionPool']

export function checkSidecar(spec: Place, namespace: string): void {
  const wording = (text: string): string =>
    `sidecar: ${text}, will be applied to all services in namespace`
  if (!checkSelector(spec.at('workloadSelector'), 'labels', wording)) return
  const [egress, ingress] = [spec.at('egress').items, spec.at('ingress').items]
  const others = sectionNames.slice(2).some((name) => spec.at(name).present)
  if (egress.length === 0 && ingress.length === 0 && !others) {
    spec.error('sidecar: empty configuration provided')
    return
  }
  const ports = new Set<number>()
  for (const listener of ingress) checkIngress(listener, ports)
  checkConnectionPool(spec.at('inboundConnectionPool'))
  checkEgress(egress, namespace)
  checkOutboundPolicy(spec.at('outboundTrafficPolicy'))
}

function checkIngress(listener: Place, ports: Set<number>): void {
  const place = listener.at('port')
  if (!place.present) {
    listener.error('sidecar: port is required for ingress listeners')
    return
  }
  refuseTargetPort(place)
  const { number } = place.at('number')
  checkPortFields(place)
  place.check(port(number))
  checkBind(listener.at('bind'))
  if (ports.has(number)) listener.error('sidecar: ports on IP bound listeners must be unique')
  ports.add(number)
  checkDefaultEndpoint(listener.at('defaultEndpoint'))
  checkIngressTls(listener)
  checkConnectionPool(listener.at('connectionPool'))
  const used = place.at('protocol').text
  if (listener.at('connectionPool').at('http').present && protocolClass(used) !== 'http') {
    listener.warn(
      `sidecar: HTTP connection pool settings are configured for port ${number} (${quote(place.at('name').text)}) but its protocol is not HTTP (${used}); only TCP settings will apply`,
    )
  }
}

function refuseTargetPort(place: Place): void {
  if (place.at('targetPort').number > 0) place.error('targetPort has no impact on Sidecars')
}

function checkPortFields(place: Place): void {
  const name = place.at('name').text
  if (name !== '') place.check(portName(name))
  place.check(protocol(place.at('protocol').text))
}

function checkBind(bind: Place): void {
  if (bind.text !== '') bind.check(ipAddress(bind.text))
}

/** `127.0.0.1:8080`, `[::1]:8080`, `:8080` or a Unix socket. */
function checkDefaultEndpoint(place: Place): void {
  const { text } = place
  if (text === '') return
  if (text.startsWith(unixPrefix)) {
    place.check(unixPath(text.slice(unixPrefix.length)))
    return
  }
  const [, bracketed, plain = '', digits = ''] =
    /^(?:\[([^\]]*)\]|([^:[\]]*)):([^:]*)$/.exec(text) ?? []
  const host = bracketed ?? plain
  if (!['', '127.0.0.1', '0.0.0.0', '::1', '::'].includes(host)) {
    place.error(
      'sidecar: defaultEndpoint must be of form 127.0.0.1:<port>,0.0.0.0:<port>,[::1]:port,[::]:port,unix://filepath or unset',
    )
  }
  if (/^\d+$/.test(digits)) place.check(port(Number(digits)))
  else place.error(`sidecar: defaultEndpoint port (${digits}) is not a number: ${quote(text)}`)
}

function checkIngressTls(listener: Place): void {
  const tls = listener.at('tls')
  if (!tls.present) return
  if (tls.at('subjectAltNames').items.length > 0) {
    tls.error('sidecar: subjectAltNames is not supported in ingress tls')
  }
  if (tls.at('httpsRedirect').flag) tls.error('sidecar: httpsRedirect is not supported')
  if (tls.at('credentialName').text !== '') {
    tls.error('sidecar: credentialName is not currently supported')
  }
  if (tls.at('credentialNames').items.length > 0) {
    tls.error('sidecar: credentialNames is not currently supported')
  }
  const mode = tls.at('mode').text
  if (mode === 'ISTIO_MUTUAL' || mode === 'AUTO_PASSTHROUGH') {
    tls.error(`configuration is invalid: cannot set mode to ${mode} in sidecar ingress tls`)
  }
  if (protocolClass(listener.at('port').at('protocol').text) !== 'tls') {
    listener.error('server cannot have TLS settings for non HTTPS/TLS ports')
  }
  checkServerTls(tls)
}

function checkEgress(listeners: readonly Place[], namespace: string): void {
  const ports = new Set<number>()
  const sockets = new Set<string>()
  for (const [index, listener] of listeners.entries()) {
    const place = listener.at('port')
    if (place.present) checkEgressPort(listener, { ports, sockets })
    else if (index < listeners.length - 1) {
      listener.error(
        'sidecar: the egress listener with empty port should be the last listener in the list',
      )
    }
    const hosts = listener.at('hosts').items
    if (hosts.length === 0) {
      listener.error('sidecar: egress listener must contain at least one host')
    }
    warnRepeatedHosts(listener, hosts, namespace)
    for (const host of hosts) checkScopedHost(host, 'sidecar')
  }
}

function checkEgressPort(
  listener: Place,
  seen: { readonly ports: Set<number>; readonly sockets: Set<string> },
): void {
  const [place, bind] = [listener.at('port'), listener.at('bind')]
  const { number } = place.at('number')
  refuseTargetPort(place)
  checkPortFields(place)
  if (number !== 0) {
    place.check(port(number))
    checkBind(bind)
    if (seen.ports.has(number)) {
      listener.error('sidecar: ports on IP bound listeners must be unique')
    }
    seen.ports.add(number)
    return
  }
  if (!bind.text.startsWith(unixPrefix)) {
    bind.error('sidecar: ports with 0 value must have a unix domain socket bind address')
  } else bind.check(unixPath(bind.text.slice(unixPrefix.length)))
  if (!['', 'DEFAULT', 'NONE'].includes(listener.at('captureMode').text)) {
    listener.error('sidecar: captureMode must be DEFAULT/NONE for unix domain socket listeners')
  }
  if (seen.sockets.has(bind.text)) {
    listener.error('sidecar: unix domain socket values for listeners must be unique')
  }
  seen.sockets.add(bind.text)
}

function warnRepeatedHosts(listener: Place, hosts: readonly Place[], own: string): void {
  const byNamespace = new Map<string, Set<string>>()
  for (const host of hosts) {
    const slash = host.text.indexOf('/')
    if (slash < 0) continue
    const [written, name] = [host.text.slice(0, slash), host.text.slice(slash + 1)]
    const namespace = written === '.' ? own : written
    const names = byNamespace.get(namespace) ?? new Set()
    byNamespace.set(namespace, names)
    const repeated = name === '*' ? names.size > 0 : names.has(name) || names.has('*')
    if (repeated) host.warn(`duplicated egress host: ${host.text}`)
    names.add(name)
  }
  // What is excluded is no addition to everything.
  const added = [...byNamespace.keys()].filter((namespace) => !namespace.startsWith('~'))
  if (byNamespace.get('*')?.has('*') === true && added.length > 1) {
    listener.warn('`*/*` host select all resources, no other hosts can be added')
  }
}

function checkOutboundPolicy(policy: Place): void {
  const proxy = policy.at('egressProxy')
  if (!proxy.present) return
  if (policy.at('mode').text !== 'ALLOW_ANY') {
    proxy.error(
      'sidecar: egress_proxy must be set only with ALLOW_ANY outbound_traffic_policy mode',
    )
    return
  }
  proxy.check(fqdn(proxy.at('host').text))
  if (!proxy.at('port').present) {
    proxy.error('sidecar: egress_proxy port must be non-nil')
    return
  }
  checkDestination(proxy)
}
