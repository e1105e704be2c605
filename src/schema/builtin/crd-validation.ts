/** Rules for CustomResourceDefinitions: names, versions, and schemas that must be structural. */
import { validateDns1035Label, validateDnsLabel, validateDnsSubdomain } from '../../kube/index.ts'
import { asMap, type Json } from '../json.ts'
import { maxDepth } from '../limits.ts'
import { compilePattern } from '../patterns.ts'
import { checkRules } from '../rules/check.ts'
import { Cursor } from './report.ts'

export function crdErrors(object: Cursor, old: Json | undefined): void {
  const spec = object.child('spec')
  const names = spec?.child('names')
  if (spec === undefined || names === undefined) {
    object.required(spec === undefined ? 'spec' : 'spec.names')
    return
  }
  if (spec.need('group')) spec.rule('group', validateDnsSubdomain)
  if (names.need('plural')) names.rule('plural', validateDnsLabel)
  if (names.need('kind')) {
    names.rule('kind', (kind) => validateDns1035Label(kind.toLowerCase()))
  }
  if (!['Namespaced', 'Cluster'].includes(spec.text('scope') ?? '')) {
    spec.notSupported('scope', ['Cluster', 'Namespaced'])
  }
  const wanted = `${names.text('plural')}.${spec.text('group')}`
  const name = object.child('metadata')?.text('name')
  if (name !== wanted)
    object.invalid('metadata.name', 'must be spec.names.plural+"."+spec.group', name)
  versionErrors(spec)
  if (object.errors.length === 0) object.errors.push(...checkRules(object.map))
  const conversion = spec.child('conversion')
  if (conversion !== undefined && (conversion.text('strategy') ?? 'None') !== 'None') {
    const text =
      'conversion webhooks are not supported by this registry: use strategy None, with versions that differ in name only'
    conversion.forbidden('strategy', text)
  }
  const before = asMap(old?.['spec'])
  if (before === undefined) return
  spec.immutable(before, 'group', 'scope')
  names.immutable(asMap(before['names']), 'plural', 'kind')
}

function versionErrors(spec: Cursor): void {
  const versions = spec.children('versions')
  if (versions.length === 0) {
    spec.required('versions')
    return
  }
  const names = new Set<string>()
  let stored = 0
  for (const version of versions) {
    if (version.need('name')) version.rule('name', validateDns1035Label)
    const name = version.text('name') ?? ''
    if (names.has(name)) version.duplicate('name')
    names.add(name)
    if (version.value('storage') === true) stored++
    const schema = version.child('schema')?.child('openAPIV3Schema')
    if (schema === undefined) {
      version.required('schema.openAPIV3Schema', 'schemas are required')
      continue
    }
    if (schema.text('type') !== 'object') {
      const given = schema.text('type') ?? ''
      if (given === '') schema.required('type', 'must not be empty at the root')
      else schema.invalid('type', 'must be object at the root')
    }
    structuralErrors(schema, { depth: 0, root: true, bare: false })
  }
  if (stored !== 1) {
    spec.invalid(
      'versions',
      'must have exactly one version marked as storage version',
      versions.length,
    )
  }
}

interface Place {
  readonly depth: number
  readonly root: boolean
  /** Inside allOf and the like, where only values may be constrained. */
  readonly bare: boolean
}

const scalarTypes = ['object', 'array', 'string', 'integer', 'number', 'boolean']

function structuralErrors(schema: Cursor, place: Place): void {
  if (place.depth > maxDepth) {
    schema.forbidden('', `the schema is nested deeper than ${maxDepth} levels`)
    return
  }
  const type = schema.text('type') ?? ''
  const free =
    schema.value('x-kubernetes-int-or-string') === true ||
    schema.value('x-kubernetes-preserve-unknown-fields') === true
  if (type === '' && !free && !place.root && !place.bare) {
    schema.required('type', 'must not be empty for specified object fields')
  } else if (type !== '' && !scalarTypes.includes(type)) {
    schema.notSupported('type', scalarTypes)
  }
  const pattern = schema.text('pattern')
  if (pattern !== undefined && compilePattern(pattern) === undefined) {
    schema.invalid('pattern', 'must be a valid regular expression')
  }
  if (schema.isSet('$ref')) schema.forbidden('$ref', '$ref is not supported')
  if (schema.value('uniqueItems') === true) {
    schema.forbidden(
      'uniqueItems',
      'uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
    )
  }
  if (type === 'array' && schema.child('items') === undefined && !place.bare) {
    schema.required('items', 'must be specified')
  }
  if (schema.value('x-kubernetes-list-type') === 'map') {
    const keys = schema.value('x-kubernetes-list-map-keys')
    if (!Array.isArray(keys) || keys.length === 0) {
      schema.required(
        'x-kubernetes-list-map-keys',
        'must not be empty if x-kubernetes-list-type is map',
      )
    }
  }
  if (schema.isSet('properties') && asMap(schema.value('additionalProperties')) !== undefined) {
    schema.forbidden(
      'additionalProperties',
      'additionalProperties and properties are mutual exclusive',
    )
  }
  childErrors(schema, place)
}

function childErrors(schema: Cursor, place: Place): void {
  const inner = { depth: place.depth + 1, root: false, bare: place.bare }
  const properties = schema.child('properties')
  for (const name of Object.keys(properties?.map ?? {})) {
    const child = asMap(properties?.map[name])
    if (child !== undefined && properties !== undefined) {
      structuralErrors(new Cursor(child, `${properties.path}[${name}]`, schema.errors), inner)
    }
  }
  for (const name of ['items', 'additionalProperties']) {
    const child = schema.child(name)
    if (child !== undefined) structuralErrors(child, inner)
  }
  const bare = { ...inner, bare: true }
  for (const name of ['allOf', 'anyOf', 'oneOf']) {
    for (const child of schema.children(name)) structuralErrors(child, bare)
  }
  const not = schema.child('not')
  if (not !== undefined) structuralErrors(not, bare)
}
