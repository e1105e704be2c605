/**
 * Rules for names, label keys and values. Every validator returns the complaints (none means valid)
 * in Kubernetes' words, because users search the web for them.
 */
import {
  dnsLabelMaxLength,
  dnsSubdomainMaxLength,
  generatedNameBaseMaxLength,
  labelPartMaxLength,
  portNameMaxLength,
} from './limits.ts'

interface Rule {
  readonly text: string
  readonly pattern: string
  readonly examples: readonly string[]
  readonly maxLength?: number
}

const dnsLabelPattern = '[a-z0-9]([-a-z0-9]*[a-z0-9])?'

const rules = {
  dnsLabel: {
    text: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
    pattern: dnsLabelPattern,
    examples: ['my-name', '123-abc'],
    maxLength: dnsLabelMaxLength,
  },
  dnsSubdomain: {
    text: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
    pattern: `${dnsLabelPattern}(\\.${dnsLabelPattern})*`,
    examples: ['example.com'],
    maxLength: dnsSubdomainMaxLength,
  },
  dns1035Label: {
    text: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
    pattern: '[a-z]([-a-z0-9]*[a-z0-9])?',
    examples: ['my-name', 'abc-123'],
    maxLength: dnsLabelMaxLength,
  },
  labelName: {
    text: "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    pattern: '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]',
    examples: ['MyName', 'my.name', '123-abc'],
    maxLength: labelPartMaxLength,
  },
  labelValue: {
    text: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    pattern: '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?',
    examples: ['MyValue', 'my_value', '12345'],
    maxLength: labelPartMaxLength,
  },
  configKey: {
    text: "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    pattern: '[-._a-zA-Z0-9]+',
    examples: ['key.name', 'KEY_NAME', 'key-name'],
    maxLength: dnsSubdomainMaxLength,
  },
} as const satisfies Record<string, Rule>

const compiled = new Map<Rule, RegExp>()

function check(rule: Rule, value: string): string[] {
  let expression = compiled.get(rule)
  if (expression === undefined) {
    expression = new RegExp(`^(?:${rule.pattern})$`)
    compiled.set(rule, expression)
  }
  const complaints: string[] = []
  if (rule.maxLength !== undefined && value.length > rule.maxLength) {
    complaints.push(`must be no more than ${rule.maxLength} bytes`)
  }
  if (!expression.test(value)) {
    const examples = rule.examples.map((example) => `'${example}', `).join(' or ')
    complaints.push(`${rule.text} (e.g. ${examples}regex used for validation is '${rule.pattern}')`)
  }
  return complaints
}

/** One segment of a host name (RFC 1123): names of namespaces, containers, ports of workloads. */
export function validateDnsLabel(value: string): string[] {
  return check(rules.dnsLabel, value)
}

/** A lower-case host name: the rule for the names of most objects. */
export function validateDnsSubdomain(value: string): string[] {
  return check(rules.dnsSubdomain, value)
}

/** A label that starts with a letter (RFC 1035): names of Services. */
export function validateDns1035Label(value: string): string[] {
  return check(rules.dns1035Label, value)
}

/** A label or annotation key: `name` or `prefix/name`. */
export function validateQualifiedName(value: string): string[] {
  const parts = value.split('/')
  if (parts.length > 2) {
    return [
      `a qualified name ${rules.labelName.text} (e.g. ${rules.labelName.examples
        .map((example) => `'${example}', `)
        .join(
          ' or ',
        )}regex used for validation is '${rules.labelName.pattern}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ]
  }
  const complaints: string[] = []
  const [first = '', second] = parts
  if (second !== undefined) {
    if (first === '') complaints.push('prefix part must be non-empty')
    else complaints.push(...check(rules.dnsSubdomain, first).map((text) => `prefix part ${text}`))
  }
  const name = second ?? first
  if (name === '') complaints.push('name part must be non-empty')
  complaints.push(...check(rules.labelName, name).map((text) => `name part ${text}`))
  return complaints
}

/** The value of a label; empty is valid. */
export function validateLabelValue(value: string): string[] {
  return check(rules.labelValue, value)
}

/** A key of a ConfigMap or Secret: also a file name, so it can't be `.` or begin with `..`. */
export function validateConfigKey(value: string): string[] {
  const complaints = check(rules.configKey, value)
  if (value === '.') complaints.push("must not be '.'")
  else if (value === '..') complaints.push("must not be '..'")
  else if (value.startsWith('..')) complaints.push("must not start with '..'")
  return complaints
}

/** A name that need only fit in one segment of a URL: names of RBAC objects. */
export function validatePathSegment(value: string): string[] {
  if (value === '.' || value === '..') return [`may not be '${value}'`]
  return ['/', '%']
    .filter((part) => value.includes(part))
    .map((part) => `may not contain '${part}'`)
}

/** A port name (RFC 6335): at most 15 of a-z, 0-9 and `-`, with a letter. */
export function validatePortName(value: string): string[] {
  const complaints: string[] = []
  if (value.length > portNameMaxLength) {
    complaints.push(`must be no more than ${portNameMaxLength} characters`)
  }
  if (!/^[-a-z0-9]+$/.test(value)) {
    complaints.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)')
  }
  if (!/[a-z]/.test(value)) complaints.push('must contain at least one letter (a-z)')
  if (value.includes('--')) complaints.push('must not contain consecutive hyphens')
  if (value.startsWith('-') || value.endsWith('-')) {
    complaints.push('must not begin or end with a hyphen')
  }
  return complaints
}

/** The name of an environment variable: printable ASCII without `=`. */
export function validateEnvName(value: string): string[] {
  if (value.length > 0 && /^[ -<>-~]+$/.test(value)) return []
  return [
    `a valid environment variable name must consist only of printable ASCII characters other than '='`,
  ]
}

/** A port number. */
export function validatePortNumber(value: number): string[] {
  if (Number.isInteger(value) && value >= 1 && value <= 65535) return []
  return ['must be between 1 and 65535, inclusive']
}

/** Without vowels and look-alikes, so that no word appears by chance (Kubernetes' alphabet). */
const suffixAlphabet = 'bcdfghjklmnpqrstvwxz2456789'

/** Five characters for a generated name; `random` gives integers below its argument. */
export function nameSuffix(random: (below: number) => number, length = 5): string {
  let suffix = ''
  for (let i = 0; i < length; i++) suffix += suffixAlphabet[random(suffixAlphabet.length)] ?? ''
  return suffix
}

/** A name from `metadata.generateName`: the base, cut to fit, and a random suffix. */
export function generatedName(base: string, random: (below: number) => number): string {
  return base.slice(0, generatedNameBaseMaxLength) + nameSuffix(random)
}

/** Encodes a hash in the same alphabet: `pod-template-hash`, `controller-revision-hash`. */
export function safeEncode(text: string): string {
  let out = ''
  for (let i = 0; i < text.length; i++) {
    out += suffixAlphabet[text.charCodeAt(i) % suffixAlphabet.length] ?? ''
  }
  return out
}
