/**
 * Warnings about rules and matches of a VirtualService that can never be used, because an earlier one
 * takes everything they would match. Only what can be told without guessing: equal matches, rules
 * behind one that matches all, and prefixes behind shorter ones whose other conditions are the same.
 */
import type { Place } from './findings.ts'
import { limits } from './limits.ts'
import { quote } from './values.ts'

type Kind = 'http' | 'tcp' | 'tls'

interface PrefixMatch {
  readonly place: Place
  readonly rule: string
  readonly match: string
  readonly prefix: string
  readonly port: number
  readonly method: string
  readonly authority: string
  /** Headers, query parameters, absent headers. */
  readonly texts: readonly Readonly<Record<string, string>>[]
}

export function warnUnusedRules(routes: Place, kind: Kind): void {
  const seen = new Map<string, string>()
  const prefixes: PrefixMatch[] = []
  let catchAll = false
  for (const [index, route] of routes.items.entries()) {
    const rule = nameOf(route, index, kind)
    const matches = route.at('match').items
    if (matches.length === 0) {
      if (catchAll) unused(route, rule, 'only the last rule can have no matches')
      catchAll = true
      continue
    }
    let repeated = 0
    for (const [position, match] of matches.entries()) {
      const key = canonical(match.value)
      const first = seen.get(key)
      const name = nameOf(match, position, kind)
      if (first !== undefined) {
        ineffective(match, { rule, match: name, by: first })
        repeated++
        continue
      }
      seen.set(key, rule)
      const prefix = kind === 'http' ? prefixMatch(match, rule, name) : undefined
      if (prefix !== undefined) prefixes.push(prefix)
    }
    if (repeated === matches.length) unused(route, rule, 'all matches used by prior rules')
  }
  if (prefixes.length <= limits.comparedPrefixes) warnCoveredPrefixes(prefixes)
}

function unused(route: Place, rule: string, reason: string): void {
  route.warn(`virtualService rule ${rule} not used (${reason})`)
}

function ineffective(
  place: Place,
  { rule, match, by }: { readonly rule: string; readonly match: string; readonly by: string },
): void {
  place.warn(
    `virtualService rule ${rule} match ${match} is not used (duplicate/overlapping match in rule ${by})`,
  )
}

/** Only rules and matches of HTTP have names. */
function nameOf(place: Place, index: number, kind: Kind): string {
  const name = kind === 'http' ? place.at('name').text : ''
  return name === '' ? `#${index}` : quote(name)
}

/** Equal for matches that are the same but for their name and the order of their fields. */
function canonical(match: unknown): string {
  return JSON.stringify(match, (key, value: unknown) => {
    if (key === 'name' || typeof value !== 'object' || value === null || Array.isArray(value)) {
      return key === 'name' ? undefined : value
    }
    return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  })
}

function prefixMatch(place: Place, rule: string, match: string): PrefixMatch | undefined {
  const prefix = place.at('uri').at('prefix').text
  if (prefix === '') return undefined
  const method = exactOrPrefix(place.at('method'))
  return {
    place,
    rule,
    match,
    prefix,
    port: place.at('port').number,
    method: method === '' ? 'exact:GET' : method,
    authority: exactOrPrefix(place.at('authority')),
    texts: ['headers', 'queryParams', 'withoutHeaders'].map((field) =>
      Object.fromEntries(
        place.at(field).entries.map(([key, value]) => [key, exactOrPrefix(value)]),
      ),
    ),
  }
}

function exactOrPrefix(match: Place): string {
  const [exact, prefix] = [match.at('exact').text, match.at('prefix').text]
  if (exact !== '') return `exact:${exact}`
  return prefix === '' ? '' : `prefix:${prefix}`
}

function warnCoveredPrefixes(prefixes: readonly PrefixMatch[]): void {
  for (const [index, first] of prefixes.entries()) {
    for (const second of prefixes.slice(index + 1)) {
      if (second.prefix === first.prefix || !covers(first, second)) continue
      ineffective(second.place, {
        rule: second.rule,
        match: `${second.match} of prefix ${second.prefix}`,
        by: `${first.match} of prefix ${first.prefix} on ${first.rule}`,
      })
    }
  }
}

function covers(first: PrefixMatch, second: PrefixMatch): boolean {
  return (
    second.prefix.startsWith(first.prefix) &&
    second.port === first.port &&
    first.method.startsWith(second.method) &&
    first.authority.startsWith(second.authority) &&
    first.texts.every((texts, index) => sameConditions(texts, second.texts[index] ?? {}))
  )
}

function sameConditions(
  first: Readonly<Record<string, string>>,
  second: Readonly<Record<string, string>>,
): boolean {
  const keys = Object.keys(first)
  return (
    keys.length === Object.keys(second).length &&
    keys.every((key) => second[key] !== undefined && first[key]?.startsWith(second[key]) === true)
  )
}
