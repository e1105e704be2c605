/**
 * Authorization by RBAC objects. Rules are gathered per subject when a role or binding changed, so that
 * a decision is a walk over the few rules of the user and its groups.
 */
import type { KubeObject, LabelSelector } from '../../kube/index.ts'
import { labelSelectorMatches } from '../../kube/index.ts'
import type { ObjectStore } from '../store/objects.ts'
import { listOf, mapOf, stringsOf, textOf, valueAt } from '../values.ts'
import { serviceAccountPrefix, type User } from './user.ts'

export interface ResourceAttributes {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource: string | undefined
  /** Undefined for cluster-scoped requests and those over all namespaces. */
  readonly namespace: string | undefined
  readonly name: string | undefined
}

export interface PathAttributes {
  readonly verb: string
  readonly path: string
}

export interface PolicyRule {
  readonly verbs: readonly string[]
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly resourceNames: readonly string[]
  readonly nonResourceURLs: readonly string[]
}

interface Grant {
  /** Undefined: everywhere. */
  readonly namespace: string | undefined
  readonly rules: readonly PolicyRule[]
}

const mastersGroup = 'system:masters'
const bucketIds = ['roles', 'clusterroles', 'rolebindings', 'clusterrolebindings'].map(
  (resource) => `rbac.authorization.k8s.io/${resource}`,
)

export class Authorizer {
  readonly #store: ObjectStore
  #grants = new Map<string, Grant[]>()
  /** By `Role namespace/name` and `ClusterRole name`. */
  #rules = new Map<string, PolicyRule[]>()
  #builtAt = -1

  constructor(store: ObjectStore) {
    this.#store = store
  }

  allows(user: User, attributes: ResourceAttributes): boolean {
    if (user.groups.includes(mastersGroup)) return true
    for (const grant of this.#grantsOf(user)) {
      if (grant.namespace !== undefined && grant.namespace !== attributes.namespace) continue
      if (grant.rules.some((rule) => resourceMatches(rule, attributes))) return true
    }
    return false
  }

  allowsPath(user: User, attributes: PathAttributes): boolean {
    if (user.groups.includes(mastersGroup)) return true
    return this.#grantsOf(user).some(
      (grant) =>
        grant.namespace === undefined && grant.rules.some((rule) => pathMatches(rule, attributes)),
    )
  }

  /** Everything the user may do in a namespace, for `auth can-i --list`. */
  rulesOf(user: User, namespace: string): PolicyRule[] {
    if (user.groups.includes(mastersGroup)) {
      return [
        { ...emptyRule, verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
        { ...emptyRule, verbs: ['*'], nonResourceURLs: ['*'] },
      ]
    }
    return this.#grantsOf(user)
      .filter((grant) => grant.namespace === undefined || grant.namespace === namespace)
      .flatMap((grant) => grant.rules)
  }

  /** What a role allows; nothing when it does not exist. */
  rulesOfRole(resource: 'roles' | 'clusterroles', namespace: string, name: string): PolicyRule[] {
    this.#refresh()
    const key = resource === 'roles' ? `Role ${namespace}/${name}` : `ClusterRole ${name}`
    return this.#rules.get(key) ?? []
  }

  #grantsOf(user: User): Grant[] {
    this.#refresh()
    const keys = [`User ${user.username}`, ...user.groups.map((group) => `Group ${group}`)]
    return keys.flatMap((key) => this.#grants.get(key) ?? [])
  }

  #refresh(): void {
    const version = Math.max(...bucketIds.map((id) => this.#store.bucket(id).lastRevision))
    if (version === this.#builtAt) return
    this.#builtAt = version
    this.#grants = new Map()
    const [roles, clusterRoles, roleBindings, clusterRoleBindings] = bucketIds.map((id) =>
      this.#store
        .bucket(id)
        .list()
        .map((entry) => entry.parse()),
    ) as [KubeObject[], KubeObject[], KubeObject[], KubeObject[]]
    const rules = new Map<string, PolicyRule[]>()
    this.#rules = rules
    for (const role of roles)
      rules.set(`Role ${role.metadata.namespace}/${role.metadata.name}`, rulesIn(role))
    for (const role of clusterRoles) {
      rules.set(`ClusterRole ${role.metadata.name}`, [
        ...rulesIn(role),
        ...aggregated(role, clusterRoles),
      ])
    }
    for (const binding of [...roleBindings, ...clusterRoleBindings]) this.#bind(binding, rules)
  }

  #bind(binding: KubeObject, rules: ReadonlyMap<string, PolicyRule[]>): void {
    const { namespace } = binding.metadata
    const { kind, name } = mapOf(valueAt(binding, 'roleRef'))
    const key =
      kind === 'Role' ? `Role ${namespace}/${textOf(name)}` : `ClusterRole ${textOf(name)}`
    const granted = rules.get(key)
    if (granted === undefined) return
    for (const subject of listOf(valueAt(binding, 'subjects'))) {
      const owner =
        subject.kind === 'ServiceAccount'
          ? `User ${serviceAccountPrefix}${textOf(subject.namespace ?? namespace)}:${textOf(subject.name)}`
          : `${textOf(subject.kind)} ${textOf(subject.name)}`
      const grants = this.#grants.get(owner) ?? []
      grants.push({ namespace, rules: granted })
      this.#grants.set(owner, grants)
    }
  }
}

const emptyRule: PolicyRule = {
  verbs: [],
  apiGroups: [],
  resources: [],
  resourceNames: [],
  nonResourceURLs: [],
}

function rulesIn(role: KubeObject): PolicyRule[] {
  return listOf(valueAt(role, 'rules')).map(ruleOf)
}

export function ruleOf(rule: Record<string, unknown>): PolicyRule {
  return {
    verbs: stringsOf(rule.verbs),
    apiGroups: stringsOf(rule.apiGroups),
    resources: stringsOf(rule.resources),
    resourceNames: stringsOf(rule.resourceNames),
    nonResourceURLs: stringsOf(rule.nonResourceURLs),
  }
}

/** The rules of the ClusterRoles that an aggregation rule selects by label. */
function aggregated(role: KubeObject, all: readonly KubeObject[]): PolicyRule[] {
  const selectors = listOf(valueAt(role, 'aggregationRule.clusterRoleSelectors')) as LabelSelector[]
  if (selectors.length === 0) return []
  return all
    .filter((other) => other !== role)
    .filter((other) => selectors.some((each) => labelSelectorMatches(each, other.metadata.labels)))
    .flatMap(rulesIn)
}

const holds = (list: readonly string[], value: string): boolean =>
  list.includes('*') || list.includes(value)

export function resourceMatches(rule: PolicyRule, wanted: ResourceAttributes): boolean {
  if (!holds(rule.verbs, wanted.verb) || !holds(rule.apiGroups, wanted.group)) return false
  const { subresource } = wanted
  const full = subresource === undefined ? wanted.resource : `${wanted.resource}/${subresource}`
  const byResource =
    holds(rule.resources, full) ||
    (subresource !== undefined && rule.resources.includes(`*/${subresource}`))
  if (!byResource) return false
  return (
    rule.resourceNames.length === 0 ||
    (wanted.name !== undefined && rule.resourceNames.includes(wanted.name))
  )
}

function pathMatches(rule: PolicyRule, wanted: PathAttributes): boolean {
  if (!holds(rule.verbs, wanted.verb)) return false
  return rule.nonResourceURLs.some((pattern) =>
    pattern.endsWith('*') ? wanted.path.startsWith(pattern.slice(0, -1)) : wanted.path === pattern,
  )
}
