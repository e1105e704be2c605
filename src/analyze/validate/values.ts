/** Checks of single values: what Istio says when a name, an address, a port or a duration is bad. */
import { isIP } from 'node:net'
import { RE2JS } from 're2js'
import type { Complaint } from './findings.ts'
import { limits } from './limits.ts'

/** Upper case is let through: Istio always has. */
const label = /^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$/
const wildcardLabel = /^(?:\*|(?:\*-?)?[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)$/

export const quote = (text: string): string => JSON.stringify(text)

export function isDnsLabel(text: string): boolean {
  return text.length <= limits.labelLength && label.test(text)
}

function isWildcardLabel(text: string): boolean {
  return text.length <= limits.labelLength && wildcardLabel.test(text)
}

export function isIpAddress(text: string): boolean {
  return isIP(text) !== 0
}

function domainLength(domain: string): Complaint {
  if (domain === '') return 'empty domain name not allowed'
  if (domain.length <= limits.domainLength) return undefined
  return `domain name ${quote(domain)} too long (max ${limits.domainLength})`
}

function dnsLabels(domain: string): Complaint {
  const parts = domain.split('.')
  const top = parts.at(-1) ?? ''
  if (/^[-+]?\d+$/.test(top)) {
    return `domain name ${quote(domain)} invalid (top level domain ${quote(top)} cannot be all-numeric)`
  }
  for (const [index, part] of parts.entries()) {
    // `istio.io.` ends in an empty label.
    if (index === parts.length - 1 && part === '') return undefined
    if (!isDnsLabel(part))
      return `domain name ${quote(domain)} invalid (label ${quote(part)} invalid)`
  }
  return undefined
}

export function fqdn(domain: string): Complaint {
  return domainLength(domain) ?? dnsLabels(domain)
}

/** A name whose first label may be, or begin with, a wildcard. */
export function wildcardDomain(domain: string): Complaint {
  const tooLong = domainLength(domain)
  if (tooLong !== undefined) return tooLong
  const dot = domain.indexOf('.')
  const first = dot < 0 ? domain : domain.slice(0, dot)
  if (!isWildcardLabel(first)) {
    return `domain name ${quote(domain)} invalid (label ${quote(first)} invalid)`
  }
  return dot < 0 ? undefined : dnsLabels(domain.slice(dot + 1))
}

/** East-west gateways route by names like `outbound_.80_._.reviews.bookinfo.svc.cluster.local`. */
export function gatewayDomain(domain: string, forSni: boolean): Complaint {
  if (forSni && domain.startsWith('outbound_.')) {
    return /^outbound_\.\d+_\./.test(domain)
      ? undefined
      : `domain name ${quote(domain)} invalid (label "outbound_" invalid)`
  }
  return wildcardDomain(domain)
}

export function partialWildcard(host: string): Complaint {
  const partial = host.includes('*') && host.length !== 1 && !host.startsWith('*.')
  return partial ? `partial wildcard ${quote(host)} not allowed` : undefined
}

export function port(number: number): Complaint {
  if (Number.isInteger(number) && number >= 1 && number <= 65_535) return undefined
  return `port number ${number} must be in the range 1..65535`
}

export function portName(name: string): Complaint {
  return isDnsLabel(name) ? undefined : `invalid port name: ${name}`
}

export function ipAddress(text: string): Complaint {
  return isIpAddress(text) ? undefined : `${text} is not a valid IP`
}

export function isCidr(text: string): boolean {
  const [address = '', bits = '', ...rest] = text.split('/')
  const family = isIP(address)
  return (
    family !== 0 &&
    rest.length === 0 &&
    /^\d{1,3}$/.test(bits) &&
    Number(bits) <= (family === 4 ? 32 : 128)
  )
}

export function subnet(text: string): Complaint {
  if (text.split('/').length !== 2) return ipAddress(text)
  return isCidr(text) ? undefined : `${text} is not a valid CIDR block`
}

/** The path of a Unix socket, after `unix://`; names in the abstract namespace begin with `@`. */
export function unixPath(path: string): Complaint {
  if (path === '') return 'unix address must not be empty'
  if (path.startsWith('@')) return undefined
  return path.startsWith('/') && !path.endsWith('/')
    ? undefined
    : `${path} is not an absolute path to a file`
}

const protocols: Readonly<Record<string, 'http' | 'tls' | 'tcp' | 'udp'>> = {
  http: 'http',
  http2: 'http',
  grpc: 'http',
  'grpc-web': 'http',
  http_proxy: 'http',
  hbone: 'http',
  https: 'tls',
  tls: 'tls',
  tcp: 'tcp',
  mongo: 'tcp',
  redis: 'tcp',
  mysql: 'tcp',
  udp: 'udp',
}

/** Undefined for one that nobody knows, and for none. */
export function protocolClass(name: string): 'http' | 'tls' | 'tcp' | 'udp' | undefined {
  const key = name.toLowerCase()
  return Object.hasOwn(protocols, key) ? protocols[key] : undefined
}

/** None is fine: the protocol is found out then. */
export function protocol(name: string): Complaint {
  return name === '' || protocolClass(name) !== undefined
    ? undefined
    : `unsupported protocol: ${name}`
}

const nanoseconds: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
}

/** As Go writes them: `1h30m`, `0.5s`, `-3ms`; undefined when it is none. */
export function durationNanoseconds(text: string): number | undefined {
  const sign = text.startsWith('-') ? -1 : 1
  const body = text.replace(/^[-+]/, '')
  if (body === '0') return 0
  let total = 0
  let length = 0
  for (const [part, digits = '', unit = ''] of body.matchAll(
    /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g,
  )) {
    total += Number(digits) * (nanoseconds[unit] ?? 0)
    length += part.length
  }
  return body !== '' && length === body.length ? sign * Math.round(total) : undefined
}

export function duration(text: string): Complaint {
  const value = durationNanoseconds(text)
  if (value === undefined) return `invalid duration ${quote(text)}`
  if (value < 1e6) return 'duration must be greater than 1ms'
  return value % 1e6 === 0 ? undefined : 'only durations to ms precision are supported'
}

export function percentage(value: number): Complaint {
  const tiny = value > 0 && value < 0.0001
  if (value >= 0 && value <= 100 && !tiny) return undefined
  return `percentage ${value} is neither 0.0, nor in range [0.0001, 100.0]`
}

export function wholePercent(value: number): Complaint {
  return value >= 0 && value <= 100 ? undefined : `percentage ${value} is not in range 0..100`
}

/** An expression that Envoy's engine takes. */
export function regex(expression: string, where: string): Complaint {
  if (expression.length > limits.regexLength) {
    return `${quote(where)}: regex is too large, max length allowed is ${limits.regexLength}`
  }
  const problem = regexProblem(expression)
  if (problem === undefined) return undefined
  return `${quote(where)}: ${problem}; Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)`
}

export function regexProblem(expression: string): Complaint {
  try {
    RE2JS.compile(expression)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

const labelKey =
  /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/
const labelValue = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/

/** Every complaint about labels, key before value. */
export function labelComplaints(labels: Iterable<readonly [string, string]>): string[] {
  const found: string[] = []
  for (const [key, value] of labels) {
    if (!labelKey.test(key)) found.push(`invalid tag key: ${quote(key)}`)
    if (value.length > limits.labelLength || !labelValue.test(value)) {
      found.push(`invalid tag value: ${quote(value)}`)
    }
  }
  return found
}

/** Several complaints as one text, as Istio prints them. */
export function joined(messages: readonly string[]): string {
  const [first = ''] = messages
  if (messages.length < 2) return first
  return `${messages.length} errors occurred:\n${messages.map((text) => `\t* ${text}`).join('\n')}`
}
