/** The objects that make a Gateway or a waypoint run: ServiceAccount, Deployment, Service. Pure. */
import type { KubeObject, OwnerReference } from '../kube/index.ts'
import {
  type GatewayObject,
  gatewayNameLabel,
  isWaypoint,
  type ListenerPort,
  namingOf,
  type TemplateInput,
} from './gateway-input.ts'
import { podTemplate } from './gateway-pod.ts'

const serviceTypeAnnotation = 'networking.istio.io/service-type'
const distributionAnnotation = 'networking.istio.io/traffic-distribution'

export interface DeployedObjects {
  readonly serviceAccount: KubeObject
  readonly deployment: KubeObject
  readonly service: KubeObject
}

export function deployedObjects(input: TemplateInput): DeployedObjects {
  const naming = namingOf(input)
  const { gateway } = input
  const common = (name: string, more: Readonly<Record<string, string>> = {}) => ({
    name,
    namespace: naming.namespace,
    labels: { ...naming.labels },
    annotations: { ...more, ...naming.annotations },
    ownerReferences: [ownerOf(gateway)],
  })
  // The nearest replica of a waypoint is as good as any.
  const nearest: Record<string, string> = isWaypoint(input)
    ? { [distributionAnnotation]: 'PreferClose' }
    : {}
  return {
    serviceAccount: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: common(naming.account) },
    deployment: {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: common(naming.name),
      spec: {
        selector: { matchLabels: { [gatewayNameLabel]: gateway.metadata.name } },
        template: podTemplate(input, naming),
      },
    },
    service: {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: common(naming.name, nearest),
      spec: serviceSpec(input),
    },
  }
}

/** What an overlay may ask for besides; nothing is made without one. */
export function optionalObjects(input: TemplateInput): {
  readonly horizontalPodAutoscaler: KubeObject
  readonly podDisruptionBudget: KubeObject
} {
  const { name, namespace, labels, annotations } = namingOf(input)
  const metadata = {
    name,
    namespace,
    labels: { ...labels },
    annotations: { ...annotations },
    ownerReferences: [ownerOf(input.gateway)],
  }
  return {
    horizontalPodAutoscaler: {
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata,
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name },
        maxReplicas: 1,
      },
    },
    podDisruptionBudget: {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata,
      spec: { selector: { matchLabels: { [gatewayNameLabel]: input.gateway.metadata.name } } },
    },
  }
}

function ownerOf(gateway: GatewayObject): OwnerReference {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    name: gateway.metadata.name,
    uid: gateway.metadata.uid ?? '',
  }
}

function serviceSpec(input: TemplateInput): unknown {
  const { gateway } = input
  const [address] = gateway.spec?.addresses ?? []
  const byClass = isWaypoint(input) ? 'ClusterIP' : 'LoadBalancer'
  const type = gateway.metadata.annotations?.[serviceTypeAnnotation] ?? byClass
  const field = type === 'LoadBalancer' ? 'loadBalancerIP' : 'clusterIP'
  return {
    type,
    ipFamilyPolicy: 'PreferDualStack',
    selector: { [gatewayNameLabel]: gateway.metadata.name },
    ports: [
      { name: 'status-port', port: 15021, protocol: 'TCP', appProtocol: 'tcp' },
      ...servicePorts(input.listeners),
    ],
    ...(address?.value === undefined ? {} : { [field]: address.value }),
  }
}

/** One for each port number, named after the first listener that has it. */
function servicePorts(listeners: readonly ListenerPort[]): unknown[] {
  const ports = new Map<number, unknown>()
  const names = new Set(['status-port'])
  for (const [index, { name, port, protocol }] of listeners.entries()) {
    if (ports.has(port) || protocol === 'UDP') continue
    const appProtocol = protocol.toLowerCase()
    const plain = name.replaceAll('.', '-').slice(0, 63).replace(/-+$/, '')
    const isFree = plain !== '' && !names.has(plain)
    const unique = isFree ? plain : `${appProtocol}-${index}`
    names.add(unique)
    ports.set(port, { name: unique, port, protocol: 'TCP', appProtocol })
  }
  return [...ports.values()]
}
