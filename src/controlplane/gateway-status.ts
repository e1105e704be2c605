/** What users read on Gateways and HTTPRoutes: conditions, attached routes, addresses. Pure. */
import type { Gateway, HttpRoute, Snapshot } from '../model/index.ts'
import {
  attachRoutes,
  gatewayController,
  type ListenerAttachment,
  type RefusalReason,
  resolveBackend,
} from '../translate/index.ts'
import type { WantedCondition } from './conditions.ts'

export interface GatewayAddressValue {
  readonly type: 'IPAddress' | 'Hostname'
  readonly value: string
}

/** The deployed Service, as far as its address goes. */
export interface ServiceObject {
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly spec?: { readonly type?: string; readonly clusterIP?: string }
  readonly status?: {
    readonly loadBalancer?: { readonly ingress?: readonly { ip?: string; hostname?: string }[] }
  }
}

/** Where clients reach a Gateway: the balancer's addresses, else the Service's name in the cluster. */
export function addressesOf(
  service: ServiceObject | undefined,
  domain: string,
): GatewayAddressValue[] {
  if (service === undefined) return []
  if (service.spec?.type === 'LoadBalancer') {
    return (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip, hostname }) => {
      if (ip !== undefined) return { type: 'IPAddress' as const, value: ip }
      return hostname === undefined ? [] : { type: 'Hostname' as const, value: hostname }
    })
  }
  const { name, namespace = 'default' } = service.metadata
  return [{ type: 'Hostname', value: `${name}.${namespace}.svc.${domain}` }]
}

export interface WantedGatewayStatus {
  readonly addresses: readonly GatewayAddressValue[]
  readonly conditions: readonly WantedCondition[]
  readonly listeners: readonly {
    readonly name: string
    readonly attachedRoutes: number
    readonly supportedKinds: readonly { readonly group: string; readonly kind: string }[]
    readonly conditions: readonly WantedCondition[]
  }[]
}

export function gatewayStatus(
  snapshot: Snapshot,
  gateway: Gateway,
  addresses: readonly GatewayAddressValue[],
): WantedGatewayStatus {
  const { listeners } = attachRoutes(snapshot, gateway)
  const allBad = listeners.length > 0 && listeners.every(({ problem }) => problem !== undefined)
  return {
    addresses,
    conditions: [
      listeners.some(({ problem }) => problem !== undefined)
        ? {
            type: 'Accepted',
            status: allBad ? 'False' : 'True',
            reason: 'ListenersNotValid',
            message: 'One or more listeners are not valid; their own conditions say why',
          }
        : condition('Accepted', true, 'Accepted', 'Resource accepted'),
      addresses.length > 0
        ? condition(
            'Programmed',
            true,
            'Programmed',
            `Resource programmed, assigned to ${addresses.map(({ value }) => value).join(', ')}`,
          )
        : condition('Programmed', false, 'AddressNotAssigned', 'The Service has no address yet'),
    ],
    listeners: listeners.map((attachment) => ({
      name: attachment.listener.name,
      attachedRoutes: attachment.routes.length,
      supportedKinds:
        attachment.problem === 'UnsupportedProtocol'
          ? []
          : [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute' }],
      conditions: listenerConditions(attachment),
    })),
  }
}

function condition(type: string, good: boolean, reason: string, message: string): WantedCondition {
  return { type, status: good ? 'True' : 'False', reason, message }
}

function listenerConditions({ listener, problem }: ListenerAttachment): WantedCondition[] {
  const conflict = problem === 'HostnameConflict'
  const unsupported = problem === 'UnsupportedProtocol'
  const why = unsupported
    ? `protocol ${listener.protocol} is not supported yet; use HTTP`
    : 'another listener has the same port and hostname'
  return [
    unsupported
      ? condition('Accepted', false, 'UnsupportedProtocol', why)
      : condition('Accepted', true, 'Accepted', 'No errors found'),
    conflict
      ? condition('Conflicted', true, 'HostnameConflict', why)
      : condition('Conflicted', false, 'NoConflicts', 'No errors found'),
    problem === undefined
      ? condition('Programmed', true, 'Programmed', 'No errors found')
      : condition('Programmed', false, 'Invalid', why),
    condition('ResolvedRefs', true, 'ResolvedRefs', 'No errors found'),
  ]
}

export interface WantedParentStatus {
  readonly parentRef: Readonly<Record<string, unknown>>
  readonly controllerName: string
  readonly conditions: readonly WantedCondition[]
}

const refusals: Readonly<Record<RefusalReason, string>> = {
  NoMatchingParent:
    'no listener of the Gateway has this sectionName and port and can serve HTTPRoutes',
  NotAllowedByListeners:
    "allowedRoutes of the listeners do not admit the route's namespace or kind",
  NoMatchingListenerHostname: "no hostname of the route fits a listener's hostname",
}

/** One status for each parent that this control plane serves. */
export function routeStatus(snapshot: Snapshot, route: HttpRoute): WantedParentStatus[] {
  const wanted: WantedParentStatus[] = []
  for (const [index, parent] of route.parentRefs.entries()) {
    const gateway = snapshot.objects.Gateway.get(`${parent.namespace}/${parent.name}`)
    if (parent.kind !== 'Gateway' || gateway === undefined) continue
    const found = snapshot.objects.GatewayClass.get(gateway.className)
    if (found?.controllerName !== gatewayController) continue
    const reason = attachRoutes(snapshot, gateway).routes.get(
      `${route.namespace}/${route.name}|${index}`,
    )
    wanted.push({
      parentRef: {
        group: parent.group,
        kind: parent.kind,
        namespace: parent.namespace,
        name: parent.name,
        ...(parent.sectionName === '' ? {} : { sectionName: parent.sectionName }),
        ...(parent.port === undefined ? {} : { port: parent.port }),
      },
      controllerName: gatewayController,
      conditions: [
        reason === undefined
          ? condition('Accepted', true, 'Accepted', 'Route was valid')
          : condition('Accepted', false, reason, refusals[reason]),
        resolvedRefs(snapshot, route),
      ],
    })
  }
  return wanted
}

function resolvedRefs(snapshot: Snapshot, route: HttpRoute): WantedCondition {
  for (const backend of route.rules.flatMap((rule) => rule.backendRefs)) {
    const resolved = resolveBackend(snapshot, route, backend)
    if (resolved.problem !== undefined) {
      return condition('ResolvedRefs', false, resolved.problem, resolved.message)
    }
  }
  return condition('ResolvedRefs', true, 'ResolvedRefs', 'All references resolved')
}
