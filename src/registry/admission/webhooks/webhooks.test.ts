import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, afterEach, before, describe, test } from 'node:test'
import { type Reply, TestServer } from '../../testing.ts'
import type { JsonMap } from '../../values.ts'
import type { WebhookAddress } from './dial.ts'
import { patching, WebhookServer } from './testing.ts'

const group = '/apis/admissionregistration.k8s.io/v1'
const maps = '/api/v1/namespaces/default/configmaps'
const everything = {
  apiGroups: ['*'],
  apiVersions: ['*'],
  resources: ['*'],
  operations: ['*'],
}
const configMaps = {
  apiGroups: [''],
  apiVersions: ['v1'],
  resources: ['configmaps'],
  operations: ['CREATE', 'UPDATE'],
}

describe('admission webhooks', () => {
  let server: TestServer
  let hook: WebhookServer
  const dialled: WebhookAddress[] = []
  const made: string[] = []
  let count = 0

  before(async () => {
    hook = await WebhookServer.start('guard.tools.svc')
    server = await new TestServer({
      dialWebhook: async (address) => {
        dialled.push(address)
        const host = address.inCluster ? '127.0.0.1' : address.host
        const port = address.inCluster ? hook.port : address.port
        return new Promise((resolve, reject) => {
          const socket = connect(port, host, () => resolve(socket))
          socket.once('error', reject)
        })
      },
    }).start()
  })
  after(async () => {
    await server.stop()
    hook.stop()
  })
  afterEach(async () => {
    for (const path of made.splice(0)) await server.send('DELETE', path)
    hook.seen.length = 0
    hook.answer = () => ({ allowed: true })
  })

  const configure = async (
    kind: 'mutating' | 'validating',
    webhooks: readonly JsonMap[],
    name = `config-${++count}`,
  ): Promise<Reply> => {
    const path = `${group}/${kind}webhookconfigurations`
    const reply = await server.send('POST', path, {
      metadata: { name },
      webhooks: webhooks.map((webhook, i) => ({
        name: `hook-${i}.example.com`,
        clientConfig: hook.client(),
        rules: [configMaps],
        admissionReviewVersions: ['v1'],
        sideEffects: 'None',
        ...webhook,
      })),
    })
    if (reply.code === 201) made.push(`${path}/${name}`)
    return reply
  }
  const create = (object: JsonMap = {}, query = ''): Promise<Reply> =>
    server.send('POST', `${maps}${query}`, { metadata: { name: `m-${++count}` }, ...object })
  const message = (reply: Reply): string => String(reply.json.message)

  test('a validating webhook sees the request and refuses it in its own words', async () => {
    assert.equal((await configure('validating', [{}])).code, 201)
    hook.answer = () => ({
      allowed: false,
      warnings: ['mind the gap'],
      status: { message: 'not today', code: 403, reason: 'Forbidden' },
    })
    const refused = await create({ data: { a: '1' } }, '?fieldManager=me')
    assert.equal(refused.code, 403)
    assert.equal(
      message(refused),
      'admission webhook "hook-0.example.com" denied the request: not today',
    )
    assert.equal(refused.json.reason, 'Forbidden')
    assert.match(String(refused.headers.warning), /mind the gap/)
    const [{ request, apiVersion, path } = { request: {} as JsonMap }] = hook.seen
    assert.equal(apiVersion, 'admission.k8s.io/v1')
    assert.equal(path, '/?timeout=10s')
    const { object, options, userInfo, uid, ...rest } = request
    assert.equal((object as JsonMap & { data: JsonMap }).data.a, '1')
    assert.deepEqual(options, {
      kind: 'CreateOptions',
      apiVersion: 'meta.k8s.io/v1',
      fieldManager: 'me',
    })
    assert.deepEqual((userInfo as JsonMap).username, 'kubernetes-admin')
    assert.match(String(uid), /^[\da-f-]{36}$/)
    assert.deepEqual(rest, {
      kind: { group: '', version: 'v1', kind: 'ConfigMap' },
      resource: { group: '', version: 'v1', resource: 'configmaps' },
      requestKind: { group: '', version: 'v1', kind: 'ConfigMap' },
      requestResource: { group: '', version: 'v1', resource: 'configmaps' },
      name: `m-${count}`,
      namespace: 'default',
      operation: 'CREATE',
      oldObject: null,
      dryRun: false,
    })
    hook.answer = () => ({ allowed: false })
    assert.equal(
      message(await create()),
      'admission webhook "hook-0.example.com" denied the request without explanation',
    )
    assert.equal((await create()).code, 400)
  })

  test('mutating webhooks patch one after the other, in the order of their configurations', async () => {
    await configure('mutating', [{ name: 'second.example.com' }], 'b')
    await configure('mutating', [{ name: 'first.example.com' }], 'a')
    hook.answer = ({ request }) => {
      const { data } = request.object as { data?: { order?: string } }
      const value = { order: `${data?.order ?? ''}${hook.seen.length}` }
      return patching({ op: 'add', path: '/data', value })
    }
    const reply = await create()
    assert.deepEqual(reply.json.data, { order: '12' })
    // What webhooks add belongs to nobody.
    assert.equal(reply.json.metadata.managedFields, undefined)
    const stored = await server.get(`${maps}/m-${count}`)
    assert.deepEqual(stored.json.data, { order: '12' })
  })

  test('what a webhook makes is defaulted and validated like anything else', async () => {
    const services = { ...configMaps, resources: ['services'] }
    await configure('mutating', [{ rules: [services] }])
    const port = (number: number): JsonMap => ({
      op: 'add',
      path: '/spec/ports/-',
      value: { port: number },
    })
    const path = '/api/v1/namespaces/default/services'
    const spec = { ports: [{ port: 80, name: 'a' }] }
    hook.answer = () =>
      patching({ op: 'add', path: '/spec/ports/-', value: { port: 81, name: 'b' } })
    const reply = await server.send('POST', path, { metadata: { name: 's' }, spec })
    const { ports } = reply.json.spec as { ports: JsonMap[] }
    assert.deepEqual(ports[1], { name: 'b', port: 81, protocol: 'TCP', targetPort: 81 })
    hook.answer = () => patching(port(99_999))
    const invalid = await server.send('POST', path, { metadata: { name: 't' }, spec })
    assert.equal(invalid.code, 422)
    assert.match(message(invalid), /spec.ports\[1\]/)
    await server.send('DELETE', `${path}/s`)
  })

  test('a webhook that can not be reached stops the request, or not, as its policy says', async () => {
    const gone = { url: 'https://127.0.0.1:1/deny', caBundle: hook.caBundle }
    await configure('validating', [{ clientConfig: gone, failurePolicy: 'Ignore' }])
    assert.equal((await create()).code, 201)
    await configure('validating', [{ clientConfig: gone, timeoutSeconds: 3 }])
    const refused = await create()
    assert.equal(refused.code, 500)
    assert.equal(refused.json.reason, 'InternalError')
    assert.equal(
      message(refused),
      'Internal error occurred: failed calling webhook "hook-0.example.com": failed to call webhook: ' +
        'Post "https://127.0.0.1:1/deny?timeout=3s": dial tcp 127.0.0.1:1: connect: connection refused',
    )
  })

  test('failures are told apart: trust, names, answers, time', async () => {
    const other = await WebhookServer.start()
    const broken = async (clientConfig: JsonMap, more: JsonMap = {}): Promise<string> => {
      await configure('mutating', [{ clientConfig, ...more }], 'broken')
      const reply = await create()
      await server.send('DELETE', made.pop() ?? '')
      assert.equal(reply.code, 500)
      return message(reply)
        .replace(/^.*?webhook: (?:Post "[^"]*": )?/, '')
        .replace(/^.*?response: /, '')
    }
    assert.equal(
      await broken({ ...hook.client(), caBundle: other.caBundle }),
      'tls: failed to verify certificate: x509: certificate signed by unknown authority',
    )
    assert.equal(
      await broken({ url: `https://localhost:${hook.port}/`, caBundle: hook.caBundle }),
      'tls: failed to verify certificate: x509: certificate is valid for guard.tools.svc, 127.0.0.1, not localhost',
    )
    hook.answer = () => ({ code: 404, body: 'nothing' })
    assert.equal(await broken(hook.client()), 'the server could not find the requested resource')
    hook.answer = () => ({ code: 500, body: 'oh' })
    assert.match(await broken(hook.client()), /^an error on the server \("oh"\) has prevented/)
    hook.answer = () => ({ code: 200, body: '{}' })
    assert.equal(await broken(hook.client()), 'webhook response was absent')
    hook.answer = () => ({ uid: 'x', allowed: true })
    assert.match(await broken(hook.client()), /^expected response.uid="[\w-]+", got "x"$/)
    hook.answer = () => ({ allowed: true, patch: 'W10=' })
    assert.equal(
      await broken(hook.client()),
      'webhook returned response.patch but not response.patchType',
    )
    hook.answer = () => 'hang'
    assert.equal(await broken(hook.client(), { timeoutSeconds: 1 }), 'context deadline exceeded')
    other.stop()
  })

  test('rules choose by operation, group, resource, subresource and scope', async () => {
    const rule = (more: JsonMap): JsonMap => ({ rules: [{ ...everything, ...more }] })
    const seen = (): string[] =>
      hook.seen.map(({ request }) => {
        const { resource, subResource, operation } = request as unknown as {
          resource: JsonMap
          subResource?: string
          operation: string
        }
        const sub = subResource === undefined ? '' : `/${subResource}`
        return `${operation} ${String(resource.resource)}${sub}`
      })
    const deployments = '/apis/apps/v1/namespaces/default/deployments'
    await configure('validating', [
      {
        ...rule({ resources: ['deployments/scale', '*/status'], operations: ['UPDATE'] }),
        name: 'a.example.com',
      },
      { ...rule({ resources: ['*'], operations: ['DELETE'] }), name: 'b.example.com' },
      {
        ...rule({ apiGroups: ['rbac.authorization.k8s.io'], scope: 'Cluster' }),
        name: 'c.example.com',
      },
    ])
    const spec = {
      selector: { matchLabels: { app: 'd' } },
      template: {
        metadata: { labels: { app: 'd' } },
        spec: { containers: [{ name: 'c', image: 'i' }] },
      },
    }
    await server.send('POST', deployments, { metadata: { name: 'd' }, spec })
    assert.deepEqual(seen(), [])
    const headers = { 'content-type': 'application/merge-patch+json' }
    await server.send('PATCH', `${deployments}/d`, { spec: { paused: true } }, { headers })
    assert.deepEqual(seen(), [])
    await server.send('PATCH', `${deployments}/d/scale`, { spec: { replicas: 3 } }, { headers })
    await server.send('PATCH', `${deployments}/d/status`, { status: { replicas: 1 } }, { headers })
    await server.send('DELETE', `${deployments}/d`)
    const roles = '/apis/rbac.authorization.k8s.io/v1'
    await server.send('POST', `${roles}/clusterroles`, { metadata: { name: 'r' }, rules: [] })
    await server.send('POST', `${roles}/namespaces/default/roles`, {
      metadata: { name: 'r' },
      rules: [],
    })
    assert.deepEqual(seen(), [
      'UPDATE deployments/scale',
      'UPDATE deployments/status',
      'DELETE deployments',
      'CREATE clusterroles',
    ])
    const scale = hook.seen[0]?.request as unknown as {
      kind: JsonMap
      object: JsonMap
    }
    assert.deepEqual(scale.kind, { group: 'autoscaling', version: 'v1', kind: 'Scale' })
    assert.deepEqual([scale.object.kind, scale.object.spec], ['Scale', { replicas: 3 }])
    const deletion = hook.seen[2]?.request
    assert.equal(deletion?.object, null)
    assert.equal((deletion?.oldObject as JsonMap | undefined)?.kind, 'Deployment')
  })

  test('selectors of objects and namespaces, and conditions, decide without a call', async () => {
    await server.send('POST', '/api/v1/namespaces', {
      metadata: { name: 'guarded', labels: { guard: 'on' } },
    })
    await configure('validating', [
      { namespaceSelector: { matchLabels: { guard: 'on' } }, name: 'a.example.com' },
      {
        objectSelector: { matchExpressions: [{ key: 'watched', operator: 'Exists' }] },
        name: 'b.example.com',
      },
      {
        matchConditions: [
          { name: 'big', expression: 'object.data.size() > 1' },
          {
            name: 'not-nodes',
            expression: "!request.userInfo.groups.exists(g, g == 'system:nodes')",
          },
          {
            name: 'may-bypass',
            expression:
              "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()",
          },
        ],
        failurePolicy: 'Ignore',
        name: 'c.example.com',
      },
    ])
    const calls = async (path: string, object: JsonMap): Promise<number> => {
      hook.seen.length = 0
      await server.send('POST', path, { metadata: { name: `m-${++count}` }, ...object })
      return hook.seen.length
    }
    assert.equal(await calls(maps, {}), 0, 'an error in a condition of an ignored webhook')
    assert.equal(await calls('/api/v1/namespaces/guarded/configmaps', {}), 1)
    const watched = { metadata: { name: 'w', labels: { watched: '1' } } }
    assert.equal(await calls(maps, watched), 1)
    assert.equal(await calls(maps, { data: { a: '1', b: '2' } }), 1)
    hook.seen.length = 0
    const gone = await server.send('PUT', `${maps}/w`, { metadata: { name: 'w' } })
    assert.equal(gone.code, 200)
    assert.equal(hook.seen.length, 1, 'the label was on the old object')
  })

  test('conditions that fail refuse where the policy is Fail, and bad ones are not accepted', async () => {
    const condition = (expression: string): JsonMap => ({
      matchConditions: [{ name: 'c', expression }],
    })
    await configure('validating', [condition('object.data.missing == "x"')])
    const refused = await create({ data: {} })
    assert.equal(refused.code, 403)
    assert.match(
      message(refused),
      /^configmaps "m-\d+" is forbidden: expression 'object.data.missing == "x"' resulted in error: no such key: /,
    )
    const bad = await configure('validating', [condition('request.nothing == 1')])
    assert.equal(bad.code, 422)
    assert.match(
      message(bad),
      /webhooks\[0\].matchConditions\[0\].expression: Invalid value: .*compilation failed/,
    )
    const http = await configure('validating', [{ clientConfig: { url: 'http://x/' } }])
    assert.match(message(http), /clientConfig.url: .*'https' is the only allowed URL scheme/)
    const selector = { matchExpressions: [{ key: 'a', operator: 'Near' }] }
    const near = await configure('validating', [{ objectSelector: selector }])
    assert.equal(near.code, 422)
  })

  test('another version of a resource is the same, converted to what the webhook wants', async () => {
    const definition = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
    const version = (name: string): JsonMap => ({
      name,
      served: true,
      storage: name === 'v1',
      schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
    })
    await server.send('POST', definition, {
      metadata: { name: 'parts.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Namespaced',
        names: { plural: 'parts', kind: 'Part' },
        versions: [version('v1'), version('v1beta1')],
      },
    })
    const rules = [
      {
        apiGroups: ['example.com'],
        apiVersions: ['v1'],
        resources: ['parts'],
        operations: ['CREATE'],
      },
    ]
    await configure('mutating', [
      { rules, name: 'exact.example.com', matchPolicy: 'Exact' },
      { rules, name: 'same.example.com' },
    ])
    hook.answer = ({ request }) => {
      const { apiVersion } = request.object as JsonMap
      return patching({ op: 'add', path: '/seen', value: apiVersion })
    }
    const path = '/apis/example.com/v1beta1/namespaces/default/parts'
    const reply = await server.send('POST', path, { metadata: { name: 'p' } })
    assert.equal(reply.code, 201, reply.text)
    assert.equal(reply.json.seen, 'example.com/v1')
    assert.equal(reply.json.apiVersion, 'example.com/v1beta1')
    const [only] = hook.seen
    assert.equal(hook.seen.length, 1)
    assert.deepEqual(only?.request.kind, { group: 'example.com', version: 'v1', kind: 'Part' })
    assert.deepEqual(only?.request.requestKind, {
      group: 'example.com',
      version: 'v1beta1',
      kind: 'Part',
    })
    await server.send('DELETE', `${definition}/parts.example.com`)
  })

  test('webhooks that ask for it are called again when a later one changed something', async () => {
    await configure('mutating', [
      {
        name: 'again.example.com',
        clientConfig: hook.client('/again'),
        reinvocationPolicy: 'IfNeeded',
      },
      { name: 'once.example.com', clientConfig: hook.client('/once') },
      {
        name: 'last.example.com',
        clientConfig: hook.client('/last'),
        reinvocationPolicy: 'IfNeeded',
      },
    ])
    const paths = (): string[] => hook.seen.map(({ path }) => path.replace(/\?.*/, ''))
    hook.answer = ({ path, request }) => {
      if (!path.startsWith('/once')) return { allowed: true }
      const { data } = request.object as { data: JsonMap }
      return patching({ op: 'add', path: '/data', value: { ...data, once: 'yes' } })
    }
    await create({ data: { a: '1' } })
    assert.deepEqual(paths(), ['/again', '/once', '/last', '/again'])
    hook.seen.length = 0
    await create({ data: { once: 'yes' } })
    assert.deepEqual(paths(), ['/again', '/once', '/last'])
  })

  test('a dry run reaches webhooks as one, and nothing is stored', async () => {
    await configure('mutating', [{ sideEffects: 'NoneOnDryRun' }])
    hook.answer = () => patching({ op: 'add', path: '/data', value: { a: 'b' } })
    const reply = await create({}, '?dryRun=All')
    assert.deepEqual(reply.json.data, { a: 'b' })
    assert.equal(hook.seen[0]?.request.dryRun, true)
    assert.equal((await server.get(`${maps}/m-${count}`)).code, 404)
    const effects = await configure('mutating', [{ sideEffects: 'Some' }])
    assert.equal(effects.code, 422)
  })

  test('configurations themselves are never sent, so that none can lock the door', async () => {
    await configure('validating', [{ rules: [everything] }], 'lock')
    hook.answer = () => ({ allowed: false })
    assert.equal((await create()).code, 400)
    hook.seen.length = 0
    const removed = await server.send('DELETE', `${group}/validatingwebhookconfigurations/lock`)
    assert.equal(removed.code, 200)
    assert.equal(hook.seen.length, 0)
    assert.equal((await create()).code, 201)
  })

  test('a Service is reached at a ready endpoint, under its name in the cluster', async () => {
    const service = { name: 'guard', namespace: 'tools', path: '/check', port: 8443 }
    await configure('validating', [{ clientConfig: { service, caBundle: hook.caBundle } }])
    const where = 'Post "https://guard.tools.svc:8443/check?timeout=10s": '
    const fails = async (): Promise<string> => message(await create()).split(where)[1] ?? ''
    assert.equal(await fails(), 'service "guard" not found')
    await server.send('POST', '/api/v1/namespaces', { metadata: { name: 'tools' } })
    await server.send('POST', '/api/v1/namespaces/tools/services', {
      metadata: { name: 'guard' },
      spec: {
        selector: { app: 'guard' },
        ports: [{ name: 'https', port: 8443, targetPort: 9443 }],
      },
    })
    assert.equal(await fails(), 'no endpoints available for service "guard"')
    await server.send('POST', '/apis/discovery.k8s.io/v1/namespaces/tools/endpointslices', {
      metadata: { name: 'guard-1', labels: { 'kubernetes.io/service-name': 'guard' } },
      addressType: 'IPv4',
      ports: [{ name: 'https', port: 9443, protocol: 'TCP' }],
      endpoints: [
        { addresses: ['10.244.0.20'], conditions: { ready: false } },
        { addresses: ['10.244.0.21'], conditions: { ready: true } },
      ],
    })
    dialled.length = 0
    const { connections } = hook
    for (let i = 0; i < 3; i++) assert.equal((await create()).code, 201)
    assert.deepEqual(dialled, [{ host: '10.244.0.21', port: 9443, inCluster: true }])
    assert.equal(hook.connections, connections + 1, 'the connection was not kept')
    assert.equal(hook.seen[0]?.path, '/check?timeout=10s')
  })

  test('evictions, bindings and tokens are asked about as what they are', async () => {
    await server.send('POST', '/api/v1/namespaces/default/serviceaccounts', {
      metadata: { name: 'default' },
    })
    const pods = '/api/v1/namespaces/default/pods'
    await server.send('POST', pods, {
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    })
    const operations = ['CREATE']
    await configure('validating', [
      { rules: [{ ...everything, resources: ['pods/*', 'serviceaccounts/token'], operations }] },
    ])
    hook.answer = () => ({ allowed: false, status: { message: 'no' } })
    for (const [path, body, kind] of [
      [`${pods}/p/eviction`, {}, 'Eviction'],
      [`${pods}/p/binding`, { target: { name: 'n' } }, 'Binding'],
      ['/api/v1/namespaces/default/serviceaccounts/default/token', { spec: {} }, 'TokenRequest'],
    ] as const) {
      const reply = await server.send('POST', path, body)
      assert.match(message(reply), /denied the request: no$/, path)
      assert.equal((hook.seen.at(-1)?.request.kind as JsonMap | undefined)?.kind, kind)
    }
    assert.equal((await server.get(`${pods}/p`)).code, 200)
  })
})
