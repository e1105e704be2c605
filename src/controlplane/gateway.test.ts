/** Gateways, waypoints and statuses through the whole control plane, with a Kubernetes API in memory. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { silentLogger, systemClock } from '../base/index.ts'
import { type GroupVersionResource, type KubeObject, resources } from '../kube/index.ts'
import { ControlPlane } from './app.ts'
import { readConfig } from './config.ts'
import { FakeKube } from './fixture.ts'

const kube = new FakeKube()
const fromEnvironment = readConfig({}, [
  'discovery',
  '--secureGRPCAddr=127.0.0.1:0',
  '--grpcAddr=:0',
])
const app = new ControlPlane({
  config: { ...fromEnvironment, httpPort: 0, readyPort: 0, webhookPort: 0 },
  client: kube.client,
  clock: systemClock,
  logger: silentLogger,
  host: '127.0.0.1',
})

async function eventually(what: string, check: () => boolean, withinMs = 3000): Promise<void> {
  const end = Date.now() + withinMs
  while (!check()) {
    if (Date.now() > end) assert.fail(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** For what must not happen. */
const quiet = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 250))

const gatewayApi = 'gateway.networking.k8s.io/v1'

function put(gvr: GroupVersionResource, object: Record<string, unknown>): void {
  // What tests write is an object of the API.
  kube.put(gvr, object as unknown as KubeObject)
}

function putGateway(name: string, spec: object, metadata: object = {}): void {
  put(resources.gateways, {
    apiVersion: gatewayApi,
    kind: 'Gateway',
    metadata: { name, namespace: 'shop', ...metadata },
    spec,
  })
}

const waypointSpec = {
  gatewayClassName: 'istio-waypoint',
  listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
}

function putEndpoints(service: string, port: { name: string; port: number }): void {
  put(resources.endpointslices, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service}-1`,
      namespace: 'shop',
      labels: { 'kubernetes.io/service-name': service },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.244.0.20'], conditions: { ready: true } }],
    ports: [port],
  })
}

/** A field by its path. */
function at(object: unknown, ...path: (string | number)[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined,
    object,
  )
}

const shop = (gvr: GroupVersionResource, name: string): KubeObject | undefined =>
  kube.peek(gvr, 'shop', name)

const text = (gvr: GroupVersionResource, name: string): string =>
  JSON.stringify(shop(gvr, name)?.status ?? {})

before(async () => {
  for (const name of ['istio-system', 'shop', 'team']) {
    kube.put(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  }
  await app.start()
  await eventually(
    'the classes',
    () => kube.peek(resources.gatewayclasses, undefined, 'istio-waypoint') !== undefined,
  )
})

after(() => app.stop())

test('a waypoint is deployed with its own shape, and is programmed once a pod is ready [C3]', async () => {
  putGateway('waypoint', waypointSpec, { uid: 'w1' })
  await eventually('the Service', () => shop(resources.services, 'waypoint') !== undefined)
  const deployment = shop(resources.deployments, 'waypoint')
  const service = shop(resources.services, 'waypoint')
  assert.ok(shop(resources.serviceaccounts, 'waypoint'))
  assert.equal(at(service, 'spec', 'type'), 'ClusterIP')
  assert.deepEqual(at(service, 'spec', 'ports'), [
    { name: 'status-port', port: 15021, protocol: 'TCP', appProtocol: 'tcp' },
    { name: 'mesh', port: 15008, protocol: 'TCP', appProtocol: 'hbone' },
  ])
  assert.deepEqual(service?.metadata.labels, {
    'gateway.networking.k8s.io/gateway-name': 'waypoint',
    'gateway.networking.k8s.io/gateway-class-name': 'istio-waypoint',
    'gateway.istio.io/managed': 'istio.io-mesh-controller',
  })
  assert.deepEqual(deployment?.metadata.ownerReferences, [
    { apiVersion: gatewayApi, kind: 'Gateway', name: 'waypoint', uid: 'w1' },
  ])
  const template = at(deployment, 'spec', 'template')
  assert.equal(at(template, 'metadata', 'labels', 'istio.io/dataplane-mode'), 'none')
  const container = at(template, 'spec', 'containers', 0)
  assert.deepEqual((at(container, 'args') as string[]).slice(0, 6), [
    'proxy',
    'waypoint',
    '--domain',
    '$(POD_NAMESPACE).svc.cluster.local',
    '--serviceCluster',
    'waypoint.$(POD_NAMESPACE)',
  ])
  await eventually('not ready', () =>
    /"AddressNotAssigned".*no instances found/.test(text(resources.gateways, 'waypoint')),
  )
  await kube.patch(resources.services, 'shop', 'waypoint', 'merge', {
    spec: { clusterIP: '10.96.0.9', clusterIPs: ['10.96.0.9'] },
  })
  putEndpoints('waypoint', { name: 'mesh', port: 15008 })
  await eventually('programmed', () =>
    /"reason":"Programmed".*waypoint\.shop/.test(text(resources.gateways, 'waypoint')),
  )
  assert.deepEqual(at(shop(resources.gateways, 'waypoint'), 'status', 'addresses'), [
    { type: 'IPAddress', value: '10.96.0.9' },
    { type: 'Hostname', value: 'waypoint.shop.svc.cluster.local' },
  ])
})

test('what others change of our fields comes back; what they add stays [C3]', async () => {
  await kube.patch(resources.deployments, 'shop', 'waypoint', 'merge', {
    spec: { replicas: 3, template: { spec: { serviceAccountName: 'stolen' } } },
  })
  await eventually(
    'the account',
    () =>
      at(
        shop(resources.deployments, 'waypoint'),
        'spec',
        'template',
        'spec',
        'serviceAccountName',
      ) === 'waypoint',
  )
  assert.equal(at(shop(resources.deployments, 'waypoint'), 'spec', 'replicas'), 3)
  kube.remove(resources.serviceaccounts, 'shop', 'waypoint')
  await eventually(
    'the account again',
    () => shop(resources.serviceaccounts, 'waypoint') !== undefined,
  )
  const { length } = kube.writes
  await quiet()
  assert.equal(kube.writes.length, length, 'writes go on')
})

test('infrastructure labels, annotations and names are used [C6]', async () => {
  putGateway(
    'named',
    {
      gatewayClassName: 'istio',
      listeners: [{ name: 'web', port: 80, protocol: 'HTTP' }],
      infrastructure: { labels: { team: 'a' }, annotations: { 'example.com/note': 'x' } },
    },
    {
      labels: { ignored: 'yes' },
      annotations: {
        'gateway.istio.io/name-override': 'edge',
        'gateway.istio.io/service-account': 'edge-account',
        'networking.istio.io/service-type': 'ClusterIP',
      },
    },
  )
  await eventually('the Service', () => shop(resources.services, 'edge') !== undefined)
  const service = shop(resources.services, 'edge')
  assert.equal(at(service, 'spec', 'type'), 'ClusterIP')
  assert.deepEqual(service?.metadata.annotations, { 'example.com/note': 'x' })
  assert.equal(service?.metadata.labels?.team, 'a')
  assert.equal(service?.metadata.labels?.ignored, undefined)
  assert.ok(shop(resources.serviceaccounts, 'edge-account'))
  const labels = at(shop(resources.deployments, 'edge'), 'spec', 'template', 'metadata', 'labels')
  assert.equal(at(labels, 'team'), 'a')
})

test('a Gateway that names its Service is not deployed, and has that Service as its address [C4]', async () => {
  put(resources.services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'front', namespace: 'shop' },
    spec: { type: 'LoadBalancer', clusterIP: '10.96.0.8', ports: [{ name: 'http', port: 80 }] },
    status: { loadBalancer: { ingress: [{ ip: '192.0.2.7' }] } },
  })
  putEndpoints('front', { name: 'http', port: 8080 })
  putGateway('manual', {
    gatewayClassName: 'istio',
    addresses: [{ type: 'Hostname', value: 'front' }],
    listeners: [{ name: 'web', port: 80, protocol: 'HTTP' }],
  })
  await eventually('its address', () =>
    /"value":"192.0.2.7".*"Programmed"/.test(text(resources.gateways, 'manual')),
  )
  assert.equal(shop(resources.deployments, 'manual-istio'), undefined)
})

test('overlays of the class and of the Gateway change what is deployed; an HPA is made and goes [C7] [C8]', async () => {
  put(resources.configmaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: 'class',
      namespace: 'istio-system',
      labels: { 'gateway.istio.io/defaults-for-class': 'istio-waypoint' },
    },
    data: {
      deployment:
        'spec:\n  template:\n    spec:\n      nodeSelector: { disk: ssd }\n      containers:\n' +
        '      - name: istio-proxy\n        resources: { requests: { cpu: 50m } }\n',
      horizontalPodAutoscaler: 'spec: { minReplicas: 2, maxReplicas: 4 }',
    },
  })
  put(resources.configmaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'own', namespace: 'shop' },
    data: {
      deployment: 'spec: { replicas: 7, template: { spec: { nodeSelector: { disk: hdd } } } }',
    },
  })
  putGateway('tuned', {
    ...waypointSpec,
    infrastructure: { parametersRef: { group: '', kind: 'ConfigMap', name: 'own' } },
  })
  await eventually(
    'the autoscaler',
    () => shop(resources.horizontalpodautoscalers, 'tuned') !== undefined,
  )
  const spec = at(shop(resources.deployments, 'tuned'), 'spec')
  assert.equal(at(spec, 'template', 'spec', 'nodeSelector', 'disk'), 'hdd')
  const container = at(spec, 'template', 'spec', 'containers', 0)
  assert.equal(at(container, 'resources', 'requests', 'cpu'), '50m')
  assert.equal(at(container, 'name'), 'istio-proxy')
  assert.equal(at(spec, 'replicas'), undefined, 'the autoscaler has the say')
  const autoscaler = shop(resources.horizontalpodautoscalers, 'tuned')
  assert.deepEqual(at(autoscaler, 'spec', 'scaleTargetRef', 'name'), 'tuned')
  kube.remove(resources.configmaps, 'istio-system', 'class')
  await eventually(
    'no autoscaler',
    () => shop(resources.horizontalpodautoscalers, 'tuned') === undefined,
  )
  assert.equal(shop(resources.poddisruptionbudgets, 'tuned'), undefined)
})

test('a broken overlay changes nothing of what runs', async () => {
  const { length } = kube.writes
  put(resources.configmaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'own', namespace: 'shop' },
    data: { deployment: 'spec: [not, a, map' },
  })
  await quiet()
  assert.deepEqual(kube.writes.slice(length), [])
})

test('another revision’s Gateway is not ours, by its own label or its namespace’s [C11]', async () => {
  put(resources.namespaces, {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'canaries', labels: { 'istio.io/rev': 'canary' } },
  })
  putGateway('theirs', waypointSpec, { labels: { 'istio.io/rev': 'canary' } })
  putGateway('theirs-too', waypointSpec, { namespace: 'canaries' })
  await quiet()
  assert.equal(shop(resources.deployments, 'theirs'), undefined)
  assert.equal(kube.peek(resources.deployments, 'canaries', 'theirs-too'), undefined)
})

function putRoute(name: string, backend: object, metadata: object = {}, status?: object): void {
  put(resources.httproutes, {
    apiVersion: gatewayApi,
    kind: 'HTTPRoute',
    metadata: { name, namespace: 'shop', ...metadata },
    spec: {
      parentRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'manual' }],
      rules: [{ backendRefs: [backend] }],
    },
    ...(status === undefined ? {} : { status }),
  })
}

test('routes are told about and counted, and a detached one is no longer [C23] [C41]', async () => {
  putRoute('web', { name: 'front', port: 80 })
  await eventually('accepted', () =>
    /"Accepted".*"Route was valid"/.test(text(resources.httproutes, 'web')),
  )
  await eventually('counted', () => /"attachedRoutes":1/.test(text(resources.gateways, 'manual')))
  kube.remove(resources.httproutes, 'shop', 'web')
  await eventually('not counted', () =>
    /"attachedRoutes":0/.test(text(resources.gateways, 'manual')),
  )
})

test('what other controllers wrote stays, and times move only with a status [C41]', async () => {
  const other = {
    parentRef: { name: 'elsewhere' },
    controllerName: 'example.com/other',
    conditions: [],
  }
  putRoute('shared', { name: 'absent', port: 80 }, {}, { parents: [other] })
  const parents = (): unknown => at(shop(resources.httproutes, 'shared'), 'status', 'parents')
  await eventually('two parents', () => at(parents(), 'length') === 2)
  assert.deepEqual(at(parents(), 0), other)
  const conditions = at(parents(), 1, 'conditions') as { type: string; reason: string }[]
  assert.deepEqual(
    conditions.map(({ type, reason }) => `${type} ${reason}`),
    ['Accepted Accepted', 'ResolvedRefs BackendNotFound', 'ResolvedWaypoints ResolvedWaypoints'],
  )
  const old = structuredClone(shop(resources.httproutes, 'shared'))
  assert.ok(old)
  for (const one of at(old, 'status', 'parents', 1, 'conditions') as {
    lastTransitionTime: string
  }[]) {
    one.lastTransitionTime = '2020-01-01T00:00:00Z'
  }
  const rules = [{ backendRefs: [{ name: 'front', port: 80 }] }]
  const metadata = { ...old.metadata, generation: 9 }
  kube.put(resources.httproutes, { ...old, metadata, spec: { ...(old.spec as object), rules } })
  await eventually('resolved', () =>
    /"All references resolved"/.test(text(resources.httproutes, 'shared')),
  )
  const now = at(parents(), 1, 'conditions') as {
    type: string
    lastTransitionTime: string
    observedGeneration: number
  }[]
  const times = Object.fromEntries(now.map((one) => [one.type, one.lastTransitionTime.slice(0, 4)]))
  assert.equal(times.Accepted, '2020')
  assert.notEqual(times.ResolvedRefs, '2020')
  assert.ok(now.every(({ observedGeneration }) => observedGeneration === 9))
})

test('a ReferenceGrant permits, and revokes when it goes [C45]', async () => {
  put(resources.services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'api', namespace: 'team' },
    spec: { clusterIP: '10.96.0.7', ports: [{ name: 'http', port: 80 }] },
  })
  putRoute('across', { name: 'api', namespace: 'team', port: 80 })
  const status = (): string => text(resources.httproutes, 'across')
  await eventually('refused', () => /RefNotPermitted/.test(status()))
  put(resources.referencegrants, {
    apiVersion: 'gateway.networking.k8s.io/v1beta1',
    kind: 'ReferenceGrant',
    metadata: { name: 'shop', namespace: 'team' },
    spec: {
      from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'shop' }],
      to: [{ group: '', kind: 'Service' }],
    },
  })
  await eventually('permitted', () => /All references resolved/.test(status()))
  kube.remove(resources.referencegrants, 'team', 'shop')
  await eventually('refused again', () => /RefNotPermitted/.test(status()))
})

test('a Service is told whether its waypoint is in effect [C52]', async () => {
  put(resources.services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop', labels: { 'istio.io/use-waypoint': 'absent' } },
    spec: { clusterIP: '10.96.0.6', ports: [{ name: 'http', port: 80 }] },
  })
  const status = (): string => text(resources.services, 'web')
  await eventually('not ready', () => /WaypointBound.*WaypointIsNotReady/.test(status()))
  await kube.patch(resources.services, 'shop', 'web', 'merge', {
    metadata: { labels: { 'istio.io/use-waypoint': 'waypoint' } },
  })
  await eventually('bound', () => /"status":"True".*WaypointAccepted/.test(status()))
  await kube.patch(resources.services, 'shop', 'web', 'merge', {
    metadata: { labels: { 'istio.io/use-waypoint': 'none' } },
  })
  await eventually('nothing to say', () => !/WaypointBound/.test(status()))
})

test('a policy for a waypoint is told whether anything obeys it [B115]', async () => {
  put(resources.authorizationpolicies, {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'get-only', namespace: 'shop' },
    spec: { targetRefs: [{ group: '', kind: 'Service', name: 'web' }], rules: [{}] },
  })
  const status = (): string => text(resources.authorizationpolicies, 'get-only')
  await eventually('unbound', () => /WaypointAccepted.*AncestorNotBound/.test(status()))
  await kube.patch(resources.services, 'shop', 'web', 'merge', {
    metadata: { labels: { 'istio.io/use-waypoint': 'waypoint' } },
  })
  await eventually('bound', () => /"bound to shop\/waypoint"/.test(status()))
})

test('a ServiceEntry without addresses gets one of each family, and keeps them', async () => {
  put(resources.serviceentries, {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name: 'outside', namespace: 'shop' },
    spec: {
      hosts: ['api.example.com'],
      resolution: 'DNS',
      ports: [{ number: 443, name: 'tls', protocol: 'TLS' }],
    },
  })
  const addresses = (): unknown =>
    at(shop(resources.serviceentries, 'outside'), 'status', 'addresses')
  await eventually('addresses', () => at(addresses(), 'length') === 2)
  const first = addresses()
  assert.match(String(at(first, 0, 'value')), /^240\.240\./)
  assert.match(String(at(first, 1, 'value')), /^2001:2:/)
  await quiet()
  assert.deepEqual(addresses(), first)
})

test('GatewayClasses of ours are accepted, also those under other names [C1]', async () => {
  put(resources.gatewayclasses, {
    apiVersion: gatewayApi,
    kind: 'GatewayClass',
    metadata: { name: 'company-edge' },
    spec: { controllerName: 'istio.io/gateway-controller' },
  })
  const status = (name: string): string =>
    JSON.stringify(kube.peek(resources.gatewayclasses, undefined, name)?.status ?? {})
  await eventually('its condition', () =>
    /Handled by Istio controller/.test(status('company-edge')),
  )
  assert.match(status('istio-remote'), /"Accepted".*"True"|"True".*"Accepted"/)
})
