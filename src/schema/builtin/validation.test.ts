import assert from 'node:assert/strict'
import { test } from 'node:test'
import { builtinCrds, builtinValidation } from '../index.ts'

const core = (kind: string) => ({ group: '', version: 'v1', kind })
const apps = (kind: string) => ({ group: 'apps', version: 'v1', kind })

/** `field: message` of every complaint. */
function complaints(
  gvk: Parameters<typeof builtinValidation>[0],
  object: object,
  old?: object,
): string[] {
  const named = { kind: gvk.kind, metadata: { name: 'a' }, ...object }
  return builtinValidation(gvk, named, old).map(({ field, message }) => `${field}: ${message}`)
}

const pod = (spec: object) => ({ spec: { containers: [{ name: 'c', image: 'i' }], ...spec } })

test('names, labels and finalizers of any kind are checked', () => {
  const kind = { group: 'ex.io', version: 'v1', kind: 'Foo' }
  assert.deepEqual(complaints(kind, { metadata: {} }), [
    'metadata.name: Required value: name or generateName is required',
  ])
  assert.match(
    complaints(kind, { metadata: { name: 'A' } })[0] ?? '',
    /^metadata.name: Invalid value: "A"/,
  )
  assert.deepEqual(complaints(kind, { metadata: { generateName: 'a-' } }), [])
  assert.match(
    complaints(kind, { metadata: { name: 'a', labels: { 'a b': '-' } } }).join(),
    /^metadata.labels: Invalid value: "a b": name part .*metadata.labels: Invalid value: "-"/,
  )
  const gone = { metadata: { name: 'a', deletionTimestamp: 'x', finalizers: ['a/b'] } }
  assert.deepEqual(
    complaints(kind, { metadata: { name: 'a', finalizers: ['a/b', 'c/d'] } }, gone),
    [
      'metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"c/d"}',
    ],
  )
  assert.match(
    complaints(core('Service'), {
      metadata: { name: '9a' },
      spec: { ports: [{ port: 1, targetPort: 1 }] },
    })[0] ?? '',
    /DNS-1035/,
  )
  assert.deepEqual(
    complaints(
      { group: 'rbac.authorization.k8s.io', version: 'v1', kind: 'ClusterRole' },
      { metadata: { name: 'system:Node' } },
    ),
    [],
  )
})

test('a pod needs containers with distinct names, images, known volumes and valid ports', () => {
  assert.deepEqual(complaints(core('Pod'), { spec: {} }), ['spec.containers: Required value'])
  const containers = [
    { name: 'c', image: 'i', ports: [{ containerPort: 70000 }, { name: '-x', containerPort: 1 }] },
    {
      name: 'c',
      volumeMounts: [
        { name: 'gone', mountPath: '/x' },
        { name: 'gone', mountPath: '/x' },
      ],
    },
  ]
  assert.deepEqual(complaints(core('Pod'), pod({ containers })), [
    'spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive',
    'spec.containers[0].ports[1].name: Invalid value: "-x": must not begin or end with a hyphen',
    'spec.containers[1].name: Duplicate value: "c"',
    'spec.containers[1].image: Required value',
    'spec.containers[1].volumeMounts[0].name: Not found: "gone"',
    'spec.containers[1].volumeMounts[1].name: Not found: "gone"',
    'spec.containers[1].volumeMounts[1].mountPath: Invalid value: "/x": must be unique',
  ])
})

test('probes have exactly one handler with a port, and requests stay below limits', () => {
  const containers = [
    {
      name: 'c',
      image: 'i',
      livenessProbe: { httpGet: { port: 0 }, successThreshold: 2 },
      readinessProbe: {},
      startupProbe: { exec: { command: ['x'] }, tcpSocket: { port: 'http' } },
      resources: { requests: { cpu: '2' }, limits: { cpu: '500m' } },
    },
  ]
  assert.deepEqual(complaints(core('Pod'), pod({ containers })), [
    'spec.containers[0].resources.requests.cpu: Invalid value: "2": must be less than or equal to cpu limit of 500m',
    'spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive',
    'spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1',
    'spec.containers[0].readinessProbe: Required value: must specify a handler type',
    'spec.containers[0].startupProbe.tcpSocket: Forbidden: may not specify more than 1 handler type',
  ])
})

test('a running pod changes its image, its tolerations and its node, and nothing else', () => {
  const old = pod({ tolerations: [{ key: 'a' }] })
  const image = pod({
    containers: [{ name: 'c', image: 'j' }],
    tolerations: [{ key: 'a' }, { key: 'b' }],
    nodeName: 'n',
  })
  assert.deepEqual(complaints(core('Pod'), image, old), [])
  const moved = complaints(core('Pod'), pod({ nodeName: 'm' }), pod({ nodeName: 'n' }))
  assert.match(moved[0] ?? '', /^spec: Forbidden: pod updates may not change fields other than/)
})

const template = (labels: object, spec: object = {}) => ({
  metadata: { labels },
  ...pod(spec),
})

test('a workload selects its own pods, restarts them always, and keeps its selector', () => {
  const selector = { matchLabels: { app: 'a' } }
  const good = { spec: { selector, template: template({ app: 'a' }) } }
  assert.deepEqual(complaints(apps('Deployment'), good), [])
  assert.deepEqual(
    complaints(apps('Deployment'), { spec: { selector, template: template({ app: 'b' }) } }),
    [
      'spec.template.metadata.labels: Invalid value: {"app":"b"}: `selector` does not match template `labels`',
    ],
  )
  assert.deepEqual(
    complaints(apps('Deployment'), { spec: { selector: {}, template: template({}) } }),
    ['spec.selector: Invalid value: {}: empty selector is invalid for deployment'],
  )
  const never = {
    spec: { selector, replicas: -1, template: template({ app: 'a' }, { restartPolicy: 'Never' }) },
  }
  assert.deepEqual(complaints(apps('ReplicaSet'), never), [
    'spec.replicas: Invalid value: -1: must be greater than or equal to 0',
    'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
  ])
  const other = {
    spec: { selector: { matchLabels: { app: 'b' } }, template: template({ app: 'b' }) },
  }
  assert.deepEqual(complaints(apps('DaemonSet'), other, good), [
    'spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable',
  ])
})

test('a StatefulSet allows updates only of the fields that its message names', () => {
  const selector = { matchLabels: { app: 'a' } }
  const old = {
    spec: { selector, replicas: 1, serviceName: 'x', template: template({ app: 'a' }) },
  }
  assert.deepEqual(complaints(apps('StatefulSet'), { spec: { ...old.spec, replicas: 3 } }, old), [])
  assert.match(
    complaints(apps('StatefulSet'), { spec: { ...old.spec, serviceName: 'y' } }, old)[0] ?? '',
    /^spec: Forbidden: updates to statefulset spec for fields other than 'replicas', .* and 'minReadySeconds' are forbidden$/,
  )
})

test('a Service needs ports with distinct names, and keeps its address', () => {
  const spec = (more: object) => ({ spec: { ports: [{ port: 80, targetPort: 80 }], ...more } })
  assert.deepEqual(complaints(core('Service'), { spec: {} }), ['spec.ports: Required value'])
  assert.deepEqual(complaints(core('Service'), { spec: { clusterIP: 'None' } }), [])
  assert.deepEqual(complaints(core('Service'), { spec: { type: 'ExternalName' } }), [
    'spec.externalName: Required value',
  ])
  const two = {
    ports: [
      { port: 80, targetPort: 80 },
      { port: 80, name: 'x', targetPort: 'Y' },
    ],
  }
  assert.deepEqual(complaints(core('Service'), { spec: two }), [
    'spec.ports[0].name: Required value',
    'spec.ports[1].targetPort: Invalid value: "Y": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)',
    'spec.ports[1].targetPort: Invalid value: "Y": must contain at least one letter (a-z)',
    'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80}',
  ])
  assert.deepEqual(
    complaints(core('Service'), spec({ clusterIP: '10.0.0.2' }), spec({ clusterIP: '10.0.0.1' })),
    ['spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set'],
  )
})

test('secrets and config maps check keys, types and immutability', () => {
  const frozen = { kind: 'ConfigMap', metadata: { name: 'a' }, immutable: true, data: { a: '1' } }
  assert.deepEqual(complaints(core('ConfigMap'), { immutable: true, data: { a: '2' } }, frozen), [
    'data: Forbidden: field is immutable when `immutable` is set',
  ])
  assert.match(
    complaints(core('ConfigMap'), { data: { 'a b': '' } })[0] ?? '',
    /a valid config key/,
  )
  assert.deepEqual(
    complaints(core('Secret'), { type: 'kubernetes.io/tls', data: { 'tls.crt': '' } }),
    ['data[tls.key]: Required value'],
  )
  assert.match(
    complaints(core('Secret'), { type: 'b' }, { type: 'a' })[0] ?? '',
    /^type: Invalid value: "b": field is immutable$/,
  )
})

test('a role binding keeps its role, and roles name verbs, groups and resources', () => {
  const rbac = (kind: string) => ({ group: 'rbac.authorization.k8s.io', version: 'v1', kind })
  const binding = (name: string) => ({ roleRef: { kind: 'Role', name }, subjects: [] })
  assert.match(
    complaints(rbac('RoleBinding'), binding('b'), binding('a'))[0] ?? '',
    /^roleRef: Invalid value: .*: cannot change roleRef$/,
  )
  assert.deepEqual(complaints(rbac('Role'), { rules: [{ resources: ['pods'] }] }), [
    'rules[0].verbs: Required value: verbs must contain at least one value',
    'rules[0].apiGroups: Required value: resource rules must supply at least one api group',
  ])
})

test('definitions must be structural, named after their plural, and store one version', () => {
  const crd = { group: 'apiextensions.k8s.io', version: 'v1', kind: 'CustomResourceDefinition' }
  const spec = {
    group: 'ex.io',
    scope: 'Namespaced',
    names: { plural: 'foos', kind: 'Foo' },
    conversion: { strategy: 'Webhook' },
    versions: [
      {
        name: 'v1',
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', properties: { spec: { properties: {} } } } },
      },
      { name: 'v2', storage: true },
    ],
  }
  const found = complaints(crd, { spec })
  assert.deepEqual(
    found.map((text) => text.slice(0, 90)),
    [
      'metadata.name: Invalid value: "a": must be spec.names.plural+"."+spec.group',
      'spec.versions[1].schema.openAPIV3Schema: Required value: schemas are required',
      'spec.versions: Invalid value: 2: must have exactly one version marked as storage version',
      'spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields',
      'spec.conversion.strategy: Forbidden: conversion webhooks are not supported by this registry',
    ].map((text) => text.slice(0, 90)),
  )
  for (const object of builtinCrds())
    assert.deepEqual(complaints(crd, object), [], object.metadata.name)
})
