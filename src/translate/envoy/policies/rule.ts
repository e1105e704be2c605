/**
 * One rule of an AuthorizationPolicy as an RBAC policy of Envoy. Permissions are about the operation,
 * principals about the peer; the alternatives of `to` and `from` are the two lists, and every `when`
 * is part of each alternative.
 *
 * What can't be evaluated (a HTTP attribute on a TCP port, a value nobody can read) makes an ALLOW
 * rule go as a whole, so that less is allowed, and falls out of any other, so that more is matched.
 */
import type {
  AuthorizationOperation,
  AuthorizationRuleSpec,
  AuthorizationSource,
} from '../../../model/index.ts'
import { rbac } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import {
  type Attribute,
  attributeOf,
  hostAttribute,
  methodAttribute,
  pathAttribute,
  type RuleContext,
} from './attributes.ts'

export type { RuleContext } from './attributes.ts'

export interface TranslatedRule {
  /** Undefined: the rule is left out. */
  readonly policy: rbac.Policy | undefined
  /** Values that can't be read; the path is inside the rule. */
  readonly problems: readonly { readonly path: string; readonly message: string }[]
}

/** What an attribute has to be, or not to be. */
interface Term {
  readonly attribute: Attribute
  readonly path: string
  readonly values: readonly string[]
  readonly notValues: readonly string[]
}

export function translateRule(rule: AuthorizationRuleSpec, context: RuleContext): TranslatedRule {
  const builder = new Builder(context)
  const when: Term[] = []
  for (const [index, { key = '', values = [], notValues = [] }] of (rule.when ?? []).entries()) {
    const attribute = attributeOf(key)
    const path = `/when/${index}`
    if (attribute === undefined) {
      const message = `there is no attribute '${key}'; the rule is left out`
      return { policy: undefined, problems: [{ path: `${path}/key`, message }] }
    }
    when.push({ attribute, path, values, notValues })
  }
  const permissions = alternatives(rule.to, ({ operation = {} }, index) =>
    operationTerms(operation, `/to/${index}/operation`),
  ).map((terms) => builder.permission([...terms, ...when.filter(isAbout('operation'))]))
  const principals = alternatives(rule.from, ({ source = {} }, index) =>
    sourceTerms(source, `/from/${index}/source`),
  ).map((terms) => builder.principal([...terms, ...when.filter(isAbout('peer'))]))
  return {
    policy: builder.refused ? undefined : create(rbac.PolicySchema, { permissions, principals }),
    problems: builder.problems,
  }
}

const isAbout =
  (subject: Attribute['about']) =>
  ({ attribute }: Term): boolean =>
    attribute.about === subject

/** None given is one that matches everything. */
function alternatives<T>(
  given: readonly T[] | undefined,
  termsOf: (item: T, index: number) => Term[],
): Term[][] {
  return given === undefined || given.length === 0 ? [[]] : given.map(termsOf)
}

function operationTerms(operation: AuthorizationOperation, path: string): Term[] {
  const { hosts, notHosts, methods, notMethods, paths, notPaths, ports, notPorts } = operation
  return given([
    [hostAttribute, `${path}/hosts`, hosts, notHosts],
    [methodAttribute, `${path}/methods`, methods, notMethods],
    [pathAttribute, `${path}/paths`, paths, notPaths],
    [attributeOf('destination.port'), `${path}/ports`, ports, notPorts],
  ])
}

function sourceTerms(source: AuthorizationSource, path: string): Term[] {
  const term = (
    key: string,
    field: string,
    values: readonly string[] | undefined,
    notValues: readonly string[] | undefined,
  ): Given => [attributeOf(key), `${path}/${field}`, values, notValues]
  return given([
    term('source.principal', 'principals', source.principals, source.notPrincipals),
    term(
      'request.auth.principal',
      'requestPrincipals',
      source.requestPrincipals,
      source.notRequestPrincipals,
    ),
    term('source.namespace', 'namespaces', source.namespaces, source.notNamespaces),
    term(
      'source.serviceAccount',
      'serviceAccounts',
      source.serviceAccounts,
      source.notServiceAccounts,
    ),
    term('source.trustDomain', 'trustDomains', source.trustDomains, source.notTrustDomains),
    term('remote.ip', 'remoteIpBlocks', source.remoteIpBlocks, source.notRemoteIpBlocks),
    term('source.ip', 'ipBlocks', source.ipBlocks, source.notIpBlocks),
  ])
}

type Given = readonly [
  attribute: Attribute | undefined,
  path: string,
  values: readonly string[] | undefined,
  notValues: readonly string[] | undefined,
]

function given(terms: readonly Given[]): Term[] {
  return terms.flatMap(([attribute, path, values = [], notValues = []]) =>
    attribute === undefined || values.length + notValues.length === 0
      ? []
      : [{ attribute, path, values, notValues }],
  )
}

class Builder {
  readonly problems: { path: string; message: string }[] = []
  /** An ALLOW rule with a part that can't be evaluated. */
  refused = false
  readonly #context: RuleContext

  constructor(context: RuleContext) {
    this.#context = context
  }

  permission(terms: readonly Term[]): rbac.Permission {
    const rules = terms.flatMap((term) => {
      const { about, of } = term.attribute
      if (about !== 'operation') return []
      const match = (values: readonly string[]): rbac.Permission[] =>
        this.#readable(term, values, (value) => of(value, this.#context))
      const [positive, negative] = [match(term.values), match(term.notValues)]
      return [
        ...(positive.length === 0 ? [] : [permission('orRules', permissionSet(positive))]),
        ...(negative.length === 0
          ? []
          : [permission('notRule', permission('orRules', permissionSet(negative)))]),
      ]
    })
    if (rules.length === 0) rules.push(permission('any', true))
    return permission('andRules', permissionSet(rules))
  }

  principal(terms: readonly Term[]): rbac.Principal {
    const ids = terms.flatMap((term) => {
      const { about } = term.attribute
      if (about !== 'peer') return []
      const { of, expand } = term.attribute
      const match = (values: readonly string[]): rbac.Principal[] =>
        this.#readable(term, expand?.(values, this.#context) ?? values, (value) =>
          of(value, this.#context),
        )
      const [positive, negative] = [match(term.values), match(term.notValues)]
      return [
        ...(positive.length === 0 ? [] : [principal('orIds', principalSet(positive))]),
        ...(negative.length === 0
          ? []
          : [principal('notId', principal('orIds', principalSet(negative)))]),
      ]
    })
    if (ids.length === 0) ids.push(principal('any', true))
    return principal('andIds', principalSet(ids))
  }

  #readable<T>(
    { attribute, path }: Term,
    values: readonly string[],
    read: (value: string) => T | undefined,
  ): T[] {
    const { layer, action } = this.#context
    return values.flatMap((value) => {
      const hidden = layer === 'tcp' && attribute.http
      const found = hidden ? undefined : read(value)
      if (found !== undefined) return [found]
      if (action === 'ALLOW') this.refused = true
      if (!hidden) this.problems.push({ path, message: `'${value}' ${attribute.expects}` })
      return []
    })
  }
}

function permission<C extends NonNullable<rbac.Permission['rule']['case']>>(
  name: C,
  value: Extract<rbac.Permission['rule'], { case: C }>['value'],
): rbac.Permission {
  // The pair is one of the union by the parameters' types.
  const rule = { case: name, value } as rbac.Permission['rule']
  return create(rbac.PermissionSchema, { rule })
}

function permissionSet(rules: rbac.Permission[]): rbac.Permission_Set {
  return create(rbac.Permission_SetSchema, { rules })
}

function principal<C extends NonNullable<rbac.Principal['identifier']['case']>>(
  name: C,
  value: Extract<rbac.Principal['identifier'], { case: C }>['value'],
): rbac.Principal {
  // See `permission`.
  const identifier = { case: name, value } as rbac.Principal['identifier']
  return create(rbac.PrincipalSchema, { identifier })
}

function principalSet(ids: rbac.Principal[]): rbac.Principal_Set {
  return create(rbac.Principal_SetSchema, { ids })
}
