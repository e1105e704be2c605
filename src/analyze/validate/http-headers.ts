/** Header changes of routes: which names may be set, added and removed, and what values may hold. */
import type { Complaint, Place } from './findings.ts'
import { quote } from './values.ts'

/** Control characters but the tab can't be in a header. */
function hasControlCharacters(value: string): boolean {
  return Array.from(value, (character) => character.charCodeAt(0)).some(
    (code) => (code < 0x20 && code !== 0x09) || code === 0x7f,
  )
}

const commandOperator = /^%[A-Z_]+[A-Z0-9_]*(?:\([^)]*\))?(?::\d+)?%/

function isHost(name: string): boolean {
  return name.toLowerCase() === 'host'
}

function isAuthority(name: string): boolean {
  return isHost(name) || name.toLowerCase() === ':authority'
}

/** Of a request, to be set or added; the authority is looked at on its own. */
function requestName(name: string): Complaint {
  if (name === '') return 'header name cannot be empty'
  return name.startsWith(':') && !isAuthority(name) ? pseudoHeader(name) : undefined
}

function plainName(name: string): Complaint {
  if (name === '') return 'header name cannot be empty'
  if (isHost(name)) return `invalid header ${quote(name)}: cannot set Host header`
  return name.startsWith(':') ? pseudoHeader(name) : undefined
}

function pseudoHeader(name: string): string {
  return `invalid header ${quote(name)}: header cannot have ":" prefix`
}

/** Envoy expands `%...%`; a percent sign of its own is written twice. */
export function headerValue(value: string): Complaint {
  if (hasControlCharacters(value)) return `header value configuration ${value} is invalid`
  for (let at = value.indexOf('%'); at >= 0; at = value.indexOf('%', at)) {
    if (value[at + 1] === '%') {
      at += 2
      continue
    }
    const operator = commandOperator.exec(value.slice(at))
    if (operator === null) {
      return `header value configuration: unescaped or unterminated % at character ${at} of ${quote(value)}`
    }
    at += operator[0].length
  }
  return undefined
}

/** `headers` of a route or of one of its destinations. */
export function checkHeaders(headers: Place): void {
  for (const side of ['request', 'response'] as const) {
    const operations = headers.at(side)
    const name = side === 'request' ? requestName : plainName
    for (const verb of ['add', 'set'] as const) {
      for (const [key, place] of operations.at(verb).entries) {
        place.check(name(key))
        place.check(headerValue(place.text))
      }
    }
    for (const place of operations.at('remove').items) place.check(plainName(place.text))
  }
}

/** Only one thing may change the authority: a rewrite or one header. */
export function checkAuthority(route: Place): void {
  let current = route.at('rewrite').at('authority').text
  for (const verb of ['set', 'add'] as const) {
    for (const [key, place] of route.at('headers').at('request').at(verb).entries) {
      if (!isAuthority(key)) continue
      if (current !== '') {
        place.error(
          `authority header cannot be set multiple times: have ${quote(current)}, attempting to set ${quote(place.text)}`,
        )
        return
      }
      current = place.text
    }
  }
}
