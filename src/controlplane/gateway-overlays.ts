/**
 * What users change of generated objects: strategic-merge patches in a ConfigMap, first those for the whole
 * class, then those that the Gateway names. A patch that can't be used is told and stops the Gateway's deployment:
 * half of what was asked for would be worse than what runs already.
 */
import { parse } from 'yaml'
import { MeshError, toError } from '../base/index.ts'
import type { GroupVersionKind, KubeObject } from '../kube/index.ts'
import { strategicMergePatch } from '../patch/index.ts'
import { loadBuiltinSchemas, type SchemaRegistry } from '../schema/index.ts'

/** The label of a ConfigMap with overlays for a class, in the root namespace. */
export const classDefaultsLabel = 'gateway.istio.io/defaults-for-class'

/** The keys of such ConfigMaps. */
export const overlayKinds = {
  deployment: { group: 'apps', version: 'v1', kind: 'Deployment' },
  service: { group: '', version: 'v1', kind: 'Service' },
  serviceAccount: { group: '', version: 'v1', kind: 'ServiceAccount' },
  horizontalPodAutoscaler: {
    group: 'autoscaling',
    version: 'v2',
    kind: 'HorizontalPodAutoscaler',
  },
  podDisruptionBudget: { group: 'policy', version: 'v1', kind: 'PodDisruptionBudget' },
} as const satisfies Readonly<Record<string, GroupVersionKind>>

export type OverlayKey = keyof typeof overlayKinds

export interface Overlay {
  /** `<namespace>/<name>` of the ConfigMap, for messages. */
  readonly source: string
  readonly data: Readonly<Record<string, unknown>>
}

/** Parsed at the first overlay: most meshes have none. */
let schemas: SchemaRegistry | undefined

export function hasOverlay(overlays: readonly Overlay[], key: OverlayKey): boolean {
  return overlays.some(({ data }) => typeof data[key] === 'string')
}

/** The object with all patches for it applied, in order. */
export function withOverlays(
  object: KubeObject,
  key: OverlayKey,
  overlays: readonly Overlay[],
): KubeObject {
  let result = object
  for (const { source, data } of overlays) {
    const text = data[key]
    if (typeof text !== 'string') continue
    schemas ??= loadBuiltinSchemas()
    try {
      const patch: unknown = parse(text)
      // A patch of an object of a kind is one again; its name and namespace are put back below.
      result = strategicMergePatch(
        result,
        patch,
        schemas.get(overlayKinds[key])?.node,
      ) as KubeObject
    } catch (error) {
      const what = `ConfigMap ${source}, key ${key}`
      throw new MeshError('GATEWAY_OVERLAY', `${what}: ${toError(error).message}`, {
        hint: `it must be a strategic-merge patch of a ${overlayKinds[key].kind}, in YAML`,
      })
    }
  }
  if (result === object) return object
  const { apiVersion, kind, metadata } = object
  const { name, namespace, ownerReferences } = metadata
  const own = {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(ownerReferences === undefined ? {} : { ownerReferences }),
    // Without its labels nobody would know whose it is.
    labels: { ...result.metadata.labels, ...metadata.labels },
  }
  return { ...result, apiVersion, kind, metadata: { ...result.metadata, ...own } }
}
