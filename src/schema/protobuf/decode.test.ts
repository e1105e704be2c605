import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ApiError } from '../../kube/index.ts'
import { decodeKubernetesProtobuf } from './index.ts'
import { double, envelope, message, tag, type Written } from './testing.ts'

/** What Go writes for an ObjectMeta with little in it: every text that is no pointer, and the zero time. */
function metadata(name: string, ...more: readonly Written[]): Uint8Array {
  return message(
    [1, name],
    [2, ''],
    [3, 'shop'],
    [4, ''],
    [5, ''],
    [6, ''],
    [7, 0],
    [8, message()],
    ...more,
  )
}

const meta = { name: 'web', namespace: 'shop' }

function decode(apiVersion: string, kind: string, ...fields: readonly Written[]): unknown {
  return decodeKubernetesProtobuf(envelope(apiVersion, kind, message(...fields)))
}

function refusal(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof ApiError, String(error))
    assert.equal(error.status.code, 400)
    assert.equal(error.status.reason, 'BadRequest')
    return error.message
  }
  return assert.fail('it was not refused')
}

describe('protobuf bodies become the JSON which the same client would have sent', () => {
  test('zero values which JSON leaves out are left out', () => {
    assert.deepEqual(decode('v1', 'Namespace', [1, message([1, 'a'], [2, ''], [8, message()])]), {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'a' },
    })
  })

  test('bytes become base64, also the empty ones of a map, and a bool pointer to false stays', () => {
    const secret = decode(
      'v1',
      'Secret',
      [1, metadata('web')],
      [2, message([1, 'key'], [2, Uint8Array.of(0, 255, 128)])],
      [2, message([1, 'empty'], [2, new Uint8Array()])],
      [3, 'Opaque'],
      [5, false],
    )
    assert.deepEqual(secret, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: meta,
      data: { key: 'AP+A', empty: '' },
      type: 'Opaque',
      immutable: false,
    })
  })

  test('an empty text behind a pointer means something and stays', () => {
    const claim = decode(
      'v1',
      'PersistentVolumeClaim',
      [1, metadata('web')],
      [2, message([5, ''], [3, ''])],
    )
    assert.deepEqual((claim as { spec: unknown }).spec, { storageClassName: '' })
  })

  test('zero numbers that JSON requires stay', () => {
    const scale = decode(
      'autoscaling/v1',
      'Scale',
      [1, metadata('web')],
      [3, message([1, 0], [2, ''])],
    )
    assert.deepEqual((scale as { status: unknown }).status, { replicas: 0 })
  })

  test('embedded structs, quantities, ports of both kinds, and numbers below zero', () => {
    const quantity = (text: string) => message([1, text])
    const container = message(
      [1, 'main'],
      [2, 'echo:1'],
      [6, message([1, 'http'], [2, 0], [3, 8080], [4, ''], [5, ''])],
      [
        8,
        message(
          [1, message([1, 'cpu'], [2, quantity('500m')])],
          [2, message([1, 'cpu'], [2, quantity('')])],
        ),
      ],
      [
        10,
        message(
          [1, message([2, message([1, '/'], [2, message([1, 0], [2, 8080], [3, ''])])])],
          [2, 0],
        ),
      ],
      [11, message([1, message([2, message([2, message([1, 1], [2, 0], [3, 'http'])])])])],
    )
    const volume = message([1, 'tmp'], [2, message([2, message([1, ''])])])
    const toleration = message([1, 'a'], [5, -1])
    const pod = decode(
      'v1',
      'Pod',
      [1, metadata('web')],
      [2, message([1, volume], [2, container], [22, toleration])],
    )
    assert.deepEqual((pod as { spec: unknown }).spec, {
      volumes: [{ name: 'tmp', emptyDir: {} }],
      containers: [
        {
          name: 'main',
          image: 'echo:1',
          ports: [{ name: 'http', containerPort: 8080 }],
          resources: { limits: { cpu: '500m' }, requests: { cpu: '0' } },
          livenessProbe: { httpGet: { path: '/', port: 8080 } },
          readinessProbe: { httpGet: { port: 'http' } },
        },
      ],
      tolerations: [{ key: 'a', tolerationSeconds: -1 }],
    })
  })

  test('times have seconds or microseconds, and the zero time is null where JSON says so', () => {
    const time = message([1, 1_700_000_000], [2, 123_456_789])
    const lease = decode(
      'coordination.k8s.io/v1',
      'Lease',
      [1, metadata('web', [9, time])],
      [2, message([3, time], [4, message()])],
    )
    assert.deepEqual(lease, {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...meta, deletionTimestamp: '2023-11-14T22:13:20Z' },
      spec: { acquireTime: '2023-11-14T22:13:20.123456Z', renewTime: null },
    })
  })

  test('JSON inside a message stands as JSON', () => {
    const fields = message([1, '{"f:data":{}}'])
    const revision = decode(
      'apps/v1',
      'ControllerRevision',
      [1, metadata('web', [17, message([1, 'kubectl'], [7, fields])])],
      [2, message([1, '{"spec":{"a":[1,null]}}'])],
      [3, 7],
    )
    assert.deepEqual(revision, {
      apiVersion: 'apps/v1',
      kind: 'ControllerRevision',
      metadata: { ...meta, managedFields: [{ manager: 'kubectl', fieldsV1: { 'f:data': {} } }] },
      data: { spec: { a: [1, null] } },
      revision: 7,
    })
  })

  test('schemas of CRDs: either-or values, floats, and schemas in schemas', () => {
    const text = message([5, 'string'])
    const items = message([1, text])
    const schema = Buffer.concat([
      message(
        [5, 'object'],
        [8, message([1, '"red"'])],
        [24, items],
        [29, message([1, 'a'], [2, message([29, message([1, 'b'], [2, text])])])],
        [30, message([1, true])],
      ),
      double(9, 1.5),
    ])
    const version = message([1, 'v1'], [2, true], [3, false], [4, message([1, schema])])
    const crd = decode('apiextensions.k8s.io/v1', 'CustomResourceDefinition', [
      2,
      message([7, version]),
    ])
    assert.deepEqual((crd as { spec: unknown }).spec, {
      versions: [
        {
          name: 'v1',
          served: true,
          storage: false,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              default: 'red',
              items: { type: 'string' },
              properties: { a: { properties: { b: { type: 'string' } } } },
              additionalProperties: true,
              maximum: 1.5,
            },
          },
        },
      ],
    })
  })

  test('lists under a name of their own', () => {
    const extra = message([1, 'scopes'], [2, message([1, 'a'], [1, 'b'])])
    const review = decode('authorization.k8s.io/v1', 'SubjectAccessReview', [
      2,
      message([3, 'me'], [5, extra]),
    ])
    assert.deepEqual((review as { spec: unknown }).spec, {
      user: 'me',
      extra: { scopes: ['a', 'b'] },
    })
  })

  test('delete options are the same in every group and version', () => {
    for (const version of ['v1', 'apps/v1', 'example.com/v7']) {
      const options = decode(
        version,
        'DeleteOptions',
        [1, 0],
        [2, message([1, 'u'])],
        [4, 'Background'],
        [5, 'All'],
      )
      assert.deepEqual(options, {
        apiVersion: version,
        kind: 'DeleteOptions',
        gracePeriodSeconds: 0,
        preconditions: { uid: 'u' },
        propagationPolicy: 'Background',
        dryRun: ['All'],
      })
    }
  })

  test('unknown fields of every wire type are skipped, packed and single numbers both read', () => {
    const unknown = Buffer.concat([
      message([900, 7], [901, 'x']),
      tag(902, 1),
      Buffer.alloc(8),
      tag(903, 5),
      Buffer.alloc(4),
    ])
    const context = message([4, Uint8Array.of(1, 0xac, 0x02)], [4, 5])
    const spec = Buffer.concat([unknown, message([14, context])])
    const pod = decode('v1', 'Pod', [2, spec])
    assert.deepEqual((pod as { spec: unknown }).spec, {
      securityContext: { supplementalGroups: [1, 300, 5] },
    })
  })

  test('the path says kind and version when the envelope does not', () => {
    const body = envelope('', '', message([1, message([1, 'a'])]))
    assert.deepEqual(decodeKubernetesProtobuf(body, { apiVersion: 'v1', kind: 'ConfigMap' }), {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'a' },
    })
    assert.match(
      refusal(() => decodeKubernetesProtobuf(body)),
      /no apiVersion or no kind/,
    )
  })

  test('a key named __proto__ is a key like any other', () => {
    const map = decode('v1', 'ConfigMap', [2, message([1, '__proto__'], [2, 'x'])]) as {
      data: object
    }
    assert.deepEqual(Object.entries(map.data), [['__proto__', 'x']])
    assert.equal(Object.getPrototypeOf(map.data), Object.prototype)
  })
})

describe('bodies that are refused say why and where', () => {
  const cases: readonly (readonly [string, () => unknown, RegExp])[] = [
    [
      'no magic',
      () => decodeKubernetesProtobuf(Buffer.from('{}')),
      /does not start with the bytes "k8s" and 0/,
    ],
    ['nothing', () => decodeKubernetesProtobuf(new Uint8Array()), /does not start/],
    [
      'another kind',
      () => decode('example.com/v1', 'Widget'),
      /kind "Widget" of version "example.com\/v1" .* send it as application\/json/,
    ],
    ['a kind like a method of objects', () => decode('v1', 'constructor'), /kind "constructor"/],
    [
      'a number that would be rounded',
      () => decode('v1', 'Pod', [1, message([7, 2n ** 53n])]),
      /Pod: metadata\.generation: the number 9007199254740992 is larger than this server can store exactly/,
    ],
    [
      'a port of 33 bits',
      () => decode('v1', 'Service', [2, message([1, message([3, 2n ** 32n])])]),
      /spec\.ports\[0\]\.port: the number 4294967296 does not fit into 32 bits/,
    ],
    [
      'text that is not UTF-8',
      () => decode('v1', 'ConfigMap', [2, message([1, 'k'], [2, Uint8Array.of(0xc3, 0x28)])]),
      /ConfigMap: data\[k\]: the text is not valid UTF-8/,
    ],
    [
      'another wire type',
      () => decode('v1', 'Pod', [1, 5]),
      /Pod: metadata: wire type 0 where 2 belongs/,
    ],
    [
      'a group',
      () => decodeKubernetesProtobuf(envelope('v1', 'Pod', tag(77, 3))),
      /wire type 3 does not occur/,
    ],
    [
      'a length beyond the end',
      () => decodeKubernetesProtobuf(envelope('v1', 'Pod', Uint8Array.of(10, 99))),
      /Pod: metadata: the data ends in the middle/,
    ],
    [
      'a varint that does not end',
      () => decodeKubernetesProtobuf(envelope('v1', 'Pod', Buffer.alloc(20, 0xff))),
      /a number has more than 64 bits/,
    ],
    [
      'field number 0',
      () => decodeKubernetesProtobuf(envelope('v1', 'Pod', Uint8Array.of(0, 0))),
      /field number is out of range/,
    ],
    [
      'an infinite number',
      () => {
        const schema = double(9, Number.POSITIVE_INFINITY)
        return decode('apiextensions.k8s.io/v1', 'CustomResourceDefinition', [
          2,
          message([7, message([4, message([1, schema])])]),
        ])
      },
      /spec\.versions\[0\]\.schema\.openAPIV3Schema\.maximum: Infinity is not a number that JSON can hold/,
    ],
    [
      'JSON that is none',
      () => decode('apps/v1', 'ControllerRevision', [2, message([1, '{'])]),
      /data\.raw: the embedded JSON is not valid/,
    ],
    [
      'a rounded number in JSON',
      () => decode('apps/v1', 'ControllerRevision', [2, message([1, '{"a":9007199254740993}'])]),
      /the number 9007199254740993 is larger/,
    ],
    [
      'deep JSON',
      () =>
        decode('apps/v1', 'ControllerRevision', [
          2,
          message([1, '['.repeat(300) + ']'.repeat(300)]),
        ]),
      /more than 200 levels/,
    ],
    [
      'very deep JSON',
      () =>
        decode('apps/v1', 'ControllerRevision', [
          2,
          message([1, '['.repeat(1e6) + ']'.repeat(1e6)]),
        ]),
      /embedded JSON/,
    ],
    [
      'a time before the calendar',
      () => decode('v1', 'Pod', [1, message([8, message([1, -1e12])])]),
      /metadata\.creationTimestamp: the time -1000000000000 s .* years 1 and 9999/,
    ],
    [
      'a port neither number nor text',
      () => decode('v1', 'Service', [2, message([1, message([4, message([1, 2])])])]),
      /targetPort: type 2 is neither/,
    ],
    [
      'compressed content',
      () =>
        decodeKubernetesProtobuf(
          Buffer.concat([envelope('v1', 'Pod', message()), message([3, 'gzip'])]),
        ),
      /content encoding is "gzip"/,
    ],
    [
      'JSON in the envelope',
      () =>
        decodeKubernetesProtobuf(
          Buffer.concat([envelope('v1', 'Pod', message()), message([4, 'application/json'])]),
        ),
      /its content is "application\/json"/,
    ],
  ]
  for (const [what, run, text] of cases) {
    test(what, () => assert.match(refusal(run), text))
  }

  test('an error does not repeat a whole body', () => {
    const key = 'k'.repeat(1e6)
    const text = refusal(() => decode('v1', 'ConfigMap', [2, message([1, key], [2, 1])]))
    assert.ok(text.length < 600, text)
  })
})

describe('hostile bodies cost little', () => {
  test('too many bytes are refused before anything is read', () => {
    const body = envelope('v1', 'ConfigMap', message([2, Buffer.alloc(4 * 1024 * 1024)]))
    assert.match(
      refusal(() => decodeKubernetesProtobuf(body)),
      /bytes, 3145728 at most/,
    )
  })

  test('a million empty messages in two bytes each are refused', () => {
    const containers = Buffer.alloc(2_000_000)
    for (let i = 0; i < containers.length; i += 2) containers[i] = 0x12
    assert.match(
      refusal(() => decode('v1', 'Pod', [2, containers])),
      /Pod: spec\.containers\S*: the body has more than 500000 values/,
    )
  })

  test('schemas that nest without end are refused', () => {
    let schema = message([5, 'string'])
    for (let i = 0; i < 300; i++) schema = message([28, schema])
    const version = message([4, message([1, schema])])
    const run = () =>
      decode('apiextensions.k8s.io/v1', 'CustomResourceDefinition', [2, message([7, version])])
    assert.match(refusal(run), /more than 200 levels of messages/)
  })
})
