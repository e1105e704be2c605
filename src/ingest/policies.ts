/** AuthorizationPolicy and PeerAuthentication into the model's values. */
import type { KubeObject } from '../kube/index.ts'
import type {
  AuthorizationPolicy,
  AuthorizationRule,
  MutualTlsMode,
  PeerAuthentication,
} from '../model/index.ts'
import { configObject } from './configs.ts'
import { createdAt, namespaceOf, textMap } from './metadata.ts'
import type { AuthorizationPolicyShape, PeerAuthenticationShape } from './shapes.ts'

const actions: readonly string[] = ['ALLOW', 'DENY', 'AUDIT', 'CUSTOM']

export function authorizationPolicy(object: KubeObject): AuthorizationPolicy {
  // Read defensively; see shapes.ts.
  const { spec = {} } = object as AuthorizationPolicyShape
  const { metadata } = object
  const namespace = namespaceOf(metadata)
  const references = [
    ...(spec.targetRef === undefined ? [] : [spec.targetRef]),
    ...(spec.targetRefs ?? []),
  ]
  const action = spec.action ?? 'ALLOW'
  return {
    name: metadata.name,
    namespace,
    createdAt: createdAt(metadata),
    generation: metadata.generation ?? 0,
    selector: spec.selector === undefined ? undefined : textMap(spec.selector.matchLabels),
    targetRefs: references.map((reference) => ({
      group: reference.group ?? '',
      kind: reference.kind ?? '',
      name: reference.name ?? '',
      namespace: reference.namespace ?? namespace,
    })),
    // An action nobody knows is treated like one that no proxy can enforce: reported, not sent.
    action: actions.includes(action) ? (action as AuthorizationPolicy['action']) : 'CUSTOM',
    dryRun: metadata.annotations?.['istio.io/dry-run'] === 'true',
    provider: spec.provider?.name ?? '',
    rules: (spec.rules ?? []).map(ruleOf),
    config: configObject(object),
  }
}

type Fields = Readonly<Record<string, readonly string[]>>

/** A rule with its lists made lists of text; ports are often written as numbers. */
function ruleOf(value: unknown): AuthorizationRule {
  const rule = (value ?? {}) as {
    from?: { source?: unknown }[]
    to?: { operation?: unknown }[]
    when?: { key?: unknown; values?: unknown; notValues?: unknown }[]
  }
  return {
    ...(rule.from === undefined
      ? {}
      : { from: rule.from.map((item) => ({ source: lists(item?.source) })) }),
    ...(rule.to === undefined
      ? {}
      : { to: rule.to.map((item) => ({ operation: lists(item?.operation) })) }),
    ...(rule.when === undefined
      ? {}
      : {
          when: rule.when.map((item) => ({
            key: String(item?.key ?? ''),
            values: texts(item?.values),
            notValues: texts(item?.notValues),
          })),
        }),
  }
}

function lists(value: unknown): Fields {
  const fields: Record<string, readonly string[]> = {}
  for (const [name, items] of Object.entries(value ?? {})) {
    const list = texts(items)
    if (list.length > 0) fields[name] = list
  }
  return fields
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : []
}

export function peerAuthentication(object: KubeObject): PeerAuthentication {
  // Read defensively; see shapes.ts.
  const { spec = {} } = object as PeerAuthenticationShape
  const { metadata } = object
  const selector = textMap(spec.selector?.matchLabels)
  return {
    name: metadata.name,
    namespace: namespaceOf(metadata),
    createdAt: createdAt(metadata),
    generation: metadata.generation ?? 0,
    selector: Object.keys(selector).length === 0 ? undefined : selector,
    mode: modeOf(spec.mtls?.mode),
    portModes: Object.entries(spec.portLevelMtls ?? {})
      .map(([port, mtls]) => ({ port: Number(port), mode: modeOf(mtls?.mode) }))
      .filter(({ port }) => Number.isInteger(port) && port > 0 && port < 65536)
      .toSorted((left, right) => left.port - right.port),
    config: configObject(object),
  }
}

function modeOf(mode: string | undefined): MutualTlsMode {
  return mode === 'STRICT' || mode === 'PERMISSIVE' || mode === 'DISABLE' ? mode : 'UNSET'
}
