/** ServiceEntry: hosts, addresses and ports, and what each way of resolution allows. */
import { checkExportTo, checkLabels, checkSelector } from './common.ts'
import type { Place } from './findings.ts'
import {
  fqdn,
  isIpAddress,
  partialWildcard,
  port,
  portName,
  protocol,
  protocolClass,
  quote,
  subnet,
  wildcardDomain,
} from './values.ts'
import { checkWorkload } from './workloads.ts'

export interface EntryMetadata {
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
}

const autoAllocateLabel = 'networking.istio.io/enable-autoallocate-ip'

export function checkServiceEntry(spec: Place, metadata: EntryMetadata): void {
  const selector = spec.at('workloadSelector')
  const wording = (text: string): string =>
    `service entry: ${text}, will be applied to all services in namespace`
  if (!checkSelector(selector, 'labels', wording)) return
  if (selector.present && spec.at('endpoints').items.length > 0) {
    spec.error('only one of WorkloadSelector or Endpoints is allowed in Service Entry')
  }
  const resolution = spec.at('resolution').text || 'NONE'
  checkHosts(spec, resolution)
  checkAddresses(spec, resolution)
  const names = checkPorts(spec, metadata, resolution)
  checkResolution(spec, resolution, names)
  const protocols = spec.at('ports').items.map((one) => protocolClass(one.at('protocol').text))
  const separable = protocols.every((one) => one === 'http' || one === 'tls')
  if (resolution !== 'NONE' && spec.at('hosts').items.length > 1 && !separable) {
    spec.error('multiple hosts provided with non-HTTP, non-TLS ports')
  }
  checkExportTo(spec.at('exportTo'), { namespace: metadata.namespace, mayBeHidden: true })
}

function checkHosts(spec: Place, resolution: string): void {
  const hosts = spec.at('hosts').items
  if (hosts.length === 0) spec.error('service entry must have at least one host')
  for (const host of hosts) {
    if (host.text === '*') host.error('invalid host *')
    else {
      host.check(wildcardDomain(host.text))
      const partial = partialWildcard(host.text)
      if (partial !== undefined && resolution !== 'DYNAMIC_DNS') host.warn(partial)
    }
  }
}

function checkAddresses(spec: Place, resolution: string): void {
  const addresses = spec.at('addresses').items
  for (const address of addresses) address.check(subnet(address.text))
  const ranges = addresses.some(({ text }) => text.includes('/'))
  if (ranges && !['NONE', 'STATIC', 'DYNAMIC_DNS'].includes(resolution)) {
    spec.error('CIDR addresses are allowed only for NONE/STATIC resolution types')
  }
}

function getsAddress(spec: Place, metadata: EntryMetadata, resolution: string): boolean {
  return (
    resolution !== 'NONE' &&
    spec.at('addresses').items.length === 0 &&
    metadata.labels[autoAllocateLabel]?.toLowerCase() !== 'false'
  )
}

function checkPorts(spec: Place, metadata: EntryMetadata, resolution: string): Set<string> {
  const names = new Set<string>()
  const numbers = new Set<number>()
  const addressless =
    spec.at('addresses').items.length === 0 && !getsAddress(spec, metadata, resolution)
  for (const one of spec.at('ports').items) {
    const [name, { number }] = [one.at('name').text, one.at('number')]
    const used = one.at('protocol').text
    const target = one.at('targetPort')
    if (names.has(name)) one.error(`service entry port name ${quote(name)} already defined`)
    if (numbers.has(number)) one.error(`service entry port ${number} already defined`)
    names.add(name)
    numbers.add(number)
    if (target.number !== 0) target.check(port(target.number))
    if (addressless && (used === '' || used === 'TCP')) {
      one.warn(
        'addresses are required for ports serving TCP (or unset) protocol when IP Autoallocation is not enabled',
      )
    }
    one.check(portName(name))
    one.check(protocol(used))
    one.check(port(number))
  }
  return names
}

function checkResolution(spec: Place, resolution: string, ports: ReadonlySet<string>): void {
  const endpoints = spec.at('endpoints').items
  if (resolution === 'STATIC') {
    for (const endpoint of endpoints) checkWorkload(endpoint, { ports, namesAllowed: false })
  } else if (resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN') {
    checkDns(spec, resolution, ports)
  } else if (resolution === 'DYNAMIC_DNS') {
    checkDynamicDns(spec)
  } else if (resolution === 'NONE') {
    if (endpoints.length > 0) {
      spec.error('no endpoints should be provided for resolution type none')
    }
    if (spec.at('workloadSelector').present) {
      spec.warn('workloadSelector should not be set when resolution mode is NONE')
    }
  } else spec.error(`unsupported resolution type ${resolution}`)
}

function checkDns(spec: Place, resolution: string, ports: ReadonlySet<string>): void {
  const endpoints = spec.at('endpoints').items
  const hosts = spec.at('hosts').items
  if (endpoints.length === 0) {
    for (const host of hosts) {
      if (fqdn(host.text) !== undefined) {
        host.error(
          `hosts must be FQDN if no endpoints are provided for resolution mode ${resolution}`,
        )
      }
    }
  }
  if (resolution === 'DNS_ROUND_ROBIN' && endpoints.length > 1) {
    spec.error(`there must only be 0 or 1 endpoint for resolution mode ${resolution}`)
  }
  for (const endpoint of endpoints) checkDnsEndpoint(endpoint, ports)
  const tcp = spec.at('ports').items.some((one) => {
    const used = protocolClass(one.at('protocol').text)
    return used === 'tcp' || used === 'tls'
  })
  if (spec.at('addresses').items.length > 0 && tcp && hosts.length > 1) {
    spec.warn(
      'service entry can not have more than one host specified simultaneously with address and tcp port',
    )
  }
}

function checkDnsEndpoint(endpoint: Place, ports: ReadonlySet<string>): void {
  const address = endpoint.at('address')
  if (address.text === '' && endpoint.at('network').text !== '') {
    endpoint.warn(`address is unset with network ${quote(endpoint.at('network').text)}`)
  } else if (!isIpAddress(address.text) && fqdn(address.text) !== undefined) {
    address.error(`endpoint address ${quote(address.text)} is not a valid FQDN or an IP address`)
  }
  checkLabels(endpoint.at('labels'))
  for (const [name, number] of endpoint.at('ports').entries) {
    if (!ports.has(name)) {
      number.error(`endpoint port ${number.number} is not defined by the service entry`)
    }
    number.check(portName(name))
    number.check(port(number.number))
  }
}

/** Names are looked up as requests come; there is nothing to connect to before. */
function checkDynamicDns(spec: Place): void {
  for (const host of spec.at('hosts').items) {
    if (!host.text.startsWith('*')) {
      host.error('host must be wildcarded for resolution mode DYNAMIC_DNS')
    }
  }
  if (spec.at('addresses').items.length > 0) {
    spec.error(
      'addresses cannot be set for resolution type DYNAMIC_DNS. HTTP route domains will only be generatedfrom the hosts field values',
    )
  }
  if (spec.at('endpoints').items.length > 0 || spec.at('workloadSelector').present) {
    spec.error('endpoints and workloadSelector cannot be set for resolution type DYNAMIC_DNS')
  }
  for (const one of spec.at('ports').items) {
    const used = one.at('protocol')
    if (!['http', 'http2', 'grpc', 'tls', 'https'].includes(used.text.toLowerCase())) {
      used.error(
        `protocol ${used.text} cannot be used with resolution type DYNAMIC_DNS, which needs HTTP, HTTP2, GRPC or TLS`,
      )
    }
  }
}
