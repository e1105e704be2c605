/**
 * RBAC: policies by name in bytewise order, as in Envoy; the first that matches is the one that counts.
 * Shadow rules never decide: they leave their result in dynamic metadata, for logs and for ext_authz.
 */
import { httpRbac, rbac } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { compileCondition } from '../match/cel.ts'
import type { Test } from '../match/headers.ts'
import type { HttpFilter } from './filter.ts'
import { compilePermission, compilePrincipal, failedParts, type Rule } from './rbac-rules.ts'
import { reply } from './reply.ts'

export type RbacAction = 'ALLOW' | 'DENY' | 'LOG'

interface Policy {
  readonly name: string
  readonly permissions: readonly Rule[]
  readonly principals: readonly Rule[]
  readonly condition: Test | undefined
  readonly holds: Test
}

export interface RbacVerdict {
  readonly allowed: boolean
  /** Name of the policy that matched. */
  readonly policy: string | undefined
}

/** Why a policy did not match. */
export interface RbacMiss {
  readonly policy: string
  readonly failed: readonly string[]
}

export interface RbacEngine {
  readonly action: RbacAction
  readonly policies: readonly string[]
  decide(exchange: Exchange): RbacVerdict
  misses(exchange: Exchange): RbacMiss[]
}

const actions: Readonly<Record<number, RbacAction>> = {
  [rbac.RBAC_Action.ALLOW]: 'ALLOW',
  [rbac.RBAC_Action.DENY]: 'DENY',
  [rbac.RBAC_Action.LOG]: 'LOG',
}

const allowedWithout: RbacVerdict = { allowed: true, policy: undefined }
const deniedWithout: RbacVerdict = { allowed: false, policy: undefined }

/** Undefined for rules that are not set: then nothing is decided. */
export function compileRules(message: rbac.RBAC | undefined, place: Place): RbacEngine | undefined {
  if (message === undefined) return undefined
  const action = actions[message.action]
  if (action === undefined) place.at('action').refuse(`unknown action ${message.action}`)
  for (const { auditLogger, isOptional } of message.auditLoggingOptions?.loggerConfigs ?? []) {
    if (isOptional) continue
    place.at('audit_logging_options').refuse(`${auditLogger?.name ?? ''} is not supported`)
  }
  const names = Object.keys(message.policies).toSorted((left, right) => (left < right ? -1 : 1))
  const policies = names.flatMap((name) => {
    const policy = message.policies[name]
    return policy === undefined ? [] : [compilePolicy(name, policy, place.at('policies', name))]
  })
  return engineOf(action ?? 'ALLOW', policies)
}

function compilePolicy(name: string, message: rbac.Policy, place: Place): Policy {
  const permissions = message.permissions.map((each, index) =>
    compilePermission(each, place.at('permissions', index)),
  )
  const principals = message.principals.map((each, index) =>
    compilePrincipal(each, place.at('principals', index)),
  )
  if (message.checkedCondition !== undefined) {
    place.at('checked_condition').refuse('is not supported; use condition')
  }
  const condition =
    message.condition === undefined
      ? undefined
      : compileCondition(message.condition, place.at('condition'))
  return {
    name,
    permissions,
    principals,
    condition,
    holds: (exchange) => {
      for (const rule of permissions) {
        if (!rule.holds(exchange)) continue
        for (const id of principals) {
          if (id.holds(exchange)) return condition === undefined || condition(exchange)
        }
        return false
      }
      return false
    },
  }
}

function engineOf(action: RbacAction, policies: readonly Policy[]): RbacEngine {
  return {
    action,
    policies: policies.map(({ name }) => name),
    decide: (exchange) => {
      for (const policy of policies) {
        if (policy.holds(exchange)) return { allowed: action !== 'DENY', policy: policy.name }
      }
      return action === 'ALLOW' ? deniedWithout : allowedWithout
    },
    misses: (exchange) =>
      policies
        .filter(({ holds }) => !holds(exchange))
        .map((policy) => ({ policy: policy.name, failed: failedOf(policy, exchange) })),
  }
}

function failedOf({ permissions, principals, condition }: Policy, exchange: Exchange): string[] {
  const of = (rules: readonly Rule[]): string[] =>
    rules.some(({ holds }) => holds(exchange))
      ? []
      : rules.flatMap((rule) => failedParts(rule, exchange))
  const failed = [...new Set([...of(permissions), ...of(principals)])]
  return failed.length === 0 && condition !== undefined ? ['condition'] : failed
}

export interface RbacRules {
  readonly rules: RbacEngine | undefined
  readonly shadow: RbacEngine | undefined
  readonly shadowPrefix: string
}

export const httpRbacName = 'envoy.filters.http.rbac'

export function compileHttpRules(message: httpRbac.RBAC, place: Place): RbacRules {
  if (message.matcher !== undefined) place.at('matcher').refuse('is not supported')
  if (message.shadowMatcher !== undefined) place.at('shadow_matcher').refuse('is not supported')
  return {
    rules: compileRules(message.rules, place.at('rules')),
    shadow: compileRules(message.shadowRules, place.at('shadow_rules')),
    shadowPrefix: message.shadowRulesStatPrefix,
  }
}

export function compileRbac(name: string, message: httpRbac.RBAC, place: Place): HttpFilter {
  const configured = compileHttpRules(message, place)
  return {
    name,
    run: (exchange) => {
      const override = exchange.override(name)?.config
      const rules = override?.kind === 'rbac' ? override.rules : configured
      if (rules === undefined) return undefined
      const verdict = evaluateRules(rules, exchange, { by: name, namespace: httpRbacName })
      if (verdict.allowed) return undefined
      const policy = verdict.policy ?? 'none'
      return reply({
        status: 403,
        body: 'RBAC: access denied',
        details: `rbac_access_denied_matched_policy[${policy}]`,
        by: name,
      })
    },
  }
}

/** Shadow rules first, then those that count. */
export function evaluateRules(
  { rules, shadow, shadowPrefix }: RbacRules,
  exchange: Exchange,
  { by, namespace }: { readonly by: string; readonly namespace: string },
): RbacVerdict {
  if (shadow !== undefined) {
    const { allowed, policy } = shadow.decide(exchange)
    noteVerdict(exchange, { by: `${by} (shadow)`, engine: shadow, verdict: { allowed, policy } })
    if (policy !== undefined) {
      exchange.setMetadata(namespace, `${shadowPrefix}shadow_effective_policy_id`, policy)
    }
    const result = allowed ? 'allowed' : 'denied'
    exchange.setMetadata(namespace, `${shadowPrefix}shadow_engine_result`, result)
  }
  if (rules === undefined) return allowedWithout
  const verdict = rules.decide(exchange)
  noteVerdict(exchange, { by, engine: rules, verdict })
  if (rules.action === 'LOG') {
    exchange.setMetadata('envoy.common', 'access_log_hint', verdict.policy !== undefined)
  }
  return verdict
}

interface Judged {
  readonly by: string
  readonly engine: RbacEngine
  readonly verdict: RbacVerdict
}

function noteVerdict(exchange: Exchange, { by, engine, verdict }: Judged): void {
  if (exchange.notes === undefined) return
  const { allowed, policy } = verdict
  exchange.notes.push({
    by,
    verdict: allowed ? 'allowed' : 'denied',
    details: {
      action: engine.action,
      ...(policy === undefined ? {} : { policy, ...policyOrigin(policy) }),
      misses: engine.misses(exchange),
    },
  })
}

/** The object behind a policy's name, `ns[shop]-policy[friends]-rule[0]`. */
export function policyOrigin(
  name: string,
): { readonly object: string; readonly rule: number } | undefined {
  const match = /ns\[([^\]]*)\]-policy\[([^\]]*)\]-rule\[(\d+)\]/.exec(name)
  if (match === null) return undefined
  const [, namespace = '', policy = '', rule = ''] = match
  const object = `/apis/security.istio.io/v1/namespaces/${namespace}/authorization-policy/${policy}`
  return { object, rule: Number(rule) }
}
