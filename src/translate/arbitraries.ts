/** For tests: random Kubernetes objects in a small world, so that they refer to each other often. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { modelEvent } from '../ingest/index.ts'
import type { KubeObject } from '../kube/index.ts'
import { defaultMeshSettings, type ModelEvent } from '../model/index.ts'
import { meshConfigMap, raw, secret } from './arbitraries-configs.ts'

const namespaces = ['istio-system', 'a', 'b']
export const oneOf = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)
const namespace = oneOf(...namespaces)
const labels = fc.record(
  {
    app: oneOf('x', 'y'),
    version: oneOf('v1', 'v2'),
    'gateway.networking.k8s.io/gateway-name': oneOf('gw', 'wp'),
  },
  { requiredKeys: [] },
)
const waypointLabels = fc.record(
  {
    'istio.io/use-waypoint': oneOf('wp', 'none'),
    'istio.io/use-waypoint-namespace': oneOf('a', 'b'),
  },
  { requiredKeys: [] },
)
const mode = oneOf('STRICT', 'PERMISSIVE', 'DISABLE', 'UNSET')
const time = oneOf('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z')

export interface Draft {
  kind: string
  apiVersion: string
  namespace?: string
  name: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  body: Record<string, unknown>
  created?: string
}

const pod = fc
  .tuple(
    namespace,
    oneOf('p1', 'p2', 'p3'),
    labels,
    waypointLabels,
    oneOf('n1', 'n2'),
    fc.boolean(),
    fc.boolean(),
    fc.boolean(),
  )
  .map(
    ([ns, name, own, waypoint, nodeName, ready, enrolled, finished]): Draft => ({
      kind: 'Pod',
      apiVersion: 'v1',
      namespace: ns,
      name,
      labels: { ...own, ...waypoint },
      annotations: enrolled ? { 'ambient.istio.io/redirection': 'enabled' } : {},
      body: {
        spec: { nodeName, containers: [{ ports: [{ name: 'web', containerPort: 8080 }] }] },
        status: {
          phase: finished ? 'Succeeded' : 'Running',
          podIP: `10.0.${namespaces.indexOf(ns)}.${name.slice(1)}`,
          conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
        },
      },
    }),
  )

const service = fc
  .tuple(
    namespace,
    oneOf('s1', 's2'),
    labels,
    waypointLabels,
    oneOf<string | number>('web', 8080),
    fc.boolean(),
    oneOf('', '.', 'a'),
    oneOf('', 'gw', 'wp'),
  )
  .map(
    ([ns, name, selector, waypoint, targetPort, hasSelector, exportTo, canary]): Draft => ({
      kind: 'Service',
      apiVersion: 'v1',
      namespace: ns,
      name,
      labels: {
        ...waypoint,
        ...(canary === '' ? {} : { 'istio.io/use-waypoint-canary': canary }),
      },
      annotations: {
        'istio.io/use-waypoint-canary-weight': '20',
        ...(exportTo === '' ? {} : { 'networking.istio.io/exportTo': exportTo }),
      },
      body: {
        spec: {
          clusterIP: `10.96.${namespaces.indexOf(ns)}.${name.slice(1)}`,
          ...(hasSelector ? { selector } : {}),
          ports: [{ name: 'http', port: 80, targetPort }],
        },
      },
    }),
  )

const slice = fc
  .tuple(
    namespace,
    oneOf('e1', 'e2'),
    oneOf('s1', 's2'),
    fc.boolean(),
    oneOf('n1', 'n2'),
    fc.boolean(),
  )
  .map(
    ([ns, name, owner, ready, nodeName, isPod]): Draft => ({
      kind: 'EndpointSlice',
      apiVersion: 'discovery.k8s.io/v1',
      namespace: ns,
      name,
      labels: { 'kubernetes.io/service-name': owner },
      body: {
        addressType: 'IPv4',
        ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
        endpoints: [
          { addresses: ['192.0.2.1'], conditions: { ready }, nodeName },
          { addresses: ['10.0.1.1'], targetRef: isPod ? { kind: 'Pod', name: 'p1' } : undefined },
        ],
      },
    }),
  )

const serviceEntry = fc
  .tuple(
    namespace,
    oneOf('se1', 'se2'),
    labels,
    fc.boolean(),
    oneOf('STATIC', 'DNS', 'NONE', 'DYNAMIC_DNS'),
    time,
  )
  .map(
    ([ns, name, selector, selects, resolution, created]): Draft => ({
      kind: 'ServiceEntry',
      apiVersion: 'networking.istio.io/v1',
      namespace: ns,
      name,
      created,
      body: {
        spec: {
          hosts: ['ext.example.com', 's1.a.svc.cluster.local'],
          resolution,
          ports: [{ name: 'http', number: 80, protocol: 'HTTP' }],
          ...(selects
            ? { workloadSelector: { labels: selector } }
            : { endpoints: [{ address: '192.0.2.9' }] }),
        },
      },
    }),
  )

const workloadEntry = fc.tuple(namespace, labels, oneOf('192.0.2.20', 'vm.example.com')).map(
  ([ns, own, address]): Draft => ({
    kind: 'WorkloadEntry',
    apiVersion: 'networking.istio.io/v1',
    namespace: ns,
    name: 'vm',
    body: { spec: { address, labels: own } },
  }),
)

const namespaceObject = fc
  .tuple(
    namespace,
    waypointLabels,
    fc.option(oneOf('net1', 'net2'), { nil: undefined }),
    fc.boolean(),
  )
  .map(
    ([name, waypoint, network, exposed]): Draft => ({
      kind: 'Namespace',
      apiVersion: 'v1',
      name,
      labels: {
        ...waypoint,
        ...(network === undefined ? {} : { 'topology.istio.io/network': network }),
        ...(exposed ? { exposed: 'yes' } : {}),
      },
      body: {},
    }),
  )

const node = fc.tuple(oneOf('n1', 'n2'), oneOf('z1', 'z2')).map(
  ([name, zone]): Draft => ({
    kind: 'Node',
    apiVersion: 'v1',
    name,
    labels: { 'topology.kubernetes.io/zone': zone },
    body: {},
  }),
)

const policy = fc
  .tuple(
    namespace,
    oneOf('ap1', 'ap2'),
    fc.option(labels, { nil: undefined }),
    oneOf('ALLOW', 'DENY', 'AUDIT'),
    oneOf('80', '81'),
  )
  .map(
    ([ns, name, selector, action, port]): Draft => ({
      kind: 'AuthorizationPolicy',
      apiVersion: 'security.istio.io/v1',
      namespace: ns,
      name,
      body: {
        spec: {
          action,
          ...(selector === undefined ? {} : { selector: { matchLabels: selector } }),
          rules: [{ to: [{ operation: { ports: [port] } }] }],
        },
      },
    }),
  )

const peer = fc
  .tuple(
    namespace,
    oneOf('pa1', 'pa2'),
    fc.option(labels, { nil: undefined }),
    mode,
    fc.option(mode, { nil: undefined }),
    time,
  )
  .map(
    ([ns, name, selector, own, port, created]): Draft => ({
      kind: 'PeerAuthentication',
      apiVersion: 'security.istio.io/v1',
      namespace: ns,
      name,
      created,
      body: {
        spec: {
          mtls: { mode: own },
          ...(selector === undefined ? {} : { selector: { matchLabels: selector } }),
          ...(port === undefined ? {} : { portLevelMtls: { 80: { mode: port } } }),
        },
      },
    }),
  )

const gateway = fc
  .tuple(
    oneOf('a', 'b'),
    oneOf('gw', 'wp'),
    oneOf('istio', 'istio-waypoint'),
    oneOf('Same', 'All', 'Selector'),
    fc.boolean(),
    fc.boolean(),
    fc.boolean(),
  )
  .map(
    ([ns, name, gatewayClassName, from, ready, all, binding]): Draft => ({
      kind: 'Gateway',
      apiVersion: 'gateway.networking.k8s.io/v1',
      namespace: ns,
      name,
      annotations: binding ? { 'ambient.istio.io/waypoint-inbound-binding': 'PROXY/15088' } : {},
      labels: all ? { 'istio.io/waypoint-for': 'all' } : {},
      body: {
        spec: {
          gatewayClassName,
          listeners: [
            {
              name: 'http',
              port: 80,
              protocol: name === 'wp' ? 'HBONE' : 'HTTP',
              allowedRoutes: {
                namespaces: { from, selector: { matchLabels: { exposed: 'yes' } } },
              },
            },
          ],
        },
        status: { addresses: ready ? [{ type: 'IPAddress', value: '10.96.9.9' }] : [] },
      },
    }),
  )

const gatewayClass = fc
  .tuple(
    oneOf('istio.io/gateway-controller', 'example.com/other'),
    oneOf('istio', 'istio-waypoint'),
    oneOf<Record<string, string>>({}, { 'istio.io/waypoint-for': 'all' }),
    oneOf<Record<string, string>>({}, { 'ambient.istio.io/waypoint-inbound-binding': 'PROXY' }),
  )
  .map(
    ([controllerName, name, classLabels, annotations]): Draft => ({
      kind: 'GatewayClass',
      apiVersion: 'gateway.networking.k8s.io/v1',
      name,
      labels: classLabels,
      annotations,
      body: { spec: { controllerName } },
    }),
  )

const route = fc
  .tuple(
    namespace,
    oneOf('r1', 'r2'),
    oneOf('a', 'b'),
    namespace,
    oneOf('s1', 's2'),
    oneOf('/x', '/y'),
  )
  .map(
    ([ns, name, parent, backend, target, value]): Draft => ({
      kind: 'HTTPRoute',
      apiVersion: 'gateway.networking.k8s.io/v1',
      namespace: ns,
      name,
      body: {
        spec: {
          parentRefs: [{ name: 'gw', namespace: parent }],
          rules: [
            {
              matches: [{ path: { value } }],
              backendRefs: [{ name: target, namespace: backend, port: 80 }],
            },
          ],
        },
      },
    }),
  )

const grant = fc.tuple(namespace, namespace).map(
  ([ns, from]): Draft => ({
    kind: 'ReferenceGrant',
    apiVersion: 'gateway.networking.k8s.io/v1beta1',
    namespace: ns,
    name: 'g',
    body: {
      spec: {
        from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: from }],
        to: [{ group: '', kind: 'Service' }],
      },
    },
  }),
)

const anyObject = fc.oneof(
  pod,
  pod,
  service,
  service,
  slice,
  slice,
  serviceEntry,
  workloadEntry,
  namespaceObject,
  node,
  policy,
  policy,
  peer,
  peer,
  gateway,
  gatewayClass,
  route,
  grant,
  raw,
  raw,
  raw,
  secret,
  meshConfigMap,
)

function eventOf(draft: Draft, deleted: boolean): ModelEvent {
  const object: KubeObject = {
    apiVersion: draft.apiVersion,
    kind: draft.kind,
    metadata: {
      name: draft.name,
      ...(draft.namespace === undefined ? {} : { namespace: draft.namespace }),
      labels: draft.labels ?? {},
      annotations: draft.annotations ?? {},
      ...(draft.created === undefined ? {} : { creationTimestamp: draft.created }),
    },
    ...draft.body,
  }
  // A clone, as from a server: fast-check's records have no prototype.
  const event = modelEvent(structuredClone(object), defaultMeshSettings, { deleted })
  assert.ok(event)
  return event
}

export const anyEvent = fc
  .tuple(anyObject, fc.boolean(), fc.boolean())
  .map(([draft, drop, twice]) => eventOf(draft, drop && twice))

/** A connected start, so that random changes meet objects which depend on them. */
export const start = (from: string): ModelEvent[] =>
  fc
    .sample(
      fc.tuple(
        gatewayClass.filter(
          ({ name, body }) => name === 'istio' && JSON.stringify(body).includes('istio.io'),
        ),
        gateway.filter(
          ({ name, namespace: ns, body }) =>
            name === 'gw' &&
            ns === 'a' &&
            JSON.stringify(body).includes(`"from":"${from}"`) &&
            JSON.stringify(body).includes('"istio"'),
        ),
        route.filter(
          ({ name, body }) => name === 'r1' && /gw","namespace":"a"/.test(JSON.stringify(body)),
        ),
        service.filter(({ name, namespace: ns }) => name === 's1' && ns === 'a'),
        slice.filter(({ name, namespace: ns }) => name === 'e1' && ns === 'a'),
        pod.filter(({ name, namespace: ns }) => name === 'p1' && ns === 'a'),
        peer.filter(({ name, namespace: ns, body }) => {
          const text = JSON.stringify(body)
          return name === 'pa1' && ns === 'a' && /"UNSET"}.*selector.*80/.test(text)
        }),
      ),
      { numRuns: 1, seed: 7 },
    )
    .flat()
    .map((draft) => eventOf(draft, false))
