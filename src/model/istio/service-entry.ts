/** ServiceEntry, WorkloadEntry and WorkloadGroup (networking.istio.io), raw. */
import type { Labels } from '../types.ts'
import type { IstioPort, WorkloadSelector } from './common.ts'

export interface ServiceEntrySpec {
  readonly hosts?: readonly string[]
  readonly addresses?: readonly string[]
  readonly ports?: readonly IstioPort[]
  readonly location?: 'MESH_EXTERNAL' | 'MESH_INTERNAL'
  readonly resolution?: 'NONE' | 'STATIC' | 'DNS' | 'DNS_ROUND_ROBIN' | 'DYNAMIC_DNS'
  readonly endpoints?: readonly WorkloadEntrySpec[]
  readonly workloadSelector?: WorkloadSelector
  readonly exportTo?: readonly string[]
  readonly subjectAltNames?: readonly string[]
}

/** Also the shape of a ServiceEntry's inline endpoint. */
export interface WorkloadEntrySpec {
  readonly address?: string
  readonly ports?: Readonly<Record<string, number>>
  readonly labels?: Labels
  readonly network?: string
  readonly locality?: string
  readonly weight?: number
  readonly serviceAccount?: string
}

export interface WorkloadGroupSpec {
  readonly metadata?: { readonly labels?: Labels; readonly annotations?: Labels }
  readonly template?: WorkloadEntrySpec
  readonly probe?: ReadinessProbe
}

export interface ReadinessProbe {
  readonly initialDelaySeconds?: number
  readonly timeoutSeconds?: number
  readonly periodSeconds?: number
  readonly successThreshold?: number
  readonly failureThreshold?: number
  readonly httpGet?: {
    readonly host?: string
    readonly path?: string
    readonly port?: number
    readonly scheme?: string
    readonly httpHeaders?: readonly { readonly name?: string; readonly value?: string }[]
  }
  readonly tcpSocket?: { readonly host?: string; readonly port?: number }
  readonly exec?: { readonly command?: readonly string[] }
  readonly grpc?: { readonly port?: number; readonly service?: string }
}
