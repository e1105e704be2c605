/** Who makes a request. */
export interface User {
  readonly username: string
  readonly uid?: string
  readonly groups: readonly string[]
  readonly extra: Readonly<Record<string, readonly string[]>>
}

export const authenticatedGroup = 'system:authenticated'

export const anonymous: User = {
  username: 'system:anonymous',
  groups: ['system:unauthenticated'],
  extra: {},
}

export function isAnonymous(user: User): boolean {
  return user.username === anonymous.username
}

/** The shape that reviews and admission answer with. */
export function userInfo(user: User): Record<string, unknown> {
  return {
    username: user.username,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups: user.groups,
    ...(Object.keys(user.extra).length === 0 ? {} : { extra: user.extra }),
  }
}

export const serviceAccountPrefix = 'system:serviceaccount:'

/** What a ServiceAccount is called as a user, and its groups. */
export function serviceAccountUser(
  namespace: string,
  name: string,
  uid: string,
  extra: Record<string, readonly string[]> = {},
): User {
  return {
    username: `${serviceAccountPrefix}${namespace}:${name}`,
    uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, authenticatedGroup],
    extra,
  }
}
