/** The whole control plane over real TLS, with a Kubernetes API in memory and the real delta client. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { silentLogger, systemClock } from '../base/index.ts'
import { type KubeObject, resources } from '../kube/index.ts'
import { fromBinary, security, typeUrl, workload } from '../proto/index.ts'
import { createDeltaClient, type DeltaClient } from '../xdsclient/index.ts'
import { ControlPlane } from './app.ts'
import { readConfig } from './config.ts'
import { FakeKube } from './fixture.ts'

const kube = new FakeKube()
const fromEnvironment = readConfig({ PILOT_DEBOUNCE_AFTER: '50ms' }, [
  'discovery',
  '--secureGRPCAddr=127.0.0.1:0',
  '--grpcAddr=:0',
])
const config = { ...fromEnvironment, httpPort: 0, readyPort: 0, webhookPort: 0 }
const app = new ControlPlane({
  config,
  client: kube.client,
  clock: systemClock,
  logger: silentLogger,
  host: '127.0.0.1',
})
const addresses = new Map<string, workload.Address>()
const policies = new Map<string, security.Authorization>()
let ztunnel: DeltaClient

async function eventually(what: string, check: () => boolean, withinMs = 3000): Promise<void> {
  const end = Date.now() + withinMs
  while (!check()) {
    if (Date.now() > end) assert.fail(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function pod(name: string, annotations: Record<string, string> = {}) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'bookinfo', labels: { app: 'reviews' }, annotations },
    spec: { serviceAccountName: 'reviews', nodeName: 'node', containers: [] },
    status: {
      phase: 'Running',
      podIP: '10.244.0.10',
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  }
}

before(async () => {
  for (const name of ['istio-system', 'bookinfo']) {
    kube.put(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  }
  kube.put(resources.pods, pod('reviews-1'))
  kube.missing.add('referencegrants')
  await app.start()
  ztunnel = createDeltaClient({
    address: `127.0.0.1:${app.ports.xds}`,
    serverName: 'istiod.istio-system.svc',
    rootCa: () => app.rootsPem,
    token: () => 'istio-system:ztunnel:ztunnel-1',
    node: {
      id: 'ztunnel~127.0.0.1~ztunnel-1.istio-system~istio-system.svc.cluster.local',
      metadata: {},
    },
    clusterId: 'Kubernetes',
    types: [
      {
        typeUrl: typeUrl.address,
        wildcard: true,
        onResource: (name, bytes) =>
          void addresses.set(name, fromBinary(workload.AddressSchema, bytes)),
        onRemoved: (name) => void addresses.delete(name),
      },
      {
        typeUrl: typeUrl.authorization,
        wildcard: true,
        onResource: (name, bytes) =>
          void policies.set(name, fromBinary(security.AuthorizationSchema, bytes)),
        onRemoved: (name) => void policies.delete(name),
      },
    ],
    logger: silentLogger,
    clock: systemClock,
  })
  await ztunnel.start()
  await ztunnel.ready
})

after(async () => {
  await ztunnel.stop()
  await app.stop()
})

test('a node proxy learns pods, their enrolment and their end', async () => {
  const uid = 'Kubernetes//Pod/bookinfo/reviews-1'
  const tunnel = (): workload.TunnelProtocol | undefined => {
    const type = addresses.get(uid)?.type
    return type?.case === 'workload' ? type.value.tunnelProtocol : undefined
  }
  assert.equal(tunnel(), workload.TunnelProtocol.NONE)
  kube.put(resources.pods, pod('reviews-1', { 'ambient.istio.io/redirection': 'enabled' }))
  await eventually('the pod is HBONE', () => tunnel() === workload.TunnelProtocol.HBONE, 1000)
  kube.put(resources.pods, pod('reviews-2'))
  await eventually('the second pod is known', () =>
    addresses.has('Kubernetes//Pod/bookinfo/reviews-2'),
  )
  kube.remove(resources.pods, 'bookinfo', 'reviews-2')
  await eventually('it is gone', () => !addresses.has('Kubernetes//Pod/bookinfo/reviews-2'))
})

test('a policy reaches the node proxy within a second, and its author reads what is enforced', async () => {
  kube.put(resources.authorizationpolicies, {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'allow', namespace: 'bookinfo' },
    spec: {
      selector: { matchLabels: { app: 'reviews' } },
      rules: [
        { from: [{ source: { principals: ['cluster.local/ns/bookinfo/sa/productpage'] } }] },
        { to: [{ operation: { methods: ['GET'] } }] },
      ],
    },
  })
  await eventually('the policy', () => policies.get('bookinfo/allow')?.rules.length === 1, 1000)
  await eventually('the workload lists it', () => {
    const type = addresses.get('Kubernetes//Pod/bookinfo/reviews-1')?.type
    return type?.case === 'workload' && type.value.authorizationPolicies.includes('bookinfo/allow')
  })
  const conditions = (): string =>
    JSON.stringify(kube.peek(resources.authorizationpolicies, 'bookinfo', 'allow')?.status ?? {})
  await eventually('the condition', () =>
    /ZtunnelAccepted.*UnsupportedValue.*methods/.test(conditions()),
  )
})

test('STRICT arrives as a policy that every workload lists, and goes again', async () => {
  const strict = 'istio-system/istio_converted_static_strict'
  const listed = (): boolean => {
    const type = addresses.get('Kubernetes//Pod/bookinfo/reviews-1')?.type
    return type?.case === 'workload' && type.value.authorizationPolicies.includes(strict)
  }
  kube.put(resources.peerauthentications, {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'default', namespace: 'istio-system' },
    spec: { mtls: { mode: 'STRICT' } },
  })
  await eventually('listed', () => listed() && policies.has(strict))
  kube.remove(resources.peerauthentications, 'istio-system', 'default')
  await eventually('no longer', () => !listed() && !policies.has(strict))
})

test('the root certificate is put into every namespace, new ones included', async () => {
  const root = (namespace: string): unknown => {
    const map = kube.peek(resources.configmaps, namespace, 'istio-ca-root-cert')
    return Reflect.get(Reflect.get(map ?? {}, 'data') ?? {}, 'root-cert.pem')
  }
  await eventually('in bookinfo', () => root('bookinfo') === app.rootsPem)
  kube.put(resources.namespaces, {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'later' },
  })
  await eventually('in a new namespace', () => root('later') === app.rootsPem)
})

test('a Gateway of class istio is deployed, and its status says where it is', async () => {
  await eventually(
    'the classes',
    () => kube.peek(resources.gatewayclasses, undefined, 'istio') !== undefined,
  )
  kube.put(resources.gateways, {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'bookinfo-gateway', namespace: 'bookinfo' },
    spec: { gatewayClassName: 'istio', listeners: [{ name: 'http', port: 80, protocol: 'HTTP' }] },
  })
  const name = 'bookinfo-gateway-istio'
  await eventually(
    'the Service',
    () => kube.peek(resources.services, 'bookinfo', name) !== undefined,
  )
  assert.ok(kube.peek(resources.serviceaccounts, 'bookinfo', name))
  assert.ok(kube.peek(resources.deployments, 'bookinfo', name))
  const status = (): string =>
    JSON.stringify(kube.peek(resources.gateways, 'bookinfo', 'bookinfo-gateway')?.status ?? {})
  await eventually('no address yet', () => /"Programmed".*AddressNotAssigned/.test(status()))
  kube.put(resources.endpointslices, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'bookinfo', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.244.0.30'], conditions: { ready: true } }],
    ports: [{ name: 'http', port: 80 }],
  } as KubeObject)
  await kube.patch(resources.services, 'bookinfo', name, 'merge', {
    status: { loadBalancer: { ingress: [{ ip: '127.0.0.1' }] } },
  })
  await eventually('the address', () => /"value":"127.0.0.1".*"reason":"Programmed"/.test(status()))
  const writes = kube.writes.length
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.equal(kube.writes.length, writes, 'status flaps')
})

test('objects with the wanted name that are not ours are left alone', async () => {
  const foreign = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'mine-istio', namespace: 'bookinfo' },
    spec: { ports: [] },
  }
  kube.put(resources.services, foreign)
  kube.put(resources.gateways, {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'mine', namespace: 'bookinfo' },
    spec: { gatewayClassName: 'istio', listeners: [{ name: 'http', port: 80, protocol: 'HTTP' }] },
  })
  await eventually(
    'the Deployment',
    () => kube.peek(resources.deployments, 'bookinfo', 'mine-istio') !== undefined,
  )
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.deepEqual(kube.peek(resources.services, 'bookinfo', 'mine-istio')?.spec, { ports: [] })
})

test('a caller with a bad token gets nothing', async () => {
  const reasons: string[] = []
  const nobody = createDeltaClient({
    address: `127.0.0.1:${app.ports.xds}`,
    serverName: 'istiod.istio-system.svc',
    rootCa: () => app.rootsPem,
    token: () => 'nonsense',
    node: { id: 'ztunnel~127.0.0.1~x.istio-system~istio-system.svc.cluster.local', metadata: {} },
    clusterId: 'Kubernetes',
    types: [
      {
        typeUrl: typeUrl.address,
        wildcard: true,
        onResource: () => assert.fail(),
        onRemoved: () => {},
      },
    ],
    logger: silentLogger,
    clock: systemClock,
    onDisconnected: (reason) => reasons.push(reason),
  })
  await nobody.start()
  await eventually('it is refused', () => reasons.some((reason) => /UNAUTHENTICATED/i.test(reason)))
  await nobody.stop()
})
