/**
 * Permissions and principals of RBAC policies as tests. Each keeps its name and its parts, so that an
 * explanation can say which of them failed.
 */
import { rbac, uriTemplate } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { limits } from '../limits.ts'
import { compileRanges } from '../match/address.ts'
import { allOf, anyOf, type Condition, compileHeader } from '../match/headers.ts'
import { compileFilterState, compileMetadata } from '../match/metadata.ts'
import { compileTemplate } from '../match/template.ts'
import { compileString, never } from '../match/text.ts'
import { typeOf, unpack } from '../values.ts'

export interface Rule extends Condition {
  readonly join?: 'and' | 'or' | 'not'
  readonly parts?: readonly Rule[]
}

/** The names of what did not hold: the first of an AND, every one of an OR. */
export function failedParts(rule: Rule, exchange: Exchange): readonly string[] {
  const { join, parts = [], what } = rule
  if (rule.holds(exchange)) return []
  if (join === 'and') {
    const failed = parts.find((part) => !part.holds(exchange))
    return failed === undefined ? [] : failedParts(failed, exchange)
  }
  if (join === 'or') return [...new Set(parts.flatMap((part) => failedParts(part, exchange)))]
  return [what]
}

function leaf(what: string, holds: Condition['holds']): Rule {
  return { what, holds }
}

function joined(join: 'and' | 'or', parts: readonly Rule[]): Rule {
  const tests = parts.map(({ holds }) => holds)
  return { what: join, join, parts, holds: join === 'and' ? allOf(tests) : anyOf(tests) }
}

function inverted(part: Rule): Rule {
  const what = `not (${describe(part)})`
  return { what, join: 'not', parts: [part], holds: (exchange) => !part.holds(exchange) }
}

function describe({ join, parts = [], what }: Rule): string {
  if (join === undefined || join === 'not') return what
  return parts.map(describe).join(join === 'and' ? ' and ' : ' or ')
}

const refused: Rule = leaf('refused', never)
const anything = (value: boolean): Rule => leaf('any', () => value)

function tooDeep(place: Place): boolean {
  const deep = place.path.split('.').length > limits.nesting
  if (deep) place.refuse('nested too deeply')
  return deep
}

export function compilePermission(permission: rbac.Permission, place: Place): Rule {
  const { rule } = permission
  if (tooDeep(place)) return refused
  switch (rule.case) {
    case 'andRules':
    case 'orRules': {
      const at = place.at(rule.case === 'andRules' ? 'and_rules.rules' : 'or_rules.rules')
      const parts = rule.value.rules.map((part, index) => compilePermission(part, at.at('', index)))
      return joined(rule.case === 'andRules' ? 'and' : 'or', parts)
    }
    case 'notRule':
      return inverted(compilePermission(rule.value, place.at('not_rule')))
    case 'any':
      return anything(rule.value)
    case 'header':
      return compileHeader(rule.value, place.at('header'))
    case 'urlPath':
      return pathRule(rule.value, place.at('url_path'))
    case 'destinationIp': {
      const test = compileRanges([rule.value], place.at('destination_ip'))
      return leaf('destination_ip', (exchange) => test(exchange.request.connection.destinationIp))
    }
    case 'destinationPort': {
      const port = rule.value
      return leaf('destination_port', ({ request }) => request.connection.destinationPort === port)
    }
    case 'destinationPortRange': {
      const { start, end } = rule.value
      return leaf('destination_port_range', ({ request: { connection } }) => {
        return connection.destinationPort >= start && connection.destinationPort < end
      })
    }
    case 'metadata':
      return compileMetadata(rule.value, place.at('metadata'))
    case 'sourcedMetadata':
      return sourcedMetadata(rule.value, place.at('sourced_metadata'))
    case 'requestedServerName': {
      const test = compileString(rule.value, place.at('requested_server_name'))
      return leaf('requested_server_name', ({ request }) => test(request.connection.sni ?? ''))
    }
    case 'uriTemplate':
      return templateRule(rule.value, place.at('uri_template'))
    default: {
      const name =
        rule.case === 'matcher' ? rule.value.name : (rule.case ?? 'a rule without a kind')
      place.refuse(`${name} is not supported`)
      return refused
    }
  }
}

export function compilePrincipal(principal: rbac.Principal, place: Place): Rule {
  const { identifier: id } = principal
  if (tooDeep(place)) return refused
  switch (id.case) {
    case 'andIds':
    case 'orIds': {
      const at = place.at(id.case === 'andIds' ? 'and_ids.ids' : 'or_ids.ids')
      const parts = id.value.ids.map((part, index) => compilePrincipal(part, at.at('', index)))
      return joined(id.case === 'andIds' ? 'and' : 'or', parts)
    }
    case 'notId':
      return inverted(compilePrincipal(id.value, place.at('not_id')))
    case 'any':
      return anything(id.value)
    case 'authenticated':
      return authenticated(id.value, place.at('authenticated'))
    case 'directRemoteIp': {
      const test = compileRanges([id.value], place.at('direct_remote_ip'))
      return leaf('direct_remote_ip', ({ request }) => test(request.connection.sourceIp))
    }
    case 'sourceIp':
    case 'remoteIp': {
      const name = id.case === 'sourceIp' ? 'source_ip' : 'remote_ip'
      const test = compileRanges([id.value], place.at(name))
      return leaf(name, (exchange) => test(exchange.remoteIp))
    }
    case 'header':
      return compileHeader(id.value, place.at('header'))
    case 'urlPath':
      return pathRule(id.value, place.at('url_path'))
    case 'metadata':
      return compileMetadata(id.value, place.at('metadata'))
    case 'sourcedMetadata':
      return sourcedMetadata(id.value, place.at('sourced_metadata'))
    case 'filterState':
      return compileFilterState(id.value, place.at('filter_state'))
    default: {
      const name = id.case === 'custom' ? id.value.name : (id.case ?? 'a principal without a kind')
      place.refuse(`${name} is not supported`)
      return refused
    }
  }
}

function pathRule(
  matcher: Extract<rbac.Permission['rule'], { case: 'urlPath' }>['value'],
  place: Place,
): Rule {
  if (matcher.rule.case !== 'path') {
    place.refuse('a path matcher without a path')
    return refused
  }
  const test = compileString(matcher.rule.value, place.at('path'))
  return leaf('url_path', (exchange) => exchange.request.path !== '' && test(exchange.path))
}

function templateRule(
  extension: Extract<rbac.Permission['rule'], { case: 'uriTemplate' }>['value'],
  place: Place,
): Rule {
  const { typedConfig } = extension
  const message = unpack(typedConfig, uriTemplate.UriTemplateMatchConfigSchema, place)
  if (message === undefined) {
    place.refuse(`${typeOf(typedConfig)} is not supported`)
    return refused
  }
  const template = compileTemplate(message.pathTemplate, place)
  return leaf('uri_template', (exchange) => template?.matches(exchange.path) === true)
}

function sourcedMetadata(message: rbac.SourcedMetadata, place: Place): Rule {
  const isRoute = message.metadataSource === rbac.MetadataSource.ROUTE
  return compileMetadata(
    message.metadataMatcher,
    place.at('metadata_matcher'),
    isRoute ? (exchange, name) => exchange.route?.route.metadata?.[name] : undefined,
  )
}

/** Any name of the certificate may match: URIs, DNS names, or its subject. */
function authenticated(message: rbac.Principal_Authenticated, place: Place): Rule {
  const { principalName } = message
  if (principalName === undefined) {
    return leaf('authenticated', ({ request }) => request.connection.tls !== undefined)
  }
  const test = compileString(principalName, place.at('principal_name'))
  return leaf('principal_name', ({ request: { connection } }) => {
    const { tls } = connection
    if (tls === undefined) return false
    return tls.uriSans.some(test) || tls.dnsSans.some(test) || test(tls.subject)
  })
}
