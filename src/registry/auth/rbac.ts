/**
 * Authorization by RBAC objects. Rules are gathered per subject when a role or binding changed, so that
 * a decision is a walk over the few rules of the user and its groups.
 */
import type { KubeObject } from '../../kube/index.ts'
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
  /** Which binding gives which role to whom, in Kubernetes' words. */
  readonly reason: string
}

export interface Decision {
  readonly allowed: boolean
  /** Empty when nothing allows it, and for those who may do everything. */
  readonly reason: string
}

const denied: Decision = { allowed: false, reason: '' }

/** May do everything, whatever roles say. */
export const mastersGroup = 'system:masters'
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
    return this.decide(user, attributes).allowed
  }

  /** Whether the user may do something with a resource, and by which binding. */
  decide(user: User, attributes: ResourceAttributes): Decision {
    return this.#decide(user, (rule, namespace) => {
      if (namespace !== undefined && namespace !== attributes.namespace) return false
      return resourceMatches(rule, attributes)
    })
  }

  allowsPath(user: User, attributes: PathAttributes): boolean {
    return this.decidePath(user, attributes).allowed
  }

  /** The same for a path that is no resource. */
  decidePath(user: User, attributes: PathAttributes): Decision {
    return this.#decide(
      user,
      (rule, namespace) => namespace === undefined && pathMatches(rule, attributes),
    )
  }

  #decide(
    user: User,
    matches: (rule: PolicyRule, namespace: string | undefined) => boolean,
  ): Decision {
    if (user.groups.includes(mastersGroup)) return { allowed: true, reason: '' }
    for (const { namespace, rules, reason } of this.#grantsOf(user)) {
      if (rules.some((rule) => matches(rule, namespace))) return { allowed: true, reason }
    }
    return denied
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

  /** What a role allows; undefined when it does not exist. */
  rulesOfRole(
    resource: 'roles' | 'clusterroles',
    namespace: string,
    name: string,
  ): PolicyRule[] | undefined {
    this.#refresh()
    return this.#rules.get(
      resource === 'roles' ? `Role ${namespace}/${name}` : `ClusterRole ${name}`,
    )
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
    for (const role of clusterRoles) rules.set(`ClusterRole ${role.metadata.name}`, rulesIn(role))
    for (const binding of [...clusterRoleBindings, ...roleBindings]) this.#bind(binding, rules)
  }

  #bind(binding: KubeObject, rules: ReadonlyMap<string, PolicyRule[]>): void {
    const { namespace } = binding.metadata
    const { kind, name } = mapOf(valueAt(binding, 'roleRef'))
    const full = namespace === undefined ? '' : `/${namespace}`
    const source =
      `RBAC: allowed by ${binding.kind} "${binding.metadata.name}${full}" ` +
      `of ${textOf(kind)} "${textOf(name)}" to `
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
      grants.push({ namespace, rules: granted, reason: `${source}${subjectText(subject)}` })
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

function subjectText(subject: Record<string, unknown>): string {
  const [name, namespace] = [textOf(subject.name), textOf(subject.namespace)]
  const full = namespace === '' ? name : `${name}/${namespace}`
  return `${textOf(subject.kind)} "${full}"`
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
