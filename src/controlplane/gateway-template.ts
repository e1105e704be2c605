/** The objects that make a Gateway run: ServiceAccount, Deployment, Service. Pure. */
import type { KubeObject, OwnerReference } from '../kube/index.ts'
import type { ControlPlaneConfig } from './config.ts'

/** A Gateway as far as its deployment depends on it. */
export interface GatewayObject
  extends KubeObject<
    {
      gatewayClassName?: string
      listeners?: { name?: string; port?: number; protocol?: string }[]
      addresses?: { type?: string; value?: string }[]
      infrastructure?: { labels?: Record<string, string>; annotations?: Record<string, string> }
    },
    {
      addresses?: { type?: string; value?: string }[]
      conditions?: unknown[]
      listeners?: unknown[]
    }
  > {}

export const managedLabel = 'gateway.istio.io/managed'
const managedBy = 'istio.io-gateway-controller'
const gatewayName = 'gateway.networking.k8s.io/gateway-name'
const className = 'gateway.networking.k8s.io/gateway-class-name'

/** `<gateway>-<class>`, or what the annotation says. */
export function deployedName(gateway: GatewayObject): string {
  const override = gateway.metadata.annotations?.['gateway.istio.io/name-override']
  return override ?? `${gateway.metadata.name}-${gateway.spec?.gatewayClassName ?? ''}`
}

export interface DeployedObjects {
  readonly serviceAccount: KubeObject
  readonly deployment: KubeObject
  readonly service: KubeObject
}

export function deployedObjects(
  gateway: GatewayObject,
  config: ControlPlaneConfig,
): DeployedObjects {
  const { metadata, spec } = gateway
  const name = deployedName(gateway)
  const account = metadata.annotations?.['gateway.istio.io/service-account'] ?? name
  const labels = {
    ...inherited(spec?.infrastructure?.labels ?? metadata.labels),
    [gatewayName]: metadata.name,
    [className]: spec?.gatewayClassName ?? '',
    [managedLabel]: managedBy,
  }
  const common = (objectName: string) => ({
    name: objectName,
    namespace: metadata.namespace ?? 'default',
    labels,
    annotations: inherited(spec?.infrastructure?.annotations ?? metadata.annotations),
    ownerReferences: [ownerOf(gateway)],
  })
  return {
    serviceAccount: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: common(account) },
    deployment: {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: common(name),
      spec: {
        selector: { matchLabels: { [gatewayName]: metadata.name } },
        template: podTemplate({ gateway, config, name, account, labels }),
      },
    },
    service: {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: common(name),
      spec: serviceSpec(gateway),
    },
  }
}

/** Gateways pass on their labels and annotations, but not those that are for their controllers. */
function inherited(values: Readonly<Record<string, string>> | undefined): Record<string, string> {
  const kept = Object.entries(values ?? {}).filter(
    ([key]) =>
      !key.startsWith('gateway.networking.k8s.io/') &&
      key !== 'kubectl.kubernetes.io/last-applied-configuration',
  )
  return Object.fromEntries(kept)
}

function ownerOf(gateway: GatewayObject): OwnerReference {
  return {
    apiVersion: gateway.apiVersion,
    kind: gateway.kind,
    name: gateway.metadata.name,
    uid: gateway.metadata.uid ?? '',
  }
}

interface ListenerPort {
  readonly name: string
  readonly port: number
}

function listenerPorts(gateway: GatewayObject): ListenerPort[] {
  const ports = new Map<number, string>()
  for (const { name = '', port, protocol = '' } of gateway.spec?.listeners ?? []) {
    if (port === undefined || ports.has(port)) continue
    const prefix = protocol.toLowerCase()
    ports.set(port, name === prefix ? prefix : `${prefix}-${name}`.slice(0, 63))
  }
  return [...ports].map(([port, name]) => ({ name, port }))
}

function serviceSpec(gateway: GatewayObject): unknown {
  const [address] = gateway.spec?.addresses ?? []
  const type = gateway.metadata.annotations?.['networking.istio.io/service-type'] ?? 'LoadBalancer'
  const field = type === 'LoadBalancer' ? 'loadBalancerIP' : 'clusterIP'
  return {
    type,
    selector: { [gatewayName]: gateway.metadata.name },
    ports: [
      { name: 'status-port', port: 15021, protocol: 'TCP', targetPort: 15021 },
      ...listenerPorts(gateway).map(({ name, port }) => ({
        name,
        port,
        protocol: 'TCP',
        targetPort: port,
        appProtocol: name.split('-')[0],
      })),
    ],
    ...(address?.value === undefined ? {} : { [field]: address.value }),
  }
}

interface TemplateInput {
  readonly gateway: GatewayObject
  readonly config: ControlPlaneConfig
  readonly name: string
  readonly account: string
  readonly labels: Readonly<Record<string, string>>
}

function podTemplate(input: TemplateInput): unknown {
  const { gateway, config, name, account, labels } = input
  return {
    metadata: {
      labels: {
        'istio.io/dataplane-mode': config.gateways.dataplaneMode,
        ...labels,
        'sidecar.istio.io/inject': 'false',
        'service.istio.io/canonical-name': name,
        'service.istio.io/canonical-revision': 'latest',
        'istio.io/rev': config.revision,
      },
      annotations: {
        'istio.io/rev': config.revision,
        // Where the gateway's outgoing traffic is meshed by the node proxy, what comes in from outside is not
        // captured: it is for the gateway to judge, and STRICT must not refuse it.
        'ambient.istio.io/bypass-inbound-capture': String(
          config.gateways.dataplaneMode === 'ambient',
        ),
        'prometheus.io/path': '/stats/prometheus',
        'prometheus.io/port': '15020',
        'prometheus.io/scrape': 'true',
      },
    },
    spec: {
      serviceAccountName: account,
      containers: [container(gateway, config, account)],
      volumes: [
        {
          name: 'istio-token',
          projected: {
            sources: [
              {
                serviceAccountToken: {
                  audience: 'istio-ca',
                  expirationSeconds: 43200,
                  path: 'istio-token',
                },
              },
            ],
          },
        },
        { name: 'istiod-ca-cert', configMap: { name: 'istio-ca-root-cert' } },
        { name: 'istio-data', emptyDir: {} },
      ],
    },
  }
}

function container(gateway: GatewayObject, config: ControlPlaneConfig, account: string): unknown {
  const namespace = gateway.metadata.namespace ?? 'default'
  const { domain, clusterId, trustDomain } = config.settings
  const readiness = { httpGet: { path: '/healthz/ready', port: 15021, scheme: 'HTTP' } }
  const field = (name: string, fieldPath: string): unknown => ({
    name,
    valueFrom: { fieldRef: { fieldPath } },
  })
  const plain = {
    XDS_ADDRESS: `istiod.${config.namespace}.svc:15012`,
    CA_ADDR: `istiod.${config.namespace}.svc:15012`,
    ISTIO_META_CLUSTER_ID: clusterId,
    TRUST_DOMAIN: trustDomain,
    ISTIO_METAJSON_LABELS: JSON.stringify({ [gatewayName]: gateway.metadata.name }),
  }
  return {
    name: 'istio-proxy',
    image: config.gateways.image,
    args: [
      'proxy',
      'router',
      '--domain',
      `${namespace}.svc.${domain}`,
      '--serviceCluster',
      `${account}.${namespace}`,
    ],
    ports: [
      { name: 'metrics', containerPort: 15020, protocol: 'TCP' },
      { name: 'status-port', containerPort: 15021, protocol: 'TCP' },
      ...listenerPorts(gateway).map(({ name, port }) => ({
        // Container port names have at most 15 characters.
        name: name.slice(0, 15).replace(/-+$/, ''),
        containerPort: port,
        protocol: 'TCP',
      })),
    ],
    env: [
      field('POD_NAME', 'metadata.name'),
      field('POD_NAMESPACE', 'metadata.namespace'),
      field('INSTANCE_IP', 'status.podIP'),
      field('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
      field('NODE_NAME', 'spec.nodeName'),
      ...Object.entries(plain).map(([name, value]) => ({ name, value })),
    ],
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      privileged: false,
      readOnlyRootFilesystem: true,
      runAsGroup: 1337,
      runAsNonRoot: true,
      runAsUser: 1337,
    },
    startupProbe: { ...readiness, failureThreshold: 30, initialDelaySeconds: 0, periodSeconds: 1 },
    readinessProbe: { ...readiness, failureThreshold: 4, periodSeconds: 5 },
    volumeMounts: [
      { name: 'istio-token', mountPath: '/var/run/secrets/tokens' },
      { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio' },
      { name: 'istio-data', mountPath: '/var/lib/istio/data' },
    ],
  }
}
