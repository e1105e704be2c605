/** Where a redirect leads. */
import { routeComponents as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { CompiledMatch } from './match.ts'
import { compilePathRewrite, type PathRewrite } from './rewrite.ts'

export interface RedirectAction {
  readonly kind: 'redirect'
  readonly status: number
  location(exchange: Exchange): string
}

const codes = api.RedirectAction_RedirectResponseCode
const statuses: Readonly<Record<number, number>> = {
  [codes.MOVED_PERMANENTLY]: 301,
  [codes.FOUND]: 302,
  [codes.SEE_OTHER]: 303,
  [codes.TEMPORARY_REDIRECT]: 307,
  [codes.PERMANENT_REDIRECT]: 308,
}

export function compileRedirect(
  action: api.RedirectAction,
  match: CompiledMatch,
  place: Place,
): RedirectAction {
  const { schemeRewriteSpecifier: specifier, hostRedirect, portRedirect, stripQuery } = action
  const status = statuses[action.responseCode]
  if (status === undefined) place.at('response_code').refuse(`unknown code ${action.responseCode}`)
  const path = pathOf(action, match, place)
  const port = portRedirect === 0 ? '' : `:${portRedirect}`
  return {
    kind: 'redirect',
    status: status ?? 301,
    location: (exchange) => {
      const { request } = exchange
      const scheme =
        specifier.case === 'schemeRedirect'
          ? specifier.value
          : specifier.case === 'httpsRedirect' && specifier.value
            ? 'https'
            : request.scheme
      const host = hostRedirect === '' ? requestHost(exchange, scheme, port) : hostRedirect
      const target = path(exchange.fullPath)
      // What response headers may quote is the rewritten path.
      if (path.rewrites) exchange.fullPath = target
      const shown = stripQuery && !path.ownQuery ? (target.split('?', 1)[0] ?? '') : target
      return `${scheme}://${host}${port}${shown}`
    },
  }
}

type RedirectPath = PathRewrite & { readonly ownQuery: boolean; readonly rewrites: boolean }

function pathOf(action: api.RedirectAction, match: CompiledMatch, place: Place): RedirectPath {
  const { pathRewriteSpecifier: specifier } = action
  const keep = (rewrite: PathRewrite, ownQuery = false, rewrites = false): RedirectPath =>
    Object.assign((path: string) => rewrite(path), { ownQuery, rewrites })
  if (specifier.case === 'pathRedirect') {
    const target = specifier.value
    if (target.includes('?')) return keep(() => target, true)
    return keep((path) => {
      const query = path.indexOf('?')
      return query < 0 ? target : target + path.slice(query)
    })
  }
  const rewrite = compilePathRewrite(
    {
      prefixRewrite: specifier.case === 'prefixRewrite' ? specifier.value : '',
      ...(specifier.case === 'regexRewrite' ? { regexRewrite: specifier.value } : {}),
    },
    match,
    place,
  )
  return keep(rewrite ?? ((path) => path), false, rewrite !== undefined)
}

/** The port goes when another one is set, or when it was the default of a scheme that changes. */
function requestHost(exchange: Exchange, scheme: string, port: string): string {
  const { authority } = exchange.request
  const colon = authority.startsWith('[')
    ? authority.lastIndexOf(']:') + 1
    : authority.lastIndexOf(':')
  if (colon <= 0) return authority
  const from = exchange.header('x-forwarded-proto') ?? exchange.request.scheme
  const own = authority.slice(colon)
  const isDefault = (from === 'https' && own === ':443') || (from === 'http' && own === ':80')
  const remove = port !== '' || (scheme !== from && isDefault)
  return remove ? authority.slice(0, colon) : authority
}
