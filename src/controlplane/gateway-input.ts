/** What the objects of a Gateway are made from: the Gateway, its class, its names and labels. Pure. */
import type { KubeObject } from '../kube/index.ts'
import type { ProxyConfig } from '../model/index.ts'
import { deployedName, gatewayController, meshController } from '../translate/index.ts'
import type { ControlPlaneConfig } from './config.ts'

/** A Gateway as far as its deployment depends on it. */
export interface GatewayObject
  extends KubeObject<
    {
      gatewayClassName?: string
      addresses?: { type?: string; value?: string }[]
      infrastructure?: {
        labels?: Record<string, string>
        annotations?: Record<string, string>
        parametersRef?: { group?: string; kind?: string; name?: string }
      }
    },
    Record<string, unknown>
  > {}

export interface ListenerPort {
  readonly name: string
  readonly port: number
  readonly protocol: string
}

export interface TemplateInput {
  readonly gateway: GatewayObject
  readonly controller: string
  /** Its listeners and those of its ListenerSets. */
  readonly listeners: readonly ListenerPort[]
  readonly config: ControlPlaneConfig
  /** As MeshConfig has it now. */
  readonly trustDomain: string
  /** Of the system namespace; empty: the default one. */
  readonly network: string
  /** Of the class. */
  readonly classAnnotations: Readonly<Record<string, string>>
  /** `defaultConfig` as MeshConfig has it now. */
  readonly proxyConfig: ProxyConfig
}

export const managedLabel = 'gateway.istio.io/managed'
export const gatewayNameLabel = 'gateway.networking.k8s.io/gateway-name'
const classNameLabel = 'gateway.networking.k8s.io/gateway-class-name'
const networkLabel = 'topology.istio.io/network'
const accountAnnotation = 'gateway.istio.io/service-account'

/** The Service's annotations and type differ by class; what all share is here. */
export interface Naming {
  readonly name: string
  readonly account: string
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export function isWaypoint(input: Pick<TemplateInput, 'controller'>): boolean {
  return input.controller === meshController
}

export function namingOf(input: TemplateInput): Naming {
  const { metadata, spec } = input.gateway
  const annotations = metadata.annotations ?? {}
  const className = spec?.gatewayClassName ?? ''
  const name = deployedName({ name: metadata.name, className, annotations }, input.controller)
  const infrastructure = inherited(spec?.infrastructure?.labels ?? metadata.labels)
  const isNetworkSet = infrastructure[networkLabel] !== undefined || input.network === ''
  return {
    name,
    account: annotations[accountAnnotation] || name,
    namespace: metadata.namespace ?? 'default',
    labels: {
      ...infrastructure,
      ...(isWaypoint(input) && !isNetworkSet ? { [networkLabel]: input.network } : {}),
      [gatewayNameLabel]: metadata.name,
      [classNameLabel]: className,
      [managedLabel]: managedBy(input.controller),
    },
    annotations: inherited(spec?.infrastructure?.annotations ?? annotations),
  }
}

/** The controller's name as a label's value. */
function managedBy(controller: string): string {
  return (controller === '' ? gatewayController : controller).replaceAll('/', '-')
}

const forControllersOnly: ReadonlySet<string> = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'gateway.istio.io/name-override',
  'gateway.istio.io/service-account',
  'gateway.istio.io/controller-version',
])

/** Gateways pass on their labels and annotations, but not those that are for their controllers. */
function inherited(values: Readonly<Record<string, string>> | undefined): Record<string, string> {
  const kept = Object.entries(values ?? {}).filter(
    ([key]) => !key.startsWith('gateway.networking.k8s.io/') && !forControllersOnly.has(key),
  )
  return Object.fromEntries(kept)
}
