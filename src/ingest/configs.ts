/**
 * Kinds that stay as users write them: the frame is read, the spec is handed on. An API server has
 * validated it; in a file it may be anything, so that at least its lists and maps must be such.
 */
import type { KubeObject } from '../kube/index.ts'
import type { ConfigObject, Labels } from '../model/index.ts'
import { createdAt, namespaceOf, textMap } from './metadata.ts'

/** What kubectl remembers of itself: as large as the object, and nothing here reads it. */
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration'

export function annotationsOf(object: KubeObject): Labels {
  const annotations = textMap(object.metadata.annotations)
  delete annotations[lastApplied]
  return annotations
}

/** Fields that must be lists when they are there, in any kind; one that is not is refused. */
const listFields = [
  'hosts',
  'gateways',
  'exportTo',
  'http',
  'tls',
  'tcp',
  'subsets',
  'servers',
  'ingress',
  'egress',
  'configPatches',
  'targetRefs',
  'jwtRules',
  'tracing',
  'metrics',
  'accessLogging',
  'rules',
  'parentRefs',
  'hostnames',
  'listeners',
] as const

/** @throws when the spec is no object or a list of it is none: it is left out, and named */
export function configObject<Spec>(object: KubeObject): ConfigObject<Spec> {
  const { apiVersion, kind, metadata, spec = {} } = object
  if (typeof spec !== 'object' || spec === null || Array.isArray(spec)) {
    throw new TypeError('spec is no object')
  }
  for (const field of listFields) {
    const value: unknown = Reflect.get(spec, field)
    // Gateway API's `tls` of a Gateway is a block.
    if (value === undefined || (field === 'tls' && kind === 'Gateway')) continue
    if (!isListOfItems(value)) throw new TypeError(`spec.${field} is no list of values`)
  }
  const slash = apiVersion.indexOf('/')
  return {
    group: slash < 0 ? '' : apiVersion.slice(0, slash),
    version: apiVersion.slice(slash + 1),
    kind,
    namespace: namespaceOf(metadata),
    name: metadata.name,
    labels: textMap(metadata.labels),
    annotations: annotationsOf(object),
    createdAt: createdAt(metadata),
    generation: metadata.generation ?? 0,
    // The API server's schema makes it so; the types are all optional for the rest.
    spec: spec as Spec,
  }
}

function isListOfItems(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => item !== null && item !== undefined)
}
