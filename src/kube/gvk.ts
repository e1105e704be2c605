/** Reading and writing group, version and kind. */
import type { GroupVersionKind, GroupVersionResource, KubeObject } from './types.ts'

export interface GroupVersion {
  readonly group: string
  readonly version: string
}

/** `apps/v1` → group `apps`, version `v1`; `v1` → the core group. */
export function parseApiVersion(apiVersion: string): GroupVersion {
  const slash = apiVersion.indexOf('/')
  if (slash < 0) return { group: '', version: apiVersion }
  return { group: apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1) }
}

/** The `apiVersion` text of a group version. */
export function apiVersionOf(groupVersion: GroupVersion): string {
  const { group, version } = groupVersion
  return group === '' ? version : `${group}/${version}`
}

/** The group, version and kind of an object. */
export function gvkOf(object: Pick<KubeObject, 'apiVersion' | 'kind'>): GroupVersionKind {
  return { ...parseApiVersion(object.apiVersion), kind: object.kind }
}

/** A text that is unique for each kind: `apps/v1/Deployment`. Good as a map key. */
export function gvkKey(gvk: GroupVersionKind): string {
  return `${gvk.group}/${gvk.version}/${gvk.kind}`
}

/** The same for resources: `apps/v1/deployments`. */
export function gvrKey(gvr: GroupVersionResource): string {
  return `${gvr.group}/${gvr.version}/${gvr.resource}`
}

/** The path of a resource's collection in the API, or of one object when `name` is given. */
export function resourcePath(gvr: GroupVersionResource, namespace?: string, name?: string): string {
  const root = gvr.group === '' ? `/api/${gvr.version}` : `/apis/${gvr.group}/${gvr.version}`
  const scope = namespace === undefined || namespace === '' ? '' : `/namespaces/${namespace}`
  return `${root}${scope}/${gvr.resource}${name === undefined ? '' : `/${name}`}`
}

/**
 * Orders versions as discovery does: `v2` before `v1` before `v1beta2` before `v1alpha1`, and
 * names of no version form last, by alphabet.
 */
export function compareVersions(a: string, b: string): number {
  const left = versionRank(a)
  const right = versionRank(b)
  if (left === undefined || right === undefined) {
    if (left !== undefined) return -1
    if (right !== undefined) return 1
    return a < b ? -1 : Number(a > b)
  }
  for (const [i, value] of left.entries()) {
    const other = right[i] ?? 0
    if (value !== other) return other - value
  }
  return 0
}

/** Stability (GA 2, beta 1, alpha 0), major and minor; undefined for other names. */
function versionRank(version: string): [number, number, number] | undefined {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version)
  if (match === null) return undefined
  const stability = match[2] === undefined ? 2 : match[2] === 'beta' ? 1 : 0
  return [stability, Number(match[1]), Number(match[3] ?? 0)]
}
