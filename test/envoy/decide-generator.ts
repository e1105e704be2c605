/** Random route configurations and requests, from a seed, within what both engines do the same way. */
import type { JsonObject } from '@bufbuild/protobuf'
import { type Question, type } from './decide-kit.ts'

/** mulberry32: small, and the same everywhere. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  pick<T>(list: readonly [T, ...T[]]): T {
    return list[this.below(list.length)] ?? list[0]
  }

  some<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, make)
  }
}

const paths = [
  '/',
  '/a',
  '/a/',
  '/a/b',
  '/ab',
  '/A',
  '/a/b/c',
  '/x.y',
  '/a%20b',
  '/b/1/c',
  '/b/2',
] as const
const values = ['1', '10', 'abc', 'ABC', 'abcd', 'x,y', '-5'] as const
const names = ['x-a', 'x-b', 'x-c'] as const

function stringMatch(random: Random): JsonObject {
  const value = random.pick(values)
  const kind = random.pick(['exact', 'prefix', 'suffix', 'contains', 'safeRegex'])
  if (kind === 'safeRegex')
    return { safeRegex: { regex: random.pick(['a.*', '[0-9]+', '.*c', 'abc|1', '(?i)ABC.?']) } }
  return { [kind]: value, ...(random.chance(0.3) ? { ignoreCase: true } : {}) }
}

export function headerMatch(random: Random): JsonObject {
  const matcher: JsonObject = { name: random.pick([...names, ':method', ':path', ':authority']) }
  const kind = random.below(4)
  if (kind === 0) matcher.presentMatch = random.chance(0.7)
  else if (kind === 1) matcher.rangeMatch = { start: '-10', end: '10' }
  else if (kind === 2) matcher.stringMatch = stringMatch(random)
  if (random.chance(0.25)) matcher.invertMatch = true
  if (random.chance(0.2)) matcher.treatMissingHeaderAsEmpty = true
  return matcher
}

function queryMatch(random: Random): JsonObject {
  const matcher: JsonObject = { name: random.pick(['q', 'r']) }
  const kind = random.below(4)
  if (kind < 2) matcher.stringMatch = stringMatch(random)
  else if (kind === 2) matcher.presentMatch = random.chance(0.5)
  return matcher
}

const template = (pathTemplate: string): JsonObject => ({
  name: 'template',
  typedConfig: {
    ...type('extensions.path.match.uri_template.v3.UriTemplateMatchConfig'),
    pathTemplate,
  },
})

function pathMatch(random: Random): JsonObject {
  const kind = random.below(10)
  if (kind < 3) return { prefix: random.pick(paths) }
  if (kind < 5) return { path: random.pick(paths) }
  if (kind < 7) return { pathSeparatedPrefix: random.pick(['/a', '/a/b', '/b', '/x.y']) }
  if (kind < 9)
    return {
      safeRegex: { regex: random.pick(['/a.*', '/[ab]', '/b/[0-9]/c', '.*', '/(a|ab)(/b)?']) },
    }
  return {
    pathMatchPolicy: template(random.pick(['/b/*/c', '/b/{id}', '/a/**', '/{x}/{rest=**}'])),
  }
}

function routeMatch(random: Random): JsonObject {
  const match = pathMatch(random)
  const isText = 'prefix' in match || 'path' in match || 'pathSeparatedPrefix' in match
  if (isText && random.chance(0.2)) match.caseSensitive = false
  if (random.chance(0.5)) match.headers = random.some(2, () => headerMatch(random))
  if (random.chance(0.25)) match.queryParameters = random.some(2, () => queryMatch(random))
  if (random.chance(0.05)) match.grpc = {}
  if (random.chance(0.1)) {
    const numerator = random.pick([0, 100])
    match.runtimeFraction = { defaultValue: { numerator } }
  }
  return match
}

const addable = ['x-a', 'x-new', 'x-list'] as const
const texts = [
  'v',
  '%REQ(x-a)%',
  '%REQ(x-none?:method)%',
  '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%',
  '%PROTOCOL%',
  '100%%',
  '%REQ(x-none)%',
  '%REQ(:path):3%',
] as const
const appendActions = [
  'APPEND_IF_EXISTS_OR_ADD',
  'ADD_IF_ABSENT',
  'OVERWRITE_IF_EXISTS_OR_ADD',
  'OVERWRITE_IF_EXISTS',
] as const

function headerAdd(random: Random): JsonObject {
  return {
    header: { key: random.pick(addable), value: random.pick(texts) },
    appendAction: random.pick(appendActions),
    ...(random.chance(0.2) ? { keepEmptyValue: true } : {}),
  }
}

function changes(random: Random): JsonObject {
  if (random.chance(0.5)) return {}
  return {
    requestHeadersToAdd: random.some(2, () => headerAdd(random)),
    requestHeadersToRemove: random.some(1, () => random.pick(names)),
    responseHeadersToAdd: random.some(2, () => headerAdd(random)),
    responseHeadersToRemove: random.some(1, () => random.pick(['x-up', 'x-a'])),
  }
}

function rewriteOf(random: Random, match: JsonObject): JsonObject {
  const hasTemplate = 'pathMatchPolicy' in match
  const kind = random.below(4)
  if (kind === 0 && !hasTemplate) return { prefixRewrite: random.pick(['/', '/new', '/new/']) }
  if (kind === 1) {
    const [regex, substitution] = random.pick([
      ['^/([^/]*)(.*)$', '/r/\\1'],
      ['a', 'z'],
      ['/b/([0-9])', '/\\1\\0'],
    ])
    return { regexRewrite: { pattern: { regex }, substitution } }
  }
  if (kind === 2 && hasTemplate) {
    const text = String(
      (match.pathMatchPolicy as JsonObject & { typedConfig: JsonObject }).typedConfig.pathTemplate,
    )
    const variable = text.includes('{id}') ? '{id}' : text.includes('{x}') ? '{x}' : 'none'
    const pathTemplateRewrite = `/t/${variable}`
    const config = {
      ...type('extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig'),
      pathTemplateRewrite,
    }
    return { pathRewritePolicy: { name: 'rewrite', typedConfig: config } }
  }
  return {}
}

function hostRewrite(random: Random): JsonObject {
  const kind = random.below(5)
  const more: JsonObject = random.chance(0.3) ? { appendXForwardedHost: true } : {}
  if (kind === 0) return { hostRewriteLiteral: 'literal.test', ...more }
  if (kind === 1) return { hostRewriteHeader: 'x-b', ...more }
  if (kind === 2) {
    const pattern = { regex: '^/([a-z]+).*$' }
    return { hostRewritePathRegex: { pattern, substitution: '\\1.test' }, ...more }
  }
  return {}
}

function redirect(random: Random, match: JsonObject): JsonObject {
  const action: JsonObject = {
    responseCode: random.pick([
      'MOVED_PERMANENTLY',
      'FOUND',
      'SEE_OTHER',
      'TEMPORARY_REDIRECT',
      'PERMANENT_REDIRECT',
    ]),
  }
  if (random.chance(0.3)) action.hostRedirect = 'other.test'
  if (random.chance(0.3)) action.portRedirect = 8443
  const scheme = random.below(4)
  if (scheme === 0) action.httpsRedirect = true
  else if (scheme === 1) action.schemeRedirect = 'https'
  const path = random.below(5)
  if (path === 0) action.pathRedirect = random.pick(['/gone', '/gone?fixed=1'])
  else if (path === 1 && !('pathMatchPolicy' in match)) action.prefixRewrite = '/moved'
  else if (path === 2) action.regexRewrite = { pattern: { regex: 'a' }, substitution: 'b' }
  if (random.chance(0.3)) action.stripQuery = true
  return action
}

function routeOf(random: Random, name: string): JsonObject {
  const match = routeMatch(random)
  const route: JsonObject = { name, match, ...changes(random) }
  const kind = random.below(10)
  if (kind < 5) {
    const status = random.pick([200, 404, 503])
    return { ...route, directResponse: { status, body: { inlineString: name } } }
  }
  if (kind < 7) return { ...route, redirect: redirect(random, match) }
  const forward: JsonObject = { ...rewriteOf(random, match), ...hostRewrite(random) }
  if (random.chance(0.3)) {
    forward.weightedClusters = {
      clusters: [
        { name: 'echo', weight: 1, ...changes(random) },
        { name: 'none', weight: 0 },
      ],
    }
  } else if (random.chance(0.2)) forward.clusterHeader = 'x-cluster'
  else forward.cluster = 'echo'
  return { ...route, route: forward }
}

/** Takes what the others left, so that most requests find something. */
function lastRoute(random: Random, name: string): JsonObject {
  const forward = { route: { cluster: 'echo', ...hostRewrite(random) } }
  const direct = { directResponse: { status: 200, body: { inlineString: name } } }
  const route: JsonObject = random.chance(0.5) ? direct : forward
  return { name, match: { prefix: '/' }, ...changes(random), ...route }
}

const domains = [
  'a.test',
  'b.test',
  '*.test',
  '*.a.test',
  'a.*',
  'A.b.test',
  '*',
  'a.test:8080',
  '*-x.test',
] as const

export function randomRoutes(random: Random, name: string): JsonObject {
  const left = domains.filter(() => random.chance(0.7))
  const hosts: JsonObject[] = []
  while (left.length > 0) {
    const own = left.splice(0, 1 + random.below(3))
    const host = `h${hosts.length}`
    const routes = Array.from({ length: 1 + random.below(14) }, (_, index) =>
      routeOf(random, `${host}/r${index}`),
    )
    if (random.chance(0.7)) routes.push(lastRoute(random, `${host}/r${routes.length}`))
    const requireTls: JsonObject = random.chance(0.05) ? { requireTls: 'ALL' } : {}
    hosts.push({ name: host, domains: own, routes, ...changes(random), ...requireTls })
  }
  return {
    name,
    virtualHosts: hosts,
    ...changes(random),
    ...(random.chance(0.5) ? { ignorePortInHostMatching: true } : {}),
    ...(random.chance(0.3) ? { mostSpecificHeaderMutationsWins: true } : {}),
  }
}

export function randomRequest(random: Random): Question {
  const headers: Record<string, string> = {}
  for (const name of names) if (random.chance(0.4)) headers[name] = random.pick(values)
  if (random.chance(0.1)) headers['x-a'] = ''
  if (random.chance(0.5)) headers['x-cluster'] = random.pick(['echo', 'missing'])
  if (random.chance(0.1))
    headers['content-type'] = random.pick([
      'application/grpc',
      'application/grpc+proto',
      'application/grpc-web',
    ])
  const query = random.pick(['', '', '?', '?q=1', '?q=abc&r=10', '?r', '?q=ABC', '?x=1&q=abcd'])
  return {
    method: random.pick(['GET', 'POST', 'OPTIONS', 'DELETE']),
    path: random.pick([...paths, '/a/b/', '/none', '/abc', '/B/1/c']) + query,
    authority: random.pick([
      'a.test',
      'A.test',
      'b.test',
      'c.test',
      'x.a.test',
      'a.b.test',
      'a.other',
      'other',
      'a.test:8080',
      'b.test:80',
      'y-x.test',
      '.test',
    ]),
    headers,
  }
}
