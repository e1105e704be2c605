import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { TestServer } from './testing.ts'

const server = new TestServer()
before(() => server.start())
after(() => server.stop())

interface Document {
  readonly paths: Record<string, { patch?: Record<string, unknown> }>
  readonly components: { readonly schemas: Record<string, Record<string, unknown>> }
}

async function index(): Promise<Record<string, string>> {
  const { json } = await server.get('/openapi/v3')
  const paths = json['paths'] as Record<string, { serverRelativeURL: string }>
  return Object.fromEntries(
    Object.entries(paths).map(([path, { serverRelativeURL }]) => [path, serverRelativeURL]),
  )
}

const crd = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'gadgets.late.example' },
  spec: {
    group: 'late.example',
    scope: 'Namespaced',
    names: { plural: 'gadgets', singular: 'gadget', kind: 'Gadget', listKind: 'GadgetList' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            description: 'A gadget.',
            properties: { size: { type: 'integer', description: 'How large.' } },
          },
        },
      },
    ],
  },
}

test('a document asked for by its hash may be kept for ever, any other must be asked for again', async () => {
  const url = (await index())['apis/apps/v1'] ?? ''
  const hash = /^\/openapi\/v3\/apis\/apps\/v1\?hash=([0-9A-F]{64})$/.exec(url)?.[1]
  const kept = await server.get(url)
  assert.equal(kept.code, 200)
  assert.equal(kept.headers['content-type'], 'application/json')
  assert.equal(kept.headers['cache-control'], 'public, immutable')
  assert.equal(kept.headers.etag, `"${hash}"`)
  assert.equal(kept.headers.vary, 'Accept')
  const days = (Date.parse(String(kept.headers.expires)) - Date.now()) / 86_400_000
  assert.ok(days > 364 && days < 366, `${days} days`)
  for (const path of ['/openapi/v3/apis/apps/v1', `${url.slice(0, -4)}0000`]) {
    const { headers, text } = await server.get(path)
    assert.equal(headers['cache-control'], 'no-cache, private', path)
    assert.equal(headers.expires, undefined)
    assert.equal(headers.etag, `"${hash}"`)
    assert.equal(text, kept.text)
  }
})

test('who has the document already is told so, without it', async () => {
  const url = (await index())['api/v1'] ?? ''
  const { headers } = await server.get(url)
  const same = await server.get(url, { 'if-none-match': String(headers.etag) })
  assert.deepEqual([same.code, same.text, same.headers.etag], [304, '', headers.etag])
  assert.equal((await server.get(url, { 'if-none-match': '"other"' })).code, 200)
})

test('every group version of the index has a document, with a patch for each of its resources', async () => {
  const documents = await index()
  const { json } = await server.get('/apis')
  const groups = json['groups'] as { versions: { groupVersion: string }[] }[]
  for (const { groupVersion } of groups.flatMap(({ versions }) => versions)) {
    const url = documents[`apis/${groupVersion}`]
    assert.ok(url, groupVersion)
    const document = JSON.parse((await server.get(url)).text) as Document
    const resources = (await server.get(`/apis/${groupVersion}`)).json['resources'] as {
      name: string
      kind: string
      verbs: string[]
    }[]
    for (const { name, kind, verbs } of resources) {
      if (name.includes('/') || !verbs.includes('patch')) continue
      const path = Object.keys(document.paths).find((each) => each.endsWith(`/${name}/{name}`))
      const operation = document.paths[path ?? '']?.patch
      assert.ok(operation, `${groupVersion} ${name}`)
      assert.equal(
        (operation['x-kubernetes-group-version-kind'] as { kind: string }).kind,
        kind,
        `${groupVersion} ${name}`,
      )
      assert.ok(operation['requestBody'])
    }
  }
})

test('a new CRD changes the index and the hash of its group only, and goes again with it', async () => {
  const before = await index()
  await server.send('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  const during = await index()
  const url = during['apis/late.example/v1'] ?? ''
  const document = JSON.parse((await server.get(url)).text) as Document
  const schema = document.components.schemas['example.late.v1.Gadget']
  assert.equal(schema?.['description'], 'A gadget.')
  const properties = schema?.['properties'] as Record<string, { description: string }>
  assert.equal(properties['size']?.description, 'How large.')
  const { ['apis/late.example/v1']: _new, ...others } = during
  assert.deepEqual(others, before)
  const name = crd.metadata.name
  await server.send('DELETE', `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`)
  while ((await index())['apis/late.example/v1'] !== undefined)
    await new Promise((resolve) => setTimeout(resolve, 10))
  assert.equal((await server.get(url)).code, 404)
})

test('version 2 is refused in words, but for the empty protobuf document that kubectl falls back to', async () => {
  const refused = await server.get('/openapi/v2')
  assert.equal(refused.code, 404)
  assert.match(refused.text, /OpenAPI v2 is not served: use kubectl 1\.29 or newer/)
  const accept = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf'
  const empty = await server.get('/openapi/v2', { accept })
  assert.equal(empty.code, 200)
  assert.match(empty.text, /2\.0.*Kubernetes/s)
})
