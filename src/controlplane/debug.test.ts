/** What operators and istioctl see of a running control plane: pages over HTTP and over xDS, and metrics. */
import assert from 'node:assert/strict'
import { get as httpGet } from 'node:http'
import { after, before, test } from 'node:test'
import { silentLogger, systemClock } from '../base/index.ts'
import { GrpcChannel } from '../grpc/index.ts'
import { resources } from '../kube/index.ts'
import {
  AggregatedDiscoveryService,
  create,
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
  typeUrl,
} from '../proto/index.ts'
import { createDeltaClient, type DeltaClient } from '../xdsclient/index.ts'
import { ControlPlane } from './app.ts'
import { readConfig } from './config.ts'
import { anyToJson } from './envoy-json.ts'
import { FakeKube } from './fixture.ts'

const kube = new FakeKube()
const ports = ['discovery', '--secureGRPCAddr=127.0.0.1:0', '--grpcAddr=:0']
const app = new ControlPlane({
  config: {
    ...readConfig({ PILOT_DEBOUNCE_AFTER: '20ms', POD_NAME: 'istiod-1' }, ports),
    httpPort: 0,
    readyPort: 0,
    webhookPort: 0,
  },
  client: kube.client,
  clock: systemClock,
  logger: silentLogger,
  host: '127.0.0.1',
})
const clients: DeltaClient[] = []

function connect(node: string, metadata: Record<string, string | object>, types: string[]) {
  const [name = '', namespace = ''] = node.split('.')
  const client = createDeltaClient({
    address: `127.0.0.1:${app.ports.xds}`,
    serverName: 'istiod.istio-system.svc',
    rootCa: () => app.rootsPem,
    token: () => `${namespace}:${name}:${name}`,
    node: {
      id: `${types.length > 2 ? 'router' : 'ztunnel'}~10.244.0.10~${node}~${namespace}.svc.cluster.local`,
      metadata: metadata as Record<string, string>, // nested values are JSON too
    },
    clusterId: 'Kubernetes',
    types: types.map((type) => ({
      typeUrl: type,
      wildcard: true,
      onResource: () => {
        if (type === typeUrl.route) throw new Error('this route is too beautiful')
      },
      onRemoved: () => {},
    })),
    logger: silentLogger,
    clock: systemClock,
  })
  clients.push(client)
  return client
}

/** Asks as istioctl does, once, by a stream of its own. */
async function ask(
  type: string,
  names: string[] = [],
  from: { token?: string; namespace?: string; port?: number | undefined } = {},
): Promise<DiscoveryResponse> {
  const { token = 'istio-system:default:istioctl', namespace = 'istio-system', port } = from
  const channel = new GrpcChannel({
    address: `127.0.0.1:${port ?? app.ports.xds}`,
    serverName: 'istiod.istio-system.svc',
    ...(port === undefined ? { roots: () => app.rootsPem } : {}),
    headers: () => ({ authorization: `Bearer ${token}` }),
  })
  const stream = channel.bidi(AggregatedDiscoveryService.method.streamAggregatedResources)
  try {
    return await new Promise<DiscoveryResponse>((resolve, reject) => {
      stream.onMessage(resolve)
      stream.onEnd(({ status, message }) => reject(new Error(`${status} ${message}`)))
      const request = {
        node: {
          id: 'sidecar~127.0.0.1~istioctl.default~default.svc.cluster.local',
          metadata: { GENERATOR: 'event', NAMESPACE: namespace, SERVICE_ACCOUNT: 'default' },
        },
        typeUrl: type,
        resourceNames: names,
      }
      stream.send(create(DiscoveryRequestSchema, request) as DiscoveryRequest)
    })
  } finally {
    stream.cancel()
    channel.close()
  }
}

interface From {
  readonly localAddress?: string
  readonly token?: string
  readonly port?: number
}

function fetchText(path: string, from: From = {}): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const { localAddress, token, port = app.ports.http } = from
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const options = localAddress === undefined ? {} : { localAddress }
    httpGet({ host: '127.0.0.1', port, path, headers, ...options }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    }).on('error', reject)
  })
}

// The pages' shapes are what these tests are about.
// oxlint-disable-next-line typescript/no-explicit-any
async function page(path: string, from?: From): Promise<any> {
  const { status, text } = await fetchText(`/debug/${path}`, from)
  assert.equal(status, 200, `${path}: ${text}`)
  return JSON.parse(text)
}

before(async () => {
  for (const name of ['istio-system', 'bookinfo']) {
    kube.put(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  }
  kube.put(resources.pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'reviews-1', namespace: 'bookinfo', labels: { app: 'reviews' } },
    spec: { serviceAccountName: 'reviews', nodeName: 'node', containers: [] },
    status: {
      phase: 'Running',
      podIP: '10.244.0.10',
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  })
  kube.put(resources.services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'reviews', namespace: 'bookinfo' },
    spec: {
      clusterIP: '10.96.0.20',
      selector: { app: 'reviews' },
      ports: [{ name: 'http', port: 80, targetPort: 9080 }],
    },
  })
  const slice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: 'reviews-1',
      namespace: 'bookinfo',
      labels: { 'kubernetes.io/service-name': 'reviews' },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 9080, protocol: 'TCP' }],
    endpoints: [
      {
        addresses: ['10.244.0.10'],
        conditions: { ready: true },
        targetRef: { kind: 'Pod', name: 'reviews-1', namespace: 'bookinfo' },
      },
    ],
  }
  kube.put(resources.endpointslices, slice)
  kube.put(resources.authorizationpolicies, {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'allow', namespace: 'bookinfo' },
    spec: { rules: [{ from: [{ source: { namespaces: ['bookinfo'] } }] }] },
  })
  kube.put(resources.gatewayclasses, {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GatewayClass',
    metadata: { name: 'istio' },
    spec: { controllerName: 'istio.io/gateway-controller' },
  })
  kube.put(resources.gateways, {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'web', namespace: 'bookinfo' },
    spec: { gatewayClassName: 'istio', listeners: [{ name: 'http', port: 80, protocol: 'HTTP' }] },
  })
  kube.put(resources.httproutes, {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'reviews', namespace: 'bookinfo' },
    spec: {
      parentRefs: [{ name: 'web' }],
      rules: [{ backendRefs: [{ name: 'reviews', port: 80 }] }],
    },
  })
  await app.start()
  const version = { ISTIO_VERSION: '1.30.0' }
  const ztunnel = connect('ztunnel-1.istio-system', version, [
    typeUrl.address,
    typeUrl.authorization,
  ])
  const labels = { 'gateway.networking.k8s.io/gateway-name': 'web' }
  const gateway = connect('web-1.bookinfo', { LABELS: labels }, [
    typeUrl.cluster,
    typeUrl.endpoint,
    typeUrl.listener,
    typeUrl.route,
  ])
  await ztunnel.start()
  await gateway.start()
  await ztunnel.ready
  const end = Date.now() + 5000
  while (JSON.stringify(await page('push_status')).indexOf('beautiful') < 0) {
    assert.ok(Date.now() < end, 'the gateway rejects its route')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
})

after(async () => {
  for (const client of clients) await client.stop()
  await app.stop()
})

test('[A1.24] syncz, registry, endpoints, configuration and version are there in the shapes that Kiali reads', async () => {
  const syncz = await page('syncz')
  const gateway = syncz.find(({ proxy }: { proxy: string }) => proxy === 'web-1.bookinfo')
  assert.equal(gateway.cluster_id, 'Kubernetes')
  assert.equal(gateway.proxy_type, 'router')
  assert.equal(gateway.cluster_sent, gateway.cluster_acked)
  assert.match(gateway.listener_sent, /^\d+-\d+$/)
  assert.equal(gateway.route_acked, undefined)
  const ztunnel = syncz.find(({ proxy }: { proxy: string }) => proxy === 'ztunnel-1.istio-system')
  assert.equal(ztunnel.istio_version, '1.30.0')
  assert.equal(ztunnel.cluster_sent, undefined)

  const host = 'reviews.bookinfo.svc.cluster.local'
  const service = (await page('registryz')).find(
    ({ hostname }: { hostname: string }) => hostname === host,
  )
  assert.equal(service.Attributes.Namespace, 'bookinfo')
  assert.deepEqual(service.ports, [{ name: 'http', port: 80, protocol: 'HTTP' }])
  assert.deepEqual(service.clusterVIPs, { Addresses: { Kubernetes: ['10.96.0.20'] } })

  const { ep } = (await page('endpointz')).find(
    ({ svc }: { svc: string }) => svc === `${host}:http`,
  )
  assert.equal(ep[0].Endpoint.Addresses[0], '10.244.0.10')
  assert.equal(ep[0].Endpoint.EndpointPort, 9080)
  assert.equal(ep[0].Endpoint.ServiceAccount, 'spiffe://cluster.local/ns/bookinfo/sa/reviews')
  assert.match(
    (await fetchText('/debug/endpointz?brief')).text,
    /^reviews\.bookinfo\.svc\.cluster\.local:http 10\.244\.0\.10:9080 spiffe:/m,
  )
  const shards = await page('endpointShardz')
  const shard = shards[host].bookinfo
  assert.equal(shard.Shards['Kubernetes/Kubernetes'][0].NodeName, 'node')
  const instances = await page('instancesz')
  assert.equal(
    instances['web-1.bookinfo'][0].Service.hostname,
    'reviews.bookinfo.svc.cluster.local',
  )

  const kinds = (await page('configz')).map(({ kind }: { kind: string }) => kind)
  assert.ok(kinds.includes('AuthorizationPolicy') && kinds.includes('HTTPRoute'))
  const { authorization_policies: policies } = await page('authorizationz')
  assert.equal(policies.root_namespace, 'istio-system')
  assert.equal(policies.namespace_to_policies.bookinfo[0].name, 'allow')
  assert.equal((await page('mesh')).rootNamespace, 'istio-system')
  assert.match((await fetchText('/version')).text, /^\d+\.\d+\.\d+\n$/)
})

test('connections are listed with what they watch', async () => {
  const { totalClients, clients: listed } = await page('connections')
  assert.equal(totalClients, 2)
  assert.match(listed[0].connectionId, /^router~10\.244\.0\.10~web-1\.bookinfo~.*-\d+$/)
  assert.match(listed[0].connectedAt, /^\d{4}-/)
  const adsz = await page('adsz?proxyID=ztunnel-1.istio-system')
  assert.equal(adsz.totalClients, 1)
  assert.deepEqual(adsz.clients[0].watches[typeUrl.address], [])
  assert.equal(adsz.clients[0].metadata.ISTIO_VERSION, '1.30.0')
  assert.equal((await fetchText('/debug/adsz?push=true')).text, 'Pushed to 2 servers\n')
})

test('config_dump is what Envoy would dump, edsz its endpoints', async () => {
  const { configs } = await page('config_dump?proxyID=web-1.bookinfo')
  const types = configs.map((item: { '@type': string }) => item['@type'].split('.').pop())
  assert.deepEqual(types, [
    'BootstrapConfigDump',
    'ClustersConfigDump',
    'ListenersConfigDump',
    'RoutesConfigDump',
    'SecretsConfigDump',
  ])
  const [, clusters, listeners, routes] = configs
  const name = 'outbound|80||reviews.bookinfo.svc.cluster.local'
  assert.ok(
    clusters.dynamicActiveClusters.some(
      ({ cluster }: { cluster: { name: string } }) => cluster.name === name,
    ),
  )
  assert.equal(listeners.dynamicListeners[0].activeState.listener.name, '0.0.0.0_80')
  const [chain] = listeners.dynamicListeners[0].activeState.listener.filterChains
  // Extensions inside are readable too.
  assert.match(chain.filters[0].typedConfig['@type'], /HttpConnectionManager$/)
  assert.match(JSON.stringify(routes), new RegExp(name.replaceAll('|', '[|]')))
  const [endpoints] = await page('edsz?proxyID=web-1.bookinfo')
  assert.match(JSON.stringify(endpoints), /10\.244\.0\.10/)
  assert.equal((await fetchText('/debug/config_dump')).status, 400)
  const stranger = await fetchText('/debug/config_dump?proxyID=nobody')
  assert.equal(stranger.status, 404)
  assert.match(stranger.text, /not connected to this Pilot instance/)
  assert.equal((await fetchText('/debug/ndsz?proxyID=web-1.bookinfo')).status, 400)
})

test('every page of the list answers, the index names them, and nothing else is there', async () => {
  const names: string[] = await page('list')
  assert.ok(names.length > 15)
  for (const name of names) {
    const { status } = await fetchText(`/debug/${name}?proxyID=web-1.bookinfo`)
    // No extension configurations, no name table.
    const expected = name === 'ecdsz' ? 404 : name === 'ndsz' ? 400 : 200
    assert.equal(status, expected, name)
  }
  for (const path of ['/debug', '/debug/']) {
    const { text } = await fetchText(path)
    for (const name of names) assert.match(text, new RegExp(`href="/debug/${name}"`))
  }
  assert.equal((await fetchText('/debug/nothing')).status, 404)
  assert.equal((await fetchText('/debug/force_disconnect?proxyID=web-1')).status, 404)
  assert.match((await fetchText('/debug/mesh?pretty')).text, /\n {2}"/)
})

test('port 8080 of the loopback has readiness and the same pages', async () => {
  const port = app.ports.ready
  assert.equal((await fetchText('/ready', { port })).status, 200)
  assert.match((await fetchText('/debug/syncz', { port })).text, /ztunnel-1\.istio-system/)
})

test('pages need a token unless asked from 127.0.0.1; other namespaces see their own proxies only', async () => {
  const fetched = (path: string, token?: string) =>
    fetchText(path, { localAddress: '127.0.0.2', ...(token === undefined ? {} : { token }) })
  const status = async (path: string, token?: string): Promise<number> =>
    (await fetched(path, token)).status
  assert.equal(await status('/debug/syncz'), 401)
  assert.equal(await status('/debug/syncz', 'nonsense'), 401)
  assert.equal(await status('/debug/syncz', 'bookinfo:reviews:reviews-1'), 403)
  assert.equal(await status('/debug/syncz', 'istio-system:default:tool-1'), 200)
  const own = '/debug/config_dump?proxyID=web-1'
  assert.equal(await status(own, 'bookinfo:reviews:reviews-1'), 200)
  assert.equal(await status(own, 'other:thief:thief-1'), 404)
  assert.equal(
    await status('/debug/edsz?proxyID=ztunnel-1.istio-system', 'bookinfo:reviews:reviews-1'),
    404,
  )
  assert.equal(await status('/metrics'), 200)
})

test('[A1.27] the metrics that dashboards ask for are there', async () => {
  const { text } = await fetchText('/metrics')
  for (const line of [
    /^pilot_xds\{version="1\.30\.0"\} 1$/m,
    /^pilot_xds_pushes\{type="cds"\} \d/m,
    /^pilot_xds_pushes\{type="wds"\} \d/m,
    /^pilot_total_xds_rejects\{type="rds"\} \d/m,
    /^pilot_xds_rds_reject\{node="router~[^"]*web-1[^"]*",err="rejected"\} \d/m,
    /^pilot_xds_config_size_bytes_bucket\{type="lds",le="10000"\} \d/m,
    /^pilot_xds_push_time_count\{type="eds"\} \d/m,
    /^pilot_proxy_convergence_time_count \d/m,
    /^pilot_proxy_queue_time_count \d/m,
    /^pilot_debounce_time_count \d/m,
    /^pilot_push_triggers\{type="proxyrequest"\} 6$/m,
    /^pilot_inbound_updates\{type="svc"\} \d/m,
    /^pilot_services [12]$/m,
    /^pilot_k8s_cfg_events\{type="HTTPRoute",event="add"\} 1$/m,
    /^pilot_k8s_reg_events\{type="Pod",event="add"\} 1$/m,
    /^pilot_info\{version="[^"]+"\} 1$/m,
    /^istiod_managed_clusters\{cluster_type="local"\} 1$/m,
    /^process_resident_memory_bytes \d{7,}/m,
    /^process_cpu_seconds_total \d/m,
  ]) {
    assert.match(text, line)
  }
})

test('istioctl proxy-status gets the state of every proxy over xDS, and who answered', async () => {
  const response = await ask('istio.io/debug/syncz')
  assert.notEqual(response.versionInfo, '')
  const identifier = JSON.parse(response.controlPlane?.identifier ?? '{}')
  assert.equal(identifier.Component, 'istiod')
  assert.equal(identifier.ID, 'istiod-1')
  assert.match(identifier.Info.version, /^\d/)
  const configs = response.resources.map(({ typeUrl: type, value }) => anyToJson(type, value))
  const find = (id: string) =>
    configs.find(({ node }) => Reflect.get(Object(node), 'id') === id) as {
      node: { metadata: Record<string, string> }
      genericXdsConfigs: { typeUrl: string; configStatus: string }[]
    }
  // istioctl itself is no proxy.
  assert.equal(configs.length, 2)
  const gateway = find('web-1.bookinfo')
  assert.equal(gateway.node.metadata.CLUSTER_ID, 'Kubernetes')
  const status = (type: string) =>
    gateway.genericXdsConfigs.find((item) => item.typeUrl === type)?.configStatus
  assert.deepEqual(
    [status(typeUrl.cluster), status(typeUrl.route), status(typeUrl.extensionConfig)],
    ['SYNCED', 'ERROR', 'NOT_SENT'],
  )
  assert.equal(find('ztunnel-1.istio-system').node.metadata.ISTIO_VERSION, '1.30.0')
})

test('istioctl proxy-status of one proxy and internal-debug get dumps and pages over xDS', async () => {
  const dump = await ask('istio.io/debug/config_dump', ['web-1.bookinfo'])
  const clusters = dump.resources.find(({ typeUrl: type }) => type.endsWith('ClustersConfigDump'))
  assert.match(
    JSON.stringify(anyToJson(clusters?.typeUrl ?? '', clusters?.value ?? new Uint8Array())),
    /outbound\|80\|\|reviews/,
  )
  const nobody = await ask('istio.io/debug/config_dump', ['nobody.bookinfo'])
  assert.deepEqual(nobody.resources, [])
  const { resources: pages } = await ask('istio.io/debug', ['config_dump?proxyID=web-1.bookinfo'])
  assert.equal(pages[0]?.typeUrl, 'istio.io/debug')
  assert.match(Buffer.from(pages[0]?.value ?? []).toString(), /ListenersConfigDump/)
  await assert.rejects(ask('istio.io/debug', ['syncz', 'adsz']), /^Error: 3 .*exactly one/)
  await assert.rejects(ask('istio.io/debug/nonsense'), /^Error: 3 /)
})

test('over xDS strangers see no more than over HTTP, and nobody anything on the plaintext port', async () => {
  const foreign = { token: 'bookinfo:default:tool', namespace: 'bookinfo' }
  const { resources: seen } = await ask('istio.io/debug/syncz', [], foreign)
  assert.equal(seen.length, 1)
  await assert.rejects(ask('istio.io/debug', ['syncz'], foreign), /^Error: 7 /)
  await assert.rejects(
    ask('istio.io/debug', ['syncz'], { ...foreign, namespace: 'istio-system' }),
    /^Error: 7 .*authenticated as/,
  )
  const port = app.ports.plaintext
  await assert.rejects(ask('istio.io/debug/syncz', [], { port }), /^Error: 7 .*identity/)
  const addresses = await ask(typeUrl.address, [], { port })
  assert.ok(addresses.resources.length > 0)
})
