/** One rule of `spec.http` of a VirtualService: what it matches and which parts go together. */
import { checkLabels, checkStringMatch, httpHeaderName, whenPresent } from './common.ts'
import { checkDestination, checkDestinations, checkGatewayNames } from './destinations.ts'
import type { Complaint, Place } from './findings.ts'
import {
  checkCors,
  checkDirectResponse,
  checkFault,
  checkMirrors,
  checkRedirect,
  checkRetries,
  checkRewrite,
} from './http-actions.ts'
import { checkAuthority, checkHeaders } from './http-headers.ts'
import { duration, isDnsLabel, port } from './values.ts'

/** @param delegate whether the VirtualService has no hosts, so that others refer to it */
export function checkHttpRoute(route: Place, delegate: boolean): void {
  checkActions(route, delegate)
  for (const match of route.at('match').items) checkTextMatches(match)
  for (const match of route.at('match').items) checkPlainMatches(match)
  checkHeaders(route.at('headers'))
  whenPresent(route.at('corsPolicy'), checkCors)
  whenPresent(route.at('fault'), checkFault)
  checkMirrors(route)
  whenPresent(route.at('redirect'), checkRedirect)
  whenPresent(route.at('directResponse'), checkDirectResponse)
  whenPresent(route.at('retries'), checkRetries)
  whenPresent(route.at('rewrite'), checkRewrite)
  checkAuthority(route)
  checkDestinations(route.at('route'))
  whenPresent(route.at('timeout'), (timeout) => timeout.check(duration(timeout.text)))
  checkDestination(route.at('mirror'))
}

/** A rule does one thing: route, redirect, answer, or leave it to a delegate. */
function checkActions(route: Place, delegate: boolean): void {
  const has = (name: string): boolean => route.at(name).present
  const routed = route.at('route').items.length > 0
  const name = route.at('name').text
  if (has('delegate') && !delegate) {
    if (has('redirect')) route.error(`root HTTP route ${name} must not specify redirect`)
    if (routed) route.error(`root HTTP route ${name} must not specify route`)
    return
  }
  if (has('delegate')) route.error('delegate HTTP route cannot contain delegate')
  const both = (left: string, right: string, rule = ''): void =>
    route.error(`HTTP route${rule} cannot contain both ${left} and ${right}`)
  if (has('redirect')) {
    if (routed) both('route', 'redirect')
    if (has('fault')) both('fault', 'redirect')
    if (has('rewrite')) both('rewrite', 'redirect', ' rule')
    if (has('directResponse')) both('direct_response', 'redirect', ' rule')
  } else if (has('directResponse')) {
    if (routed) both('route', 'direct_response')
    if (has('fault')) both('fault', 'direct_response')
    if (has('rewrite')) both('rewrite', 'direct_response', ' rule')
  } else if (!routed) {
    route.error('HTTP route, redirect or direct_response is required')
  }
  if (has('mirror') && route.at('mirrors').items.length > 0) both('mirror', 'mirrors')
}

export const claimPrefix = '@request.auth.claims'

/** A header, or a claim of a token: `@request.auth.claims.sub`, `@request.auth.claims[a][b]`. */
function headerOrClaim(name: string): Complaint {
  return isClaim(name) ? undefined : httpHeaderName(name)
}

export function isClaim(name: string): boolean {
  if (!name.toLowerCase().startsWith(claimPrefix)) return false
  return /^(?:\..+|(?:\[[^[\]]+\])+)$/.test(name.slice(claimPrefix.length))
}

function checkTextMatches(match: Place): void {
  for (const [name, header] of match.at('headers').entries) {
    header.check(headerOrClaim(name))
    checkStringMatch(header, 'headers')
  }
  for (const [name, header] of match.at('withoutHeaders').entries) {
    header.check(headerOrClaim(name))
    // A lone asterisk is no expression: it asks for the header to be absent.
    if (header.at('regex').text !== '*') checkStringMatch(header, 'withoutHeaders')
  }
  checkStringMatch(match.at('uri'), 'uri', { emptyPrefix: true })
  for (const name of ['scheme', 'method', 'authority']) checkStringMatch(match.at(name), name)
  for (const [, parameter] of match.at('queryParams').entries) {
    checkStringMatch(parameter, 'queryParams')
  }
}

function checkPlainMatches(match: Place): void {
  const number = match.at('port')
  if (number.number !== 0) number.check(port(number.number))
  checkLabels(match.at('sourceLabels'))
  checkGatewayNames(match.at('gateways'))
  const namespace = match.at('sourceNamespace')
  if (namespace.text !== '' && !isDnsLabel(namespace.text)) {
    namespace.error(`sourceNamespace match ${namespace.text} is invalid`)
  }
}
