/** VirtualService: its hosts and gateways, and rules of all three kinds. */
import { hostCovers, isSubsetOf } from '../hosts.ts'
import { checkExportTo, checkLabels } from './common.ts'
import { checkDestinations, checkGatewayNames } from './destinations.ts'
import type { Place } from './findings.ts'
import { checkHttpRoute, isClaim } from './http-route.ts'
import { warnUnusedRules } from './unused-rules.ts'
import { gatewayDomain, isIpAddress, port, quote, subnet, wildcardDomain } from './values.ts'

interface Context {
  readonly hosts: readonly string[]
  /** Bound to gateways only, not to the mesh. */
  readonly gatewayOnly: boolean
}

export function checkVirtualService(spec: Place, namespace: string): void {
  const gateways = spec.at('gateways')
  const names = gateways.texts
  const context: Context = {
    hosts: spec.at('hosts').texts,
    gatewayOnly: names.length > 0 && !names.includes('mesh'),
  }
  const delegate = context.hosts.length === 0
  if (delegate) checkDelegate(spec)
  checkGatewayNames(gateways)
  if (!context.gatewayOnly) refuseClaims(spec, names)
  checkHosts(spec, context)
  const kinds = ['http', 'tcp', 'tls'] as const
  if (kinds.every((kind) => spec.at(kind).items.length === 0)) {
    spec.error('http, tcp or tls must be provided in virtual service')
  }
  for (const route of spec.at('http').items) checkHttpRoute(route, delegate)
  for (const route of spec.at('tls').items) checkTlsRoute(route, context)
  for (const route of spec.at('tcp').items) checkTcpRoute(route)
  checkExportTo(spec.at('exportTo'), { namespace })
  for (const kind of ['http', 'tcp', 'tls'] as const) warnUnusedRules(spec.at(kind), kind)
}

/** One without hosts is included by others, which say to what it applies. */
function checkDelegate(spec: Place): void {
  const refuse = (field: string, what: string): void => {
    if (spec.at(field).items.length > 0) {
      spec.at(field).error(`delegate virtual service must have no ${what} specified`)
    }
  }
  refuse('gateways', 'gateways')
  refuse('tls', 'tls route')
  refuse('tcp', 'tcp route')
}

/** Tokens are verified by gateways before they choose a route, by nobody else. */
function refuseClaims(spec: Place, gateways: readonly string[]): void {
  for (const route of spec.at('http').items) {
    for (const match of route.at('match').items) {
      for (const field of ['headers', 'withoutHeaders']) {
        for (const [key, place] of match.at(field).entries) {
          if (isClaim(key)) {
            place.error(
              `JWT claim based routing (key: ${key}) is only supported for gateway, found no gateways: [${gateways.join(' ')}]`,
            )
          }
        }
      }
    }
  }
}

function checkHosts(spec: Place, { gatewayOnly, hosts }: Context): void {
  const forSni = spec
    .at('tls')
    .items.some((route) =>
      route.at('match').items.some((match) => match.at('sniHosts').texts.length > 0),
    )
  let good = true
  for (const host of spec.at('hosts').items) {
    const bad = gatewayOnly ? gatewayDomain(host.text, forSni) : wildcardDomain(host.text)
    if (bad !== undefined) {
      if (!isIpAddress(host.text)) good = host.check(bad)
    } else if (!gatewayOnly && host.text === '*') {
      good = host.check(
        'wildcard host * is not allowed for virtual services bound to the mesh gateway',
      )
    }
  }
  if (!good) return
  for (const [index, host] of hosts.entries()) {
    for (const other of hosts.slice(index + 1)) {
      if (hostCovers(host, other)) {
        spec.at('hosts').error(`duplicate hosts in virtual service: ${host} & ${other}`)
      }
    }
  }
}

function checkTlsRoute(route: Place, context: Context): void {
  const matches = route.at('match').items
  if (matches.length === 0) route.error('TLS route must have at least one match condition')
  for (const match of matches) {
    const names = match.at('sniHosts').items
    if (names.length === 0) match.error('TLS match must have at least one SNI host')
    for (const name of names) checkSniHost(name, context)
    checkL4Match(match)
  }
  if (route.at('route').items.length === 0) route.error('TLS route is required')
  checkDestinations(route.at('route'))
}

function checkSniHost(name: Place, { hosts, gatewayOnly }: Context): void {
  const bad = gatewayOnly ? gatewayDomain(name.text, true) : wildcardDomain(name.text)
  if (bad !== undefined) {
    if (!isIpAddress(name.text)) name.error(bad)
    else {
      name.warn(
        `using an IP address (${quote(name.text)}) goes against SNI spec and most clients do not support this`,
      )
    }
    return
  }
  if (!hosts.some((host) => isSubsetOf(name.text, host))) {
    name.error(
      `SNI host ${quote(name.text)} is not a compatible subset of any of the virtual service hosts: [${hosts.join(', ')}]`,
    )
  }
}

function checkTcpRoute(route: Place): void {
  for (const match of route.at('match').items) checkL4Match(match)
  if (route.at('route').items.length === 0) route.error('TCP route is required')
  checkDestinations(route.at('route'))
}

function checkL4Match(match: Place): void {
  for (const range of match.at('destinationSubnets').items) range.check(subnet(range.text))
  const number = match.at('port')
  if (number.number !== 0) number.check(port(number.number))
  checkLabels(match.at('sourceLabels'))
  checkGatewayNames(match.at('gateways'))
}
