/** `kubectl --as`: those who may impersonate act with another's name, groups, uid and extra. */
import type { IncomingHttpHeaders } from 'node:http'
import { badRequest, forbidden } from '../../kube/index.ts'
import type { Authorizer } from './rbac.ts'
import { anonymous, authenticatedGroup, serviceAccountPrefix, type User } from './user.ts'

const extraPrefix = 'impersonate-extra-'

/** What must be allowed with the verb `impersonate`. */
interface Wanted {
  readonly group: string
  readonly resource: string
  readonly subresource?: string
  readonly namespace?: string | undefined
  readonly name: string
}

/** The user that a request speaks for: its own, or whom its headers name. Throws 403 when that isn't allowed. */
export function impersonated(
  user: User,
  headers: IncomingHttpHeaders,
  authorizer: Authorizer,
): User {
  const username = textOf(headers['impersonate-user'])
  const groups = listOf(headers['impersonate-group'])
  const uid = textOf(headers['impersonate-uid'])
  const extra = extraOf(headers)
  if (username === '') {
    if (groups.length === 0 && uid === '' && Object.keys(extra).length === 0) return user
    throw badRequest('groups, a uid or extra are impersonated without a user')
  }
  const account = accountOf(username)
  const wanted: Wanted[] = [
    account === undefined
      ? { group: '', resource: 'users', name: username }
      : { group: '', resource: 'serviceaccounts', ...account },
    ...groups.map((name) => ({ group: '', resource: 'groups', name })),
    ...(uid === '' ? [] : [{ group: 'authentication.k8s.io', resource: 'uids', name: uid }]),
    ...Object.entries(extra).flatMap(([key, values]) => values.map((name) => ofExtra(key, name))),
  ]
  for (const each of wanted) check(user, each, authorizer)
  return {
    username,
    groups: allGroups(username, groups, account?.namespace),
    extra,
    ...(uid === '' ? {} : { uid }),
  }
}

function ofExtra(key: string, name: string): Wanted {
  return { group: 'authentication.k8s.io', resource: 'userextras', subresource: key, name }
}

function check(user: User, wanted: Wanted, authorizer: Authorizer): void {
  const { group, resource, name, namespace, subresource } = wanted
  const attributes = { verb: 'impersonate', group, resource, name, namespace, subresource }
  if (authorizer.allows(user, attributes)) return
  const full = subresource === undefined ? resource : `${resource}/${subresource}`
  const where = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`
  const why = `User "${user.username}" cannot impersonate resource "${full}" in API group "${group}" ${where}`
  throw forbidden({ group, kind: resource, name }, why)
}

/** The groups that come with a name: those of an account, and that of all who have one. */
function allGroups(
  username: string,
  groups: readonly string[],
  namespace: string | undefined,
): string[] {
  const implied =
    namespace === undefined || groups.length > 0
      ? []
      : ['system:serviceaccounts', `system:serviceaccounts:${namespace}`]
  const all = [...groups, ...implied]
  const known = all.includes(authenticatedGroup) || all.includes('system:unauthenticated')
  if (known) return all
  return username === anonymous.username
    ? [...all, ...anonymous.groups]
    : [...all, authenticatedGroup]
}

function accountOf(username: string): { namespace: string; name: string } | undefined {
  if (!username.startsWith(serviceAccountPrefix)) return undefined
  const [namespace = '', name = '', ...rest] = username
    .slice(serviceAccountPrefix.length)
    .split(':')
  return namespace === '' || name === '' || rest.length > 0 ? undefined : { namespace, name }
}

function extraOf(headers: IncomingHttpHeaders): Record<string, string[]> {
  const extra: Record<string, string[]> = {}
  for (const [header, value] of Object.entries(headers)) {
    if (!header.startsWith(extraPrefix)) continue
    extra[decoded(header.slice(extraPrefix.length))] = listOf(value)
  }
  return extra
}

/** Keys may have characters that headers can't. */
function decoded(key: string): string {
  try {
    return decodeURIComponent(key)
  } catch {
    return key
  }
}

function textOf(value: string | string[] | undefined): string {
  return (Array.isArray(value) ? value[0] : value) ?? ''
}

/** Node joins repeated headers by commas. */
function listOf(value: string | string[] | undefined): string[] {
  const parts = Array.isArray(value) ? value : (value ?? '').split(',')
  return parts.map((part) => part.trim()).filter((part) => part !== '')
}
