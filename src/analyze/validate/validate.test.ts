/**
 * Golden cases: each object of `testdata/<case>/input.yaml` against what is found in it, in
 * `expected.yaml`. `UPDATE_GOLDEN=1` rewrites expectations.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { errorText, type IstioObject, validateObject } from './index.ts'

const folder = join(import.meta.dirname, 'testdata')

function findings(object: IstioObject): unknown {
  const { errors, warnings } = validateObject(object)
  const lines = (found: typeof errors): string[] =>
    found.map(({ path, message }) => `${path}: ${message}`)
  return {
    object: `${object.kind} ${object.metadata?.name}`,
    ...(errors.length === 0 ? {} : { errors: lines(errors) }),
    ...(warnings.length === 0 ? {} : { warnings: lines(warnings) }),
  }
}

for (const name of readdirSync(folder).toSorted()) {
  test(`validation of ${name.replaceAll('-', ' ')}`, () => {
    const input = readFileSync(join(folder, name, 'input.yaml'), 'utf8')
    const objects = parseAllDocuments(input).map((document) => document.toJS() as IstioObject)
    const found = objects.map(findings)
    const file = join(folder, name, 'expected.yaml')
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, stringify(found, { lineWidth: 0 }))
    assert.deepEqual(found, parse(readFileSync(file, 'utf8')))
  })
}

test('several errors become one text, those of a policy with its name', () => {
  const object = { apiVersion: 'networking.istio.io/v1', kind: 'Gateway', metadata: { name: 'a' } }
  const errors = [
    { path: 'spec', message: 'one' },
    { path: 'spec', message: 'two' },
  ]
  assert.equal(errorText(object, { errors: errors.slice(0, 1), warnings: [] }), 'one')
  assert.equal(
    errorText(object, { errors, warnings: [] }),
    '2 errors occurred:\n\t* one\n\t* two\n\n',
  )
  const policy = {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace: 'ns' },
  }
  assert.equal(
    errorText(policy, { errors: errors.slice(0, 1), warnings: [] }),
    '1 error occurred:\n\t* invalid policy p.ns: one\n\n',
  )
})

test('whatever an object holds, validation ends with findings and not with an exception', () => {
  const kinds = [
    'networking.istio.io/v1 VirtualService',
    'networking.istio.io/v1 DestinationRule',
    'networking.istio.io/v1 Gateway',
    'networking.istio.io/v1 ServiceEntry',
    'networking.istio.io/v1 WorkloadEntry',
    'networking.istio.io/v1 WorkloadGroup',
    'networking.istio.io/v1 Sidecar',
    'networking.istio.io/v1alpha3 EnvoyFilter',
    'networking.istio.io/v1beta1 ProxyConfig',
    'security.istio.io/v1 AuthorizationPolicy',
    'security.istio.io/v1 PeerAuthentication',
    'security.istio.io/v1 RequestAuthentication',
    'telemetry.istio.io/v1 Telemetry',
    'extensions.istio.io/v1alpha1 WasmPlugin',
    'extensions.istio.io/v1alpha1 TrafficExtension',
  ]
  const keys = fc.constantFrom(
    'hosts',
    'http',
    'tls',
    'tcp',
    'match',
    'route',
    'rules',
    'from',
    'to',
    'source',
    'servers',

    'port',
    'ports',
    'trafficPolicy',
    'subsets',
    'selector',
    'endpoints',
    'wasm',
    'configPatches',
  )
  const { tree: spec } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom(null, true, 0, -1, 1e9, '', '*', 'a.b', 'ns/*', '1s'),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(keys, tie('tree'), { maxKeys: 4 }),
    ),
  }))
  fc.assert(
    fc.property(fc.constantFrom(...kinds), spec, (kind, value) => {
      const [apiVersion = '', name = ''] = kind.split(' ')
      const object = { apiVersion, kind: name, metadata: { name: 'x' }, spec: value }
      const { errors, warnings } = validateObject(object)
      for (const { path } of [...errors, ...warnings]) assert.match(path, /^(?:spec|metadata)/)
    }),
    { numRuns: 500 },
  )
})
