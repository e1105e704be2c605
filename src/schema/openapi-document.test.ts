import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  builtinCrds,
  fromOpenApi,
  loadBuiltinSchemas,
  openApiDocument,
  toOpenApi,
} from './index.ts'

interface Document {
  paths: Record<string, Record<string, { [key: string]: unknown; parameters: { name: string }[] }>>
  components: { schemas: Record<string, Record<string, unknown>> }
}

const contentOf = (operation: Record<string, unknown> | undefined): object =>
  (operation?.['requestBody'] as { content: object } | undefined)?.content ?? {}

const registry = loadBuiltinSchemas()
for (const crd of builtinCrds()) registry.addCrd(crd)

test('the document of a group version has what kubectl looks for', () => {
  const resources = [{ resource: 'deployments', kind: 'Deployment', namespaced: true }]
  const document = openApiDocument(
    registry,
    { group: 'apps', version: 'v1' },
    resources,
  ) as unknown as Document
  const patch = document.paths['/apis/apps/v1/namespaces/{namespace}/deployments/{name}']?.['patch']
  const gvk = { group: 'apps', version: 'v1', kind: 'Deployment' }
  assert.deepEqual(patch?.['x-kubernetes-group-version-kind'], gvk)
  assert.ok(patch?.parameters.some(({ name }) => name === 'fieldValidation'))
  const content = contentOf(patch)
  assert.ok(Object.keys(content).includes('application/strategic-merge-patch+json'))
  const { schemas } = document.components
  assert.deepEqual(schemas['io.k8s.api.apps.v1.Deployment']?.['x-kubernetes-group-version-kind'], [
    gvk,
  ])
  const podSpec = schemas['io.k8s.api.core.v1.PodSpec']?.['properties'] as Record<string, object>
  assert.deepEqual(podSpec['containers'], {
    type: 'array',
    items: { $ref: '#/components/schemas/io.k8s.api.core.v1.Container' },
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['name'],
    'x-kubernetes-patch-merge-key': 'name',
    'x-kubernetes-patch-strategy': 'merge',
  })
})

test('every reference of every document is there, also in recursive kinds', () => {
  const groups: [string, string, string, string][] = [
    ['', 'v1', 'pods', 'Pod'],
    ['apiextensions.k8s.io', 'v1', 'customresourcedefinitions', 'CustomResourceDefinition'],
    ['autoscaling', 'v2', 'horizontalpodautoscalers', 'HorizontalPodAutoscaler'],
    ['gateway.networking.k8s.io', 'v1', 'httproutes', 'HTTPRoute'],
  ]
  for (const [group, version, resource, kind] of groups) {
    const document = openApiDocument(registry, { group, version }, [
      { resource, kind, namespaced: true },
    ])
    const { schemas } = (document as unknown as Document).components
    for (const [, name] of JSON.stringify(document).matchAll(
      /"#\/components\/schemas\/([^"]+)"/g,
    )) {
      assert.ok(Object.keys(schemas[name ?? ''] ?? {}).length > 0, `${kind} lacks ${name}`)
    }
  }
})

test('custom kinds have no strategic merge patch', () => {
  const document = openApiDocument(registry, { group: 'networking.istio.io', version: 'v1' }, [
    { resource: 'gateways', kind: 'Gateway', namespaced: true },
  ]) as unknown as Document
  const patch =
    document.paths['/apis/networking.istio.io/v1/namespaces/{namespace}/gateways/{name}']?.['patch']
  assert.deepEqual(Object.keys(contentOf(patch)), [
    'application/apply-patch+yaml',
    'application/json-patch+json',
    'application/merge-patch+json',
  ])
  assert.ok(document.components.schemas['io.istio.networking.v1.Gateway'])
})

test('a schema survives being read and written', () => {
  const leaf = fc.record(
    {
      type: fc.constantFrom('string', 'integer', 'boolean'),
      default: fc.integer(),
      enum: fc.array(fc.string(), { minLength: 1, maxLength: 2 }),
      maxLength: fc.nat(),
      nullable: fc.boolean(),
      'x-kubernetes-preserve-unknown-fields': fc.constant(true),
    },
    { requiredKeys: ['type'], noNullPrototype: true },
  )
  const schema = fc.record(
    {
      type: fc.constant('object'),
      required: fc.array(fc.string(), { maxLength: 2 }),
      properties: fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), leaf, {
        maxKeys: 3,
        noNullPrototype: true,
      }),
      additionalProperties: leaf,
      'x-kubernetes-validations': fc.array(
        fc.record({ rule: fc.string(), message: fc.string() }, { noNullPrototype: true }),
        { maxLength: 2 },
      ),
    },
    { requiredKeys: ['type'], noNullPrototype: true },
  )
  fc.assert(
    fc.property(schema, (given) => {
      assert.deepEqual(toOpenApi(fromOpenApi(given)), given)
    }),
  )
})

test('whoever asked for a kind first, the document names it by group, version and kind only', () => {
  const fresh = loadBuiltinSchemas()
  const asked = {
    group: '',
    version: 'v1',
    kind: 'ServiceAccount',
    resource: 'serviceaccounts',
    verbs: [],
  }
  assert.ok(fresh.get(asked))
  const resources = [{ resource: 'serviceaccounts', kind: 'ServiceAccount', namespaced: true }]
  const { paths } = openApiDocument(
    fresh,
    { group: '', version: 'v1' },
    resources,
  ) as unknown as Document
  const patch = paths['/api/v1/namespaces/{namespace}/serviceaccounts/{name}']?.['patch']
  // kubectl reads this into a map of strings and gives up on anything else.
  assert.deepEqual(patch?.['x-kubernetes-group-version-kind'], {
    group: '',
    version: 'v1',
    kind: 'ServiceAccount',
  })
})
