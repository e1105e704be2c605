/**
 * Nobody can grant what they don't have: writing a role needs all its permissions (or the verb `escalate`),
 * binding one needs all of them too (or `bind`). Otherwise `create rolebindings` would be as good as root.
 */
import { forbidden, type KubeObject, notFound } from '../../kube/index.ts'
import { type Authorizer, mastersGroup, type PolicyRule, ruleOf } from '../auth/rbac.ts'
import { listOf, mapOf, sameValue, textOf, valueAt } from '../values.ts'
import type { AdmissionRequest, AdmissionStep } from './admission.ts'

const group = 'rbac.authorization.k8s.io'

export class EscalationCheck implements AdmissionStep {
  readonly #authorizer: Authorizer

  constructor(authorizer: Authorizer) {
    this.#authorizer = authorizer
  }

  check(request: AdmissionRequest, object: KubeObject, old: KubeObject | undefined): void {
    const { type } = request
    if (type.group !== group) return
    if (type.resource === 'roles' || type.resource === 'clusterroles')
      this.#role(request, object, old)
    else this.#binding(request, object, old)
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
    const rules = this.#authorizer.rulesOfRole(resource, request.namespace, name)
    // Who binds a role that isn't there yet would get whatever someone else puts into it.
    if (rules === undefined && !user.groups.includes(mastersGroup)) {
      throw notFound({ group, kind: resource, name })
    }
    this.#require(request, binding, rules ?? [])
  }

  #may(request: AdmissionRequest, verb: string, name: string): boolean {
    const { user, type } = request
    const attributes = { verb, group, resource: type.resource, subresource: undefined, name }
    return this.#authorizer.allows(user, { ...attributes, namespace: namespaceOf(request) })
  }

  #require(request: AdmissionRequest, object: KubeObject, rules: readonly PolicyRule[]): void {
    const missing = this.#missing(request, rules)
    if (missing.length === 0) return
    const { type, user } = request
    const groups = user.groups.map((name) => JSON.stringify(name)).join(' ')
    const why =
      `user "${user.username}" (groups=[${groups}]) is attempting to grant RBAC permissions ` +
      `not currently held:\n${missing.map(ruleText).sort().join('\n')}`
    throw forbidden({ group, kind: type.resource, name: object.metadata.name }, why)
  }

  /** The single permissions which the rules give and the user lacks, verbs of the same thing joined. */
  #missing(request: AdmissionRequest, rules: readonly PolicyRule[]): PolicyRule[] {
    const { user } = request
    const namespace = namespaceOf(request)
    const missing = new Map<string, PolicyRule>()
    for (const rule of rules) {
      for (const { verb, ...single } of permissions(rule)) {
        const { path } = single
        const held =
          path === undefined
            ? this.#authorizer.allows(user, { verb, namespace, ...attributesOf(single) })
            : this.#authorizer.allowsPath(user, { verb, path })
        if (held) continue
        const key = JSON.stringify(single)
        const verbs = missing.get(key)?.verbs ?? []
        if (!verbs.includes(verb)) missing.set(key, asRule([...verbs, verb], single))
      }
    }
    return [...missing.values()]
  }
}

/** One thing that a rule is about: a resource, or a path. */
interface Single {
  readonly apiGroup?: string
  readonly resource?: string
  readonly name?: string
  readonly path?: string
}

function* permissions(rule: PolicyRule): Generator<Single & { readonly verb: string }> {
  for (const verb of rule.verbs) {
    for (const path of rule.nonResourceURLs) yield { verb, path }
    for (const apiGroup of rule.apiGroups) {
      for (const resource of rule.resources) {
        if (rule.resourceNames.length === 0) yield { verb, apiGroup, resource }
        for (const name of rule.resourceNames) yield { verb, apiGroup, resource, name }
      }
    }
  }
}

function attributesOf({ apiGroup = '', resource = '', name }: Single) {
  const slash = resource.indexOf('/')
  return {
    group: apiGroup,
    resource: slash < 0 ? resource : resource.slice(0, slash),
    subresource: slash < 0 ? undefined : resource.slice(slash + 1),
    name,
  }
}

function asRule(verbs: readonly string[], single: Single): PolicyRule {
  const { apiGroup, resource, name, path } = single
  return {
    verbs,
    apiGroups: apiGroup === undefined ? [] : [apiGroup],
    resources: resource === undefined ? [] : [resource],
    resourceNames: name === undefined ? [] : [name],
    nonResourceURLs: path === undefined ? [] : [path],
  }
}

/** A rule as Kubernetes shows it: `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}`. */
function ruleText(rule: PolicyRule): string {
  const parts = [
    ['APIGroups', rule.apiGroups],
    ['Resources', rule.resources],
    ['NonResourceURLs', rule.nonResourceURLs],
    ['ResourceNames', rule.resourceNames],
    ['Verbs', rule.verbs],
  ] as const
  const texts = parts
    .filter(([, values]) => values.length > 0)
    .map(([name, values]) => `${name}:[${values.map((each) => JSON.stringify(each)).join(' ')}]`)
  return `{${texts.join(', ')}}`
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
