/** For tests: random traffic objects, as YAML, in the small world of the room's other arbitraries. */
import fc from 'fast-check'

const oneOf = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)
const namespace = oneOf('a', 'b', 'istio-system')
const service = oneOf(
  's1',
  's2',
  's1.a.svc.cluster.local',
  's2.b.svc.cluster.local',
  'ext.example.com',
)
const exportTo = oneOf('[]', '["."]', '["*"]', '[b]')
const created = oneOf('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z')

const header = (kind: string, api: string, name: string, space: string, time: string): string =>
  `{apiVersion: ${api}, kind: ${kind}, metadata: {name: ${name}, namespace: ${space}, creationTimestamp: "${time}"}, spec: `

const destinationRule = fc
  .tuple(
    namespace,
    oneOf('d1', 'd2'),
    oneOf('s1', 's2', '"*"', '"*.a.svc.cluster.local"', 'ext.example.com'),
    exportTo,
    created,
    oneOf(
      'loadBalancer: {consistentHash: {httpHeaderName: x}}',
      'outlierDetection: {interval: 1s}',
      'tls: {mode: SIMPLE}',
      'connectionPool: {tcp: {maxConnections: 3}}',
    ),
    oneOf('', 'workloadSelector: {matchLabels: {app: x}},'),
  )
  .map(
    ([space, name, host, exported, time, policy, selector]) =>
      `${header('DestinationRule', 'networking.istio.io/v1', name, space, time)}{host: ${host}, ${selector} exportTo: ${exported}, trafficPolicy: {${policy}}, subsets: [{name: v1, labels: {version: v1}}]}}`,
  )

const virtualService = fc
  .tuple(
    namespace,
    oneOf('v1', 'v2'),
    service,
    exportTo,
    created,
    service,
    oneOf('[mesh]', '[a/gw]', '[]'),
  )
  .map(
    ([space, name, host, exported, time, target, gateways]) =>
      `${header('VirtualService', 'networking.istio.io/v1', name, space, time)}{hosts: [${host}], gateways: ${gateways}, exportTo: ${exported}, http: [{match: [{uri: {prefix: /x}}], route: [{destination: {host: ${target}, subset: v1}}]}, {delegate: {name: dele, namespace: b}}, {route: [{destination: {host: ${target}}}]}]}}`,
  )

const delegate = fc
  .tuple(oneOf('1s', '2s'), service)
  .map(
    ([timeout, target]) =>
      `${header('VirtualService', 'networking.istio.io/v1', 'dele', 'b', '2026-01-01T00:00:00Z')}{http: [{match: [{uri: {prefix: /d}}], timeout: ${timeout}, route: [{destination: {host: ${target}}}]}]}}`,
  )

const meshRoute = fc
  .tuple(
    oneOf('a', 'b'),
    oneOf('h1', 'h2'),
    oneOf('s1', 's2'),
    oneOf('a', 'b'),
    oneOf('s1', 's2'),
    created,
  )
  .map(
    ([space, name, parent, parentSpace, target, time]) =>
      `${header('HTTPRoute', 'gateway.networking.k8s.io/v1', name, space, time)}{parentRefs: [{kind: Service, group: "", name: ${parent}, namespace: ${parentSpace}}], rules: [{backendRefs: [{name: ${target}, namespace: ${parentSpace}, port: 80}]}]}}`,
  )

const meshConfig = oneOf(
  'enableAutoMtls: false',
  'connectTimeout: 3s',
  'defaultServiceExportTo: ["."]',
  'trustDomain: other.example',
).map(
  (mesh) =>
    `{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}, data: {mesh: '${mesh}'}}`,
)

const namespaceLabels = fc
  .tuple(oneOf('a', 'b'), oneOf('PreferClose', 'Any'))
  .map(
    ([name, distribution]) =>
      `{apiVersion: v1, kind: Namespace, metadata: {name: ${name}, annotations: {networking.istio.io/traffic-distribution: ${distribution}}}}`,
  )

const backendTls = oneOf('s1', 's2').map(
  (name) =>
    `${header('BackendTLSPolicy', 'gateway.networking.k8s.io/v1', 'tls', 'a', '2026-01-01T00:00:00Z')}{targetRefs: [{kind: Service, group: "", name: ${name}}], validation: {hostname: x.example.com, wellKnownCACertificates: System}}}`,
)

export const anyTrafficObject = fc.oneof(
  { weight: 4, arbitrary: destinationRule },
  { weight: 4, arbitrary: virtualService },
  { weight: 1, arbitrary: delegate },
  { weight: 2, arbitrary: meshRoute },
  { weight: 1, arbitrary: meshConfig },
  { weight: 1, arbitrary: namespaceLabels },
  { weight: 1, arbitrary: backendTls },
)
