/** `authorizer` in match conditions: what the user who makes the request may do. */
import { CelError, CelOpaque, type Library, method, opaqueType, types } from '../../../cel/index.ts'
import type { Authorizer, Decision } from '../../auth/rbac.ts'
import { serviceAccountPrefix, serviceAccountUser, type User } from '../../auth/user.ts'

const { bool, string } = types
/** A decision is a walk over the user's rules: as dear as some thousand steps of an expression. */
const asCost = { cost: () => 3_500 }

/** What has been said so far about the thing that is asked about. */
interface Question {
  readonly group: string
  readonly resource: string
  readonly subresource: string | undefined
  readonly namespace: string | undefined
  readonly name: string | undefined
}

export class Authority extends CelOpaque {
  readonly typeName: string = 'kubernetes.authorization.Authorizer'
  readonly authorizer: Authorizer
  readonly user: User
  constructor(authorizer: Authorizer, user: User) {
    super()
    this.authorizer = authorizer
    this.user = user
  }
  equals(other: CelOpaque): boolean {
    return this === other
  }
}

class PathCheck extends CelOpaque {
  readonly typeName = 'kubernetes.authorization.PathCheck'
  readonly authority: Authority
  readonly path: string
  constructor(authority: Authority, path: string) {
    super()
    this.authority = authority
    this.path = path
  }
  equals(other: CelOpaque): boolean {
    return this === other
  }
}

class GroupCheck extends CelOpaque {
  readonly typeName = 'kubernetes.authorization.GroupCheck'
  readonly authority: Authority
  readonly group: string
  constructor(authority: Authority, group: string) {
    super()
    this.authority = authority
    this.group = group
  }
  equals(other: CelOpaque): boolean {
    return this === other
  }
}

class ResourceCheck extends CelOpaque {
  readonly typeName = 'kubernetes.authorization.ResourceCheck'
  readonly authority: Authority
  readonly question: Question
  constructor(authority: Authority, question: Question) {
    super()
    this.authority = authority
    this.question = question
  }
  equals(other: CelOpaque): boolean {
    return this === other
  }
  with(more: Partial<Question>): ResourceCheck {
    return new ResourceCheck(this.authority, { ...this.question, ...more })
  }
}

class Answer extends CelOpaque {
  readonly typeName = 'kubernetes.authorization.Decision'
  readonly decision: Decision
  constructor(decision: Decision) {
    super()
    this.decision = decision
  }
  equals(other: CelOpaque): boolean {
    return this === other
  }
}

export const authorityType = opaqueType('kubernetes.authorization.Authorizer')
const pathType = opaqueType('kubernetes.authorization.PathCheck')
const groupType = opaqueType('kubernetes.authorization.GroupCheck')
const resourceType = opaqueType('kubernetes.authorization.ResourceCheck')
const answerType = opaqueType('kubernetes.authorization.Decision')

function accountAuthority(authority: Authority, namespace: string, name: string): Authority {
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name)) {
    throw new CelError(`Invalid service account name ${serviceAccountPrefix}${namespace}:${name}`)
  }
  return new Authority(authority.authorizer, serviceAccountUser(namespace, name, ''))
}

/** The functions of the authorizer, under their names in the Kubernetes API. */
export const authorityLibrary: Library = [
  method('path', [authorityType, string], pathType, (authority: Authority, path: string) => {
    if (path === '') throw new CelError('path must not be empty')
    return new PathCheck(authority, path)
  }),
  method(
    'check',
    [pathType, string],
    answerType,
    ({ authority, path }: PathCheck, verb: string) => {
      const { authorizer, user } = authority
      return new Answer(authorizer.decidePath(user, { path, verb }))
    },
    asCost,
  ),
  method('group', [authorityType, string], groupType, (authority: Authority, group: string) => {
    return new GroupCheck(authority, group)
  }),
  method('serviceAccount', [authorityType, string, string], authorityType, accountAuthority),
  method('resource', [groupType, string], resourceType, (check: GroupCheck, resource: string) => {
    const { authority, group } = check
    const none = { subresource: undefined, namespace: undefined, name: undefined }
    return new ResourceCheck(authority, { group, resource, ...none })
  }),
  method(
    'subresource',
    [resourceType, string],
    resourceType,
    (check: ResourceCheck, subresource: string) => {
      return check.with({ subresource: subresource || undefined })
    },
  ),
  method(
    'namespace',
    [resourceType, string],
    resourceType,
    (check: ResourceCheck, namespace: string) => {
      return check.with({ namespace: namespace || undefined })
    },
  ),
  method('name', [resourceType, string], resourceType, (check: ResourceCheck, name: string) => {
    return check.with({ name: name || undefined })
  }),
  method(
    'check',
    [resourceType, string],
    answerType,
    (check: ResourceCheck, verb: string) => {
      const { authority, question } = check
      return new Answer(authority.authorizer.decide(authority.user, { verb, ...question }))
    },
    asCost,
  ),
  method('allowed', [answerType], bool, (answer: Answer) => answer.decision.allowed),
  method('reason', [answerType], string, (answer: Answer) => answer.decision.reason),
  method('errored', [answerType], bool, (_answer: Answer) => false),
  method('error', [answerType], string, (_answer: Answer) => ''),
]
