/** What users read about a Gateway and about a ListenerSet: is it good, does traffic reach it, where. */
import type { ConfigObject, Gateway, ListenerSetSpec } from '../../model/index.ts'
import { attachRoutes } from '../envoy/routes/attach.ts'
import {
  admitsSet,
  controllerOf,
  gatewayController,
  meshController,
  remoteController,
} from '../envoy/routes/gateway-listeners.ts'
import type { Reader } from '../reader.ts'
import {
  gatewayHosts,
  type OutsideFacts,
  programmedCondition,
  type Reach,
  reachOf,
} from './addresses.ts'
import { condition, type Fault, type WantedCondition } from './condition.ts'
import { certificateFault, frontendOf } from './listener-tls.ts'
import { type ListenerReport, listenerReport, type WantedListenerStatus } from './listeners.ts'

export interface StatusAddressValue {
  readonly type: 'IPAddress' | 'Hostname'
  readonly value: string
}

export interface WantedGatewayStatus {
  /** Empty: nothing to say, so what was said before stays. */
  readonly addresses: readonly StatusAddressValue[]
  readonly conditions: readonly WantedCondition[]
  /** Undefined: this control plane says nothing about listeners. */
  readonly listeners: readonly WantedListenerStatus[] | undefined
  readonly attachedListenerSets: number
}

/** Condition types that are this writer's, so that those which no longer hold can be taken away. */
export const gatewayConditionTypes = [
  'Accepted',
  'Programmed',
  'ResolvedRefs',
  'InsecureFrontendValidationMode',
] as const

/** Undefined for a Gateway of another controller. */
export function gatewayStatus(
  reader: Reader,
  gateway: Gateway,
  facts: OutsideFacts,
): WantedGatewayStatus | undefined {
  const controller = controllerOf(reader, gateway)
  if (controller === remoteController) return remoteStatus(gateway)
  if (controller !== gatewayController && controller !== meshController) return undefined
  const { hosts, fault } = gatewayHosts(reader, gateway)
  if (hosts.length === 0 && fault !== undefined) {
    const nowhere = programmedCondition(hosts, nothing)
    const conditions = [accepted(fault), nowhere, resolvedRefs(reader, gateway)]
    return { addresses: [], conditions, listeners: undefined, attachedListenerSets: 0 }
  }
  const reports = reportsOf(reader, gateway)
  const own = reports.filter(({ isOwn }) => isOwn)
  const fromSets = reports.filter(({ isOwn, report }) => !isOwn && report.isValid)
  const ports = [...own, ...fromSets].map(({ report }) => report.port)
  const reach = reachOf(reader, gateway, { hosts, ports }, facts)
  return {
    addresses: addressesOf(gateway, controller, reach),
    conditions: [
      listenersAccepted(
        own.map(({ report }) => report),
        fault ?? parametersFault(gateway, facts),
      ),
      programmedCondition(hosts, reach),
      resolvedRefs(reader, gateway),
      ...insecureFrontend(gateway),
    ],
    listeners: own.map(({ report }) => report.status),
    attachedListenerSets: new Set(fromSets.map(({ set }) => set)).size,
  }
}

const nothing: Reach = {
  internal: [],
  clusterIps: [],
  external: [],
  pending: [],
  warnings: [],
  isUsable: false,
}

interface OwnedReport {
  readonly isOwn: boolean
  /** `<namespace>/<name>` of the ListenerSet. */
  readonly set: string
  readonly report: ListenerReport
}

function reportsOf(reader: Reader, gateway: Gateway): OwnedReport[] {
  return attachRoutes(reader, gateway).listeners.map((listener) => ({
    isOwn: listener.owner.kind === 'Gateway',
    set: `${listener.owner.namespace}/${listener.owner.name}`,
    report: listenerReport(reader, gateway, listener),
  }))
}

const resourceAccepted: Fault = { reason: 'Accepted', message: 'Resource accepted' }

function accepted(fault: Fault | undefined): WantedCondition {
  return condition('Accepted', resourceAccepted, fault)
}

function listenersAccepted(
  reports: readonly ListenerReport[],
  fault: Fault | undefined,
): WantedCondition {
  const valid = reports.filter(({ isValid }) => isValid).length
  if (fault !== undefined || valid === reports.length) return accepted(fault)
  const reason = 'ListenersNotValid'
  if (valid === 0) {
    return accepted({ reason, message: "None of the Gateway's listeners are valid" })
  }
  const message = "One or more of the Gateway's listeners are invalid"
  return { type: 'Accepted', status: 'True', reason, message }
}

function parametersFault(gateway: Gateway, facts: OutsideFacts): Fault | undefined {
  const reference = gateway.config.spec.infrastructure?.parametersRef
  if (reference === undefined) return undefined
  const { group = '', kind = '', name = '' } = reference
  const reason = 'InvalidParameters'
  if (group !== '' || kind !== 'ConfigMap') {
    const message = `Unsupported parametersRef group/kind ${group}/${kind}, only ConfigMap is supported`
    return { reason, message }
  }
  if (facts.hasConfigMap(gateway.namespace, name)) return undefined
  const message = `parametersRef ConfigMap ${gateway.namespace}/${name} does not exist`
  return { reason, message }
}

/** About the certificate that the Gateway shows to backends. */
function resolvedRefs(reader: Reader, gateway: Gateway): WantedCondition {
  const reference = gateway.config.spec.tls?.backend?.clientCertificateRef
  const from = { kind: 'Gateway', namespace: gateway.namespace }
  const fault = reference === undefined ? undefined : certificateFault(reader, from, reference)
  const isBad = fault?.reason === 'InvalidCertificateRef'
  return condition(
    'ResolvedRefs',
    { reason: 'ResolvedRefs', message: 'All references resolved' },
    isBad ? { reason: 'InvalidClientCertificateRef', message: fault.message } : fault,
  )
}

/** Clients without a valid certificate get in somewhere: nobody should have to guess that. */
function insecureFrontend(gateway: Gateway): WantedCondition[] {
  const ports = (gateway.config.spec.listeners ?? [])
    .filter(({ protocol }) => protocol === 'HTTPS' || protocol === 'TLS')
    .filter(({ port }) => frontendOf(gateway, port)?.validation?.mode === 'AllowInsecureFallback')
    .map(({ port }) => String(port))
  if (ports.length === 0) return []
  const message = `Clients without a valid certificate are let in on port(s) ${[...new Set(ports)].join(', ')}`
  const type = 'InsecureFrontendValidationMode'
  return [{ type, status: 'True', reason: 'ConfigurationChanged', message }]
}

const addressTypeAnnotation = 'networking.istio.io/address-type'

/** What balancers give before what only the cluster knows; waypoints tell both their IP and their name. */
function addressesOf(gateway: Gateway, controller: string, reach: Reach): StatusAddressValue[] {
  const { external, internal, clusterIps, pending } = reach
  if (external.length > 0) return external.map(typed)
  const byClass = controller === meshController ? '' : 'Hostname'
  const wanted = gateway.config.annotations[addressTypeAnnotation] ?? byClass
  const hosts = internal
    .map((entry) => entry.slice(0, entry.lastIndexOf(':')))
    .filter((host) => !pending.includes(host))
  return [
    ...(wanted === 'Hostname' ? [] : clusterIps),
    ...(wanted === 'IPAddress' ? [] : new Set(hosts)),
  ].map(typed)
}

function typed(value: string): StatusAddressValue {
  const isIp = /^[\d.]+$/.test(value) || value.includes(':')
  return { type: isIp ? 'IPAddress' : 'Hostname', value }
}

function remoteStatus(gateway: Gateway): WantedGatewayStatus {
  const addresses = (gateway.config.spec.addresses ?? []).flatMap(({ value = '' }) =>
    value === '' ? [] : typed(value),
  )
  const programmed = {
    reason: 'Programmed',
    message: 'This Gateway is remote; Istio will not program it',
  }
  const conditions = [accepted(undefined), condition('Programmed', programmed)]
  return { addresses, conditions, listeners: undefined, attachedListenerSets: 0 }
}

export interface WantedListenerSetStatus {
  readonly conditions: readonly WantedCondition[]
  readonly listeners: readonly WantedListenerStatus[] | undefined
}

/** Undefined for a set whose Gateway is not there or another controller's. */
export function listenerSetStatus(
  reader: Reader,
  set: ConfigObject<ListenerSetSpec>,
  facts: OutsideFacts,
): WantedListenerSetStatus | undefined {
  const { kind = 'Gateway', name = '', namespace = set.namespace } = set.spec.parentRef ?? {}
  const gateway = kind === 'Gateway' ? reader.gateway(`${namespace}/${name}`) : undefined
  if (gateway === undefined) return undefined
  const controller = controllerOf(reader, gateway)
  if (controller === meshController) {
    const message = `The "${gateway.className}" GatewayClass does not support ListenerSet`
    return refusedSet({ reason: 'NotAllowed', message })
  }
  if (controller !== gatewayController) return undefined
  if (!admitsSet(reader, gateway, set.namespace)) {
    const message =
      "The parent Gateway does not allow this reference; check the 'spec.allowedRoutes'"
    return refusedSet({ reason: 'NotAllowed', message })
  }
  const { hosts, fault } = gatewayHosts(reader, gateway)
  if (hosts.length === 0 && fault !== undefined) {
    const parent = { ...fault, message: `Parent not accepted: ${fault.message}` }
    const conditions = [accepted(parent), programmedCondition(hosts, nothing)]
    return { conditions, listeners: undefined }
  }
  const key = `${set.namespace}/${set.name}`
  const reports = reportsOf(reader, gateway).flatMap((one) =>
    !one.isOwn && one.set === key ? one.report : [],
  )
  const listeners = reports.map(({ status }) => status)
  const ports = reports.flatMap(({ isValid, port }) => (isValid ? port : []))
  if (ports.length === 0) {
    const message = "None of the ListenerSet's listeners are valid"
    return { ...refusedSet({ reason: 'ListenersNotValid', message }), listeners }
  }
  const reach = reachOf(reader, gateway, { hosts, ports }, facts)
  return { conditions: [accepted(fault), programmedCondition(hosts, reach)], listeners }
}

function refusedSet(fault: Fault): WantedListenerSetStatus {
  const programmed = { reason: 'Programmed', message: 'Resource programmed' }
  const conditions = [accepted(fault), condition('Programmed', programmed, fault)]
  return { conditions, listeners: undefined }
}
