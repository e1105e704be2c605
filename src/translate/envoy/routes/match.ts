/** Matches of VirtualServices. */
import type { StringMatch, VirtualHttpMatch } from '../../../model/index.ts'
import type { ClaimMatch, FieldMatch, HttpMatch, PathMatch } from './ir.ts'
import { textMatch } from './text-match.ts'

const claimPrefix = '@request.auth.claims'

export function virtualMatch(match: VirtualHttpMatch): HttpMatch {
  const headers: FieldMatch[] = []
  const claims: ClaimMatch[] = []
  const add = (entries: Readonly<Record<string, StringMatch>>, invert: boolean): void => {
    for (const [name, value] of sorted(entries)) {
      const claim = claimOf(name)
      const wanted = textMatch(value)
      if (claim !== undefined) claims.push({ claim, value: wanted, invert })
      else headers.push({ name, value: wanted, invert })
    }
  }
  add(match.headers ?? {}, false)
  add(match.withoutHeaders ?? {}, true)
  for (const [name, value] of [
    [':method', match.method],
    [':authority', match.authority],
    [':scheme', match.scheme],
  ] as const) {
    const wanted = textMatch(value)
    if (wanted !== undefined) headers.push({ name, value: wanted, invert: false })
  }
  return {
    path: pathOf(match.uri, match.ignoreUriCase ?? false),
    headers,
    query: sorted(match.queryParams ?? {}).map(([name, value]) => ({
      name,
      value: textMatch(value),
      invert: false,
    })),
    claims,
    grpc: false,
  }
}

/** Objects are maps in the API: their order says nothing, so it must not show. */
function sorted<T>(entries: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(entries).toSorted(([left], [right]) => (left < right ? -1 : 1))
}

function pathOf(uri: StringMatch | undefined, ignoreCase: boolean): PathMatch | undefined {
  if (uri?.exact !== undefined) return { kind: 'exact', value: uri.exact, ignoreCase }
  if (uri?.prefix !== undefined) return { kind: 'prefix', value: uri.prefix, ignoreCase }
  return uri?.regex === undefined
    ? undefined
    : { kind: 'regex', value: uri.regex, ignoreCase: false }
}

/** `@request.auth.claims.a.b` or `@request.auth.claims[a.b][c]`, in which dots are part of names. */
function claimOf(name: string): string[] | undefined {
  if (!name.toLowerCase().startsWith(claimPrefix)) return undefined
  const rest = name.slice(claimPrefix.length)
  if (rest.startsWith('.')) return rest.slice(1).split('.')
  const parts = [...rest.matchAll(/\[([^\]]+)\]/g)].map(([, part = '']) => part)
  return parts.length > 0 ? parts : undefined
}
