/** AuthorizationPolicy: rules that can match something, and values that mean something. */
import { checkTargets } from './common.ts'
import type { Complaint, Place } from './findings.ts'
import { limits } from './limits.ts'
import { isCidr, isIpAddress, quote } from './values.ts'

const sourceLists = [
  ['ipBlocks', 'IpBlocks'],
  ['remoteIpBlocks', 'RemoteIpBlocks'],
  ['principals', 'Principals'],
  ['requestPrincipals', 'RequestPrincipals'],
  ['namespaces', 'Namespaces'],
  ['serviceAccounts', 'ServiceAccounts'],
  ['trustDomains', 'TrustDomains'],
] as const
const operationLists = [
  ['ports', 'Ports'],
  ['methods', 'Methods'],
  ['paths', 'Paths'],
  ['hosts', 'Hosts'],
] as const

/** A list of a rule and the one of what it must not be, as `[field, name in texts]`. */
function withNegation(
  lists: readonly (readonly [string, string])[],
): (readonly [string, string])[] {
  const negated = lists.map(
    ([field, name]) =>
      [`not${field[0]?.toUpperCase() ?? ''}${field.slice(1)}`, `Not${name}`] as const,
  )
  return [...lists, ...negated]
}

const sourceFields = withNegation(sourceLists)
const operationFields = withNegation(operationLists)

export function checkAuthorizationPolicy(spec: Place): void {
  checkTargets(spec)
  const action = spec.at('action').text || 'ALLOW'
  const rules = spec.at('rules')
  const provider = spec.at('provider')
  if (action === 'CUSTOM') checkCustom(spec)
  else if (provider.present) {
    provider.error(`\`provider\` must not be with non CUSTOM action, found ${action}`)
  }
  if ((action === 'DENY' || action === 'CUSTOM') && rules.items.length === 0) {
    spec.error(
      `${action} action without \`rules\` is meaningless as it will never be triggered, add an empty rule \`{}\` if you want it be triggered for every request`,
    )
  }
  if (rules.items.length > limits.authorizationRules) {
    rules.error(`at most ${limits.authorizationRules} rules are allowed`)
  }
  for (const [index, rule] of rules.items.entries()) checkRule(rule, index, action)
}

/** Who the caller is, is not known yet when the external authorizer is asked. */
function checkCustom(spec: Place): void {
  const rules = spec.at('rules').items
  if (rules.length > 0 && spec.at('provider').at('name').text === '') {
    spec.error('`provider.name` must not be empty')
  }
  const identity = sourceFields.filter(([field]) => /principals|namespaces/i.test(field))
  for (const rule of rules) {
    for (const { source, place } of sourcesOf(rule)) {
      for (const [field, name] of identity) {
        if (source.at(field).items.length > 0) {
          place.error(`From.${name} is currently not supported with CUSTOM action`)
        }
      }
    }
    for (const condition of rule.at('when').items) {
      const key = condition.at('key').text
      if (/^source\.(?:namespace|principal)$|^request\.auth\./.test(key)) {
        condition.error(`${key} is currently not supported with CUSTOM action`)
      }
    }
  }
}

function sourcesOf(rule: Place): { source: Place; place: Place }[] {
  return rule.at('from').items.map((place) => ({ source: place.at('source'), place }))
}

function checkRule(rule: Place, index: number, action: string): void {
  const isEmptyList = (place: Place): boolean => place.present && place.items.length === 0
  const at = `found at rule ${index}`
  if (isEmptyList(rule.at('from'))) rule.error(`\`from\` must not be empty, ${at}`)
  const sources = sourcesOf(rule)
  for (const { source, place } of sources) {
    if (!source.present) place.error(`\`from.source\` must not be nil, ${at}`)
    else checkSource(source, at)
  }
  if (isEmptyList(rule.at('to'))) rule.error(`\`to\` must not be empty, ${at}`)
  const operations = rule
    .at('to')
    .items.map((place) => ({ place, operation: place.at('operation') }))
  for (const { place, operation } of operations) {
    if (!operation.present) place.error(`\`to.operation\` must not be nil, ${at}`)
    else checkOperation(operation, at)
  }
  for (const condition of rule.at('when').items) checkCondition(condition)
  if (action === 'DENY') {
    warnHttpOnly(
      rule,
      sources.flatMap(({ source }) => (source.present ? [source] : [])),
      operations.flatMap(({ operation }) => (operation.present ? [operation] : [])),
    )
  }
}

const l4Sources = sourceFields
  .map(([field]) => field)
  .filter((field) => !/requestPrincipals/i.test(field))

/** What a TCP connection has no answer to is left out there, so that a rule denies more than it says. */
function warnHttpOnly(rule: Place, sources: readonly Place[], operations: readonly Place[]): void {
  const has = (places: readonly Place[], fields: readonly string[]): boolean =>
    places.some((place) => fields.some((field) => place.at(field).present))
  const onlyHttp =
    operations.length > 0
      ? !has(operations, ['ports', 'notPorts'])
      : sources.length > 0 && !has(sources, l4Sources)
  if (!onlyHttp) return
  rule.warn(
    'configured AuthorizationPolicy will deny all traffic to TCP ports under its scope due to the use of only HTTP attributes in a DENY rule; it is recommended to explicitly specify the port',
  )
}

function checkSource(source: Place, at: string): void {
  if (sourceFields.every(([field]) => source.at(field).items.length === 0)) {
    source.error(`\`from.source\` must not be empty, ${at}`)
  }
  for (const field of ['ipBlocks', 'notIpBlocks', 'remoteIpBlocks', 'notRemoteIpBlocks']) {
    for (const complaint of addressComplaints(source.at(field).texts)) {
      source.at(field).error(complaint)
    }
  }
  checkFilled(source, sourceFields)
  const accounts = [...source.at('serviceAccounts').items, ...source.at('notServiceAccounts').items]
  for (const account of accounts) checkServiceAccount(account)
  if (accounts.length > 0) {
    const others = ['principals', 'notPrincipals', 'namespaces', 'notNamespaces']
    if (others.some((field) => source.at(field).items.length > 0)) {
      source.error('cannot set serviceAccounts with namespaces or principals')
    }
  }
}

function checkServiceAccount(account: Place): void {
  const { text } = account
  if (text.includes('*'))
    account.error(`wildcard is not supported in serviceAccounts: ${quote(text)}`)
  else if (text.split('/').length > 2) {
    account.error(`serviceAccounts must be of form namespace/name or name: ${quote(text)}`)
  }
}

function checkFilled(holder: Place, fields: readonly (readonly [string, string])[]): void {
  for (const [field, name] of fields) {
    if (holder.at(field).texts.includes('')) {
      holder.at(field).error(`empty value not allowed, found in ${name}`)
    }
  }
}

function checkOperation(operation: Place, at: string): void {
  if (operationFields.every(([field]) => operation.at(field).items.length === 0)) {
    operation.error(`\`to.operation\` must not be empty, ${at}`)
  }
  for (const field of ['ports', 'notPorts']) {
    for (const complaint of portComplaints(operation.at(field).texts)) {
      operation.at(field).error(complaint)
    }
  }
  checkFilled(operation, operationFields)
  for (const [field, name] of [
    ['paths', 'Paths'],
    ['notPaths', 'NotPaths'],
  ] as const) {
    if (operation.at(field).texts.some(isBadTemplate)) {
      operation.at(field).error(`invalid or unsupported path template, found in ${name}`)
    }
  }
}

/** `{*}` stands for a segment and `{**}` for the rest; templates have no other variables or wildcards. */
function isBadTemplate(path: string): boolean {
  if (!path.includes('{*}') && !path.includes('{**}')) return false
  return path
    .split('/')
    .some((segment) => segment !== '{*}' && segment !== '{**}' && /[*{}]/.test(segment))
}

function addressComplaints(values: readonly string[]): string[] {
  return values.flatMap((value) => {
    if (value.includes('/'))
      return isCidr(value) ? [] : [`bad CIDR range (${value}): it is no prefix`]
    return isIpAddress(value) ? [] : [`bad IP address (${value})`]
  })
}

function portComplaints(values: readonly string[]): string[] {
  return values.flatMap((value) => {
    if (!/^\d+$/.test(value)) {
      return [`bad port (${value}): strconv.ParseUint: parsing ${quote(value)}: invalid syntax`]
    }
    return Number(value) > 65_535 ? [`bad port (${value}): it is over 65535`] : []
  })
}

function checkCondition(condition: Place): void {
  const key = condition.at('key').text
  const [values, notValues] = [condition.at('values'), condition.at('notValues')]
  if (key === '') return condition.error('`key` must not be empty')
  if (values.items.length === 0 && notValues.items.length === 0) {
    return condition.error(`at least one of \`values\` or \`notValues\` must be set for key ${key}`)
  }
  const check = (place: Place, name: string): void => {
    for (const complaint of attributeComplaints(key, place.texts)) {
      condition.error(`invalid \`${name}\` for \`key\` ${key}: ${complaint}`)
    }
  }
  check(values, 'value')
  check(notValues, 'notValue')
}

const freeAttributes = new Set([
  'source.namespace',
  'source.principal',
  'source.serviceAccount',
  'source.trustDomain',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'connection.sni',
])
const addressAttributes = new Set(['source.ip', 'remote.ip', 'destination.ip'])

function attributeComplaints(key: string, values: readonly string[]): string[] {
  if (values.includes('')) return [`empty value not allowed, found in ${key}`]
  if (/^(?:request\.headers|request\.auth\.claims|experimental\.envoy\.filters\.)/.test(key)) {
    const complaint = keyed(key)
    return complaint === undefined ? [] : [complaint]
  }
  if (addressAttributes.has(key)) return addressComplaints(values)
  if (key === 'destination.port') return portComplaints(values)
  if (freeAttributes.has(key)) return []
  if (key === 'destination.namespace')
    return [`attribute ${key} is replaced by the metadata.namespace`]
  if (key.startsWith('destination.labels')) {
    return [`attribute ${key} is replaced by the workload selector`]
  }
  if (key === 'destination.name' || key === 'destination.user') {
    return [`deprecated attribute ${key}: only supported in v1alpha1`]
  }
  return [`unknown attribute: ${key}`]
}

function keyed(key: string): Complaint {
  const open = key.indexOf('[')
  return key.endsWith(']') && open > 0 && open < key.length - 2
    ? undefined
    : `bad key (${key}): should have format a[b]`
}
