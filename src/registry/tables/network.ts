/** Rows of Services and what belongs to them. */
import type { KubeObject } from '../../kube/index.ts'
import { listOf, mapOf, stringsOf, textOf, valueAt } from '../values.ts'
import { age, type Cells, labelsText, none, selectorCell, unset } from './cells.ts'

function externalIp(service: KubeObject): string {
  const external = stringsOf(valueAt(service, 'spec.externalIPs'))
  const type = valueAt(service, 'spec.type')
  if (type === 'ExternalName') return textOf(valueAt(service, 'spec.externalName'))
  if (type !== 'LoadBalancer') return external.length === 0 ? none : external.join(',')
  const balanced = listOf(valueAt(service, 'status.loadBalancer.ingress')).map(
    ({ ip, hostname }) => textOf(ip) || textOf(hostname),
  )
  const all = [...balanced, ...external]
  return all.length === 0 ? '<pending>' : all.join(',')
}

function servicePorts(service: KubeObject): string {
  const ports = listOf(valueAt(service, 'spec.ports')).map(({ port, nodePort, protocol }) => {
    const node = typeof nodePort === 'number' && nodePort > 0 ? `:${nodePort}` : ''
    return `${textOf(port)}${node}/${textOf(protocol) || 'TCP'}`
  })
  return ports.length === 0 ? none : ports.join(',')
}

/** At most three of a list, and how many are left out. */
function firstThree(items: readonly string[], absent: string): string {
  if (items.length === 0) return absent
  if (items.length <= 3) return items.join(',')
  return `${items.slice(0, 3).join(',')} + ${items.length - 3} more...`
}

function slicePorts(slice: KubeObject): string {
  return firstThree(
    listOf(valueAt(slice, 'ports')).map(({ port, name }) =>
      port === undefined || port === null ? textOf(name) || '*' : textOf(port),
    ),
    unset,
  )
}

function sliceAddresses(slice: KubeObject): string {
  const addresses = listOf(valueAt(slice, 'endpoints')).flatMap((endpoint) =>
    stringsOf(endpoint.addresses),
  )
  return firstThree(addresses, unset)
}

function endpointsText(object: KubeObject): string {
  const pairs: string[] = []
  for (const subset of listOf(valueAt(object, 'subsets'))) {
    const ports = listOf(subset.ports)
    for (const { ip } of listOf(subset.addresses)) {
      if (ports.length === 0) pairs.push(textOf(ip))
      for (const { port } of ports) pairs.push(`${textOf(ip)}:${textOf(port)}`)
    }
  }
  return firstThree(pairs, none)
}

function hosts(ingress: KubeObject): string {
  const names = listOf(valueAt(ingress, 'spec.rules')).map(({ host }) => textOf(host) || '*')
  return firstThree(names, '*')
}

function ingressAddress(ingress: KubeObject): string {
  return listOf(valueAt(ingress, 'status.loadBalancer.ingress'))
    .map(({ ip, hostname }) => textOf(ip) || textOf(hostname))
    .join(',')
}

function parameters(ingressClass: KubeObject): string {
  const { apiGroup, kind, name } = mapOf(valueAt(ingressClass, 'spec.parameters'))
  if (kind === undefined) return none
  const group = textOf(apiGroup)
  return `${textOf(kind)}${group === '' ? '' : `.${group}`}/${textOf(name)}`
}

export const networkPrinters: Readonly<Record<string, Cells>> = {
  '/services': {
    Type: (service) => textOf(valueAt(service, 'spec.type')),
    'Cluster-IP': (service) => textOf(valueAt(service, 'spec.clusterIP')) || none,
    'External-IP': externalIp,
    'Port(s)': servicePorts,
    Age: age,
    'Selector*': (service) => labelsText(valueAt(service, 'spec.selector')),
  },
  '/endpoints': { Endpoints: endpointsText, Age: age },
  'discovery.k8s.io/endpointslices': {
    AddressType: (slice) => textOf(valueAt(slice, 'addressType')),
    Ports: slicePorts,
    Endpoints: sliceAddresses,
    Age: age,
  },
  'networking.k8s.io/ingresses': {
    Class: (ingress) => textOf(valueAt(ingress, 'spec.ingressClassName')) || none,
    Hosts: hosts,
    Address: ingressAddress,
    Ports: (ingress) => (listOf(valueAt(ingress, 'spec.tls')).length > 0 ? '80, 443' : '80'),
    Age: age,
  },
  'networking.k8s.io/ingressclasses': {
    Controller: (object) => textOf(valueAt(object, 'spec.controller')),
    Parameters: parameters,
    Age: age,
  },
  'networking.k8s.io/networkpolicies': {
    'Pod-Selector': (policy) => selectorCell(valueAt(policy, 'spec.podSelector')),
    Age: age,
  },
}
