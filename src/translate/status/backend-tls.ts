/** What users read about a BackendTLSPolicy: for each target, and for each Gateway that calls it. */
import type {
  BackendRefSpec,
  BackendTLSPolicySpec,
  ConfigObject,
  ParentRefSpec,
} from '../../model/index.ts'
import { parentKey } from '../envoy/routes/attach.ts'
import {
  controllerOf,
  gatewayController,
  meshController,
} from '../envoy/routes/gateway-listeners.ts'
import { isCertificates } from '../envoy/secrets/pem.ts'
import { olderFirst, type Reader } from '../reader.ts'
import { condition, type Fault, type WantedCondition } from './condition.ts'

type Policy = ConfigObject<BackendTLSPolicySpec>

export interface WantedAncestorStatus {
  readonly ancestorRef: ParentRefSpec
  readonly controllerName: string
  readonly conditions: readonly WantedCondition[]
}

/** What the API allows in one status; targets go before Gateways. */
const maxAncestors = 16
const optOut = 'istio.io/ignore-policy-attachment'

export function backendTlsStatus(reader: Reader, policy: Policy): WantedAncestorStatus[] {
  if (policy.annotations[optOut] === 'true') return []
  const trust = trustFaults(reader, policy)
  const found: WantedAncestorStatus[] = []
  const gateways = new Map<string, Fault | undefined>()
  for (const target of policy.spec.targetRefs ?? []) {
    const { group = '', kind = '', name = '', sectionName } = target
    const fault = targetFault(reader, policy, target) ?? trust.accepted
    found.push({
      ancestorRef: { group, kind, name, ...(sectionName === undefined ? {} : { sectionName }) },
      controllerName: meshController,
      conditions: conditions(fault, trust.refs),
    })
    for (const key of callers(reader).get(`${kind}|${policy.namespace}/${name}`) ?? []) {
      if (gateways.get(key) === undefined) gateways.set(key, fault)
    }
  }
  for (const [key, fault] of [...gateways].toSorted(([left], [right]) => (left < right ? -1 : 1))) {
    const [namespace = '', name = ''] = key.split('/')
    found.push({
      ancestorRef: { group: 'gateway.networking.k8s.io', kind: 'Gateway', namespace, name },
      controllerName: gatewayController,
      conditions: conditions(fault, trust.refs),
    })
  }
  return found.slice(0, maxAncestors)
}

function conditions(accepted: Fault | undefined, refs: Fault | undefined): WantedCondition[] {
  const valid = (reason: string): Fault => ({ reason, message: 'Configuration is valid' })
  return [
    condition('Accepted', valid('Accepted'), accepted),
    condition('ResolvedRefs', valid('ResolvedRefs'), refs),
  ]
}

type Target = NonNullable<BackendTLSPolicySpec['targetRefs']>[number]

function targetFault(reader: Reader, policy: Policy, target: Target): Fault | undefined {
  const { kind = '', name = '', sectionName = '' } = target
  const { namespace } = policy
  const missing = (why: string): Fault => ({
    reason: 'TargetNotFound',
    message: `targetRefs invalid: ${why}`,
  })
  if (kind !== 'Service' && kind !== 'ServiceEntry') return missing(`unsupported kind ${kind}`)
  const service =
    kind === 'Service'
      ? reader.kubernetesService(namespace, name)
      : reader.serviceEntryHosts(namespace, name)[0]
  if (service === undefined) {
    return missing(`reference ${namespace}/${name} (of kind ${kind}) not found`)
  }
  if (sectionName !== '' && service.ports.every((port) => port.name !== sectionName)) {
    return missing(`sectionName "${sectionName}" does not exist in ${kind} ${namespace}/${name}`)
  }
  const winner = rivals(reader, namespace, kind, name).find((other) =>
    (other.spec.targetRefs ?? []).some(
      (one) => one.kind === kind && one.name === name && (one.sectionName ?? '') === sectionName,
    ),
  )
  if (winner === undefined || winner.name === policy.name) return undefined
  const message = `the older BackendTLSPolicy ${namespace}/${winner.name} has the same target`
  return { reason: 'Conflicted', message }
}

/** All policies for an object, oldest first; each says that it is for all its ports or for one. */
function rivals(reader: Reader, namespace: string, kind: string, name: string): Policy[] {
  return reader
    .policiesOfTarget(`${kind}|${namespace}/${name}`, 'BackendTLSPolicy')
    .flatMap((key) => reader.config('BackendTLSPolicy', namespace, key.split('/')[2] ?? '') ?? [])
    .filter(({ annotations }) => annotations[optOut] !== 'true')
    .toSorted(olderFirst)
}

interface TrustFaults {
  readonly accepted: Fault | undefined
  readonly refs: Fault | undefined
}

/** Whether the roots that servers are checked with can be used; without any all traffic is blocked. */
function trustFaults(reader: Reader, { spec, namespace }: Policy): TrustFaults {
  const { caCertificateRefs = [], wellKnownCACertificates: wellKnown } = spec.validation ?? {}
  const [reference] = caCertificateRefs
  if (reference === undefined) {
    if (wellKnown === undefined || wellKnown === 'System') {
      return { accepted: undefined, refs: undefined }
    }
    const message = `Unknown wellKnownCACertificates: ${wellKnown}`
    return { accepted: { reason: 'Invalid', message }, refs: undefined }
  }
  const refs = rootsFault(reader, namespace, reference)
  if (refs === undefined) return { accepted: undefined, refs }
  const message = `Certificate reference invalid: ${refs.message}`
  return { accepted: { reason: 'NoValidCACertificate', message }, refs }
}

function rootsFault(
  reader: Reader,
  namespace: string,
  { group = '', kind = '', name = '' }: { group?: string; kind?: string; name?: string },
): Fault | undefined {
  if (group !== '' || kind !== 'ConfigMap') {
    const message = `Certificate reference not supported: unsupported kind ${kind}`
    return { reason: 'InvalidKind', message }
  }
  const roots = reader.credential('ConfigMap', `${namespace}/${name}`)
  const reason = 'InvalidCACertificateRef'
  if (roots === undefined) {
    const message = `Certificate reference not found: reference ${namespace}/${name} (of kind ConfigMap) not found`
    return { reason, message }
  }
  if (isCertificates(roots.ca)) return undefined
  const message = `Certificate invalid: ConfigMap ${namespace}/${name} has no valid PEM in ca.crt`
  return { reason, message }
}

/** `<Kind>|<namespace>/<name>` of backends → keys of the Gateways whose routes lead there. */
function callers(reader: Reader): ReadonlyMap<string, ReadonlySet<string>> {
  return reader.memo('backend-callers', (inner) => {
    const found = new Map<string, Set<string>>()
    const routes = [
      ...inner.allHttpRoutes().map(({ config }) => config),
      ...inner.allConfigs('GRPCRoute'),
      ...inner.allConfigs('TLSRoute'),
      ...inner.allConfigs('TCPRoute'),
    ]
    for (const { namespace, spec } of routes) {
      const gateways = (spec.parentRefs ?? [])
        .map((parent) => parentKey(parent, namespace))
        .flatMap((key) => (key.startsWith('Gateway|') ? key.slice('Gateway|'.length) : []))
        .filter((key) => isOurs(inner, key))
      const rules: readonly { readonly backendRefs?: readonly BackendRefSpec[] }[] =
        spec.rules ?? []
      for (const backend of rules.flatMap(({ backendRefs = [] }) => backendRefs)) {
        const key = `${backend.kind ?? 'Service'}|${backend.namespace ?? namespace}/${backend.name ?? ''}`
        const set = found.get(key) ?? new Set<string>()
        for (const gateway of gateways) set.add(gateway)
        found.set(key, set)
      }
    }
    return found
  })
}

function isOurs(reader: Reader, key: string): boolean {
  const gateway = reader.gateway(key)
  return gateway !== undefined && controllerOf(reader, gateway) === gatewayController
}
