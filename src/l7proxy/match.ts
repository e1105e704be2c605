/** Which route serves a request. Pure. */
import type { RequestHeaders, Route, RouteTable, VirtualHost } from './types.ts'

/** The virtual host of an authority: exact name, longest suffix, longest prefix, `*`. */
export function findVirtualHost(table: RouteTable, authority: string): VirtualHost | undefined {
  const name = (table.ignorePort ? withoutPort(authority) : authority).toLowerCase()
  const exact = table.exact.get(name)
  if (exact !== undefined) return exact
  // The wildcard stands for at least one character.
  const suffix = table.suffixes.find(({ text }) => name.length > text.length && name.endsWith(text))
  if (suffix !== undefined) return suffix.host
  const prefix = table.prefixes.find(
    ({ text }) => name.length > text.length && name.startsWith(text),
  )
  return prefix?.host ?? table.any
}

function withoutPort(authority: string): string {
  const end = authority.lastIndexOf(':')
  return end > authority.lastIndexOf(']') && end >= 0 ? authority.slice(0, end) : authority
}

export interface MatchInput {
  readonly headers: RequestHeaders
  /** Without the query. */
  readonly path: string
  readonly query: string
}

/** The first route that matches, in the order of the configuration. */
export function findRoute(host: VirtualHost, input: MatchInput): Route | undefined {
  let query: URLSearchParams | undefined
  return host.routes.find(({ match }) => {
    if (!match.path(input.path)) return false
    if (!match.headers.every((test) => test(input.headers))) return false
    if (match.query.length === 0) return true
    query ??= new URLSearchParams(input.query)
    const parameters = query
    return match.query.every((test) => test(parameters))
  })
}

/**
 * The path with dot segments resolved, as Envoy's normalization gives it. Undefined when it leads
 * above the root or is no path: such a request is answered 400, since policies could be evaded by it.
 */
export function normalizePath(path: string): string | undefined {
  if (!path.startsWith('/')) return undefined
  if (!/\/(\.|%2e)|\\/i.test(path)) return path
  const segments: string[] = []
  const parts = path.replaceAll('\\', '/').slice(1).split('/')
  for (const [index, part] of parts.entries()) {
    const segment = part.replaceAll(/%2e/gi, '.')
    const isLast = index === parts.length - 1
    if (segment === '.' || segment === '..') {
      if (segment === '..' && segments.pop() === undefined) return undefined
      if (isLast) segments.push('')
    } else segments.push(segment)
  }
  return `/${segments.join('/')}`
}
