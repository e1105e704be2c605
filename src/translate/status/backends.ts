/** Whether the rules of a route can be followed: where they send to, and what they do on the way. */
import type { HTTPRouteFilterSpec, ObjectReferenceSpec } from '../../model/index.ts'
import type { RouteObject } from '../envoy/routes/attach.ts'
import type { Reader } from '../reader.ts'
import type { Fault } from './condition.ts'
import { isGranted, type Referrer } from './grants.ts'

export interface RuleFaults {
  /** The route itself can't be understood in full. */
  readonly accepted: Fault | undefined
  /** Something that it refers to can't be used. */
  readonly refs: Fault | undefined
}

const isHard = (fault: Fault): boolean => fault.reason === 'InvalidDestination'

/**
 * @param isMesh whether the parent is a service: the clients' own proxies follow the route then, and need no
 * grant to call what they may call anyway
 */
export function ruleFaults(reader: Reader, route: RouteObject, isMesh: boolean): RuleFaults {
  const from = { kind: route.kind, namespace: route.object.namespace }
  let accepted: Fault | undefined
  let refs: Fault | undefined
  for (const { filters, backends } of rulesOf(route)) {
    for (const filter of filters) accepted ??= filterFault(filter)
    const mirrors = filters.flatMap(({ requestMirror }) => requestMirror?.backendRef ?? [])
    for (const backend of [...mirrors, ...backends]) {
      const fault = backendFault(reader, from, backend, isMesh)
      if (fault === undefined) continue
      if (isHard(fault)) return { accepted, refs: fault }
      // Of several the last is told: it is the one that is left when those before are mended.
      refs = fault
    }
  }
  return { accepted, refs }
}

interface CheckedRule {
  readonly filters: readonly HTTPRouteFilterSpec[]
  readonly backends: readonly ObjectReferenceSpec[]
}

function rulesOf({ kind, object }: RouteObject): CheckedRule[] {
  if (kind === 'HTTPRoute' || kind === 'GRPCRoute') {
    return (object.spec.rules ?? []).map(({ filters = [], backendRefs = [] }) => ({
      filters: [...filters, ...backendRefs.flatMap((backend) => backend.filters ?? [])],
      backends: inUse(backendRefs),
    }))
  }
  return (object.spec.rules ?? []).map(({ backendRefs = [] }) => ({
    filters: [],
    backends: inUse(backendRefs),
  }))
}

/** Backends of weight 0 get nothing; when all have it the rule answers with an error of its own. */
function inUse<B extends { readonly weight?: number }>(backends: readonly B[]): readonly B[] {
  const used = backends.filter(({ weight }) => weight !== 0)
  return used.length === 0 ? backends : used
}

const knownFilters: ReadonlySet<string | undefined> = new Set([
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
  'RequestMirror',
  'RequestRedirect',
  'URLRewrite',
  'CORS',
])

function filterFault({ type }: HTTPRouteFilterSpec): Fault | undefined {
  if (knownFilters.has(type)) return undefined
  return { reason: 'InvalidFilter', message: `unsupported filter type "${type ?? ''}"` }
}

const istioGroup = 'networking.istio.io'
const alpha =
  'The Alpha Gateway API is not enabled, XBackend is invalid. To enable, set PILOT_ENABLE_ALPHA_GATEWAY_API to true in istiod.'
const inference =
  'InferencePool is not enabled. To enable, set ENABLE_GATEWAY_API_INFERENCE_EXTENSION to true in istiod'

function backendFault(
  reader: Reader,
  from: Referrer,
  backend: ObjectReferenceSpec,
  isMesh: boolean,
): Fault | undefined {
  const { group = '', kind = 'Service', name = '' } = backend
  const namespace = backend.namespace ?? from.namespace
  if (!isMesh && !isGranted(reader, from, { ...backend, group, kind })) {
    const message = `backendRef ${name}/${namespace} not accessible to a ${from.kind} in namespace "${from.namespace}" (missing a ReferenceGrant?)`
    return { reason: 'RefNotPermitted', message }
  }
  const host = hostOf(reader, { group, kind, name, namespace })
  if ('reason' in host) return host
  if (kind === 'Hostname' && backend.namespace !== undefined) {
    return destination('namespace may not be set with Hostname type')
  }
  if (kind !== 'Hostname' && name.includes('.')) {
    return destination(
      'service name invalid; the name of the Service must be used, not the hostname.',
    )
  }
  if (backend.port === undefined) return destination('port is required in backendRef')
  if (host.isThere) return undefined
  return { reason: 'BackendNotFound', message: `backend(${host.name}) not found` }
}

const destination = (message: string): Fault => ({ reason: 'InvalidDestination', message })

interface Target {
  readonly group: string
  readonly kind: string
  readonly name: string
  readonly namespace: string
}

/** The host a reference means; or that its kind is none that can be sent to. */
function hostOf(
  reader: Reader,
  { group, kind, name, namespace }: Target,
): { readonly name: string; readonly isThere: boolean } | Fault {
  const type = `${group}/${kind}`
  // Without host names of a cluster set, an imported service is the one with the same name here.
  if (type === '/Service' || type === 'multicluster.x-k8s.io/ServiceImport') {
    const host = `${name}.${namespace}.svc.${reader.settings.domain}`
    return { name: host, isThere: reader.kubernetesService(namespace, name) !== undefined }
  }
  if (type === `${istioGroup}/Hostname`) {
    return { name, isThere: reader.servicesByHost(name).length > 0 }
  }
  if (type === `${istioGroup}/ServiceEntry`) {
    const hosts = reader.serviceEntryHosts(namespace, name)
    return { name: `${namespace}/${name}`, isThere: hosts.length > 0 }
  }
  const message =
    type === 'gateway.networking.x-k8s.io/XBackend'
      ? alpha
      : type === 'inference.networking.k8s.io/InferencePool'
        ? inference
        : `referencing unsupported backendRef: group "${group}" kind "${kind}"`
  return { reason: 'InvalidKind', message }
}
