/** Rules for Services, EndpointSlices and Ingresses. */
import { isIP } from 'node:net'
import {
  validateDnsLabel,
  validateDnsSubdomain,
  validatePortName,
  validatePortNumber,
} from '../../kube/index.ts'
import { asMap, type Json } from '../json.ts'
import { portOrNameErrors } from './container-validation.ts'
import { labelsErrors } from './metadata-validation.ts'
import type { Cursor } from './report.ts'

export function serviceErrors(object: Cursor, old: Json | undefined): void {
  const spec = object.child('spec')
  if (spec === undefined) {
    object.required('spec')
    return
  }
  const type = spec.text('type') ?? 'ClusterIP'
  const headless = spec.value('clusterIP') === 'None'
  const ports = spec.children('ports')
  if (ports.length === 0 && !headless && type !== 'ExternalName') spec.required('ports')
  servicePortErrors(ports, type)
  spec.errors.push(...labelsErrors(spec.value('selector'), spec.at('selector')))
  if (type === 'ExternalName') {
    if (spec.need('externalName')) {
      spec.rule('externalName', (name) => validateDnsSubdomain(name.replace(/\.$/, '')))
    }
  } else {
    addressErrors(spec, type)
  }
  clusterIpUnchanged(spec, asMap(old?.['spec']))
}

function servicePortErrors(ports: readonly Cursor[], type: string): void {
  const names = new Set<string>()
  const numbers = new Set<string>()
  for (const port of ports) {
    const name = port.text('name') ?? ''
    if (name === '') {
      if (ports.length > 1) port.required('name')
    } else {
      port.rule('name', validateDnsLabel)
      if (names.has(name)) port.duplicate('name')
      names.add(name)
    }
    const number = port.number('port') ?? 0
    for (const text of validatePortNumber(number)) port.invalid('port', text, number)
    portOrNameErrors(port, 'targetPort')
    const protocol = port.text('protocol') ?? 'TCP'
    const key = `${protocol}/${number}`
    if (numbers.has(key)) {
      port.errors.push({
        reason: 'FieldValueDuplicate',
        message: `Duplicate value: ${JSON.stringify({ protocol, port: number })}`,
        field: port.path,
      })
    }
    numbers.add(key)
    const node = port.number('nodePort') ?? 0
    if (node !== 0) {
      for (const text of validatePortNumber(node)) port.invalid('nodePort', text)
      if (type === 'ClusterIP') {
        port.forbidden('nodePort', "may not be used when `type` is 'ClusterIP'")
      }
    }
  }
}

function addressErrors(spec: Cursor, type: string): void {
  const ip = spec.text('clusterIP')
  if (ip === 'None') {
    if (type !== 'ClusterIP') {
      spec.invalid('clusterIPs[0]', `may not be set to 'None' for ${type} services`, 'None')
    }
  } else if (ip !== undefined && ip !== '' && isIP(ip) === 0) {
    spec.invalid(
      'clusterIPs[0]',
      'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
      ip,
    )
  }
  const external = spec.value('externalIPs')
  for (const [i, each] of (Array.isArray(external) ? external : []).entries()) {
    if (typeof each === 'string' && isIP(each) !== 0) continue
    spec.invalid(
      `externalIPs[${i}]`,
      'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
      each,
    )
  }
}

/** The address stays for the life of the Service, unless it turns into an alias or back. */
function clusterIpUnchanged(spec: Cursor, old: Json | undefined): void {
  const before = old?.['clusterIP']
  if (old === undefined || typeof before !== 'string' || before === '') return
  if (old['type'] === 'ExternalName' || spec.value('type') === 'ExternalName') return
  const after = spec.value('clusterIP')
  if (after !== before) {
    spec.invalid('clusterIPs[0]', 'may not change once set', [after])
  }
}

const maxEndpoints = 1000
const maxSlicePorts = 100

export function endpointSliceErrors(object: Cursor, old: Json | undefined): void {
  if (object.need('addressType')) object.immutable(old, 'addressType')
  const type = object.text('addressType')
  const endpoints = object.children('endpoints')
  if (endpoints.length > maxEndpoints) tooMany(object, 'endpoints', endpoints.length, maxEndpoints)
  for (const endpoint of endpoints) {
    const addresses = endpoint.value('addresses')
    if (!Array.isArray(addresses) || addresses.length === 0) {
      endpoint.required('addresses', 'must contain at least 1 address')
      continue
    }
    for (const [i, address] of addresses.entries()) {
      const text = typeof address === 'string' ? address : ''
      if (type === 'IPv4' && isIP(text) !== 4) {
        endpoint.invalid(`addresses[${i}]`, 'must be an IPv4 address', address)
      } else if (type === 'IPv6' && isIP(text) !== 6) {
        endpoint.invalid(`addresses[${i}]`, 'must be an IPv6 address', address)
      }
    }
  }
  const ports = object.children('ports')
  if (ports.length > maxSlicePorts) tooMany(object, 'ports', ports.length, maxSlicePorts)
  const names = new Set<string>()
  for (const port of ports) {
    const name = port.text('name') ?? ''
    if (names.has(name)) port.duplicate('name', name)
    names.add(name)
    if (name !== '') port.rule('name', validateDnsLabel)
  }
}

function tooMany(object: Cursor, name: string, count: number, max: number): void {
  object.errors.push({
    reason: 'FieldValueTooMany',
    message: `Too many: ${count}: must have at most ${max} items`,
    field: object.at(name),
  })
}

export function ingressErrors(object: Cursor): void {
  const spec = object.child('spec')
  if (
    spec === undefined ||
    (!spec.isSet('defaultBackend') && spec.children('rules').length === 0)
  ) {
    const text = 'either `defaultBackend` or `rules` must be specified'
    object.invalid('spec', text, spec?.map ?? {})
    return
  }
  const fallback = spec.child('defaultBackend')
  if (fallback !== undefined) backendErrors(fallback)
  for (const rule of spec.children('rules')) {
    for (const path of rule.child('http')?.children('paths') ?? []) {
      path.need('pathType', 'pathType must be specified')
      const text = path.text('path') ?? ''
      if (path.value('pathType') !== 'ImplementationSpecific' && !text.startsWith('/')) {
        path.invalid('path', 'must be an absolute path', text)
      }
      const backend = path.child('backend')
      if (backend === undefined) path.required('backend')
      else backendErrors(backend)
    }
  }
}

function backendErrors(backend: Cursor): void {
  const service = backend.child('service')
  if (service === undefined) {
    if (!backend.isSet('resource')) {
      backend.errors.push({
        reason: 'FieldValueRequired',
        message: 'Required value: resource or service backend is required',
        field: backend.path,
      })
    }
    return
  }
  service.need('name')
  const port = service.child('port')
  if (port?.isSet('name')) port.rule('name', validatePortName)
  else
    for (const text of validatePortNumber(port?.number('number') ?? 0)) {
      service.errors.push({
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${port?.number('number') ?? 0}: ${text}`,
        field: service.at('port.number'),
      })
    }
}
