/**
 * Definitions that people bring along, in the shapes of well-known projects: from `kubectl apply` to explaining,
 * scaling, upgrading and deleting them.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { parse, stringify } from 'yaml'
import { Client } from './crd-client.ts'
import { type Json, setAt } from './crd-corpus.ts'
import { RegistryHarness } from './harness.ts'

const shapes = ['certificates', 'monitors', 'endpoints', 'rollouts', 'scalers'] as const
type ShapeName = (typeof shapes)[number]

interface Shape {
  readonly definition: Json & { spec: { names: { plural: string }; group: string } }
  readonly object: Json
}

function read(name: ShapeName): Shape {
  const path = join(import.meta.dirname, `testdata/crds/shapes/${name}.yaml`)
  return parse(readFileSync(path, 'utf8')) as Shape
}

/** kubectl may or may not have heard yet that a kind is no more. */
const gone = /doesn't have a resource type|could not find the requested resource/

const collection = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'

describe('definitions of other projects', () => {
  let harness: RegistryHarness
  let client: Client

  before(async () => {
    harness = await RegistryHarness.start()
    client = new Client(harness)
  })
  after(async () => {
    client.close()
    await harness.stop()
  })

  const kubectl = (line: string, input?: unknown): Promise<string> =>
    harness.kubectl(line, input === undefined ? undefined : stringify(input))
  const refused = async (line: string, input?: unknown): Promise<string> => {
    const text = input === undefined ? undefined : stringify(input)
    const { code, stderr } = await harness.run(line.split(' '), text)
    assert.notEqual(code, 0, `${line}\n${text}`)
    return stderr
  }

  test('are applied from the client and on the server, and are served at once', async () => {
    const all = shapes.map(read)
    const definitions = join(harness.dir, 'definitions.yaml')
    const objects = join(harness.dir, 'objects.yaml')
    await writeFile(definitions, all.map(({ definition }) => stringify(definition)).join('---\n'))
    await writeFile(objects, all.map(({ object }) => stringify(object)).join('---\n'))
    assert.equal((await kubectl(`apply -f ${definitions}`)).match(/created/g)?.length, all.length)
    await kubectl(`wait --for=condition=Established --timeout=5s -f ${definitions}`)
    await kubectl(`wait --for=condition=NamesAccepted --timeout=5s -f ${definitions}`)
    assert.equal((await kubectl(`apply -f ${objects}`)).match(/created/g)?.length, all.length)
    assert.equal((await kubectl(`apply -f ${objects}`)).match(/unchanged/g)?.length, all.length)
    const again = await kubectl(`apply --server-side --force-conflicts -f ${definitions}`)
    assert.equal(again.match(/serverside-applied/g)?.length, all.length)
    const same = await kubectl(`apply --server-side --force-conflicts -f ${objects}`)
    assert.equal(same.match(/serverside-applied/g)?.length, all.length)
    assert.equal(await kubectl(`diff -f ${objects}`), '')
  })

  test('keep open values as they came, set defaults, and refuse by field', async () => {
    const launch = JSON.parse(await kubectl('get la one -o json')) as { spec: Json }
    assert.deepEqual(launch.spec, read('rollouts').object['spec'])
    const leaflet = await kubectl(
      'get lf one -o jsonpath={.spec.privateKey.algorithm}/{.spec.issuerRef.kind}',
    )
    assert.equal(leaflet, 'RSA/Issuer')
    const change = (name: ShapeName, sets: Json): Json => {
      const { object } = read(name)
      for (const [path, value] of Object.entries(sets)) setAt(object, path, value)
      return object
    }
    for (const [name, sets, said] of [
      [
        'certificates',
        { 'spec.privateKey': { algorithm: 'Ed25519', size: 1 } },
        /spec\.privateKey: Invalid value: (?:"object"|\{.*\}): Ed25519 keys have one size/,
      ],
      [
        'certificates',
        { 'spec.usages': ['signing', 'fun'] },
        /spec\.usages\[1\]: Unsupported value: "fun"/,
      ],
      [
        'certificates',
        { 'spec.additionalOutputFormats': [{ type: 'DER' }, { type: 'DER' }] },
        /spec\.additionalOutputFormats\[1\]: Duplicate value/,
      ],
      [
        'monitors',
        { 'spec.endpoints[0].targetPort': 1.5 },
        /spec\.endpoints\[0\]\.targetPort: Invalid value: .* must be of type integer,string: "number"/,
      ],
      [
        'monitors',
        { 'spec.endpoints[0].interval': '1 m' },
        /spec\.endpoints\[0\]\.interval: Invalid value: "1 m"/,
      ],
      [
        'monitors',
        { 'spec.endpoints[0].limit': 'much' },
        /spec\.endpoints\[0\]\.limit: Invalid value: "much"/,
      ],
      [
        'monitors',
        { 'spec.endpoints[0].params.match': 'a' },
        /spec\.endpoints\[0\]\.params\.match: Invalid value/,
      ],
      [
        'endpoints',
        { 'spec.nodeSelector': {} },
        /"spec" must validate one and only one schema \(oneOf\)/,
      ],
      ['endpoints', { 'spec.ingress': null }, /"spec" must validate at least one schema \(anyOf\)/],
      [
        'endpoints',
        { 'spec.ingress[0].fromCIDR': ['10.0.0.0/64'] },
        /spec\.ingress\[0\]\.fromCIDR\[0\]: Invalid value/,
      ],
      [
        'endpoints',
        { 'spec.ingress[0].toPorts[0].ports': [{ port: '1', endPort: 9, protocol: 'ANY' }] },
        /spec\.ingress\[0\]\.toPorts\[0\]: Invalid value: .*a range of ports needs a protocol/,
      ],
      [
        'rollouts',
        { 'spec.attached': { kind: 'ConfigMap' } },
        /spec\.attached\.apiVersion: Required value/,
      ],
      [
        'rollouts',
        { 'spec.strategy.canary.steps': [{ pause: { duration: true } }] },
        /duration: Invalid value/,
      ],
      [
        'scalers',
        { 'spec.minReplicaCount': 200 },
        /spec: Invalid value: .*the least may not be more than the most/,
      ],
    ] as const) {
      assert.match(await refused('apply -f -', change(name, sets)), said, name)
    }
    const unknown = change('certificates', { 'spec.secretTemplate.annotation': {} })
    assert.match(
      await refused('apply -f -', unknown),
      /unknown field "spec\.secretTemplate\.annotation"/,
    )
    const warned = await harness.run(['apply', '--validate=warn', '-f', '-'], stringify(unknown))
    assert.match(warned.stderr, /Warning: unknown field "spec\.secretTemplate\.annotation"/)
  })

  test('have tables with filters, hidden columns, dates and missing values', async () => {
    const status =
      '{"status":{"conditions":[{"type":"Issuing","status":"False"},{"type":"Ready","status":"True","message":"up to date"}]}}'
    await harness.run(['patch', 'lf', 'one', '--subresource=status', '--type=merge', '-p', status])
    const lines = async (line: string) =>
      (await kubectl(line))
        .trimEnd()
        .split('\n')
        .map((each) => each.split(/ {2,}/))
    const [head, row] = await lines('get lf')
    assert.deepEqual(head, ['NAME', 'READY', 'SECRET', 'AGE'])
    assert.deepEqual(row?.slice(0, 3), ['one', 'True', 'paper'])
    const [wide, wideRow] = await lines('get lf -o wide')
    assert.deepEqual(wide, ['NAME', 'READY', 'SECRET', 'ISSUER', 'STATUS', 'AGE'])
    assert.equal(wideRow?.[4], 'up to date')
    const [, launch] = await lines('get la')
    assert.deepEqual(launch, ['one', '2'])
    const [, elastic] = await lines('get el')
    assert.deepEqual(elastic?.slice(0, 3), ['one', '0', 'cpu,cron'])
    assert.equal((await lines('get paper -o name'))[0]?.[0], 'leaflet.paper.example/one')
  })

  test('are explained from their descriptions', async () => {
    const text = await kubectl('explain leaflet.spec.issuerRef')
    assert.match(text, /KIND: +Leaflet/)
    assert.match(text, /FIELD: issuerRef <Object>/)
    assert.match(text, /Who makes it\./)
    assert.match(text, /name\t<string> -required-/)
    const all = await kubectl('explain elastics --recursive --api-version=grow.example/v1alpha1')
    assert.match(all, /triggers\t<\[\]Object>\n +metadata\t<map\[string\]string> -required-/)
  })

  test('are patched and scaled, and warn of what is deprecated', async () => {
    assert.match(await kubectl('scale la/one --replicas=5'), /scaled/)
    assert.equal(
      await kubectl('get la one -o jsonpath={.spec.replicas}/{.metadata.generation}'),
      '5/2',
    )
    const status = '{"status":{"HPAReplicas":4,"selector":"app=web","weight":0.5}}'
    await kubectl(`patch la one --subresource=status --type=merge -p ${status}`)
    const scale = await kubectl('get la one --subresource=scale -o json')
    const { spec, status: found } = JSON.parse(scale) as { spec: Json; status: Json }
    assert.deepEqual(
      { spec, status: found },
      { spec: { replicas: 5 }, status: { replicas: 4, selector: 'app=web' } },
    )
    assert.match(
      await kubectl(
        'patch ga one --type=json -p [{"op":"replace","path":"/spec/endpoints/1/targetPort","value":81}]',
      ),
      /patched/,
    )
    assert.match(
      await refused('patch ga one --type=strategic -p {"spec":{"jobLabel":"a"}}'),
      /application\/strategic-merge-patch\+json is not supported/,
    )
    const old = await harness.run(['get', 'elastics.v1alpha1.grow.example'])
    assert.match(old.stderr, /Warning: grow\.example\/v1alpha1 Elastic goes away; use v1/)
  })

  test('are upgraded: another stored version, and an old one that goes last', async () => {
    const { definition } = read('scalers')
    const versions = definition['spec'] as unknown as { versions: (Json & { name: string })[] }
    const [v1alpha1, v1] = versions.versions
    Object.assign(v1alpha1 ?? {}, { storage: false })
    Object.assign(v1 ?? {}, { storage: true })
    await kubectl('apply --server-side --force-conflicts -f -', definition)
    const stored = 'get crd elastics.grow.example -o jsonpath={.status.storedVersions}'
    assert.equal(await kubectl(stored), '["v1alpha1","v1"]')
    const old = JSON.parse(await kubectl('get elastics.v1alpha1.grow.example one -o json')) as Json
    assert.equal(old['apiVersion'], 'grow.example/v1alpha1')
    await kubectl('annotate el one touched=yes')
    versions.versions.shift()
    assert.match(
      await refused('replace -f -', definition),
      /status\.storedVersions\[0\]: Invalid value: "v1alpha1": must appear in spec\.versions/,
    )
    await kubectl(
      'patch crd elastics.grow.example --subresource=status --type=merge -p {"status":{"storedVersions":["v1"]}}',
    )
    await kubectl('replace -f -', definition)
    assert.equal(await kubectl(stored), '["v1"]')
    assert.match(await refused('get elastics.v1alpha1.grow.example'), gone)
    assert.equal(await kubectl('get el one -o jsonpath={.spec.maxReplicaCount}'), '100')
  })

  test('are deleted with their objects, once these have no finalizer left', async () => {
    await kubectl('patch ga one --type=merge -p {"metadata":{"finalizers":["watch.example/held"]}}')
    await kubectl('delete crd gauges.watch.example --wait=false')
    const deleting = 'get crd gauges.watch.example -o jsonpath={.metadata.deletionTimestamp}'
    assert.match(await kubectl(deleting), /^\d{4}-/)
    assert.match(await kubectl('get ga one -o jsonpath={.metadata.deletionTimestamp}'), /^\d{4}-/)
    await kubectl('patch ga one --type=merge -p {"metadata":{"finalizers":null}}')
    await kubectl('wait --for=delete crd/gauges.watch.example --timeout=10s')
    assert.match(await refused('get gauges'), gone)
    const rest = shapes.filter((name) => name !== 'monitors').map(read)
    const names = rest.map(({ definition }) => String((definition['metadata'] as Json)['name']))
    await kubectl(`delete crd ${names.join(' ')} --timeout=20s`)
  })

  test('are refused when they are not structural, in the words of the API', async () => {
    for (const [sets, field, message] of refusals) {
      const definition = renamed(read('certificates').definition)
      for (const [path, value] of Object.entries(sets)) setAt(definition, path, value)
      const { code, body, text } = await client.send('POST', `${collection}?dryRun=All`, definition)
      const about = `${field}: ${message}\n${text}`
      assert.equal(code, 422, about)
      const { causes } = body['details'] as { causes: { field: string; message: string }[] }
      assert.ok(
        causes.some((cause) => cause.field === field && cause.message.includes(message)),
        about,
      )
    }
  })

  test('name the version of a schema only where versions differ', async () => {
    const definition = renamed(read('scalers').definition)
    const { versions } = definition['spec'] as unknown as { versions: Json[] }
    setAt(versions[1] ?? {}, 'schema.openAPIV3Schema.properties.spec.properties.odd', {})
    const apart = await client.send('POST', `${collection}?dryRun=All`, definition)
    assert.match(
      apart.text,
      /spec\.versions\[1\]\.schema\.openAPIV3Schema\.properties\[spec\]\.properties\[odd\]\.type: Required value/,
    )
    const same = structuredClone(versions[1]?.['schema'])
    for (const version of versions) version['schema'] = same
    const together = await client.send('POST', `${collection}?dryRun=All`, definition)
    assert.match(
      together.text,
      /spec\.validation\.openAPIV3Schema\.properties\[spec\]\.properties\[odd\]\.type: Required value/,
    )
  })

  test('are refused when their rules may cost too much; a run that does is stopped', async () => {
    const { definition } = read('certificates')
    const names = `${node}.properties.dnsNames`
    const rule = { rule: 'self.all(a, self.all(b, a == b || a.contains(b)))', message: 'clash' }
    setAt(definition, `${names}.x-kubernetes-validations`, [rule])
    assert.match(
      await refused('apply -f -', definition),
      /dnsNames\]\.x-kubernetes-validations\[0\]\.rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x \(try simplifying the rule, or adding maxItems/,
    )
    setAt(definition, `${names}.maxItems`, 1000)
    setAt(definition, `${names}.items.maxLength`, 1)
    await kubectl('apply -f -', definition)
    const { object } = read('certificates')
    const list = Array.from({ length: 1000 }, () => 'a')
    setAt(object, 'spec.dnsNames', list)
    const said = await refused('apply -f -', object)
    assert.match(
      said,
      /spec\.dnsNames: Invalid value: .*no further validation rules will be run due to call cost exceeds limit for rule: clash/,
    )
    await kubectl('delete crd leaflets.paper.example --timeout=20s')
  })

  test('are refused when another definition of the group has the kind', async () => {
    await kubectl('apply -f -', read('certificates').definition)
    const { definition } = read('certificates')
    setAt(definition, 'metadata.name', 'flyers.paper.example')
    setAt(definition, 'spec.names', { kind: 'Leaflet', plural: 'flyers' })
    assert.match(
      await refused('apply -f -', definition),
      /spec\.names\.kind: Invalid value: "Leaflet": is already in use/,
    )
  })
})

/** The definition of a kind that nobody has yet. */
function renamed(definition: Json): Json {
  const copy = structuredClone(definition)
  const { group } = copy['spec'] as { group: string }
  setAt(copy, 'spec.names', { kind: 'Poster', plural: 'posters' })
  copy['metadata'] = { name: `posters.${group}` }
  return copy
}

const node = 'spec.versions[0].schema.openAPIV3Schema.properties.spec'
const at = 'spec.validation.openAPIV3Schema.properties[spec]'

/** What is changed, the field that must be named, and what must be said of it. */
const refusals: readonly (readonly [Json, string, string])[] = [
  [
    { [`${node}.properties.odd`]: {} },
    `${at}.properties[odd].type`,
    'Required value: must not be empty for specified object fields',
  ],
  [
    { [`${node}.properties.odd`]: { type: 'array' } },
    `${at}.properties[odd].items`,
    'Required value: must be specified',
  ],
  [
    { [`${node}.properties.odd`]: { type: 'array', items: {} } },
    `${at}.properties[odd].items.type`,
    'must not be empty for specified array items',
  ],
  [
    { [`${node}.properties.odd`]: { type: 'text' } },
    `${at}.properties[odd].type`,
    'Unsupported value: "text"',
  ],
  [
    { [`${node}.properties.odd`]: { type: 'string', pattern: '(' } },
    `${at}.properties[odd].pattern`,
    'must be a valid regular expression',
  ],
  [
    { [`${node}.properties.odd`]: { type: 'object', 'x-kubernetes-embedded-resource': true } },
    `${at}.properties[odd].properties`,
    'must not be empty if x-kubernetes-embedded-resource is true without',
  ],
  [
    { [`${node}.properties.odd`]: { type: 'string', 'x-kubernetes-embedded-resource': true } },
    `${at}.properties[odd].type`,
    'must be object if x-kubernetes-embedded-resource is true',
  ],
  [
    { [`${node}.properties.odd`]: { type: 'string', 'x-kubernetes-int-or-string': true } },
    `${at}.properties[odd].type`,
    'must be empty if x-kubernetes-int-or-string is true',
  ],
  [
    {
      [`${node}.properties.odd`]: {
        type: 'object',
        properties: { a: { type: 'string' } },
        additionalProperties: { type: 'string' },
      },
    },
    `${at}.properties[odd].additionalProperties`,
    'mutual exclusive',
  ],
  [
    { [`${node}.properties.odd`]: { type: 'array', uniqueItems: true, items: { type: 'string' } } },
    `${at}.properties[odd].uniqueItems`,
    'Forbidden: uniqueItems cannot be set to true',
  ],
  [
    { [`${node}.anyOf`]: [{ properties: { isCA: { type: 'boolean' } } }] },
    `${at}.anyOf[0].properties[isCA].type`,
    'Forbidden: must be empty to be structural',
  ],
  [
    { [`${node}.not`]: { description: 'a' } },
    `${at}.not.description`,
    'Forbidden: must be empty to be structural',
  ],
  [
    { [`${node}.allOf`]: [{ default: {} }] },
    `${at}.allOf[0].default`,
    'Forbidden: must be undefined to be structural',
  ],
  [
    { [`${node}.oneOf`]: [{ required: ['new'], properties: { new: { minLength: 1 } } }] },
    `${at}.properties[new]`,
    'because it is defined in spec.validation.openAPIV3Schema.properties[spec].oneOf[0].properties[new]',
  ],
  [
    { [`${node}.properties.additionalOutputFormats.x-kubernetes-list-map-keys`]: null },
    `${at}.properties[additionalOutputFormats].x-kubernetes-list-map-keys`,
    'must not be empty if x-kubernetes-list-type is map',
  ],
  [
    { 'spec.versions[0].schema.openAPIV3Schema.type': 'string' },
    'spec.validation.openAPIV3Schema.type',
    'must be object at the root',
  ],
  [
    { 'spec.versions[0].schema.openAPIV3Schema.type': null },
    'spec.validation.openAPIV3Schema.type',
    'must not be empty at the root',
  ],
  [
    {
      'spec.versions[0].schema.openAPIV3Schema.properties.metadata.properties': {
        labels: { type: 'object' },
      },
    },
    'spec.validation.openAPIV3Schema.properties[metadata]',
    'must not specify anything other than name and generateName',
  ],
  [
    { 'spec.versions[0].additionalPrinterColumns': [{ name: 'A', type: 'text', jsonPath: '.a' }] },
    'spec.additionalPrinterColumns[0].type',
    'Unsupported value: "text"',
  ],
  [
    { 'spec.versions[0].additionalPrinterColumns': [{ name: 'A', type: 'string', jsonPath: 'a' }] },
    'spec.additionalPrinterColumns[0].JSONPath',
    'does not start with a .',
  ],
  [
    {
      'spec.versions[0].subresources.scale': {
        specReplicasPath: '.status.a',
        statusReplicasPath: '.status.b',
      },
    },
    'spec.subresources.scale.specReplicasPath',
    'should be a json path under .spec',
  ],
  [
    { 'spec.names.shortNames': ['A'] },
    'spec.names.shortNames[0]',
    'a DNS-1035 label must consist of',
  ],
  [
    { 'spec.names.listKind': 'Poster' },
    'spec.names.listKind',
    'kind and listKind may not be the same',
  ],
  [
    { 'spec.versions[0].storage': false },
    'spec.versions',
    'must have exactly one version marked as storage version',
  ],
  [
    { 'spec.conversion': { strategy: 'Webhook' } },
    'spec.conversion.strategy',
    'conversion webhooks are not supported',
  ],
  [
    { [`${node}.x-kubernetes-validations`]: [{ rule: 'self.nothing == 1' }] },
    `${at}.x-kubernetes-validations[0].rule`,
    'undefined field',
  ],
]
