/**
 * AuthorizationPolicies of a proxy, or of one service at a waypoint, as filters: CUSTOM first, then
 * AUDIT, DENY and ALLOW. Rules keep their names from here to the proxy's log
 * (`ns[..]-policy[..]-rule[i]`), which is how `explain` finds the object again.
 */
import type { AuthorizationPolicy } from '../../../model/index.ts'
import {
  extAuthz,
  type hcm,
  httpRbac,
  type listenerComponents,
  networkExtAuthz,
  networkRbac,
  rbac,
} from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import type { Reader } from '../../reader.ts'
import { compareText } from '../values.ts'
import { attaches, namespacesOf, type PolicyTarget } from './attachment.ts'
import { customRulePrefix, customStatPrefix, externalAuthorization } from './custom.ts'
import { httpFilter, networkFilter } from './filters.ts'
import { type Problem, problemOf } from './problem.ts'
import type { ProviderCluster } from './providers.ts'
import { type RuleContext, translateRule } from './rule.ts'

export interface AuthorizationFilters<F> {
  /** Before authentication: what an external service decides. */
  readonly custom: readonly F[]
  /** Behind authentication. */
  readonly local: readonly F[]
  readonly clusters: readonly ProviderCluster[]
  readonly problems: readonly Problem[]
}

/** The policies that hold, oldest first in each namespace, the root namespace's first. */
export function authorizationPoliciesFor(
  reader: Reader,
  target: PolicyTarget,
): AuthorizationPolicy[] {
  const { rootNamespace } = reader.settings
  return namespacesOf(target, rootNamespace).flatMap((namespace) =>
    reader
      .authorizationPolicies(namespace)
      .filter(({ config }) => attaches(config, target, rootNamespace)),
  )
}

export function httpAuthorization(
  reader: Reader,
  target: PolicyTarget,
): AuthorizationFilters<hcm.HttpFilter> {
  return build(reader, target, 'http', {
    rules: (fields) =>
      httpFilter(
        'envoy.filters.http.rbac',
        httpRbac.RBACSchema,
        create(httpRbac.RBACSchema, fields),
      ),
    external: ({ http }) =>
      httpFilter('envoy.filters.http.ext_authz', extAuthz.ExtAuthzSchema, http),
  })
}

export function tcpAuthorization(
  reader: Reader,
  target: PolicyTarget,
): AuthorizationFilters<listenerComponents.Filter> {
  return build(reader, target, 'tcp', {
    rules: (fields) =>
      networkFilter(
        'envoy.filters.network.rbac',
        networkRbac.RBACSchema,
        create(networkRbac.RBACSchema, { ...fields, statPrefix: 'tcp.' }),
      ),
    external: ({ tcp }) =>
      tcp === undefined
        ? undefined
        : networkFilter('envoy.filters.network.ext_authz', networkExtAuthz.ExtAuthzSchema, tcp),
  })
}

interface RuleFields {
  readonly rules?: rbac.RBAC
  readonly shadowRules?: rbac.RBAC
  readonly shadowRulesStatPrefix?: string
}

/** How the two layers differ. */
interface Layer<F> {
  rules(fields: RuleFields): F
  external(found: Exclude<ReturnType<typeof externalAuthorization>, string>): F | undefined
}

type Action = RuleContext['action']

const rbacActions: Readonly<Record<Action, rbac.RBAC_Action>> = {
  ALLOW: rbac.RBAC_Action.ALLOW,
  DENY: rbac.RBAC_Action.DENY,
  AUDIT: rbac.RBAC_Action.LOG,
  CUSTOM: rbac.RBAC_Action.DENY,
}

function build<F>(
  reader: Reader,
  target: PolicyTarget,
  layer: RuleContext['layer'],
  filters: Layer<F>,
): AuthorizationFilters<F> {
  const problems: Problem[] = []
  const policies = authorizationPoliciesFor(reader, target)
  const collect = (action: Action, dryRun: boolean, prefix = ''): rbac.RBAC | undefined => {
    const chosen = policies.filter(
      (policy) => policy.action === action && isDryRun(policy) === dryRun,
    )
    return chosen.length === 0
      ? undefined
      : rulesOf(reader, chosen, { target, layer, prefix, problems })
  }
  const local: F[] = []
  for (const action of ['AUDIT', 'DENY', 'ALLOW'] as const) {
    const rules = collect(action, false)
    const shadowRules = collect(action, true)
    if (rules === undefined && shadowRules === undefined) continue
    local.push(
      filters.rules({
        ...(rules === undefined ? {} : { rules }),
        ...(shadowRules === undefined
          ? {}
          : { shadowRules, shadowRulesStatPrefix: `istio_dry_run_${action.toLowerCase()}_` }),
      }),
    )
  }
  for (const policy of policies) {
    if (!policy.dryRun || isDryRun(policy)) continue
    const message = `a dry run is for ALLOW and DENY only; the policy is in force`
    problems.push(problemOf(policy.config, '/metadata/annotations/istio.io~1dry-run', message))
  }
  const external = customFilters(reader, policies, filters, (prefix) =>
    collect('CUSTOM', false, prefix),
  )
  return {
    custom: external.filters,
    local,
    clusters: external.clusters,
    problems: [...problems, ...external.problems],
  }
}

function isDryRun(policy: AuthorizationPolicy): boolean {
  return policy.dryRun && (policy.action === 'ALLOW' || policy.action === 'DENY')
}

interface RulesOptions {
  readonly target: PolicyTarget
  readonly layer: RuleContext['layer']
  readonly prefix: string
  readonly problems: Problem[]
}

/** One action's policies together; several of them are alternatives. */
function rulesOf(
  reader: Reader,
  policies: readonly AuthorizationPolicy[],
  { target, layer, prefix, problems }: RulesOptions,
): rbac.RBAC {
  const { trustDomain, trustDomainAliases } = reader.mesh()
  const named: [string, rbac.Policy][] = []
  let action: Action = 'ALLOW'
  for (const policy of policies) {
    action = policy.action
    const { rules = [] } = policy.config.spec
    const name = (index: number): string => `${prefix}${ruleName(policy, index)}`
    // Written out, so that a policy without rules is seen in the proxy too.
    if (rules.length === 0) named.push([name(0), matchNothing()])
    for (const [index, rule] of rules.entries()) {
      const translated = translateRule(rule, {
        layer,
        action,
        namespace: policy.namespace,
        identity: target.proxy.kind === 'waypoint' ? 'filter-state' : 'certificate',
        trustDomains: [trustDomain, ...trustDomainAliases],
      })
      if (translated.policy !== undefined) named.push([name(index), translated.policy])
      for (const { path, message } of translated.problems) {
        problems.push(problemOf(policy.config, `/spec/rules/${index}${path}`, message))
      }
    }
  }
  // Envoy goes through a map, whose order is that of the names.
  named.sort(([left], [right]) => compareText(left, right))
  return create(rbac.RBACSchema, {
    action: rbacActions[action],
    policies: Object.fromEntries(named),
  })
}

/** The name of a rule in the proxy: provenance of every decision. */
export function ruleName(
  policy: { readonly namespace: string; readonly name: string },
  index: number,
): string {
  return `ns[${policy.namespace}]-policy[${policy.name}]-rule[${index}]`
}

function matchNothing(): rbac.Policy {
  return create(rbac.PolicySchema, {
    permissions: [{ rule: { case: 'notRule', value: { rule: { case: 'any', value: true } } } }],
    principals: [
      { identifier: { case: 'notId', value: { identifier: { case: 'any', value: true } } } },
    ],
  })
}

/** What the name of a rule ends with that denies because its provider can't be asked. */
const badCustomSuffix = '-deny-due-to-bad-CUSTOM-action'

function customFilters<F>(
  reader: Reader,
  policies: readonly AuthorizationPolicy[],
  layer: Layer<F>,
  collect: (prefix: string) => rbac.RBAC | undefined,
): { filters: F[]; clusters: ProviderCluster[]; problems: Problem[] } {
  const custom = policies.filter(({ action }) => action === 'CUSTOM')
  if (custom.length === 0) return { filters: [], clusters: [], problems: [] }
  const names = [...new Set(custom.map(({ config }) => config.spec.provider?.name ?? ''))]
  const [name = ''] = names
  const found =
    names.length > 1
      ? `several providers (${names.join(', ')}) for one workload; only one is possible`
      : externalAuthorization(reader, name)
  if (typeof found === 'string') {
    const rules = collect('')
    return {
      filters: rules === undefined ? [] : [layer.rules({ rules: denying(rules) })],
      clusters: [],
      problems: custom.map(({ config }) =>
        problemOf(config, '/spec/provider/name', `${found}; what the rules match is denied`),
      ),
    }
  }
  const shadowRules = collect(`${customRulePrefix}-${name}-`)
  const filter = layer.external(found)
  if (filter === undefined || shadowRules === undefined) {
    const message = `provider '${name}' speaks HTTP: TCP connections are not checked`
    const problems = custom.map(({ config }) => problemOf(config, '/spec/provider/name', message))
    return { filters: [], clusters: [], problems }
  }
  return {
    filters: [layer.rules({ shadowRules, shadowRulesStatPrefix: customStatPrefix }), filter],
    clusters: [found.cluster],
    problems: [],
  }
}

function denying(rules: rbac.RBAC): rbac.RBAC {
  const policies = Object.entries(rules.policies).map(
    ([name, policy]) => [`${name}${badCustomSuffix}`, policy] as const,
  )
  return create(rbac.RBACSchema, {
    action: rbac.RBAC_Action.DENY,
    policies: Object.fromEntries(policies),
  })
}
