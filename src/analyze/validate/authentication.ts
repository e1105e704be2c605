/** PeerAuthentication and RequestAuthentication. */
import { checkSelector, checkTargets, httpHeaderName } from './common.ts'
import type { Place } from './findings.ts'
import { limits } from './limits.ts'
import { duration, quote } from './values.ts'

export function checkPeerAuthentication(spec: Place): void {
  const [selector, ports] = [spec.at('selector'), spec.at('portLevelMtls')]
  const { entries } = ports
  if (entries.length > 0 && selector.at('matchLabels').entries.length === 0) {
    ports.error('mesh/namespace peer authentication cannot have port level mTLS')
  }
  if (ports.present && entries.length === 0) {
    ports.error('port level mTLS, if defined, must have at least one element')
  }
  for (const [port, place] of entries) {
    const number = Number(port)
    if (!Number.isInteger(number) || number < 1 || number > 65_535) {
      place.error('port must be in range 1..65535')
    }
  }
  checkSelector(selector, 'matchLabels')
}

export function checkRequestAuthentication(spec: Place): void {
  checkTargets(spec)
  for (const rule of spec.at('jwtRules').items) checkJwtRule(rule)
}

function checkJwtRule(rule: Place): void {
  const [uri, keys] = [rule.at('jwksUri'), rule.at('jwks')]
  if (rule.at('issuer').text === '' && uri.text === '') {
    rule.error('issuer or jwksUri must be non-empty string')
  }
  refuseEmpty(rule.at('audiences'), 'audience must be non-empty string')
  if (uri.text !== '') checkKeysUri(uri)
  if (keys.text !== '') checkKeys(keys)
  for (const header of rule.at('fromHeaders').items) {
    if (header.at('name').text === '') header.error('location header name must be non-empty string')
  }
  refuseEmpty(rule.at('fromParams'), 'location query must be non-empty string')
  refuseEmpty(rule.at('fromCookies'), 'cookie name must be non-empty string')
  for (const output of rule.at('outputClaimToHeaders').items) {
    const header = output.at('header').text
    if (header === '' || output.at('claim').text === '') {
      output.error('outputClaimToHeaders header and claim value must be non-empty string')
    } else output.check(httpHeaderName(header))
  }
  const timeout = rule.at('timeout')
  if (timeout.present) timeout.check(duration(timeout.text))
  refuseEmpty(rule.at('spaceDelimitedClaims'), 'spaceDelimitedClaims must be non-empty strings')
}

function refuseEmpty(list: Place, message: string): void {
  for (const item of list.items) if (item.text === '') item.error(message)
}

function checkKeysUri(uri: Place): void {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(uri.text)?.[1]?.toLowerCase() ?? ''
  if (scheme !== 'http' && scheme !== 'https') {
    uri.error(`URI scheme ${quote(scheme)} is not supported`)
  } else if (!URL.canParse(uri.text)) uri.error(`jwksUri ${quote(uri.text)} is not a valid URL`)
  if (uri.text.length > limits.jwksUriLength) {
    uri.error(`jwksUri must be at most ${limits.jwksUriLength} characters long`)
  }
}

/** Members of a key that only its owner may know. */
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth']

function checkKeys(place: Place): void {
  const parsed = parseKeySet(place.text)
  if (typeof parsed === 'string') {
    place.error(`jwks parse error: failed to unmarshal JWK set: ${parsed}`)
    return
  }
  const secret = parsed.some(
    (key) => key.kty === 'oct' || privateMembers.some((member) => Object.hasOwn(key, member)),
  )
  if (secret) {
    place.warn('jwks has private key material; only public keys are needed to verify tokens')
  }
}

type Key = Readonly<Record<string, unknown>>

/** The keys of a set, or of a single key; a text says what is wrong. */
function parseKeySet(text: string): Key[] | string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  const isKey = (key: unknown): key is Key => typeof key === 'object' && key !== null
  if (!isKey(value)) return 'it is no object'
  const keys: unknown = value.keys ?? [value]
  if (!Array.isArray(keys) || !keys.every(isKey)) return '"keys" is no list of keys'
  const nameless = keys.findIndex((key) => typeof key.kty !== 'string')
  return nameless < 0 ? keys : `key ${nameless} has no "kty"`
}
