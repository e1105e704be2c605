import assert from 'node:assert/strict'
import test from 'node:test'
import { defaultMeshSettings } from '../model/index.ts'
import { modelEvent, modelEvents, objectsFromYaml } from './index.ts'

const text = `# a comment
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
# nothing here
---
apiVersion: v1
kind: List
items:
  - apiVersion: security.istio.io/v1
    kind: AuthorizationPolicy
    metadata: {name: p, namespace: shop}
    spec:
      rules:
        - from: []
        - to:
            - operation:
                ports: ["80"]
---
`

test('objects come out of every document and list, and fields have lines', () => {
  const [namespace, policy, ...others] = objectsFromYaml(text, 'shop.yaml')
  assert.equal(others.length, 0)
  assert.equal(namespace?.object.kind, 'Namespace')
  assert.equal(namespace?.line, 2)
  assert.equal(policy?.file, 'shop.yaml')
  assert.equal(policy?.line, 12)
  assert.equal(policy?.lineOf(['spec', 'rules', 1, 'to', 0, 'operation', 'ports', 0]), 20)
  assert.equal(policy?.lineOf(['spec', 'rules', 1]), 18)
  // What is not there has the line of its nearest parent.
  assert.equal(policy?.lineOf(['spec', 'selector']), 15)
})

test('a broken file is refused with its name, line and a hint', () => {
  const cases: [string, RegExp, string][] = [
    ['a: [1\nb: 2', /^x\.yaml:\d+: /, 'INGEST_BAD_YAML'],
    ['kind: Pod\nmetadata: {name: a}', /^x\.yaml:1: .*no apiVersion/, 'INGEST_NOT_AN_OBJECT'],
    ['apiVersion: v1\nkind: Pod', /^x\.yaml:1: .*no metadata\.name/, 'INGEST_NOT_AN_OBJECT'],
    ['apiVersion: v1\nkind: Pod\nmetadata: {name: 1}', /metadata\.name/, 'INGEST_NOT_AN_OBJECT'],
    ['just text', /no fields/, 'INGEST_NOT_AN_OBJECT'],
    ['- 1', /no fields/, 'INGEST_NOT_AN_OBJECT'],
  ]
  for (const [bad, message, code] of cases) {
    assert.throws(() => objectsFromYaml(bad, 'x.yaml'), { message, code }, bad)
  }
  assert.deepEqual(objectsFromYaml(''), [])
})

test('kinds are told apart by group, and unknown ones are passed over', () => {
  const object = (apiVersion: string, kind: string) => ({
    apiVersion,
    kind,
    metadata: { name: 'g' },
  })
  const kinds = modelEvents(
    [
      object('gateway.networking.k8s.io/v1', 'Gateway'),
      object('networking.istio.io/v1', 'Gateway'),
      object('v1', 'ConfigMap'),
      object('v1', 'toString'),
    ],
    defaultMeshSettings,
  ).map(({ kind, key }) => `${kind} ${key}`)
  assert.deepEqual(kinds, ['Gateway default/g', 'IstioGateway default/g', 'ConfigMap default/g'])
})

test('an object with fields of wrong types is left out and named; nothing throws', () => {
  const left: string[] = []
  const specs: unknown[] = [
    undefined,
    {},
    { rules: [null, {}, { from: [null], to: [{}], when: [null] }], selector: {} },
    { ports: [{}], selector: { a: 1 }, clusterIPs: [1] },
    { hosts: ['x'], endpoints: [{}] },
    { listeners: [{}], parentRefs: [{}], rules: [{ matches: [{}], backendRefs: [{}] }] },
    { portLevelMtls: { x: { mode: 'STRICT' }, 80: null }, mtls: null },
  ]
  const kinds = [
    ['v1', 'Pod'],
    ['v1', 'Service'],
    ['v1', 'Namespace'],
    ['v1', 'Node'],
    ['discovery.k8s.io/v1', 'EndpointSlice'],
    ['networking.istio.io/v1', 'ServiceEntry'],
    ['networking.istio.io/v1', 'WorkloadEntry'],
    ['security.istio.io/v1', 'AuthorizationPolicy'],
    ['security.istio.io/v1', 'PeerAuthentication'],
    ['gateway.networking.k8s.io/v1', 'Gateway'],
    ['gateway.networking.k8s.io/v1', 'HTTPRoute'],
    ['gateway.networking.k8s.io/v1', 'ReferenceGrant'],
    ['gateway.networking.k8s.io/v1', 'GatewayClass'],
  ] as const
  for (const [apiVersion, kind] of kinds) {
    for (const spec of specs) {
      const object = { apiVersion, kind, metadata: { name: 'x' }, spec }
      const onUnreadable = (): void => void left.push(kind)
      const event = modelEvent(object, defaultMeshSettings, { onUnreadable })
      assert.equal(event === undefined, left.length > 0 && left.at(-1) === kind, kind)
      if (event === undefined) left.push('')
    }
  }
  // A list with a hole says nothing that could be understood, whatever the kind.
  assert.deepEqual(
    left.filter((kind) => kind !== ''),
    ['AuthorizationPolicy', 'PeerAuthentication', 'Gateway', 'HTTPRoute'],
  )
})
