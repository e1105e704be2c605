/** HorizontalPodAutoscaler (autoscaling/v2) and the metrics it reads, as far as the controller uses them. */
import type { Condition, KubeObject } from '../../kube/index.ts'

export interface MetricTarget {
  readonly type: 'Utilization' | 'AverageValue' | 'Value'
  readonly averageUtilization?: number
  readonly averageValue?: string
}

export interface MetricSpec {
  readonly type: string
  readonly resource?: { readonly name: string; readonly target: MetricTarget }
  readonly containerResource?: {
    readonly name: string
    readonly container: string
    readonly target: MetricTarget
  }
}

export interface MetricValue {
  readonly averageUtilization?: number
  readonly averageValue: string
}

export interface MetricStatus {
  readonly type: string
  readonly resource?: { readonly name: string; readonly current: MetricValue }
  readonly containerResource?: {
    readonly name: string
    readonly container: string
    readonly current: MetricValue
  }
}

export interface ScalingPolicy {
  readonly type: 'Pods' | 'Percent'
  readonly value: number
  readonly periodSeconds: number
}

export interface ScalingRules {
  readonly stabilizationWindowSeconds?: number
  readonly selectPolicy?: 'Max' | 'Min' | 'Disabled'
  readonly policies?: readonly ScalingPolicy[]
}

export interface AutoscalerSpec {
  readonly scaleTargetRef: {
    readonly apiVersion?: string
    readonly kind: string
    readonly name: string
  }
  readonly minReplicas?: number
  readonly maxReplicas: number
  readonly metrics?: readonly MetricSpec[]
  readonly behavior?: { readonly scaleUp?: ScalingRules; readonly scaleDown?: ScalingRules }
}

export interface AutoscalerStatus {
  observedGeneration?: number
  lastScaleTime?: string
  currentReplicas?: number
  desiredReplicas?: number
  currentMetrics?: readonly MetricStatus[] | null
  conditions?: readonly Condition[]
}

export type Autoscaler = KubeObject<AutoscalerSpec, AutoscalerStatus>

export type Scale = KubeObject<{ replicas?: number }, { replicas?: number; selector?: string }>

export type PodMetrics = KubeObject & {
  readonly containers: readonly { readonly name: string; readonly usage: Record<string, string> }[]
}
