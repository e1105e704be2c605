/** Gateway API objects into the model's values, with the API's defaults filled in. */
import type { KubeObject } from '../kube/index.ts'
import type {
  Gateway,
  GatewayClass,
  HttpRoute,
  HttpRouteRule,
  ReferenceGrant,
} from '../model/index.ts'
import { annotationsOf, configObject } from './configs.ts'
import { createdAt, namespaceOf, textMap } from './metadata.ts'
import type {
  GatewayShape,
  HeaderMatchShape,
  HttpRouteRuleShape,
  HttpRouteShape,
  ReferenceGrantShape,
} from './shapes.ts'

const gatewayGroup = 'gateway.networking.k8s.io'

export function gatewayClass(object: KubeObject): GatewayClass {
  const { controllerName = '' } = (object.spec ?? {}) as { controllerName?: string }
  const { name, labels } = object.metadata
  return { name, controllerName, labels: textMap(labels), annotations: annotationsOf(object) }
}

export function gateway(object: KubeObject): Gateway {
  // Read defensively; see shapes.ts.
  const { spec = {}, status } = object as GatewayShape
  const { metadata } = object
  return {
    name: metadata.name,
    namespace: namespaceOf(metadata),
    createdAt: createdAt(metadata),
    generation: metadata.generation ?? 0,
    labels: textMap(metadata.labels),
    className: spec.gatewayClassName ?? '',
    listeners: (spec.listeners ?? []).map((listener) => {
      const { namespaces, kinds } = listener.allowedRoutes ?? {}
      const from = namespaces?.from
      return {
        name: listener.name ?? '',
        hostname: listener.hostname ?? '',
        port: listener.port ?? 0,
        protocol: listener.protocol ?? '',
        namespaces: {
          from: from === 'All' || from === 'Selector' ? from : ('Same' as const),
          matchLabels: textMap(namespaces?.selector?.matchLabels),
          matchExpressions: namespaces?.selector?.matchExpressions ?? [],
        },
        allowedKinds: (kinds ?? []).flatMap((item) => item.kind ?? []),
      }
    }),
    statusAddresses: (status?.addresses ?? []).flatMap((address) =>
      address.value === undefined
        ? []
        : [{ type: address.type ?? 'IPAddress', value: address.value }],
    ),
    config: configObject(object),
  }
}

export function httpRoute(object: KubeObject): HttpRoute {
  // Read defensively; see shapes.ts.
  const { spec = {} } = object as HttpRouteShape
  const { metadata } = object
  const namespace = namespaceOf(metadata)
  return {
    name: metadata.name,
    namespace,
    createdAt: createdAt(metadata),
    generation: metadata.generation ?? 0,
    parentRefs: (spec.parentRefs ?? []).map((parent) => ({
      group: parent.group ?? gatewayGroup,
      kind: parent.kind ?? 'Gateway',
      namespace: parent.namespace ?? namespace,
      name: parent.name ?? '',
      sectionName: parent.sectionName ?? '',
      port: parent.port,
    })),
    hostnames: spec.hostnames ?? [],
    // A route without rules has one that matches everything and goes nowhere.
    rules: (spec.rules ?? [{}]).map((rule) => routeRule(rule, namespace)),
    config: configObject(object),
  }
}

function routeRule(rule: HttpRouteRuleShape, namespace: string): HttpRouteRule {
  const matches = rule.matches ?? []
  return {
    name: rule.name ?? '',
    matches: (matches.length === 0 ? [{}] : matches).map((match) => ({
      path: {
        type: match.path?.type ?? 'PathPrefix',
        value: match.path?.value ?? '/',
      },
      headers: (match.headers ?? []).map(headerMatch),
      queryParams: (match.queryParams ?? []).map(headerMatch),
      method: match.method ?? '',
    })),
    filters: (rule.filters ?? []).map((filter) => ({ type: filter.type ?? '' })),
    backendRefs: (rule.backendRefs ?? []).map((backend) => ({
      group: backend.group ?? '',
      kind: backend.kind ?? 'Service',
      namespace: backend.namespace ?? namespace,
      name: backend.name ?? '',
      port: backend.port,
      weight: backend.weight ?? 1,
    })),
    timeouts: {
      ...duration('requestMs', rule.timeouts?.request),
      ...duration('backendRequestMs', rule.timeouts?.backendRequest),
    },
  }
}

function headerMatch(match: HeaderMatchShape): { name: string; value: string; type: string } {
  return { name: match.name ?? '', value: match.value ?? '', type: match.type ?? 'Exact' }
}

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 }

/** Gateway API durations: `1h2m3s4ms`. Unreadable ones are left out. */
function duration(name: string, text: string | undefined): Record<string, number> {
  if (text === undefined || !/^(\d{1,5}(h|ms|m|s)){1,4}$/.test(text)) return {}
  let total = 0
  for (const [, digits = '', unit = ''] of text.matchAll(/(\d{1,5})(ms|h|m|s)/g)) {
    total += Number(digits) * (unitMs[unit] ?? 0)
  }
  return { [name]: total }
}

export function referenceGrant(object: KubeObject): ReferenceGrant {
  // Read defensively; see shapes.ts.
  const { spec = {} } = object as ReferenceGrantShape
  return {
    name: object.metadata.name,
    namespace: namespaceOf(object.metadata),
    from: (spec.from ?? []).map((item) => ({
      group: item.group ?? '',
      kind: item.kind ?? '',
      namespace: item.namespace ?? '',
    })),
    to: (spec.to ?? []).map((item) => ({
      group: item.group ?? '',
      kind: item.kind ?? '',
      name: item.name ?? '',
    })),
  }
}
