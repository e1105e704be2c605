/** Parts of headers and cookies as dynamic metadata. */
import { headerToMetadata as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { compileReplacement } from '../match/text.ts'
import { cookieOf } from '../route/hash.ts'
import type { HeaderOperation, HeaderReader } from '../types.ts'
import type { HttpFilter } from './filter.ts'

export const headerToMetadataName = 'envoy.filters.http.header_to_metadata'

export interface HeaderRules {
  readonly request: readonly HeaderRule[]
  readonly response: readonly HeaderRule[]
}

interface HeaderRule {
  readonly header: string
  readonly cookie: string
  readonly remove: boolean
  readonly present: Writer | undefined
  readonly missing: Writer | undefined
}

type Writer = (exchange: Exchange, value: string) => void

export function compileHeaderRules(message: api.Config, place: Place): HeaderRules {
  const rules = (list: readonly api.Config_Rule[], field: string): HeaderRule[] =>
    list.map((rule, index) => compileRule(rule, place.at(field, index)))
  return {
    request: rules(message.requestRules, 'request_rules'),
    response: rules(message.responseRules, 'response_rules'),
  }
}

function compileRule(rule: api.Config_Rule, place: Place): HeaderRule {
  if ((rule.header === '') === (rule.cookie === '')) {
    place.refuse('either header or cookie has to be set')
  }
  return {
    header: rule.header.toLowerCase(),
    cookie: rule.cookie,
    remove: rule.remove,
    present: compileWriter(rule.onHeaderPresent, place.at('on_header_present')),
    missing: compileWriter(rule.onHeaderMissing, place.at('on_header_missing')),
  }
}

function compileWriter(
  pair: api.Config_KeyValuePair | undefined,
  place: Place,
): Writer | undefined {
  if (pair === undefined) return undefined
  const { key, value: fixed, regexValueRewrite, type, encode } = pair
  if (key === '') place.at('key').refuse('metadata without a key')
  const namespace = pair.metadataNamespace === '' ? headerToMetadataName : pair.metadataNamespace
  const replace =
    regexValueRewrite === undefined
      ? undefined
      : compileReplacement(regexValueRewrite, place.at('regex_value_rewrite'))
  if (type === api.Config_ValueType.PROTOBUF_VALUE) {
    place.at('type').refuse('PROTOBUF_VALUE is not supported')
  }
  const isNumber = type === api.Config_ValueType.NUMBER
  const isBase64 = encode === api.Config_ValueEncode.BASE64
  return (exchange, given) => {
    const chosen = fixed === '' ? (replace?.(given) ?? given) : fixed
    const text = isBase64 ? Buffer.from(chosen, 'base64').toString() : chosen
    // Nothing is not written.
    if (text === '') return
    if (!isNumber) exchange.setMetadata(namespace, key, text)
    else if (Number.isFinite(Number(text))) exchange.setMetadata(namespace, key, Number(text))
  }
}

export function compileHeaderToMetadata(
  name: string,
  message: api.Config,
  place: Place,
): HttpFilter {
  const configured = compileHeaderRules(message, place)
  return {
    name,
    run: (exchange) => {
      const override = exchange.override(name)?.config
      const rules = override?.kind === 'header-to-metadata' ? override.rules : configured
      const read: HeaderReader = { get: (header) => exchange.header(header) }
      for (const operation of apply(rules.request, exchange, read)) exchange.change(operation)
      if (rules.response.length > 0) {
        exchange.responseHooks.push((_, { headers }) => apply(rules.response, exchange, headers))
      }
      return undefined
    },
  }
}

function apply(
  rules: readonly HeaderRule[],
  exchange: Exchange,
  headers: HeaderReader,
): HeaderOperation[] {
  const removed: HeaderOperation[] = []
  for (const { header, cookie, remove, present, missing } of rules) {
    const value = cookie === '' ? headers.get(header) : cookieOf(headers.get('cookie'), cookie)
    if (value === undefined) missing?.(exchange, '')
    else {
      present?.(exchange, value)
      if (remove && header !== '') removed.push({ kind: 'remove', name: header })
    }
  }
  return removed
}
