/**
 * `url(...)` as Kubernetes has it: what Go's net/url takes for an absolute URL or path. WHATWG's
 * parser (Node's URL) repairs what Go refuses and changes what Go keeps, so it can't be used.
 */
import { CelError } from '../errors.ts'
import { fn, type Library, method, parsingCost } from '../library.ts'
import { listType, mapType, opaqueType, types } from '../types.ts'
import { CelOpaque, type Value } from '../values.ts'

const { bool, string } = types
const urlType = opaqueType('kubernetes.URL')

interface Parts {
  readonly scheme: string
  readonly host: string
  readonly path: string
  readonly query: string
}

class Url extends CelOpaque {
  readonly typeName = 'kubernetes.URL'
  readonly text: string
  readonly parts: Parts
  constructor(text: string, parts: Parts) {
    super()
    this.text = text
    this.parts = parts
  }
  equals(other: CelOpaque): boolean {
    return other instanceof Url && other.text === this.text
  }
}

const badEscape = /%(?![0-9a-fA-F]{2})/
const user = /^[A-Za-z0-9\-._:~!$&'()*+,;=%@]*$/
const hostCharacter = /^[A-Za-z0-9\-_.~!$&'()*+,;=:[\]<>"%\u0080-\u{10ffff}]$/u

/**
 * The parts of a URL, or why Go refuses it. As upstream it is read twice: once as in a request
 * line, which knows no fragments, and once for the parts.
 */
function parse(text: string): Parts | string {
  const first = parseOnce(text)
  if (typeof first === 'string') return first
  const [plain = '', ...fragment] = text.split('#')
  return escapeComplaint(fragment.join('#')) ?? parseOnce(plain)
}

function parseOnce(text: string): Parts | string {
  if (text === '') return 'empty url'
  if (hasControls(text)) return 'net/url: invalid control character in URL'
  if (text === '*') return { scheme: '', host: '', path: '*', query: '' }
  const colon = /^([A-Za-z][A-Za-z0-9+\-.]*)?:/.exec(text)
  if (colon !== null && colon[1] === undefined) return 'missing protocol scheme'
  const scheme = colon?.[1]?.toLowerCase() ?? ''
  const rest = text.slice(colon?.[0].length ?? 0)
  const mark = rest.indexOf('?')
  const query = mark < 0 ? '' : rest.slice(mark + 1)
  const body = mark < 0 ? rest : rest.slice(0, mark)
  if (!body.startsWith('/')) {
    // Opaque, like mailto:someone; without a scheme it is relative, which isn't allowed.
    return scheme === '' ? 'invalid URI for request' : { scheme, host: '', path: '', query }
  }
  if (scheme === '' || !body.startsWith('//')) {
    return escapeComplaint(body) ?? { scheme, host: '', path: body, query }
  }
  const slash = body.indexOf('/', 2)
  const authority = slash < 0 ? body.slice(2) : body.slice(2, slash)
  const host = authority.slice(authority.lastIndexOf('@') + 1)
  const path = slash < 0 ? '' : body.slice(slash)
  const complaint = authorityComplaint(authority, host) ?? escapeComplaint(path)
  return complaint ?? { scheme, host, path, query }
}

function escapeComplaint(text: string): string | undefined {
  const at = badEscape.exec(text)?.index
  return at === undefined ? undefined : `invalid URL escape ${quoted(text.slice(at, at + 3))}`
}

function quoted(text: string): string {
  return JSON.stringify(text)
}

function hasControls(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}

function authorityComplaint(authority: string, host: string): string | undefined {
  const name = authority.slice(0, Math.max(authority.length - host.length - 1, 0))
  if (!user.test(name)) return 'net/url: invalid userinfo'
  const port = host.startsWith('[') ? host.slice(host.lastIndexOf(']') + 1) : portPart(host)
  if (host.startsWith('[') && !host.includes(']')) return "missing ']' in host"
  if (!/^(?::\d*)?$/.test(port)) return `invalid port ${quoted(port)} after host`
  const wrong = Array.from(host).find((character) => !hostCharacter.test(character))
  if (wrong !== undefined) return `invalid character ${quoted(wrong)} in host name`
  // In hosts Go decodes only what can't be written otherwise.
  const escape = /%(?![89a-fA-F][0-9a-fA-F]|25)/.exec(host)
  if (escape !== null) {
    return `invalid URL escape ${quoted(host.slice(escape.index, escape.index + 3))}`
  }
  return escapeComplaint(name)
}

function portPart(host: string): string {
  const colon = host.lastIndexOf(':')
  return colon < 0 ? '' : host.slice(colon)
}

function url(text: string): Url {
  const parts = parse(text)
  if (typeof parts === 'string') {
    const detail = `parse ${quoted(text)}: ${parts}`
    throw new CelError(`URL parse error during conversion from string: ${detail}`)
  }
  return new Url(text, parts)
}

function hostname({ parts }: Url): string {
  const { host } = parts
  const bracket = host.indexOf(']')
  if (host.startsWith('[') && bracket > 0) return host.slice(1, bracket)
  const port = portOf(host)
  return port === undefined ? host : host.slice(0, host.length - port.length - 1)
}

function portOf(host: string): string | undefined {
  return /:(\d*)$/.exec(host.slice(host.lastIndexOf(']') + 1))?.[1]
}

function decode(text: string): string | undefined {
  try {
    return badEscape.test(text) ? undefined : decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

function queryOf({ parts }: Url): Value {
  const found = new Map<Value, string[]>()
  for (const pair of parts.query.split('&')) {
    if (pair === '' || pair.includes(';')) continue
    const equals = pair.indexOf('=')
    const key = decode(equals < 0 ? pair : pair.slice(0, equals))
    const value = decode(equals < 0 ? '' : pair.slice(equals + 1))
    if (key === undefined || value === undefined) continue
    const values = found.get(key)
    if (values === undefined) found.set(key, [value])
    else values.push(value)
  }
  return found
}

/** As it was written; what may not stand in a path is escaped. */
function escapedPath({ parts }: Url): string {
  return parts.path.replaceAll(/[^A-Za-z0-9\-._~!$&'()*+,;=:@/[\]%]/gu, encodeURIComponent)
}

const parsing = { cost: parsingCost }

export const urls: Library = [
  fn('isURL', [string], bool, (text: string) => typeof parse(text) !== 'string', parsing),
  fn('url', [string], urlType, url, parsing),
  fn('string', [urlType], string, ({ text }: Url) => text),
  method('getScheme', [urlType], string, ({ parts }: Url) => parts.scheme),
  method('getHost', [urlType], string, ({ parts }: Url) => parts.host),
  method('getHostname', [urlType], string, hostname),
  method('getPort', [urlType], string, ({ parts }: Url) => portOf(parts.host) ?? ''),
  method('getEscapedPath', [urlType], string, escapedPath),
  method('getQuery', [urlType], mapType(string, listType(string)), queryOf),
]
