/** The pods of Gateways and waypoints: hardened, ready when their proxy is, without the sidecar of others. */
import type { ControlPlaneConfig } from './config.ts'
import { engineOf } from './gateway-engine.ts'
import { isWaypoint, type Naming, type TemplateInput } from './gateway-input.ts'

const modeLabel = 'istio.io/dataplane-mode'
const bypassAnnotation = 'ambient.istio.io/bypass-inbound-capture'

export function podTemplate(input: TemplateInput, naming: Naming): unknown {
  const { config } = input
  const { name, labels, annotations } = naming
  // A waypoint is the end of tunnels itself: nothing of it may be captured again. Where a gateway's outgoing
  // traffic is meshed by the node proxy, what comes in from outside is not captured: it is for the gateway to
  // judge, and STRICT must not refuse it.
  const mode = labels[modeLabel] ?? (isWaypoint(input) ? 'none' : config.gateways.dataplaneMode)
  return {
    metadata: {
      labels: {
        'sidecar.istio.io/inject': 'false',
        'service.istio.io/canonical-name': name,
        'service.istio.io/canonical-revision': 'latest',
        ...labels,
        [modeLabel]: mode,
        'istio.io/rev': config.revision,
      },
      annotations: {
        ...(mode === 'ambient' ? { [bypassAnnotation]: 'true' } : {}),
        ...annotations,
        'istio.io/rev': config.revision,
        'prometheus.io/path': '/stats/prometheus',
        'prometheus.io/port': '15020',
        'prometheus.io/scrape': 'true',
      },
    },
    spec: {
      // Gateways listen on ports below 1024 without being root.
      ...(isWaypoint(input)
        ? {}
        : {
            securityContext: {
              sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }],
            },
          }),
      serviceAccountName: naming.account,
      containers: [container(input, naming)],
      volumes: volumes(input),
    },
  }
}

function container(input: TemplateInput, naming: Naming): unknown {
  const { config } = input
  const readiness = {
    httpGet: { path: '/healthz/ready', port: 15021, scheme: 'HTTP' },
    timeoutSeconds: 1,
    successThreshold: 1,
  }
  return {
    name: 'istio-proxy',
    image:
      input.gateway.metadata.annotations?.['sidecar.istio.io/proxyImage'] ?? config.gateways.image,
    args: args(input, naming),
    ports: [
      { name: 'metrics', containerPort: 15020, protocol: 'TCP' },
      { name: 'status-port', containerPort: 15021, protocol: 'TCP' },
      { name: 'http-envoy-prom', containerPort: 15090, protocol: 'TCP' },
    ],
    env: environment(input, naming),
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      privileged: false,
      readOnlyRootFilesystem: true,
      runAsGroup: 1337,
      runAsNonRoot: true,
      runAsUser: 1337,
    },
    startupProbe: { ...readiness, failureThreshold: 30, initialDelaySeconds: 1, periodSeconds: 1 },
    readinessProbe: {
      ...readiness,
      failureThreshold: 4,
      initialDelaySeconds: 0,
      periodSeconds: 15,
    },
    volumeMounts: mounts(input),
  }
}

/** What Istio's agent is started with. */
function args(input: TemplateInput, { account }: Naming): string[] {
  const annotations = input.gateway.metadata.annotations ?? {}
  const level = (name: string, otherwise: string): string =>
    annotations[`sidecar.istio.io/${name}`] ?? otherwise
  return [
    'proxy',
    isWaypoint(input) ? 'waypoint' : 'router',
    '--domain',
    `$(POD_NAMESPACE).svc.${input.config.settings.domain}`,
    '--serviceCluster',
    `${account}.$(POD_NAMESPACE)`,
    '--proxyLogLevel',
    level('logLevel', 'warning'),
    '--proxyComponentLogLevel',
    level('componentLogLevel', 'misc:error'),
    '--log_output_level',
    level('agentLogLevel', 'default:info'),
  ]
}

/** Where the control plane of this revision answers. */
function discoveryAddress({ namespace, revision }: ControlPlaneConfig): string {
  const suffix = revision === 'default' || revision === '' ? '' : `-${revision}`
  return `istiod${suffix}.${namespace}.svc:15012`
}

const networkLabel = 'topology.istio.io/network'

function environment(input: TemplateInput, naming: Naming): unknown[] {
  const { gateway, config, trustDomain } = input
  const { name, namespace, labels } = naming
  const address = discoveryAddress(config)
  const network = labels[networkLabel] || input.network
  const field = (variable: string, fieldPath: string): unknown => ({
    name: variable,
    valueFrom: { fieldRef: { fieldPath } },
  })
  const limit = (variable: string, resource: string): unknown => ({
    name: variable,
    valueFrom: { resourceFieldRef: { resource, divisor: '1' } },
  })
  const plain = {
    PILOT_CERT_PROVIDER: 'istiod',
    CA_ADDR: address,
    XDS_ADDRESS: address,
    PROXY_CONFIG: JSON.stringify({ discoveryAddress: address, ...startSettings(input) }),
    ISTIO_META_CLUSTER_ID: config.settings.clusterId,
    ...(network === '' ? {} : { ISTIO_META_NETWORK: network }),
    ISTIO_META_INTERCEPTION_MODE: 'REDIRECT',
    ISTIO_META_WORKLOAD_NAME: name,
    ISTIO_META_OWNER: `kubernetes://apis/apps/v1/namespaces/${namespace}/deployments/${name}`,
    ISTIO_META_MESH_ID: trustDomain,
    TRUST_DOMAIN: trustDomain,
    // Which Gateway the proxy serves; its namespace is proved by its identity.
    ISTIO_METAJSON_LABELS: JSON.stringify({
      'gateway.networking.k8s.io/gateway-name': gateway.metadata.name,
    }),
    ...input.proxyConfig.proxyMetadata,
    WEFT_ENGINE: engineOf(input),
  }
  return [
    field('POD_NAME', 'metadata.name'),
    field('POD_NAMESPACE', 'metadata.namespace'),
    field('INSTANCE_IP', 'status.podIP'),
    field('HOST_IP', 'status.hostIP'),
    field('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
    field('ISTIO_META_SERVICE_ACCOUNT', 'spec.serviceAccountName'),
    field('NODE_NAME', 'spec.nodeName'),
    field('ISTIO_META_NODE_NAME', 'spec.nodeName'),
    limit('ISTIO_CPU_LIMIT', 'limits.cpu'),
    limit('GOMAXPROCS', 'limits.cpu'),
    limit('GOMEMLIMIT', 'limits.memory'),
    ...Object.entries(plain).map(([variable, value]) => ({ name: variable, value })),
  ]
}

/** What of ProxyConfig must be known before the control plane is. */
function startSettings({ proxyConfig }: TemplateInput): Partial<TemplateInput['proxyConfig']> {
  const { concurrency, terminationDrainDuration } = proxyConfig
  return {
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(terminationDrainDuration === undefined ? {} : { terminationDrainDuration }),
  }
}

function mounts(input: TemplateInput): unknown[] {
  return [
    { name: 'workload-socket', mountPath: '/var/run/secrets/workload-spiffe-uds' },
    ...(isWaypoint(input)
      ? []
      : [
          { name: 'credential-socket', mountPath: '/var/run/secrets/credential-uds' },
          { name: 'workload-certs', mountPath: '/var/run/secrets/workload-spiffe-credentials' },
        ]),
    { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio' },
    { name: 'istio-data', mountPath: '/var/lib/istio/data' },
    { name: 'istio-envoy', mountPath: '/etc/istio/proxy' },
    { name: 'istio-token', mountPath: '/var/run/secrets/tokens' },
    { name: 'istio-podinfo', mountPath: '/etc/istio/pod' },
  ]
}

function volumes(input: TemplateInput): unknown[] {
  const item = (path: string): unknown => ({
    path,
    fieldRef: { fieldPath: `metadata.${path}` },
  })
  const memory = { medium: 'Memory' }
  const byClass = isWaypoint(input)
    ? [
        { name: 'go-proxy-envoy', emptyDir: memory },
        { name: 'go-proxy-data', emptyDir: {} },
      ]
    : [
        { name: 'credential-socket', emptyDir: {} },
        { name: 'workload-certs', emptyDir: {} },
      ]
  const token = { audience: 'istio-ca', expirationSeconds: 43200, path: 'istio-token' }
  return [
    { name: 'workload-socket', emptyDir: {} },
    ...byClass,
    { name: 'istio-envoy', emptyDir: memory },
    { name: 'istio-data', emptyDir: {} },
    { name: 'istio-podinfo', downwardAPI: { items: [item('labels'), item('annotations')] } },
    { name: 'istio-token', projected: { sources: [{ serviceAccountToken: token }] } },
    { name: 'istiod-ca-cert', configMap: { name: 'istio-ca-root-cert' } },
  ]
}
