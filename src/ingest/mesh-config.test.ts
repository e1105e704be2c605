import assert from 'node:assert/strict'
import test from 'node:test'
import type { KubeObject } from '../kube/index.ts'
import { defaultMeshSettings, Model } from '../model/index.ts'
import { modelEvent } from './index.ts'

function configMap(mesh: unknown, name = 'istio', namespace = 'istio-system'): KubeObject {
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace } }
  return { ...object, ...(mesh === undefined ? {} : { data: { mesh } }) }
}

test('a MeshConfig that can not be read is named, and the last good one stays', () => {
  const model = new Model(defaultMeshSettings)
  const reasons: string[] = []
  const apply = (mesh: unknown): boolean => {
    const event = modelEvent(configMap(mesh), defaultMeshSettings, {
      onUnreadable: (_object, reason) => reasons.push(reason),
    })
    return event !== undefined && model.update([event]).touched.mesh
  }
  assert.equal(apply('accessLogFile: /dev/stdout\ntrustDomain: a.org'), true)
  const bad: [unknown, RegExp][] = [
    ['a: [1', /./],
    ['just text', /no YAML map/],
    [7, /no text/],
    ['trustDomain: [a]', /trustDomain must be a string/],
    ['extensionProviders: {}', /extensionProviders must be a list/],
    ['discoverySelectors: [null]', /discoverySelectors must be a list/],
    ['outboundTrafficPolicy: {mode: SOMETIMES}', /outboundTrafficPolicy.mode must be one of/],
    ['enableAutoMtls: "yes"', /enableAutoMtls must be a boolean/],
  ]
  for (const [text, reason] of bad) {
    assert.equal(apply(text), false)
    assert.match(reasons.pop() ?? '', reason, String(text))
  }
  assert.equal(model.snapshot.mesh.accessLogFile, '/dev/stdout')
  assert.equal(apply('accessLogFile: /dev/stdout\ntrustDomain: a.org'), false)
  // Empty fields say nothing.
  assert.equal(apply('accessLogFile:\ntrustDomain: a.org'), true)
  assert.equal(model.snapshot.mesh.accessLogFile, '')
  assert.equal(model.snapshot.settings.trustDomain, 'a.org')
  assert.equal(apply(undefined), true)
  assert.equal(model.snapshot.settings.trustDomain, 'cluster.local')
})

test('MeshConfig comes from the ConfigMap of the revision in the root namespace, and no other', () => {
  const kindOf = (object: KubeObject, revision?: string): string | undefined =>
    modelEvent(object, { ...defaultMeshSettings, ...(revision && { revision }) })?.kind
  assert.equal(kindOf(configMap('')), 'MeshConfig')
  assert.equal(kindOf(configMap('', 'istio', 'other')), 'ConfigMap')
  assert.equal(kindOf(configMap('', 'istio-canary')), 'ConfigMap')
  assert.equal(kindOf(configMap('', 'istio-canary'), 'canary'), 'MeshConfig')
  assert.equal(kindOf(configMap(''), 'canary'), 'ConfigMap')
})

test('only Secrets and ConfigMaps with certificates are held', () => {
  const read = (object: Partial<KubeObject>): unknown => {
    const metadata = { name: 'c', namespace: 'a' }
    return modelEvent(
      { apiVersion: 'v1', kind: 'Secret', metadata, ...object },
      defaultMeshSettings,
    )?.value
  }
  const encode = (text: string): string => Buffer.from(text).toString('base64')
  const data = { 'tls.crt': encode('CERT'), 'tls.key': encode('KEY'), 'ca.crt': encode('CA') }
  const tls = read({ type: 'kubernetes.io/tls', data } as Partial<KubeObject>)
  assert.partialDeepStrictEqual(tls, { kind: 'Secret', certificate: 'CERT', ca: 'CA' })
  const generic = { cert: encode('C2'), key: encode('K2'), cacert: encode('A2'), ...data }
  assert.partialDeepStrictEqual(read({ type: 'Opaque', data: generic } as Partial<KubeObject>), {
    certificate: 'C2',
    ca: 'A2',
  })
  assert.equal(read({ type: 'helm.sh/release.v1', data } as Partial<KubeObject>), undefined)
  assert.equal(
    read({ type: 'Opaque', data: { password: encode('x') } } as Partial<KubeObject>),
    undefined,
  )
  const roots = read({ kind: 'ConfigMap', data: { 'ca.crt': 'CA' } } as Partial<KubeObject>)
  assert.partialDeepStrictEqual(roots, { kind: 'ConfigMap', ca: 'CA', certificate: '' })
})
