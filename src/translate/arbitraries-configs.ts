/** For tests: random objects of kinds that stay raw, of Secrets and of MeshConfig. */
import fc from 'fast-check'
import type { Draft } from './arbitraries.ts'

const oneOf = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)
const namespace = oneOf('istio-system', 'a', 'b')

/** Kinds that are kept raw, with the fields that indexes look at. */
export const raw = fc
  .tuple(
    namespace,
    oneOf('o1', 'o2'),
    oneOf('s1', 'ext.example.com', '*.example.com'),
    oneOf<[string, string, (host: string) => Record<string, unknown>]>(
      ['VirtualService', 'networking.istio.io/v1', (host) => ({ hosts: [host, 's2'] })],
      [
        'VirtualService',
        'networking.istio.io/v1alpha3',
        (host) => ({ hosts: [host], gateways: ['o1', 'a/o2', 'mesh'] }),
      ],
      ['DestinationRule', 'networking.istio.io/v1', (host) => ({ host })],
      ['Gateway', 'networking.istio.io/v1', (host) => ({ servers: [{ hosts: [host] }] })],
      ['Sidecar', 'networking.istio.io/v1', (host) => ({ egress: [{ hosts: [`*/${host}`] }] })],
      ['EnvoyFilter', 'networking.istio.io/v1alpha3', () => ({ configPatches: [] })],
      [
        'RequestAuthentication',
        'security.istio.io/v1',
        (host) => ({ targetRefs: [{ kind: 'Service', name: host }] }),
      ],
      [
        'Telemetry',
        'telemetry.istio.io/v1',
        () => ({ targetRef: { kind: 'Gateway', name: 'gw' }, tracing: [] }),
      ],
      ['WasmPlugin', 'extensions.istio.io/v1alpha1', (host) => ({ url: host })],
      [
        'GRPCRoute',
        'gateway.networking.k8s.io/v1',
        (host) => ({
          parentRefs: [{ name: 'gw' }, { kind: 'ListenerSet', name: 'o1' }],
          rules: [{ backendRefs: [{ name: host, namespace: 'a', port: 80 }] }],
        }),
      ],
      [
        'TCPRoute',
        'gateway.networking.k8s.io/v1',
        () => ({ parentRefs: [{ group: '', kind: 'Service', name: 's1' }], rules: [{}] }),
      ],
      [
        'ListenerSet',
        'gateway.networking.k8s.io/v1',
        () => ({ parentRef: { name: 'gw', namespace: 'a' } }),
      ],
      [
        'BackendTLSPolicy',
        'gateway.networking.k8s.io/v1',
        (host) => ({ targetRefs: [{ kind: 'Service', name: host }] }),
      ],
    ),
  )
  .map(
    ([ns, name, host, [kind, apiVersion, spec]]): Draft => ({
      kind,
      apiVersion,
      namespace: ns,
      name,
      body: { spec: spec(host) },
    }),
  )

export const secret = fc.tuple(namespace, oneOf('key one', 'key two'), fc.boolean()).map(
  ([ns, key, tls]): Draft => ({
    kind: 'Secret',
    apiVersion: 'v1',
    namespace: ns,
    name: 'c',
    body: {
      type: tls ? 'kubernetes.io/tls' : 'helm.sh/release.v1',
      stringData: { 'tls.crt': 'certificate', 'tls.key': key },
    },
  }),
)

export const meshConfigMap = oneOf(
  'trustDomain: cluster.local',
  'trustDomain: example.org',
  'rootNamespace: a',
  'defaultServiceExportTo: ["."]',
  'accessLogFile: /dev/stdout',
).map(
  (mesh): Draft => ({
    kind: 'ConfigMap',
    apiVersion: 'v1',
    namespace: 'istio-system',
    name: 'istio',
    body: { data: { mesh } },
  }),
)
