import assert from 'node:assert/strict'
import { get } from 'node:https'
import { after, before, describe, test } from 'node:test'
import type { KubeObject } from '../kube/index.ts'
import { TestServer } from './testing.ts'
import type { JsonMap } from './values.ts'

const maps = '/api/v1/namespaces/default/configmaps'

describe('requests and answers', () => {
  let server: TestServer
  before(async () => {
    server = await new TestServer().start()
  })
  after(() => server.stop())

  test('failures are Status objects that clients can branch on', async () => {
    const missing = await server.get(`${maps}/nope`)
    assert.equal(missing.code, 404)
    assert.deepEqual(missing.json, {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: 'configmaps "nope" not found',
      reason: 'NotFound',
      details: { name: 'nope', kind: 'configmaps' },
      code: 404,
    })
    assert.equal(
      (await server.get('/api/v1/nopes')).json.message,
      'the server could not find the requested resource',
    )
    const group = await server.get('/apis/nope.io/v1/things')
    assert.equal(group.text, '404 page not found\n')
    assert.match(String(group.headers['content-type']), /text\/plain/)
    const nowhere = await server.send('POST', '/api/v1/namespaces/nope/configmaps', {
      metadata: { name: 'a' },
    })
    assert.equal(nowhere.json.message, 'namespaces "nope" not found')
  })

  test('a taken name is a conflict, and so is a stale version', async () => {
    const made = await server.configMap('taken')
    const again = await server.send('POST', maps, { metadata: { name: 'taken' } })
    assert.equal(again.json.reason, 'AlreadyExists')
    const newer = await server.send('PUT', `${maps}/taken`, { ...made, data: { a: '1' } })
    assert.equal(newer.code, 200)
    const stale = await server.send('PUT', `${maps}/taken`, { ...made, data: { a: '2' } })
    assert.equal(stale.code, 409)
    assert.equal(stale.json.reason, 'Conflict')
    assert.match(String(stale.json.message), /please apply your changes to the latest version/)
  })

  test('an identical write changes no version and makes no event', async () => {
    const made = await server.configMap('same', { a: '1' })
    const watch = server.watch(`${maps}?watch=1&resourceVersion=${made.metadata.resourceVersion}`)
    const put = await server.send('PUT', `${maps}/same`, { ...made, metadata: { name: 'same' } })
    assert.equal(put.json.metadata.resourceVersion, made.metadata.resourceVersion)
    await server.configMap('after-same')
    assert.deepEqual(await watch.take(1), ['ADDED after-same'])
    watch.close()
  })

  test('a dry run answers like a write and stores nothing', async () => {
    const reply = await server.send('POST', `${maps}?dryRun=All`, { metadata: { name: 'dry' } })
    assert.equal(reply.code, 201)
    assert.equal((await server.get(`${maps}/dry`)).code, 404)
  })

  test('generateName makes names, and names in body and path must agree', async () => {
    const made = await server.send('POST', maps, { metadata: { generateName: 'gen-' } })
    assert.match(String(made.json.metadata.name), /^gen-[a-z0-9]{5}$/)
    const other = await server.send('PUT', `${maps}/a`, { metadata: { name: 'b' } })
    assert.equal(other.code, 400)
    const elsewhere = await server.send('POST', maps, {
      metadata: { name: 'x', namespace: 'kube-system' },
    })
    assert.equal(elsewhere.code, 400)
    const empty = await server.send('POST', maps, { metadata: { name: 'x', namespace: '' } })
    assert.equal(empty.json.metadata.namespace, 'default')
  })

  test('unknown fields are refused, warned about or ignored as asked', async () => {
    const body = { metadata: { name: 'fields' }, datax: {} }
    const strict = await server.send('POST', `${maps}?fieldValidation=Strict`, body)
    assert.equal(strict.code, 400)
    assert.match(String(strict.json.message), /strict decoding error: unknown field "datax"/)
    const warned = await server.send('POST', `${maps}?dryRun=All`, body)
    assert.equal(warned.headers.warning, '299 - "unknown field \\"datax\\""')
    const ignored = await server.send('POST', `${maps}?dryRun=All&fieldValidation=Ignore`, body)
    assert.equal(ignored.headers.warning, undefined)
  })

  test('what is stored but not enforced says so', async () => {
    const policy = { metadata: { name: 'np' }, spec: { podSelector: {} } }
    const path = '/apis/networking.k8s.io/v1/namespaces/default/networkpolicies'
    assert.match(
      String((await server.send('POST', path, policy)).headers.warning),
      /not enforced in standalone mode/,
    )
  })

  test('bodies that cannot be read get 400, 413 or 415 with the reason', async () => {
    assert.match((await server.send('POST', maps, '{"metadata":')).text, /not valid JSON/)
    assert.equal((await server.send('POST', maps, '[]')).code, 400)
    assert.equal((await server.send('POST', maps, 'x'.repeat(3_200_000))).code, 413)
    const large = await server.send('POST', maps, {
      metadata: { name: 'large' },
      data: { a: 'x'.repeat(1_600_000) },
    })
    assert.ok(large.code === 413 || large.code === 422, String(large.code))
    const protobuf = await server.send('POST', maps, 'k8s', {
      headers: { 'content-type': 'application/vnd.kubernetes.protobuf' },
    })
    assert.equal(protobuf.code, 400)
    assert.match(protobuf.text, /does not start with the bytes/)
    const rounded = await server.send(
      'POST',
      maps,
      '{"metadata":{"name":"n","generation":9007199254740993}}',
    )
    assert.match(rounded.text, /9007199254740993 .* larger than this server can store exactly/)
    const yaml = await server.send('POST', maps, 'metadata: { name: from-yaml }', {
      headers: { 'content-type': 'application/yaml' },
    })
    assert.equal(yaml.code, 201)
  })

  test('path traversal and bad encodings are refused', async () => {
    for (const name of ['..', '%2e%2e', 'a%2fb', '%zz']) {
      assert.ok((await server.get(`${maps}/${name}`)).code >= 400, name)
    }
    assert.equal((await server.get(`${maps}/ok`)).code, 404)
  })

  test('the client chooses among JSON, YAML, Table and metadata', async () => {
    await server.configMap('shown', { a: '1', b: '2' })
    const table = await server.get(`${maps}/shown`, {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
    })
    const [row] = table.json.rows as { cells: unknown[]; object: JsonMap }[]
    assert.deepEqual(row?.cells.slice(0, 2), ['shown', 2])
    assert.equal(row?.object.kind, 'PartialObjectMetadata')
    const metadata = await server.get(maps, {
      accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io',
    })
    assert.equal(metadata.json.kind, 'PartialObjectMetadataList')
    assert.ok((metadata.json.items as JsonMap[]).every((item) => item.data === undefined))
    assert.match(
      (await server.get(`${maps}/shown`, { accept: 'application/yaml' })).text,
      /^kind: ConfigMap$/m,
    )
    const typed = await server.get(`${maps}/shown`, {
      accept: 'application/vnd.kubernetes.protobuf,application/json',
    })
    assert.equal(typed.headers['content-type'], 'application/json')
    assert.equal((await server.get(`${maps}/shown`, { accept: 'text/html' })).code, 406)
  })

  test('finalizers hold an object until the last one goes', async () => {
    await server.configMap('held', {}, { finalizers: ['example.com/a'] })
    const deleted = await server.send('DELETE', `${maps}/held`)
    assert.ok(deleted.json.metadata.deletionTimestamp)
    const added = await server.send(
      'PATCH',
      `${maps}/held`,
      { metadata: { finalizers: ['example.com/a', 'example.com/b'] } },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    )
    assert.equal(added.code, 422)
    const freed = await server.send(
      'PATCH',
      `${maps}/held`,
      { metadata: { finalizers: null } },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    )
    assert.equal(freed.code, 200)
    assert.equal((await server.get(`${maps}/held`)).code, 404)
  })

  test('preconditions protect a deletion', async () => {
    await server.configMap('guarded')
    const wrong = await server.send('DELETE', `${maps}/guarded`, {
      preconditions: { uid: 'other' },
    })
    assert.equal(wrong.code, 409)
    const right = await server.send('DELETE', `${maps}/guarded`)
    assert.equal(right.json.status, 'Success')
  })

  test('deletecollection removes what the selector matches, and answers with it', async () => {
    await server.configMap('sweep-1', {}, { labels: { sweep: 'a' } })
    await server.configMap('sweep-2', {}, { labels: { sweep: 'a' } })
    const reply = await server.send('DELETE', `${maps}?labelSelector=sweep%3Da`)
    assert.equal((reply.json.items as unknown[]).length, 2)
    assert.equal((await server.get(`${maps}/sweep-1`)).code, 404)
  })

  test('status and spec are written apart, and generation counts spec changes only', async () => {
    const path = '/apis/apps/v1/namespaces/default/deployments'
    const template = {
      metadata: { labels: { a: 'b' } },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    }
    const spec = { selector: { matchLabels: { a: 'b' } }, template }
    const made = await server.send('POST', path, {
      metadata: { name: 'd' },
      spec,
      status: { replicas: 9 },
    })
    assert.equal((made.json.status as JsonMap).replicas, undefined)
    const status = await server.send('PUT', `${path}/d/status`, {
      ...made.json,
      spec: { ...spec, replicas: 7 },
      status: { replicas: 1 },
    })
    assert.equal((status.json.spec as JsonMap).replicas, 1)
    assert.equal(status.json.metadata.generation, 1)
    const scaled = await server.send(
      'PATCH',
      `${path}/d/scale`,
      { spec: { replicas: 4 } },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    )
    assert.equal(scaled.json.kind, 'Scale')
    assert.deepEqual(scaled.json.status, { replicas: 1, selector: 'a=b' })
    const after = await server.get(`${path}/d`)
    assert.equal(after.json.metadata.generation, 2)
    assert.deepEqual(after.json.status, status.json.status)
  })

  test('services get addresses of their own and keep them', async () => {
    const path = '/api/v1/namespaces/default/services'
    const make = async (name: string, spec: JsonMap): Promise<JsonMap> => {
      const reply = await server.send('POST', path, { metadata: { name }, spec })
      return reply.code === 201 ? (reply.json.spec as JsonMap) : reply.json
    }
    const ports = [{ port: 80 }]
    const plain = await make('plain', { ports })
    assert.match(String(plain.clusterIP), /^10\.(9[6-9]|10\d|11[01])\./)
    assert.deepEqual(plain.clusterIPs, [plain.clusterIP])
    assert.equal((await make('headless', { ports, clusterIP: 'None' })).clusterIP, 'None')
    assert.equal(
      (await make('external', { type: 'ExternalName', externalName: 'a.b' })).clusterIP,
      undefined,
    )
    const balanced = await make('balanced', { ports, type: 'LoadBalancer' })
    assert.ok(Number((balanced.ports as JsonMap[])[0]?.nodePort) >= 30_000)
    assert.equal((await make('dns', { ports, clusterIP: '10.96.0.10' })).clusterIP, '10.96.0.10')
    assert.match(
      String((await make('twice', { ports, clusterIP: '10.96.0.10' })).message),
      /already allocated/,
    )
    assert.match(
      String((await make('outside', { ports, clusterIP: '10.1.1.1' })).message),
      /valid range/,
    )
    const put = await server.send('PUT', `${path}/plain`, {
      metadata: { name: 'plain' },
      spec: { ports },
    })
    assert.equal((put.json.spec as JsonMap).clusterIP, plain.clusterIP)
    await server.send('DELETE', `${path}/dns`)
    assert.equal((await make('dns2', { ports, clusterIP: '10.96.0.10' })).clusterIP, '10.96.0.10')
  })

  test('a namespace ends by finalize only, and takes nothing new meanwhile', async () => {
    await server.send('POST', '/api/v1/namespaces', { metadata: { name: 'going' } })
    const deleted = await server.send('DELETE', '/api/v1/namespaces/going')
    assert.deepEqual(deleted.json.status, { phase: 'Terminating' })
    const late = await server.send('POST', '/api/v1/namespaces/going/configmaps', {
      metadata: { name: 'a' },
    })
    assert.match(String(late.json.message), /because it is being terminated/)
    const finalized = await server.send('PUT', '/api/v1/namespaces/going/finalize', {
      ...deleted.json,
      spec: { finalizers: [] },
    })
    assert.equal(finalized.code, 200)
    assert.equal((await server.get('/api/v1/namespaces/going')).code, 404)
    assert.equal((await server.send('DELETE', '/api/v1/namespaces/kube-system')).code, 403)
  })

  test('other versions of a kind show the same object', async () => {
    const spec = { hosts: ['a.example.com'] }
    const v1 = '/apis/networking.istio.io/v1/namespaces/default/serviceentries'
    const made = await server.send('POST', v1, { metadata: { name: 'se' }, spec })
    assert.equal(made.code, 201, made.text)
    const beta = await server.get(`${v1.replace('/v1/', '/v1beta1/')}/se`)
    assert.equal(beta.json.apiVersion, 'networking.istio.io/v1beta1')
    assert.equal(beta.json.metadata.uid, made.json.metadata.uid)
  })

  test('events are one object in two shapes', async () => {
    const involvedObject = { kind: 'Pod', namespace: 'default', name: 'p' }
    const core = {
      metadata: { name: 'e1' },
      involvedObject,
      reason: 'Started',
      message: 'hello',
      type: 'Normal',
    }
    const made = await server.send('POST', '/api/v1/namespaces/default/events', core)
    assert.equal(made.code, 201, made.text)
    const other = await server.get('/apis/events.k8s.io/v1/namespaces/default/events/e1')
    assert.equal(other.json.note, 'hello')
    assert.deepEqual(other.json.regarding, involvedObject)
    const selected = await server.get(
      '/api/v1/events?fieldSelector=involvedObject.name%3Dp%2CinvolvedObject.kind%3DPod',
    )
    assert.equal((selected.json.items as unknown[]).length, 1)
  })

  test('discovery is cached by its entity tag, and OpenAPI documents by their hash', async () => {
    const accept =
      'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json'
    const first = await server.get('/apis', { accept })
    assert.match(String(first.headers['content-type']), /as=APIGroupDiscoveryList/)
    const second = await server.get('/apis', {
      accept,
      'if-none-match': String(first.headers.etag),
    })
    assert.equal(second.code, 304)
    assert.equal((await server.get('/apis')).json.kind, 'APIGroupList')
    assert.equal((await server.get('/api/v1')).json.kind, 'APIResourceList')
    const index = await server.get('/openapi/v3')
    const { serverRelativeURL } =
      (index.json.paths as Record<string, { serverRelativeURL: string }>)['apis/apps/v1'] ?? {}
    const document = await server.get(String(serverRelativeURL))
    assert.equal(document.headers['cache-control'], 'public, immutable')
    const { schemas } = document.json.components as { schemas: JsonMap }
    assert.ok(schemas['io.k8s.api.apps.v1.Deployment'])
  })

  test('HTTP/1.1 clients are served on the same port', async () => {
    const { certPem: cert, keyPem: key } = server.registry.adminCredentials
    const options = { ca: server.registry.caCertificatePem, cert, key }
    const [version, text] = await new Promise<[string, string]>((resolve, reject) => {
      get(`${server.url}/api/v1/namespaces/default`, options, (response) => {
        let body = ''
        response.on('data', (chunk: Buffer) => {
          body += chunk.toString()
        })
        response.once('end', () => resolve([response.httpVersion, body]))
      }).once('error', reject)
    })
    assert.equal(version, '1.1')
    assert.equal((JSON.parse(text) as KubeObject).metadata.name, 'default')
  })

  test('a stopping server ends watches in order, at once', async () => {
    const stopping = await new TestServer().start()
    const watch = stopping.watch('/api/v1/namespaces?watch=1')
    assert.equal((await watch.take(5)).length, 5)
    const ended = watch.next()
    const began = performance.now()
    await stopping.stop()
    assert.equal(await ended, undefined)
    assert.ok(performance.now() - began < 1_000)
  })
})
