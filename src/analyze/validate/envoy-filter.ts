/**
 * EnvoyFilter: whether a patch says what it applies to, fits what it matches, and has a value. Which
 * messages Envoy knows is up to the Envoy that gets them: types are only refused where no version of
 * the API in use can have them.
 */
import { checkSelector, checkTargets } from './common.ts'
import type { Place } from './findings.ts'
import { quote, regexProblem } from './values.ts'

const internalApi =
  'EnvoyFilter exposes internal implementation details that may change at any time. Prefer other APIs if possible, and exercise extreme caution, especially around upgrades.'

const connectionManager = 'envoy.filters.network.http_connection_manager'

/** Names that filters had before they were sorted by what they filter. */
const deprecatedNames: Readonly<Record<string, string>> = {
  'envoy.buffer': 'envoy.filters.http.buffer',
  'envoy.cors': 'envoy.filters.http.cors',
  'envoy.csrf': 'envoy.filters.http.csrf',
  'envoy.ext_authz': 'envoy.filters.http.ext_authz',
  'envoy.fault': 'envoy.filters.http.fault',
  'envoy.grpc_http1_bridge': 'envoy.filters.http.grpc_http1_bridge',
  'envoy.grpc_json_transcoder': 'envoy.filters.http.grpc_json_transcoder',
  'envoy.grpc_web': 'envoy.filters.http.grpc_web',
  'envoy.gzip': 'envoy.filters.http.gzip',
  'envoy.health_check': 'envoy.filters.http.health_check',
  'envoy.http_connection_manager': connectionManager,
  'envoy.http_dynamo_filter': 'envoy.filters.http.dynamo',
  'envoy.ip_tagging': 'envoy.filters.http.ip_tagging',
  'envoy.lua': 'envoy.filters.http.lua',
  'envoy.rate_limit': 'envoy.filters.http.ratelimit',
  'envoy.router': 'envoy.filters.http.router',
  'envoy.squash': 'envoy.filters.http.squash',
  'envoy.client_ssl_auth': 'envoy.filters.network.client_ssl_auth',
  'envoy.echo': 'envoy.filters.network.echo',
  'envoy.mongo_proxy': 'envoy.filters.network.mongo_proxy',
  'envoy.ratelimit': 'envoy.filters.network.ratelimit',
  'envoy.redis_proxy': 'envoy.filters.network.redis_proxy',
  'envoy.tcp_proxy': 'envoy.filters.network.tcp_proxy',
}

const objectClass: Readonly<Record<string, 'listener' | 'routeConfiguration' | 'cluster'>> = {
  LISTENER: 'listener',
  FILTER_CHAIN: 'listener',
  NETWORK_FILTER: 'listener',
  HTTP_FILTER: 'listener',
  LISTENER_FILTER: 'listener',
  ROUTE_CONFIGURATION: 'routeConfiguration',
  VIRTUAL_HOST: 'routeConfiguration',
  HTTP_ROUTE: 'routeConfiguration',
  CLUSTER: 'cluster',
}

const mismatch = {
  listener: 'Envoy filter: applyTo for listener class objects cannot have non listener match',
  routeConfiguration:
    'Envoy filter: applyTo for http route class objects cannot have non route configuration match',
  cluster: 'Envoy filter: applyTo for cluster class objects cannot have non cluster match',
} as const

/** Those whose configuration is in `typed_config`. */
const extensionObjects = new Set([
  'NETWORK_FILTER',
  'HTTP_FILTER',
  'LISTENER_FILTER',
  'EXTENSION_CONFIG',
])

export function checkEnvoyFilter(spec: Place): void {
  spec.warn(internalApi)
  const selector = spec.at('workloadSelector')
  const wording = (text: string): string =>
    `Envoy filter: ${text}, will be applied to all services in namespace`
  if (!checkSelector(selector, 'labels', wording)) return
  if (selector.present && spec.at('targetRefs').items.length > 0) {
    spec.error('only one of targetRefs or workloadSelector can be set')
  }
  checkTargets(spec)
  for (const patch of spec.at('configPatches').items) checkPatch(patch)
}

function checkPatch(place: Place): void {
  const applyTo = place.at('applyTo').text
  const patch = place.at('patch')
  const operation = patch.at('operation').text
  const [match, value] = [place.at('match'), patch.at('value')]
  if (applyTo === '' || applyTo === 'INVALID') return place.error('Envoy filter: missing applyTo')
  if (!patch.present) return place.error('Envoy filter: missing patch')
  if (operation === '' || operation === 'INVALID') {
    return place.error('Envoy filter: missing patch operation')
  }
  if (operation !== 'REMOVE' && !value.present) {
    return patch.error('Envoy filter: missing patch value for non-remove operation')
  }
  const version = match.at('proxy').at('proxyVersion')
  const problem = version.text === '' ? undefined : regexProblem(version.text)
  if (problem !== undefined) {
    return version.error(`Envoy filter: invalid regex for proxy version, [${problem}]`)
  }
  if (!checkMatch(match, applyTo)) return
  checkTypes(value)
  if (operation !== 'REMOVE') warnUntyped(value, applyTo)
}

/** False when nothing more can be said of the patch. */
function checkMatch(match: Place, applyTo: string): boolean {
  const wanted = objectClass[applyTo]
  if (wanted === undefined) return true
  const given = ['listener', 'routeConfiguration', 'cluster', 'waypoint'].filter(
    (name) => match.at(name).present,
  )
  const fits = given.length === 0 || given.includes(wanted) || given.includes('waypoint')
  if (!fits) {
    match.error(mismatch[wanted])
    return wanted !== 'listener'
  }
  const filter = match.at('listener').at('filterChain').at('filter')
  return wanted !== 'listener' || !filter.present || checkFilterMatch(filter, applyTo)
}

function checkFilterMatch(filter: Place, applyTo: string): boolean {
  if (applyTo === 'LISTENER' || applyTo === 'FILTER_CHAIN') {
    filter.warn(`Envoy filter: filter match has no effect when used with ${applyTo}`)
  }
  const [name, inner] = [filter.at('name').text, filter.at('subFilter')]
  if (name === '') return filter.check('Envoy filter: filter match has no name to match on')
  if (inner.present) {
    if (applyTo !== 'HTTP_FILTER') {
      return inner.check('Envoy filter: subfilter match can be used with applyTo HTTP_FILTER only')
    }
    if (name !== connectionManager && name !== 'envoy.http_connection_manager') {
      return inner.check(
        `Envoy filter: subfilter match requires filter match with ${connectionManager}`,
      )
    }
    if (inner.at('name').text === '') {
      return inner.check('Envoy filter: subfilter match has no name to match on')
    }
  }
  for (const place of [filter.at('name'), inner.at('name')]) {
    const { text } = place
    const now = Object.hasOwn(deprecatedNames, text) ? deprecatedNames[text] : undefined
    if (now !== undefined) {
      place.warn(`using deprecated filter name ${quote(text)}; use ${quote(now)} instead`)
    }
  }
  return true
}

const typeUrl = /^[\w.-]+(?:\/[\w.-]+)*\/[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)+$/

/** Every `@type` in a value, however deep. */
function checkTypes(value: Place): void {
  for (const [key, place] of value.entries) {
    if (key !== '@type') checkTypes(place)
    else if (/\.v2(?:\.|alpha)/.test(place.text)) {
      place.error(
        `referenced type unknown (hint: try using the v3 XDS API): could not resolve Any message type: ${place.text}`,
      )
    } else if (!typeUrl.test(place.text)) {
      place.error(`referenced type unknown: could not resolve Any message type: ${place.text}`)
    }
  }
  for (const place of value.items) checkTypes(place)
}

function warnUntyped(value: Place, applyTo: string): void {
  if (!extensionObjects.has(applyTo) || !value.present) return
  const typed = ['typed_config', 'typedConfig', 'config_discovery', 'configDiscovery']
  if (typed.some((name) => value.at(name).present)) return
  value.warn(`using deprecated types by name without typed_config; ${value.at('name').text}`)
}
