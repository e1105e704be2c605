/** The parts of workload kinds that the controllers read and write. */
import type { KubeObject, LabelSelector } from '../kube/index.ts'

export interface PodTemplate {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> }
  spec: PodSpec
}

export interface ContainerPort {
  name?: string
  containerPort: number
  protocol?: string
}

export interface Container {
  name: string
  ports?: ContainerPort[]
  env?: unknown[]
  resources?: {
    requests?: Record<string, string | number>
    limits?: Record<string, string | number>
  }
}

export interface PodSpec {
  nodeName?: string
  nodeSelector?: Record<string, string>
  volumes?: { name: string; [source: string]: unknown }[]
  hostname?: string
  subdomain?: string
  hostNetwork?: boolean
  containers?: Container[]
  initContainers?: (Container & { restartPolicy?: string })[]
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

export interface ContainerState {
  waiting?: { reason?: string; message?: string }
  running?: { startedAt?: string }
  terminated?: { exitCode: number; finishedAt?: string }
}

export interface ContainerStatus {
  name: string
  restartCount?: number
  state?: ContainerState
}

export interface PodStatus {
  phase?: string
  reason?: string
  startTime?: string
  containerStatuses?: ContainerStatus[]
  initContainerStatuses?: ContainerStatus[]
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
  conditions?: Condition[]
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
}

export type Deployment = KubeObject<DeploymentSpec, DeploymentStatus>

export interface DaemonSetSpec {
  selector: LabelSelector
  template: PodTemplate
  minReadySeconds?: number
  revisionHistoryLimit?: number
  updateStrategy?: {
    type?: string
    rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string }
  }
}

export type DaemonSet = KubeObject<DaemonSetSpec, Record<string, number>>

export interface StatefulSetSpec extends ReplicaSetSpec {
  serviceName?: string
  podManagementPolicy?: 'OrderedReady' | 'Parallel'
  revisionHistoryLimit?: number
  ordinals?: { start?: number }
  updateStrategy?: {
    type?: string
    rollingUpdate?: { partition?: number; maxUnavailable?: number | string }
  }
  persistentVolumeClaimRetentionPolicy?: { whenDeleted?: string; whenScaled?: string }
  volumeClaimTemplates?: KubeObject[]
}

export interface StatefulSetStatus extends Partial<ReplicaSetStatus> {
  currentReplicas?: number
  updatedReplicas?: number
  currentRevision?: string
  updateRevision?: string
  collisionCount?: number
}

export type StatefulSet = KubeObject<StatefulSetSpec, StatefulSetStatus>

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

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false
}

/** All its containers have ended for good. */
export function isEnded(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

/** Neither deleted nor ended. */
export function isActive(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp === undefined && !isEnded(pod)
}
