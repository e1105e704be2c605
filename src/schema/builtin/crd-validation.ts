/** Rules for CustomResourceDefinitions: names, versions, columns, subresources, schemas. */
import { validateDns1035Label, validateDnsLabel, validateDnsSubdomain } from '../../kube/index.ts'
import { asMap, type Json, mapsOf, sameJson } from '../json.ts'
import { checkRules } from '../rules/check.ts'
import { Cursor } from './report.ts'
import { structuralErrors } from './structural-validation.ts'

export function crdErrors(object: Cursor, old: Json | undefined): void {
  const spec = object.child('spec')
  const names = spec?.child('names')
  if (spec === undefined || names === undefined) {
    object.required(spec === undefined ? 'spec' : 'spec.names')
    return
  }
  if (spec.need('group')) {
    spec.rule('group', validateDnsSubdomain)
    if (spec.text('group')?.includes('.') === false) {
      spec.invalid('group', 'should be a domain with at least one dot')
    }
  }
  nameErrors(names)
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
  storedErrors(object, asMap(old?.['status']))
}

function nameErrors(names: Cursor): void {
  const lowered = (kind: string) => validateDns1035Label(kind.toLowerCase())
  if (names.need('plural')) names.rule('plural', validateDnsLabel)
  if (names.need('kind')) names.rule('kind', lowered)
  names.rule('singular', validateDns1035Label)
  names.rule('listKind', lowered)
  if (names.isSet('kind') && names.text('kind') === names.text('listKind')) {
    names.invalid('listKind', 'kind and listKind may not be the same')
  }
  for (const list of ['shortNames', 'categories']) {
    const given = names.value(list)
    for (const [i, name] of (Array.isArray(given) ? given : []).entries()) {
      for (const text of validateDns1035Label(String(name))) {
        names.invalid(`${list}[${i}]`, text, name)
      }
    }
  }
}

/** A version in which objects are stored can't go: nobody could read them. */
function storedErrors(object: Cursor, status: Json | undefined): void {
  const stored = status?.['storedVersions']
  const versions = mapsOf(asMap(object.value('spec'))?.['versions']).map(({ name }) => name)
  for (const [i, name] of (Array.isArray(stored) ? stored : []).entries()) {
    if (versions.includes(name)) continue
    object.invalid(`status.storedVersions[${i}]`, 'must appear in spec.versions', name)
  }
}

const columnTypes = ['boolean', 'date', 'integer', 'number', 'string']
const columnFormats = ['byte', 'date', 'date-time', 'double', 'float', 'int32', 'int64', 'password']

function columnErrors(version: Cursor, at: string): void {
  for (const [i, column] of version.children('additionalPrinterColumns').entries()) {
    const cursor = new Cursor(column.map, `${at}[${i}]`, version.errors)
    cursor.need('name')
    if (cursor.need('type', `must be one of ${columnTypes.join(',')}`)) {
      cursor.oneOf('type', columnTypes)
    }
    cursor.oneOf('format', columnFormats)
    if (!cursor.isSet('jsonPath')) cursor.required('JSONPath')
    else if (!/^[.[]/.test(cursor.text('jsonPath') ?? '')) {
      const text = 'is an invalid path: does not start with a . or ['
      cursor.invalid('JSONPath', text, cursor.text('jsonPath'))
    }
  }
}

function subresourceErrors(version: Cursor, at: string): void {
  const scale = version.child('subresources')?.child('scale')
  if (scale === undefined) return
  const cursor = new Cursor(scale.map, `${at}.scale`, version.errors)
  for (const [name, part] of [
    ['specReplicasPath', 'spec'],
    ['statusReplicasPath', 'status'],
  ] as const) {
    if (!cursor.need(name)) continue
    if (cursor.text(name)?.startsWith(`.${part}.`) !== true) {
      cursor.invalid(name, `should be a json path under .${part}`)
    }
  }
  const selector = cursor.text('labelSelectorPath')
  if (selector !== undefined && selector !== '' && !/^\.(?:spec|status)\./.test(selector)) {
    cursor.invalid('labelSelectorPath', 'should be a json path under either .spec or .status')
  }
}

/**
 * Checks a part of each version. Upstream moves what is the same in all versions to where it was before there
 * were versions, and names it there.
 */
function eachVersion(
  spec: Cursor,
  part: string,
  at: { readonly shared: string; readonly apart: string },
  check: (version: Cursor, at: string) => void,
): void {
  const versions = spec.children('versions')
  const [first] = versions
  const shared = versions.every((version) => sameJson(version.value(part), first?.value(part)))
  for (const [i, version] of versions.entries()) {
    if (shared && i > 0) return
    check(version, shared ? spec.at(at.shared) : `${version.path}.${at.apart}`)
  }
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
    if (version.child('schema')?.child('openAPIV3Schema') === undefined) {
      version.required('schema.openAPIV3Schema', 'schemas are required')
    }
  }
  if (stored !== 1) {
    spec.invalid(
      'versions',
      'must have exactly one version marked as storage version',
      versions.length,
    )
  }
  const schemaAt = { shared: 'validation', apart: 'schema' }
  eachVersion(spec, 'schema', schemaAt, (version, at) => {
    const schema = version.child('schema')?.child('openAPIV3Schema')
    if (schema === undefined) return
    const found: Cursor['errors'] = []
    structuralErrors(new Cursor(schema.map, `${at}.openAPIV3Schema`, found))
    spec.errors.push(...found.sort((a, b) => (a.field < b.field ? -1 : a.field > b.field ? 1 : 0)))
  })
  const columns = 'additionalPrinterColumns'
  eachVersion(spec, columns, { shared: columns, apart: columns }, columnErrors)
  const subresources = { shared: 'subresources', apart: 'subresources' }
  eachVersion(spec, 'subresources', subresources, subresourceErrors)
}
