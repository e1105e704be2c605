/**
 * Two control planes of different revisions beside a real registry: the webhooks that refuse what makes no
 * sense, over real TLS with certificates of the mesh's authority, and the work that only one of them does.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { silentLogger, systemClock } from '../../src/base/index.ts'
import { createKubeClient, type KubeClient } from '../../src/client/index.ts'
import { ControlPlane } from '../../src/controlplane/app.ts'
import { readConfig } from '../../src/controlplane/config.ts'
import { type GroupVersionResource, type KubeObject, resources } from '../../src/kube/index.ts'
import { createRegistry, type Registry } from '../../src/registry/index.ts'
import { meshServices, meshWebhooks } from '../../src/standalone/init/mesh-objects.ts'

const system = 'istio-system'
const validating: GroupVersionResource = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  resource: 'validatingwebhookconfigurations',
}
const tagged: GroupVersionResource = { ...validating, resource: 'mutatingwebhookconfigurations' }

interface Webhook {
  readonly name: string
  readonly failurePolicy: string
  readonly clientConfig: { readonly caBundle?: string }
}

type Configuration = KubeObject & { webhooks: Webhook[] }

let dir: string
let registry: Registry
let admin: ReturnType<typeof createKubeClient>
/** Who makes what: the user agent is the field manager of its writes. */
let planes: { app: ControlPlane; client: ReturnType<typeof createKubeClient> }[] = []
let webhookPort = 0
const listener = createServer()

async function eventually<T>(
  what: string,
  check: () => Promise<T | undefined | false>,
  withinMs = 15_000,
): Promise<T> {
  const end = Date.now() + withinMs
  for (;;) {
    const found = await check()
    if (found !== undefined && found !== false) return found
    if (Date.now() > end) assert.fail(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

function connectAs(userAgent: string): ReturnType<typeof createKubeClient> {
  const { certPem, keyPem } = registry.adminCredentials
  return createKubeClient({
    server: `https://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    caPem: () => registry.caCertificatePem,
    certificate: () => ({ certPem, keyPem }),
    userAgent,
    clock: systemClock,
  })
}

function plane(revision: string): {
  app: ControlPlane
  client: ReturnType<typeof createKubeClient>
} {
  const client = connectAs(`istiod-${revision}`)
  const environment = {
    REVISION: revision,
    POD_NAME: `istiod-${revision}`,
    PILOT_DEBOUNCE_AFTER: '10ms',
  }
  const config = readConfig(environment, ['discovery', '--secureGRPCAddr=127.0.0.1:0'])
  const app = new ControlPlane({
    config: { ...config, httpPort: 0, readyPort: 0, webhookPort: 0 },
    client: client as KubeClient,
    clock: systemClock,
    logger: silentLogger,
    host: '127.0.0.1',
    leaderTimes: { leaseDurationMs: 2_000, renewDeadlineMs: 1_200, retryPeriodMs: 200 },
  })
  return { app, client }
}

const object = (apiVersion: string, kind: string, name: string, rest: object = {}): KubeObject => ({
  apiVersion,
  kind,
  metadata: { name, namespace: 'default' },
  ...rest,
})

const virtualService = (name: string, spec: unknown): KubeObject =>
  object('networking.istio.io/v1', 'VirtualService', name, { spec })

const good = { hosts: ['reviews'], http: [{ route: [{ destination: { host: 'reviews' } }] }] }

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'weft-planes-'))
  registry = createRegistry({
    dir,
    name: 'test',
    clock: systemClock,
    logger: silentLogger,
    version: '0.0.0',
    dialWebhook: () =>
      new Promise((resolve, reject) => {
        const socket = connect(webhookPort, '127.0.0.1', () => resolve(socket))
        socket.once('error', reject)
      }),
  })
  registry.attach(listener)
  await registry.start()
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  admin = connectAs('admin')
  for (const service of meshServices()) await admin.create(resources.services, service)
  await admin.create(resources.endpointslices, {
    ...object('discovery.k8s.io/v1', 'EndpointSlice', 'istiod'),
    metadata: {
      name: 'istiod',
      namespace: system,
      labels: { 'kubernetes.io/service-name': 'istiod' },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: true } }],
    ports: [{ name: 'https-webhook', port: 15017, protocol: 'TCP' }],
  } as KubeObject)
  for (const one of meshWebhooks()) await admin.create(validating, one)
  planes = [plane('default'), plane('canary')]
  await Promise.all(planes.map(({ app }) => app.start()))
  webhookPort = planes[0]?.app.ports.webhooks ?? 0
})

after(async () => {
  await Promise.all(planes.map(({ app }) => app.stop(1_000)))
  for (const { client } of planes) client.close()
  admin.close()
  listener.close()
  await registry.stop(500)
  await rm(dir, { recursive: true, force: true })
})

async function webhooks(): Promise<Webhook[]> {
  const list = await admin.list<Configuration>(validating)
  return list.items.flatMap((one) => one.webhooks)
}

test('the webhooks get the mesh root and fail closed once they are seen to work [B5]', async () => {
  const all = await eventually('both fail closed', async () => {
    const found = await webhooks()
    return found.length === 2 && found.every((one) => one.failurePolicy === 'Fail') && found
  })
  const bundle = Buffer.from(planes[0]?.app.rootsPem ?? '').toString('base64')
  for (const one of all) assert.equal(one.clientConfig.caBundle, bundle)
})

test('an object that makes no sense is refused with the reason [B37]', async () => {
  await eventually('fail closed', async () =>
    (await webhooks()).every((one) => one.failurePolicy === 'Fail'),
  )
  await assert.rejects(
    admin.create(resources.virtualservices, virtualService('empty', { hosts: ['reviews'] })),
    {
      message:
        'admission webhook "validation.istio.io" denied the request: configuration is invalid: ' +
        'http, tcp or tls must be provided in virtual service',
    },
  )
  await admin.create(resources.virtualservices, virtualService('good', good))
  const broken = {
    ...good,
    http: [{ ...good.http[0], retries: { attempts: 1, retryOn: 'never' } }],
  }
  await assert.rejects(
    admin.patch(resources.virtualservices, 'default', 'good', 'merge', { spec: broken }),
    /"never" is not a valid retryOn policy/,
  )
  const revised = virtualService('revised', { hosts: ['reviews'] })
  revised.metadata.labels = { 'istio.io/rev': 'default' }
  await assert.rejects(
    admin.create(resources.virtualservices, revised),
    /admission webhook "rev.validation.istio.io" denied/,
  )
})

test('durations below a millisecond or finer are refused [B10]', async () => {
  const withTimeout = (timeout: string): KubeObject =>
    virtualService(`t${timeout.replaceAll(/\W/g, '-')}`, {
      ...good,
      http: [{ ...good.http[0], timeout }],
    })
  await assert.rejects(
    admin.create(resources.virtualservices, withTimeout('1.0005s')),
    /only durations to ms precision are supported/,
  )
  await admin.create(resources.virtualservices, withTimeout('1.005s'))
})

test('checking costs an apply little', async () => {
  const took: number[] = []
  for (let index = 0; index < 60; index++) {
    const start = performance.now()
    await admin.create(resources.virtualservices, virtualService(`many-${index}`, good))
    took.push(performance.now() - start)
  }
  const median = took.toSorted((a, b) => a - b)[30] ?? 0
  // Wide, since machines that run tests are busy.
  assert.ok(median < 250, `an apply takes ${median} ms`)
})

const holderOf = async (name: string): Promise<string | undefined> => {
  const lease = await admin.get<KubeObject<{ holderIdentity?: string }>>(
    resources.leases,
    system,
    name,
  )
  return lease?.spec?.holderIdentity
}

test('of two control planes one writes; the other takes over when it dies', async () => {
  const lease = 'istio-namespace-controller-election'
  await eventually(
    'the default revision leads',
    async () => (await holderOf(lease)) === 'istiod-default',
  )
  const make = async (name: string): Promise<void> => {
    await admin.create(resources.namespaces, {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name },
    })
  }
  const writer = (name: string): Promise<string | undefined> =>
    eventually(`the root in ${name}`, async () => {
      const map = await admin.get(resources.configmaps, name, 'istio-ca-root-cert')
      const [entry] = (map?.metadata.managedFields ?? []) as { manager?: string }[]
      return entry?.manager
    })
  await make('first')
  assert.equal(await writer('first'), 'istiod-default')
  await admin.get(resources.configmaps, 'kube-system', 'istio-ca-root-cert').then((map) => {
    assert.equal(map, undefined)
  })
  // As if its process were gone: no request goes out any more, the Lease is not given back.
  const [main] = planes
  main?.client.close()
  await eventually('the other leads', async () => (await holderOf(lease)) === 'istiod-canary')
  await make('second')
  assert.equal(await writer('second'), 'istiod-canary')
})

test('a Gateway is deployed by the revision that its namespace names, also by a tag', async () => {
  await admin.create(tagged, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: {
      name: 'istio-revision-tag-prod',
      labels: { 'istio.io/tag': 'prod', 'istio.io/rev': 'canary' },
    },
    webhooks: [],
  } as KubeObject)
  const rev = { metadata: { labels: { 'istio.io/rev': 'prod' } } }
  await admin.patch(resources.namespaces, undefined, 'second', 'merge', rev)
  const gateway = (namespace: string): KubeObject => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'web', namespace },
    spec: { gatewayClassName: 'istio', listeners: [{ name: 'http', port: 80, protocol: 'HTTP' }] },
  })
  // The default revision, whose the first would be, is gone.
  await admin.create(resources.gateways, gateway('first'))
  await admin.create(resources.gateways, gateway('second'))
  const deployed = (namespace: string): Promise<KubeObject | undefined> =>
    admin.get(resources.deployments, namespace, 'web-istio')
  await eventually('the tagged one', async () => (await deployed('second')) !== undefined)
  assert.equal(await deployed('first'), undefined)
})

test('only namespaces that the selectors choose get the root, as soon as they do', async () => {
  await admin.create(resources.configmaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'istio-canary', namespace: system },
    data: { mesh: 'discoverySelectors:\n- matchLabels:\n    mesh: "yes"\n' },
  } as KubeObject)
  const make = async (name: string, labels: Record<string, string>): Promise<void> => {
    await admin.create(resources.namespaces, {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels },
    })
  }
  const root = (name: string): Promise<KubeObject | undefined> =>
    admin.get(resources.configmaps, name, 'istio-ca-root-cert')
  await new Promise((resolve) => setTimeout(resolve, 300))
  await make('outside', {})
  await make('inside', { mesh: 'yes' })
  await eventually('inside', async () => (await root('inside')) !== undefined)
  assert.equal(await root('outside'), undefined)
  const labels = { metadata: { labels: { mesh: 'yes' } } }
  await admin.patch(resources.namespaces, undefined, 'outside', 'merge', labels)
  await eventually(
    'outside, which is inside now',
    async () => (await root('outside')) !== undefined,
  )
})
