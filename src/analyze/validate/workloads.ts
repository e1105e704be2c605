/** WorkloadEntry, also as an endpoint of a ServiceEntry, and WorkloadGroup. */
import { checkLabels, httpHeaderName } from './common.ts'
import type { Place } from './findings.ts'
import {
  fqdn,
  isIpAddress,
  joined,
  labelComplaints,
  port,
  portName,
  quote,
  unixPath,
} from './values.ts'

export interface WorkloadRules {
  /** Names of the ports of the service it is an endpoint of. */
  readonly ports?: ReadonlySet<string>
  /** Whether its address may be a DNS name. */
  readonly namesAllowed: boolean
}

const unixPrefix = 'unix://'

export function checkWorkload(entry: Place, rules: WorkloadRules): void {
  const address = entry.at('address')
  const network = entry.at('network').text
  const ports = entry.at('ports').entries
  const unix = address.text.startsWith(unixPrefix)
  if (address.text === '') {
    if (network === '') {
      entry.error('address is required')
      return
    }
    entry.warn(`address is unset with network ${quote(network)}`)
  } else if (unix) {
    address.check(unixPath(address.text.slice(unixPrefix.length)))
    if (ports.length > 0) entry.error(`unix endpoint ${address.text} must not include ports`)
  } else if (!isIpAddress(address.text)) {
    if (!rules.namesAllowed) {
      address.error(`endpoint address ${quote(address.text)} is not a valid IP address`)
    } else if (fqdn(address.text) !== undefined) {
      address.error(`endpoint address ${quote(address.text)} is not a valid FQDN or an IP address`)
    }
  }
  for (const [name, number] of ports) {
    if (rules.ports !== undefined && !rules.ports.has(name)) {
      number.error(`endpoint port ${number.number} is not defined by the service entry`)
    }
    number.check(portName(name))
    number.check(port(number.number))
  }
  checkLabels(entry.at('labels'))
  if (unix && rules.ports !== undefined && rules.ports.size !== 1) {
    entry.error('exactly 1 service port required for unix endpoints')
  }
}

export function checkWorkloadGroup(spec: Place): void {
  if (!spec.at('template').present) {
    spec.error('template is required')
    return
  }
  const labels = spec.at('metadata').at('labels')
  const found = labelComplaints(labels.entries.map(([key, { text }]) => [key, text] as const))
  if (found.length > 0) {
    labels.error(`invalid labels: ${joined(found)}`)
    return
  }
  const probe = spec.at('probe')
  if (probe.present) checkProbe(probe)
}

const times = [
  'periodSeconds',
  'initialDelaySeconds',
  'timeoutSeconds',
  'successThreshold',
  'failureThreshold',
]

function checkProbe(probe: Place): void {
  for (const name of times) {
    if (probe.at(name).number < 0) probe.at(name).error(`${name} must be non-negative`)
  }
  const [http, tcp, exec] = [probe.at('httpGet'), probe.at('tcpSocket'), probe.at('exec')]
  if (http.present) {
    http.check(port(http.at('port').number))
    if (!['', 'HTTP', 'HTTPS'].includes(http.at('scheme').text)) {
      http.error('httpGet.scheme must be one of "HTTPS", "HTTP"')
    }
    for (const header of http.at('httpHeaders').items) {
      header.check(httpHeaderName(header.at('name').text))
    }
  } else if (tcp.present) tcp.check(port(tcp.at('port').number))
  else if (exec.present) {
    if (exec.at('command').items.length === 0) exec.error('exec.command is required')
  } else if (!probe.at('grpc').present) {
    probe.error('a health check method is required: httpGet, tcpSocket, exec or grpc')
  } else probe.at('grpc').check(port(probe.at('grpc').at('port').number))
}
