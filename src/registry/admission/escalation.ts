/**
 * Nobody can grant what they don't have: writing a role needs all its permissions (or the verb `escalate`),
 * binding one needs all of them too (or `bind`). Otherwise `create rolebindings` would be as good as root.
 */
import { forbidden, type KubeObject } from '../../kube/index.ts'
import { type Authorizer, type PolicyRule, ruleOf } from '../auth/rbac.ts'
import type { User } from '../auth/user.ts'
import { listOf, mapOf, sameValue, textOf, valueAt } from '../values.ts'
import type { AdmissionRequest, AdmissionStep } from './admission.ts'

const group = 'rbac.authorization.k8s.io'

export class EscalationCheck implements AdmissionStep {
  readonly #authorizer: Authorizer

  constructor(authorizer: Authorizer) {
    this.#authorizer = authorizer
  }

  admit(request: AdmissionRequest, object: KubeObject, old: KubeObject | undefined): Promise<void> {
    const { type, operation } = request
    if (type.group === group && operation !== 'DELETE') {
      if (type.resource === 'roles' || type.resource === 'clusterroles')
        this.#role(request, object, old)
      else this.#binding(request, object, old)
    }
    return Promise.resolve()
  }

  #role(request: AdmissionRequest, role: KubeObject, old: KubeObject | undefined): void {
    const rules = valueAt(role, 'rules')
    const aggregation = valueAt(role, 'aggregationRule')
    if (
      old !== undefined &&
      sameValue(rules, valueAt(old, 'rules')) &&
      sameValue(aggregation, valueAt(old, 'aggregationRule'))
    ) {
      return
    }
    if (this.#may(request, 'escalate', role.metadata.name)) return
    const wanted = listOf(rules).map(ruleOf)
    // What an aggregated role will hold is decided by others later: only those who have all may make one.
    if (aggregation !== undefined) wanted.push(everything)
    this.#require(request, role, wanted)
  }

  #binding(request: AdmissionRequest, binding: KubeObject, old: KubeObject | undefined): void {
    const reference = mapOf(valueAt(binding, 'roleRef'))
    if (old !== undefined && sameValue(valueAt(binding, 'subjects'), valueAt(old, 'subjects')))
      return
    const name = textOf(reference.name)
    const resource = reference.kind === 'Role' ? 'roles' : 'clusterroles'
    const { user } = request
    const attributes = { verb: 'bind', group, resource, subresource: undefined, name }
    if (this.#authorizer.allows(user, { ...attributes, namespace: namespaceOf(request) })) return
    this.#require(request, binding, this.#authorizer.rulesOfRole(resource, request.namespace, name))
  }

  #may(request: AdmissionRequest, verb: string, name: string): boolean {
    const { user, type } = request
    const attributes = { verb, group, resource: type.resource, subresource: undefined, name }
    return this.#authorizer.allows(user, { ...attributes, namespace: namespaceOf(request) })
  }

  #require(request: AdmissionRequest, object: KubeObject, rules: readonly PolicyRule[]): void {
    const missing = rules.find((rule) => !this.#holds(request.user, namespaceOf(request), rule))
    if (missing === undefined) return
    const { type, user } = request
    const why =
      `user "${user.username}" is attempting to grant RBAC permissions not currently held: ` +
      JSON.stringify(missing, (_key, value) =>
        Array.isArray(value) && value.length === 0 ? undefined : value,
      )
    throw forbidden({ group, kind: type.resource, name: object.metadata.name }, why)
  }

  /** Whether the user has every single permission that a rule gives. */
  #holds(user: User, namespace: string | undefined, rule: PolicyRule): boolean {
    const names = rule.resourceNames.length === 0 ? [undefined] : rule.resourceNames
    for (const verb of rule.verbs) {
      for (const path of rule.nonResourceURLs) {
        if (!this.#authorizer.allowsPath(user, { verb, path })) return false
      }
      for (const apiGroup of rule.apiGroups) {
        for (const full of rule.resources) {
          const [resource = '', subresource] = full.split('/')
          for (const name of names) {
            const attributes = { verb, group: apiGroup, resource, subresource, namespace, name }
            if (!this.#authorizer.allows(user, attributes)) return false
          }
        }
      }
    }
    return true
  }
}

const everything: PolicyRule = {
  verbs: ['*'],
  apiGroups: ['*'],
  resources: ['*'],
  resourceNames: [],
  nonResourceURLs: [],
}

function namespaceOf(request: AdmissionRequest): string | undefined {
  return request.type.namespaced ? request.namespace : undefined
}
