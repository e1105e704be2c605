/** The review kinds: questions about identity and permission that are answered and never stored. */
import { badRequest, type KubeObject } from '../../kube/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { isMap, type JsonMap, mapOf, stringsOf, textOf } from '../values.ts'
import { readObject } from '../verbs/decode.ts'
import type { Target } from '../verbs/target.ts'
import type { Decision, PolicyRule } from './rbac.ts'
import { issuer, type Tokens } from './tokens.ts'
import { type User, userInfo } from './user.ts'

export class Reviews {
  readonly #context: VerbContext
  readonly #tokens: Tokens

  constructor(context: VerbContext, tokens: Tokens) {
    this.#context = context
    this.#tokens = tokens
  }

  /** Answers a POST of a review; false when the kind is not one. */
  async answer(exchange: Exchange, target: Target): Promise<boolean> {
    const { kind } = target.type
    if (!/(Review)$/.test(kind)) return false
    const review = await readObject(exchange, target.type)
    const spec = mapOf(review.spec)
    const status = await this.#statusOf(kind, spec, exchange.user, target)
    const answer: KubeObject = {
      kind: review.kind,
      apiVersion: review.apiVersion,
      metadata: { ...review.metadata },
      ...(review.spec === undefined ? {} : { spec }),
      status,
    }
    exchange.json(201, answer)
    return true
  }

  #statusOf(kind: string, spec: JsonMap, user: User, target: Target): JsonMap | Promise<JsonMap> {
    switch (kind) {
      case 'TokenReview':
        return this.#tokenReview(spec)
      case 'SelfSubjectReview':
        return { userInfo: userInfo(user) }
      case 'SelfSubjectAccessReview':
        return this.#accessReview(spec, user)
      case 'LocalSubjectAccessReview':
        checkLocal(spec, target.namespace ?? '')
        return this.#accessReview(spec, namedUser(spec))
      case 'SubjectAccessReview':
        return this.#accessReview(spec, namedUser(spec))
      case 'SelfSubjectRulesReview':
        return this.#rulesReview(textOf(spec.namespace), user)
      default:
        throw badRequest(`${kind} is not answered here`)
    }
  }

  /** A token that is no good is an answer, not an error. */
  async #tokenReview(spec: JsonMap): Promise<JsonMap> {
    const token = textOf(spec.token)
    if (token === '') throw badRequest('spec.token: Required value')
    const wanted = stringsOf(spec.audiences)
    const verified = await this.#tokens.verify(token)
    if ('refused' in verified) return { authenticated: false, user: {}, error: verified.refused }
    const accepted = wanted.length === 0 ? [issuer] : wanted
    const audiences = verified.audiences.filter((audience) => accepted.includes(audience))
    if (audiences.length === 0) {
      const [given, wanted] = [verified.audiences, accepted].map((list) => JSON.stringify(list))
      const error = `token audiences ${given} is invalid for the target audiences ${wanted}`
      return { authenticated: false, user: {}, error }
    }
    return { authenticated: true, user: userInfo(verified.user), audiences }
  }

  #accessReview(spec: JsonMap, user: User): JsonMap {
    const { authorizer } = this.#context
    if (isMap(spec.nonResourceAttributes)) {
      const { path, verb } = spec.nonResourceAttributes
      return answerOf(authorizer.decidePath(user, { path: textOf(path), verb: textOf(verb) }))
    }
    if (!isMap(spec.resourceAttributes)) {
      throw badRequest(
        'spec: exactly one of resourceAttributes and nonResourceAttributes is required',
      )
    }
    const wanted = spec.resourceAttributes
    const decision = authorizer.decide(user, {
      verb: textOf(wanted.verb),
      group: textOf(wanted.group),
      resource: textOf(wanted.resource),
      subresource: textOf(wanted.subresource) || undefined,
      namespace: textOf(wanted.namespace) || undefined,
      name: textOf(wanted.name) || undefined,
    })
    return answerOf(decision)
  }

  #rulesReview(namespace: string, user: User): JsonMap {
    const rules = this.#context.authorizer.rulesOf(user, namespace)
    return {
      incomplete: false,
      resourceRules: rules.filter((rule) => rule.resources.length > 0).map(resourceRule),
      nonResourceRules: rules
        .filter((rule) => rule.nonResourceURLs.length > 0)
        .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
    }
  }
}

function resourceRule({ verbs, apiGroups, resources, resourceNames }: PolicyRule): JsonMap {
  return { verbs, apiGroups, resources, ...(resourceNames.length === 0 ? {} : { resourceNames }) }
}

function answerOf({ allowed, reason }: Decision): JsonMap {
  return { allowed, ...(reason === '' ? {} : { reason }) }
}

/** A review inside a namespace is about that namespace, and about resources only. */
function checkLocal(spec: JsonMap, namespace: string): void {
  const asked = textOf(mapOf(spec.resourceAttributes).namespace)
  if (isMap(spec.nonResourceAttributes)) {
    throw badRequest('spec.nonResourceAttributes: disallowed on this kind of request')
  }
  if (asked === namespace) return
  throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${namespace}`)
}

/** Whom a review asks about: nobody's groups are guessed, not even that of all who have a name. */
function namedUser(spec: JsonMap): User {
  const username = textOf(spec.user)
  const groups = stringsOf(spec.groups)
  if (username === '' && groups.length === 0)
    throw badRequest('spec.user: at least one of user or group must be specified')
  const extra = Object.entries(mapOf(spec.extra)).map(([key, list]) => [key, stringsOf(list)])
  const uid = textOf(spec.uid)
  return {
    username,
    groups,
    extra: Object.fromEntries(extra) as User['extra'],
    ...(uid === '' ? {} : { uid }),
  }
}
