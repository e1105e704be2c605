/** How Istio's kinds look to people with kubectl: versions, short names, categories, columns, status. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { stringify } from 'yaml'
import { type Json, readCorpus } from './crd-corpus.ts'
import { RegistryHarness } from './harness.ts'

/** Plural, short name, group, versions as they are preferred, whether it must have a spec, its columns. */
interface Kind {
  readonly plural: string
  readonly short: string
  readonly group: string
  readonly versions: string
  /** In which objects are stored. */
  readonly stored: string
  readonly needsSpec?: boolean
  readonly columns: string
  /** What the columns say about the object of the corpus. */
  readonly shown: RegExp
}

const three = { versions: 'v1 v1beta1 v1alpha3', stored: 'v1' }
const two = { versions: 'v1 v1beta1', stored: 'v1' }
const kinds: readonly Kind[] = [
  {
    ...three,
    plural: 'virtualservices',
    short: 'vs',
    group: 'networking',
    columns: 'GATEWAYS HOSTS AGE',
    shown: /^reviews +\["reviews"\] +\d+s$/,
  },
  {
    ...three,
    plural: 'destinationrules',
    short: 'dr',
    group: 'networking',
    columns: 'HOST AGE',
    shown: /^reviews +reviews\.default\.svc\.cluster\.local +\d+s$/,
  },
  {
    ...three,
    plural: 'gateways',
    short: 'gw',
    group: 'networking',
    columns: 'AGE',
    shown: /^edge +\d+s$/,
  },
  {
    ...three,
    plural: 'serviceentries',
    short: 'se',
    group: 'networking',
    needsSpec: true,
    columns: 'HOSTS LOCATION RESOLUTION AGE',
    shown: /^outside +\["api\.example"\] +MESH_EXTERNAL +STATIC +\d+s$/,
  },
  {
    ...three,
    plural: 'workloadentries',
    short: 'we',
    group: 'networking',
    needsSpec: true,
    columns: 'AGE ADDRESS',
    shown: /^vm-1 +\d+s +192\.0\.2\.9$/,
  },
  {
    ...three,
    plural: 'workloadgroups',
    short: 'wg',
    group: 'networking',
    needsSpec: true,
    columns: 'AGE',
    shown: /^vms +\d+s$/,
  },
  {
    ...three,
    plural: 'sidecars',
    short: '',
    group: 'networking',
    columns: 'AGE',
    shown: /^default +\d+s$/,
  },
  {
    plural: 'envoyfilters',
    short: '',
    group: 'networking',
    versions: 'v1alpha3',
    stored: 'v1alpha3',
    columns: 'AGE',
    shown: /^patch +\d+s$/,
  },
  {
    plural: 'proxyconfigs',
    short: '',
    group: 'networking',
    versions: 'v1beta1',
    stored: 'v1beta1',
    columns: 'AGE',
    shown: /^tuned +\d+s$/,
  },
  {
    ...two,
    plural: 'authorizationpolicies',
    short: 'ap',
    group: 'security',
    columns: 'ACTION AGE',
    shown: /^reviews +ALLOW +\d+s$/,
  },
  {
    ...two,
    plural: 'peerauthentications',
    short: 'pa',
    group: 'security',
    columns: 'MODE AGE',
    shown: /^default +STRICT +\d+s$/,
  },
  {
    ...two,
    plural: 'requestauthentications',
    short: 'ra',
    group: 'security',
    columns: 'AGE',
    shown: /^jwt +\d+s$/,
  },
  {
    plural: 'telemetries',
    short: 'telemetry',
    group: 'telemetry',
    versions: 'v1 v1alpha1',
    stored: 'v1alpha1',
    columns: 'AGE',
    shown: /^default +\d+s$/,
  },
  {
    plural: 'wasmplugins',
    short: '',
    group: 'extensions',
    versions: 'v1alpha1',
    stored: 'v1alpha1',
    needsSpec: true,
    columns: 'AGE',
    shown: /^auth +\d+s$/,
  },
  {
    plural: 'trafficextensions',
    short: '',
    group: 'extensions',
    versions: 'v1alpha1',
    stored: 'v1alpha1',
    needsSpec: true,
    columns: 'AGE',
    shown: /^filter +\d+s$/,
  },
]

describe('kinds of Istio', () => {
  let harness: RegistryHarness
  const bases = readCorpus('experimental')
    .map(({ base }) => base)
    .filter(({ apiVersion }) => String(apiVersion).includes('istio.io/'))

  before(async () => {
    harness = await RegistryHarness.start()
    const manifest = bases.map((base) => stringify(base)).join('---\n')
    await harness.kubectl('apply -f -', manifest)
  })
  after(() => harness.stop())

  /** Lines of a table, blanks as they are. */
  const table = async (line: string): Promise<string[]> =>
    (await harness.kubectl(line)).trimEnd().split('\n')

  const list = async (line: string): Promise<Json[]> =>
    (JSON.parse(await harness.kubectl(`${line} -o json`)) as { items: Json[] }).items

  test('[B1] each kind is served in its versions, stored in one, readable in all', async () => {
    assert.equal(bases.length, kinds.length)
    const definitions = new Map(
      (await list('get crd')).map((crd) => [(crd['metadata'] as { name: string }).name, crd]),
    )
    for (const { plural, group, versions, stored } of kinds) {
      const crd = definitions.get(`${plural}.${group}.istio.io`)
      const spec = crd?.['spec'] as { versions: { name: string; served: boolean }[] }
      const served = spec.versions.filter((each) => each.served).map(({ name }) => name)
      assert.deepEqual(served.sort(), versions.split(' ').sort(), plural)
      const status = crd?.['status'] as { storedVersions: string[] }
      assert.deepEqual(status.storedVersions, [stored], plural)
    }
    const specs = new Map<unknown, string>()
    for (const version of ['v1', 'v1beta1', 'v1alpha3', 'v1alpha1']) {
      const some = kinds.filter(({ versions }) => versions.split(' ').includes(version))
      const names = some.map(({ plural, group }) => `${plural}.${version}.${group}.istio.io`)
      const items = await list(`get ${names.join(',')}`)
      assert.equal(items.length, some.length)
      for (const { apiVersion, kind, spec } of items) {
        assert.equal(String(apiVersion).split('/')[1], version)
        const text = JSON.stringify(spec)
        assert.equal(text, specs.get(kind) ?? text)
        specs.set(kind, text)
      }
    }
    // Without a version, clients get the newest.
    for (const { apiVersion, kind } of await list('get istio-io')) {
      const known = kinds.find(({ plural }) => singular(plural) === String(kind).toLowerCase())
      assert.equal(String(apiVersion).split('/')[1], known?.versions.split(' ')[0], String(kind))
    }
  })

  test('[B1] a spec is mandatory where it says everything, and optional elsewhere', async () => {
    for (const base of bases) {
      const { spec: _spec, ...bare } = base
      const { code, stderr } = await harness.run(
        ['create', '--dry-run=server', '-f', '-'],
        stringify({ ...bare, metadata: { name: 'bare' } }),
      )
      const kind = kinds.find(
        ({ plural }) => singular(plural) === String(base['kind']).toLowerCase(),
      )
      assert.ok(kind !== undefined, String(base['kind']))
      if (kind.needsSpec === true) assert.match(stderr, /spec: Required value/)
      else assert.equal(code, 0, stderr)
    }
  })

  test('[B2] short names and categories find the objects, and helm leaves the definitions', async () => {
    const short = kinds.filter((kind) => kind.short !== '')
    const found = await table(`get ${short.map((kind) => kind.short).join(',')} -o name`)
    assert.deepEqual(
      found.map((name) => name.split('/')[0]),
      short.map(({ plural, group }) => `${singular(plural)}.${group}.istio.io`),
    )
    const all = await table('get istio-io -o name')
    assert.equal(all.length, kinds.length)
    for (const group of ['networking', 'security', 'telemetry', 'extensions']) {
      const some = await table(`get ${group}-istio-io -o name`)
      assert.deepEqual(
        some,
        all.filter((name) => name.includes(`.${group}.istio.io/`)),
      )
    }
    const definitions = (await list('get crd'))
      .map(({ metadata }) => metadata as { name: string; annotations?: Json })
      .filter(({ name }) => name.endsWith('.istio.io'))
    assert.equal(definitions.length, kinds.length)
    for (const { annotations } of definitions) {
      assert.equal(annotations?.['helm.sh/resource-policy'], 'keep')
    }
  })

  test('[B2] each kind has a status apart: a write of one leaves the other', async () => {
    const patch =
      '{"spec":{"ignored":1},"status":{"conditions":[{"type":"Reconciled","status":"True"}]}}'
    const facts = async () =>
      (await list('get istio-io')).map(({ spec, metadata, status }) => ({
        spec,
        generation: (metadata as { generation: number }).generation,
        status,
      }))
    const before = await facts()
    const manifest = bases.map((base) => stringify(base)).join('---\n')
    await harness.kubectl(`patch -f - --subresource=status --type=merge -p ${patch}`, manifest)
    const after = await facts()
    assert.equal(after.length, kinds.length)
    for (const [i, { spec, generation, status }] of after.entries()) {
      assert.deepEqual(spec, before[i]?.spec)
      assert.equal(generation, before[i]?.generation)
      assert.deepEqual(status, { conditions: [{ type: 'Reconciled', status: 'True' }] })
    }
  })

  test('[B3] tables have the columns of the kind and the values of the object', async () => {
    for (const { plural, group, columns, shown } of kinds) {
      const [head = '', row = ''] = await table(`get ${plural}.${group}.istio.io`)
      assert.equal(head.split(/ +/).join(' '), `NAME ${columns}`, plural)
      assert.match(row, shown)
    }
    const every = kinds.map(({ plural, group }) => `${plural}.${group}.istio.io`).join(',')
    for (const [line, first] of [
      [`get ${every} -o wide`, 'NAME'],
      [`get ${every} -A`, 'NAMESPACE NAME'],
    ] as const) {
      const heads = (await table(line)).filter((each) => each.startsWith('NAME'))
      assert.deepEqual(
        heads.map((head) => head.trim().split(/ +/).join(' ')),
        kinds.map(({ columns }) => `${first} ${columns}`),
      )
    }
  })

  test('[B10] a duration below what the field allows is refused by name, the smallest is taken', async () => {
    const rule = (timeout: string): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: slow }
spec: { hosts: [a], http: [{ route: [{ destination: { host: a } }], timeout: ${timeout} }] }
`
    for (const timeout of ['0s', '0.5ms', '-1s', '999us']) {
      const { code, stderr } = await harness.run(['apply', '-f', '-'], rule(timeout))
      assert.equal(code, 1)
      assert.match(
        stderr,
        /spec\.http\[0\]\.timeout: Invalid value: "string": must be a valid dura/,
      )
    }
    const { stderr } = await harness.run(['apply', '-f', '-'], rule('soon'))
    assert.match(stderr, /spec\.http\[0\]\.timeout: Invalid value: /)
    assert.match(await harness.kubectl('apply -f -', rule('1ms')), /slow created/)
  })
})

function singular(plural: string): string {
  return plural.replace(/ies$/, 'y').replace(/s$/, '')
}
