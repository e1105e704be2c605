/** The parts of workload kinds that the controllers read and write. */
import type { KubeObject, OwnerReference } from '../kube/index.ts'

export interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: string; values?: string[] }[]
}

export interface PodTemplate {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> }
  spec: PodSpec
}

export interface ContainerPort {
  name?: string
  containerPort: number
  protocol?: string
}

export interface PodSpec {
  nodeName?: string
  hostname?: string
  subdomain?: string
  hostNetwork?: boolean
  containers?: { name: string; ports?: ContainerPort[] }[]
  initContainers?: { name: string; restartPolicy?: string; ports?: ContainerPort[] }[]
  [field: string]: unknown
}

export interface Condition {
  type: string
  status: 'True' | 'False' | 'Unknown'
  reason?: string
  message?: string
  lastTransitionTime?: string
  lastUpdateTime?: string
}

export interface PodStatus {
  phase?: string
  podIP?: string
  podIPs?: { ip: string }[]
  conditions?: Condition[]
}

export type Pod = KubeObject<PodSpec, PodStatus>

export interface ReplicaSetSpec {
  replicas?: number
  minReadySeconds?: number
  selector: LabelSelector
  template: PodTemplate
}

export interface ReplicaSetStatus {
  replicas: number
  fullyLabeledReplicas?: number
  readyReplicas?: number
  availableReplicas?: number
  observedGeneration?: number
}

export type ReplicaSet = KubeObject<ReplicaSetSpec, ReplicaSetStatus>

export interface DeploymentSpec extends ReplicaSetSpec {
  paused?: boolean
  revisionHistoryLimit?: number
  progressDeadlineSeconds?: number
  strategy?: {
    type?: 'Recreate' | 'RollingUpdate'
    rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string }
  }
}

export interface DeploymentStatus extends Partial<ReplicaSetStatus> {
  updatedReplicas?: number
  unavailableReplicas?: number
  conditions?: Condition[]
}

export type Deployment = KubeObject<DeploymentSpec, DeploymentStatus>

export interface DaemonSetSpec {
  selector: LabelSelector
  template: PodTemplate
  updateStrategy?: { type?: string }
}

export type DaemonSet = KubeObject<DaemonSetSpec, Record<string, number>>

export interface ServicePort {
  name?: string
  protocol?: string
  port: number
  targetPort?: number | string
  appProtocol?: string
}

export interface ServiceSpec {
  type?: string
  clusterIP?: string
  selector?: Record<string, string>
  ports?: ServicePort[]
  publishNotReadyAddresses?: boolean
}

export type Service = KubeObject<ServiceSpec>

export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller === true)
}

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false
}

/** Neither deleted nor ended. */
export function isActive(pod: Pod): boolean {
  const phase = pod.status?.phase
  return pod.metadata.deletionTimestamp === undefined && phase !== 'Succeeded' && phase !== 'Failed'
}
