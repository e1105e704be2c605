/**
 * The mesh's own objects, as `istioctl install --set profile=ambient` would make them: names, labels,
 * ports and mounts are what other tools look for. Weft's processes stand behind the images.
 */
import { activeSabotage, sabotageVariable } from '../../base/index.ts'
import type { KubeObject } from '../../kube/index.ts'
import { dnsServiceAddress, nodeAddress, registryPort } from '../network/addresses.ts'

const system = 'istio-system'
const images = {
  istiod: 'docker.io/istio/pilot:weft',
  ztunnel: 'docker.io/istio/ztunnel:weft',
  cni: 'docker.io/istio/install-cni:weft',
} as const

/** How long a node proxy that is replaced goes on with the connections it has. */
const graceSeconds = 30

type Extra = Readonly<Record<string, unknown>>

/** Everything around the typed part (`data`, `rules`, `roleRef` ...) is in `rest`. */
function make(
  apiVersion: string,
  kind: string,
  name: string,
  rest: Extra,
  labels?: Record<string, string>,
  namespace: string | undefined = system,
): KubeObject {
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(namespace === '' ? {} : { namespace }),
      ...(labels === undefined ? {} : { labels }),
    },
    ...rest,
  }
}

/** Cluster DNS as a Service with the node behind it; `kubernetes` the registry makes itself. */
export function clusterServices(): KubeObject[] {
  const ports = [
    { name: 'dns', port: 53, protocol: 'UDP' },
    { name: 'dns-tcp', port: 53, protocol: 'TCP' },
  ]
  return [
    make(
      'v1',
      'Service',
      'kube-dns',
      { spec: { clusterIP: dnsServiceAddress, ports } },
      { 'k8s-app': 'kube-dns', 'kubernetes.io/name': 'CoreDNS' },
      'kube-system',
    ),
    nodeSlice('kube-system', 'kube-dns', ports),
    nodeSlice('default', 'kubernetes', [{ name: 'https', port: registryPort, protocol: 'TCP' }]),
  ]
}

/** Endpoints on the node for a Service without a selector. */
function nodeSlice(namespace: string, service: string, ports: readonly unknown[]): KubeObject {
  return make(
    'discovery.k8s.io/v1',
    'EndpointSlice',
    service,
    {
      addressType: 'IPv4',
      endpoints: [{ addresses: [nodeAddress], conditions: { ready: true } }],
      ports,
    },
    { 'kubernetes.io/service-name': service },
    namespace,
  )
}

/** Settings that belong to the user once they are made. */
export function meshConfig(): KubeObject {
  const mesh = [
    'accessLogFile: /dev/stdout',
    'defaultConfig:',
    '  discoveryAddress: istiod.istio-system.svc:15012',
    'defaultProviders:',
    '  metrics: [prometheus]',
    'rootNamespace: istio-system',
    'trustDomain: cluster.local',
    '',
  ]
  return make(
    'v1',
    'ConfigMap',
    'istio',
    { data: { mesh: mesh.join('\n'), meshNetworks: 'networks: {}' } },
    { 'istio.io/rev': 'default' },
  )
}

/** Accounts, roles and Services; the workloads refer to them. */
export function meshAccounts(): KubeObject[] {
  const readAll = ['get', 'list', 'watch']
  const write = ['create', 'update', 'patch', 'delete']
  const meshGroups = [
    'networking.istio.io',
    'security.istio.io',
    'telemetry.istio.io',
    'extensions.istio.io',
    'gateway.networking.k8s.io',
  ]
  const rule = (apiGroups: string[], resources: string[], verbs: string[]): Extra => ({
    apiGroups,
    resources,
    verbs,
  })
  const roles: Record<string, Extra[]> = {
    istiod: [
      rule(meshGroups, ['*'], [...readAll, 'update', 'patch', 'create', 'delete']),
      rule([''], ['pods', 'nodes', 'services', 'namespaces', 'endpoints', 'secrets'], readAll),
      rule([''], ['services/status'], ['update', 'patch']),
      rule(['discovery.k8s.io'], ['endpointslices'], readAll),
      rule([''], ['configmaps', 'services', 'serviceaccounts', 'events'], [...readAll, ...write]),
      rule(['apps'], ['deployments'], [...readAll, ...write]),
      rule(
        ['autoscaling', 'policy'],
        ['horizontalpodautoscalers', 'poddisruptionbudgets'],
        [...readAll, ...write],
      ),
      rule(['coordination.k8s.io'], ['leases'], [...readAll, ...write]),
      rule(['apiextensions.k8s.io'], ['customresourcedefinitions'], readAll),
      rule(['admissionregistration.k8s.io'], ['*'], [...readAll, 'update', 'patch']),
      rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
      rule(['authorization.k8s.io'], ['subjectaccessreviews'], ['create']),
    ],
    'istio-cni': [
      rule([''], ['pods', 'nodes', 'namespaces'], readAll),
      rule([''], ['pods/status'], ['patch', 'update']),
    ],
    ztunnel: [],
  }
  const rbac = 'rbac.authorization.k8s.io'
  // The certificate authority's key and what webhooks are signed with stay in the mesh's own namespace.
  const own = [
    make(`${rbac}/v1`, 'Role', 'istiod', {
      rules: [rule([''], ['secrets'], [...readAll, ...write])],
    }),
    make(`${rbac}/v1`, 'RoleBinding', 'istiod', {
      roleRef: { apiGroup: rbac, kind: 'Role', name: 'istiod' },
      subjects: [{ kind: 'ServiceAccount', name: 'istiod', namespace: system }],
    }),
  ]
  const accounts = Object.entries(roles).flatMap(([name, rules]) => [
    make('v1', 'ServiceAccount', name, {}, { app: name }),
    make(
      'rbac.authorization.k8s.io/v1',
      'ClusterRole',
      `${name}-${system}`,
      { rules },
      { app: name },
      '',
    ),
    make(
      'rbac.authorization.k8s.io/v1',
      'ClusterRoleBinding',
      `${name}-${system}`,
      {
        roleRef: {
          apiGroup: 'rbac.authorization.k8s.io',
          kind: 'ClusterRole',
          name: `${name}-${system}`,
        },
        subjects: [{ kind: 'ServiceAccount', name, namespace: system }],
      },
      { app: name },
      '',
    ),
  ])
  return [...accounts, ...own]
}

export function meshServices(): KubeObject[] {
  return [
    make(
      'v1',
      'Service',
      'istiod',
      {
        spec: {
          ports: [
            { name: 'https-dns', port: 15012, protocol: 'TCP', targetPort: 15012 },
            { name: 'https-webhook', port: 443, protocol: 'TCP', targetPort: 15017 },
            { name: 'http-monitoring', port: 15014, protocol: 'TCP', targetPort: 15014 },
          ],
          selector: { app: 'istiod', istio: 'pilot' },
        },
      },
      { app: 'istiod', istio: 'pilot', 'istio.io/rev': 'default' },
    ),
  ]
}

/**
 * Who is asked about objects of Istio's: one configuration for those that name our revision, one for those
 * that name none. They begin with `Ignore`, at each start: istiod, which turns that into `Fail`, is not up yet.
 */
export function meshWebhooks(): KubeObject[] {
  const revision = 'istio.io/rev'
  const webhook = (name: string, expression: Extra): Extra => ({
    name,
    clientConfig: { service: { name: 'istiod', namespace: system, path: '/validate', port: 443 } },
    rules: [
      {
        operations: ['CREATE', 'UPDATE'],
        apiGroups: ['security', 'networking', 'telemetry', 'extensions'].map(
          (group) => `${group}.istio.io`,
        ),
        apiVersions: ['*'],
        resources: ['*'],
      },
    ],
    failurePolicy: 'Ignore',
    sideEffects: 'None',
    admissionReviewVersions: ['v1'],
    objectSelector: { matchExpressions: [{ key: revision, ...expression }] },
  })
  const configuration = (name: string, one: Extra): KubeObject =>
    make(
      'admissionregistration.k8s.io/v1',
      'ValidatingWebhookConfiguration',
      name,
      { webhooks: [one] },
      { app: 'istiod', istio: 'istiod', [revision]: 'default' },
      '',
    )
  return [
    configuration(
      `istio-validator-${system}`,
      webhook('rev.validation.istio.io', { operator: 'In', values: ['default'] }),
    ),
    configuration(
      'istiod-default-validator',
      webhook('validation.istio.io', { operator: 'DoesNotExist' }),
    ),
  ]
}

function fieldEnv(name: string, fieldPath: string): Extra {
  return { name, valueFrom: { fieldRef: { fieldPath } } }
}

const podEnvironment: readonly Extra[] = [
  fieldEnv('POD_NAME', 'metadata.name'),
  fieldEnv('POD_NAMESPACE', 'metadata.namespace'),
  fieldEnv('NODE_NAME', 'spec.nodeName'),
  fieldEnv('INSTANCE_IP', 'status.podIP'),
  fieldEnv('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
  ...(activeSabotage() === undefined ? [] : [{ name: sabotageVariable, value: activeSabotage() }]),
]

/** The token for the control plane, and the root that signs for it. */
const proxyVolumes: readonly Extra[] = [
  {
    name: 'istio-token',
    projected: {
      sources: [
        {
          serviceAccountToken: {
            audience: 'istio-ca',
            expirationSeconds: 43_200,
            path: 'istio-token',
          },
        },
      ],
    },
  },
  { name: 'istiod-ca-cert', configMap: { name: 'istio-ca-root-cert' } },
]

const proxyMounts: readonly Extra[] = [
  { name: 'istio-token', mountPath: '/var/run/secrets/tokens', readOnly: true },
  { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio', readOnly: true },
]

/** Looked at often until it is up, and seldom from then on: each look wakes two processes. */
function probes(path: string, port: number, host?: string): Extra {
  const httpGet = { path, port, ...(host === undefined ? {} : { host }) }
  return {
    startupProbe: { httpGet, periodSeconds: 1, timeoutSeconds: 3, failureThreshold: 180 },
    readinessProbe: { httpGet, periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3 },
  }
}

function workload(
  kind: 'Deployment' | 'DaemonSet',
  name: string,
  selector: Record<string, string>,
  pod: { labels: Record<string, string>; spec: Extra; updateStrategy?: Extra },
): KubeObject {
  return make(
    'apps/v1',
    kind,
    name,
    {
      spec: {
        ...(kind === 'Deployment' ? { replicas: 1 } : {}),
        selector: { matchLabels: selector },
        ...(pod.updateStrategy === undefined ? {} : { updateStrategy: pod.updateStrategy }),
        template: {
          metadata: { labels: pod.labels, annotations: { 'sidecar.istio.io/inject': 'false' } },
          spec: { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet', ...pod.spec },
        },
      },
    },
    pod.labels,
  )
}

/**
 * istiod, ztunnel and the node agent, as pods of the node's own network.
 * @param certificateSeconds life of certificates; absent: Istio's
 */
export function meshWorkloads(certificateSeconds?: number): KubeObject[] {
  const lifetime = (name: string): Extra[] =>
    certificateSeconds === undefined ? [] : [{ name, value: `${certificateSeconds}s` }]
  const outside = { 'istio.io/dataplane-mode': 'none', 'sidecar.istio.io/inject': 'false' }
  const istiod = workload(
    'Deployment',
    'istiod',
    { app: 'istiod', istio: 'pilot' },
    {
      labels: { app: 'istiod', istio: 'pilot', 'istio.io/rev': 'default', ...outside },
      spec: {
        serviceAccountName: 'istiod',
        containers: [
          {
            name: 'discovery',
            image: images.istiod,
            args: ['discovery'],
            env: [
              ...podEnvironment,
              { name: 'CLUSTER_ID', value: 'Kubernetes' },
              ...lifetime('DEFAULT_WORKLOAD_CERT_TTL'),
            ],
            ports: [
              { name: 'grpc-tls', containerPort: 15012 },
              { name: 'webhooks', containerPort: 15017 },
              { name: 'monitoring', containerPort: 15014 },
            ],
            // istiod answers there on the loopback only.
            ...probes('/ready', 8080, '127.0.0.1'),
          },
        ],
      },
    },
  )
  const ztunnel = workload(
    'DaemonSet',
    'ztunnel',
    { app: 'ztunnel' },
    {
      labels: { app: 'ztunnel', ...outside },
      // The new proxy opens its listeners beside the old one's before that one closes them.
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      spec: {
        serviceAccountName: 'ztunnel',
        terminationGracePeriodSeconds: graceSeconds,
        // In the node's namespace two of them would fight for the ports, and answer each other's probes.
        hostNetwork: false,
        dnsPolicy: 'ClusterFirst',
        containers: [
          {
            name: 'istio-proxy',
            image: images.ztunnel,
            args: ['proxy', 'ztunnel'],
            env: [
              ...podEnvironment,
              { name: 'XDS_ADDRESS', value: 'istiod.istio-system.svc:15012' },
              { name: 'CA_ADDRESS', value: 'istiod.istio-system.svc:15012' },
              { name: 'ISTIO_META_CLUSTER_ID', value: 'Kubernetes' },
              { name: 'INPOD_ENABLED', value: 'true' },
              { name: 'INPOD_UDS', value: '/run/weft/ztunnel.sock' },
              { name: 'TERMINATION_GRACE_PERIOD_SECONDS', value: String(graceSeconds) },
              ...lifetime('SECRET_TTL'),
            ],
            ports: [{ name: 'ztunnel-stats', containerPort: 15020 }],
            ...probes('/healthz/ready', 15021),
            securityContext: { capabilities: { add: ['NET_ADMIN', 'SYS_ADMIN', 'NET_RAW'] } },
            volumeMounts: proxyMounts,
          },
        ],
        volumes: proxyVolumes,
      },
    },
  )
  const agent = workload(
    'DaemonSet',
    'istio-cni-node',
    { 'k8s-app': 'istio-cni-node' },
    {
      labels: { 'k8s-app': 'istio-cni-node', ...outside },
      spec: {
        serviceAccountName: 'istio-cni',
        containers: [{ name: 'install-cni', image: images.cni, env: podEnvironment }],
      },
    },
  )
  return [istiod, ztunnel, agent]
}
