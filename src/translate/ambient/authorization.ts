/**
 * AuthorizationPolicy → `istio.security.Authorization`. What a layer 4 proxy can't see is dropped
 * so that the result is never more permissive for ALLOW: such a rule goes entirely. For DENY the
 * layer 7 part goes and the rest stays (stricter); a match with nothing left matches nothing.
 */
import { parseCidr } from '../../base/index.ts'
import type {
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
  Snapshot,
} from '../../model/index.ts'
import { create, security } from '../../proto/index.ts'
import { configPath, policyProvenance } from '../provenance.ts'
import { isSent } from './listing.ts'
import { admittedPrincipals, expandPrincipals, trustDomainPrincipals } from './principals.ts'

export interface ConvertedPolicy {
  /** Undefined: not for node proxies. */
  readonly authorization: security.Authorization | undefined
  /** Layer 7 attributes that the policy uses, sorted. */
  readonly unsupported: readonly string[]
}

export function convertAuthorizationPolicy(
  snapshot: Snapshot,
  policy: AuthorizationPolicy,
): ConvertedPolicy {
  if (!isSent(snapshot, policy)) return { authorization: undefined, unsupported: [] }
  const rules: security.Rule[] = []
  const indexes: number[] = []
  const unsupported = new Set<string>()
  for (const [index, rule] of policy.rules.entries()) {
    const found = layer7Attributes(snapshot, rule)
    for (const name of found) unsupported.add(name)
    if (policy.action === 'ALLOW' && found.length > 0) continue
    rules.push(
      create(security.RuleSchema, { clauses: clausesOf(snapshot, rule, policy.namespace) }),
    )
    indexes.push(index)
  }
  const authorization = create(security.AuthorizationSchema, {
    name: policy.name,
    namespace: policy.namespace,
    scope: scopeOf(snapshot, policy),
    action: policy.action === 'DENY' ? security.Action.DENY : security.Action.ALLOW,
    rules,
    dryRun: policy.dryRun,
    extensions: [
      policyProvenance(
        configPath({
          group: 'security.istio.io',
          version: 'v1',
          kind: 'AuthorizationPolicy',
          namespace: policy.namespace,
          name: policy.name,
        }),
        indexes,
      ),
    ],
  })
  return { authorization, unsupported: [...unsupported].toSorted() }
}

function scopeOf(snapshot: Snapshot, policy: AuthorizationPolicy): security.Scope {
  if (policy.selector !== undefined) return security.Scope.WORKLOAD_SELECTOR
  return policy.namespace === snapshot.settings.rootNamespace
    ? security.Scope.GLOBAL
    : security.Scope.NAMESPACE
}

const layer7Source = [
  'remoteIpBlocks',
  'notRemoteIpBlocks',
  'requestPrincipals',
  'notRequestPrincipals',
] as const
const layer7Operation = ['hosts', 'notHosts', 'methods', 'notMethods', 'paths', 'notPaths'] as const

function layer7Attributes(snapshot: Snapshot, rule: AuthorizationRule): string[] {
  const found: string[] = []
  for (const { source = {} } of rule.from ?? []) {
    found.push(...layer7Source.filter((name) => (source[name]?.length ?? 0) > 0))
    // Not all combinations with principals have a form that a match can hold.
    if (admittedPrincipals(snapshot, source) === undefined) found.push('trustDomains')
    if (trustDomainPrincipals(source.notTrustDomains) === undefined) found.push('notTrustDomains')
  }
  for (const { operation = {} } of rule.to ?? []) {
    found.push(...layer7Operation.filter((name) => (operation[name]?.length ?? 0) > 0))
  }
  for (const condition of rule.when ?? []) {
    if (!Object.hasOwn(whenKeys, condition.key) || !isExpressible(condition)) {
      found.push(condition.key)
    }
  }
  return found
}

/** One clause for `to`, one for `from`, one for each `when`. */
function clausesOf(
  snapshot: Snapshot,
  rule: AuthorizationRule,
  namespace: string,
): security.Clause[] {
  const clauses: security.Match[][] = []
  const { from = [], to = [], when = [] } = rule
  if (to.length > 0) clauses.push(to.map(({ operation }) => operationMatch(operation ?? {})))
  if (from.length > 0) {
    clauses.push(from.map(({ source }) => sourceMatch(snapshot, source ?? {}, namespace)))
  }
  for (const condition of when) clauses.push([conditionMatch(snapshot, condition, namespace)])
  return clauses.map((matches) => create(security.ClauseSchema, { matches }))
}

function operationMatch(operation: AuthorizationOperation): security.Match {
  return create(security.MatchSchema, {
    destinationPorts: ports(operation.ports),
    notDestinationPorts: ports(operation.notPorts),
  })
}

function sourceMatch(
  snapshot: Snapshot,
  source: AuthorizationSource,
  namespace: string,
): security.Match {
  return create(security.MatchSchema, {
    sourceIps: addresses(source.ipBlocks),
    notSourceIps: addresses(source.notIpBlocks),
    namespaces: strings(source.namespaces),
    notNamespaces: strings(source.notNamespaces),
    principals: strings(admittedPrincipals(snapshot, source)),
    notPrincipals: strings([
      ...expandPrincipals(snapshot, source.notPrincipals),
      ...(trustDomainPrincipals(source.notTrustDomains) ?? []),
    ]),
    serviceAccounts: serviceAccounts(source.serviceAccounts, namespace),
    notServiceAccounts: serviceAccounts(source.notServiceAccounts, namespace),
  })
}

type WhenReader = (
  condition: AuthorizationCondition,
  snapshot: Snapshot,
  namespace: string,
) => security.Match

const whenKeys: Readonly<Record<string, WhenReader>> = {
  'source.ip': ({ values, notValues }) =>
    create(security.MatchSchema, {
      sourceIps: addresses(values),
      notSourceIps: addresses(notValues),
    }),
  'source.namespace': ({ values, notValues }) =>
    create(security.MatchSchema, {
      namespaces: strings(values),
      notNamespaces: strings(notValues),
    }),
  'source.principal': ({ values, notValues }, snapshot) =>
    create(security.MatchSchema, {
      principals: strings(expandPrincipals(snapshot, values)),
      notPrincipals: strings(expandPrincipals(snapshot, notValues)),
    }),
  'source.serviceAccount': ({ values, notValues }, _snapshot, namespace) =>
    create(security.MatchSchema, {
      serviceAccounts: serviceAccounts(values, namespace),
      notServiceAccounts: serviceAccounts(notValues, namespace),
    }),
  'source.trustDomain': ({ values, notValues }) =>
    create(security.MatchSchema, {
      principals: strings(trustDomainPrincipals(values)),
      notPrincipals: strings(trustDomainPrincipals(notValues)),
    }),
  'destination.ip': ({ values, notValues }) =>
    create(security.MatchSchema, {
      destinationIps: addresses(values),
      notDestinationIps: addresses(notValues),
    }),
  'destination.port': ({ values, notValues }) =>
    create(security.MatchSchema, {
      destinationPorts: ports(values),
      notDestinationPorts: ports(notValues),
    }),
}

/** A key of layer 7 leaves an empty match, which never matches. */
function conditionMatch(
  snapshot: Snapshot,
  condition: AuthorizationCondition,
  namespace: string,
): security.Match {
  const read = Object.hasOwn(whenKeys, condition.key) ? whenKeys[condition.key] : undefined
  if (read === undefined || !isExpressible(condition)) return create(security.MatchSchema)
  return read(condition, snapshot, namespace)
}

function isExpressible({ key, values, notValues }: AuthorizationCondition): boolean {
  if (key !== 'source.trustDomain') return true
  return (
    trustDomainPrincipals(values) !== undefined && trustDomainPrincipals(notValues) !== undefined
  )
}

function strings(values: readonly string[] = []): security.StringMatch[] {
  return values.map((value) => {
    let matchType: security.StringMatch['matchType']
    if (value === '*')
      matchType = { case: 'presence', value: { $typeName: 'google.protobuf.Empty' } }
    else if (value.startsWith('*')) matchType = { case: 'suffix', value: value.slice(1) }
    else if (value.endsWith('*')) matchType = { case: 'prefix', value: value.slice(0, -1) }
    else matchType = { case: 'exact', value }
    return create(security.StringMatchSchema, { matchType })
  })
}

function serviceAccounts(
  values: readonly string[] = [],
  namespace: string,
): security.ServiceAccountMatch[] {
  return values.map((value) => {
    const slash = value.indexOf('/')
    return create(security.ServiceAccountMatchSchema, {
      namespace: slash < 0 ? namespace : value.slice(0, slash),
      serviceAccount: value.slice(slash + 1),
    })
  })
}

function ports(values: readonly string[] = []): number[] {
  return values
    .filter((value) => /^\d{1,5}$/.test(value))
    .map(Number)
    .filter((port) => port <= 65535)
}

function addresses(values: readonly string[] = []): security.Address[] {
  return values
    .flatMap((value) => parseCidr(value) ?? [])
    .map((cidr) => create(security.AddressSchema, cidr))
}
