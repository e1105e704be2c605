/**
 * What caches keep of an object: only what somebody reads. The raw objects of 50,000 pods would cost
 * more than everything else a control plane holds; and of Secrets that hold no certificate nothing
 * is to be in its memory at all.
 */
import type { KubeObject } from '../kube/index.ts'
import { credentialKeys } from './credentials.ts'
import type { ContainerShape, PodShape } from './shapes.ts'

/** Long, and only for people. */
const bulky: ReadonlySet<string> = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'sidecar.istio.io/status',
])

const keptData: ReadonlySet<string> = new Set([
  ...Object.values(credentialKeys).flat(),
  'mesh',
  'meshNetworks',
  // Overlays for the objects of Gateways.
  'deployment',
  'service',
  'serviceAccount',
  'horizontalPodAutoscaler',
  'podDisruptionBudget',
])

/** May change the object it is given. */
export function slimObject(object: KubeObject): KubeObject {
  delete object.metadata.managedFields
  if (object.apiVersion !== 'v1') return object
  if (object.kind === 'Pod') return slimPod(object)
  if (object.kind === 'Node') return { ...frame(object) }
  return object.kind === 'Secret' || object.kind === 'ConfigMap' ? slimData(object) : object
}

function frame({ apiVersion, kind, metadata }: KubeObject): KubeObject {
  return { apiVersion, kind, metadata }
}

function slimPod(object: KubeObject): KubeObject {
  const { metadata } = object
  // Read defensively; see shapes.ts.
  const { spec, status } = object as PodShape
  const annotations: Record<string, string> = {}
  for (const [key, value] of Object.entries(metadata.annotations ?? {})) {
    if (key.includes('istio.io/') && !bulky.has(key)) annotations[key] = value
  }
  metadata.annotations = annotations
  delete metadata.finalizers
  const sidecars = (spec?.initContainers ?? []).filter((item) => item.restartPolicy === 'Always')
  return {
    ...frame(object),
    spec: {
      ...(spec?.serviceAccountName === undefined
        ? {}
        : { serviceAccountName: spec.serviceAccountName }),
      ...(spec?.nodeName === undefined ? {} : { nodeName: spec.nodeName }),
      ...(spec?.hostNetwork === true ? { hostNetwork: true } : {}),
      containers: (spec?.containers ?? []).flatMap(slimContainer),
      initContainers: sidecars.flatMap(slimContainer),
    },
    status: {
      ...(status?.phase === undefined ? {} : { phase: status.phase }),
      ...(status?.podIP === undefined ? {} : { podIP: status.podIP }),
      ...(status?.podIPs === undefined ? {} : { podIPs: status.podIPs }),
      conditions: (status?.conditions ?? [])
        .filter((item) => item.type === 'Ready')
        .map(({ type, status: state }) => ({ type, status: state })),
    },
  }
}

function slimContainer({ ports, restartPolicy }: ContainerShape): ContainerShape[] {
  if (ports === undefined || ports.length === 0) return []
  return [{ ports, ...(restartPolicy === undefined ? {} : { restartPolicy }) }]
}

function slimData(object: KubeObject): KubeObject {
  const { data, type } = object as { data?: Record<string, unknown>; type?: string }
  const kept: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(data ?? {})) {
    if (keptData.has(key)) kept[key] = value
  }
  delete object.metadata.annotations?.['kubectl.kubernetes.io/last-applied-configuration']
  const slim = { ...frame(object), data: kept, ...(type === undefined ? {} : { type }) }
  return slim
}
