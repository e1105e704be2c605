/**
 * Names of virtual hosts: exact, `*.example.com` (longest first), `example.*` (longest first), `*`. The
 * wildcard stands for at least one character.
 */
import type { Place } from '../errors.ts'

export interface Domains<T> {
  readonly exact: Map<string, T>
  /** By length, longest first. */
  readonly suffixes: Wildcards<T>
  readonly prefixes: Wildcards<T>
  any: T | undefined
}

/** Texts of one length share a table, so that a lookup costs one slice a length. */
type Wildcards<T> = { lengths: number[]; readonly byLength: Map<number, Map<string, T>> }

export function emptyDomains<T>(): Domains<T> {
  const wildcards = (): Wildcards<T> => ({ lengths: [], byLength: new Map() })
  return { exact: new Map(), suffixes: wildcards(), prefixes: wildcards(), any: undefined }
}

export function addDomain<T>(
  domains: Domains<T>,
  domain: string,
  { value, place }: { readonly value: T; readonly place: Place },
): void {
  const name = domain.toLowerCase()
  if (name === '') place.refuse('an empty name')
  else if (name === '*') {
    if (domains.any !== undefined) place.refuse("'*' is there twice")
    domains.any = value
  } else if (name.slice(1, -1).includes('*') || (name.startsWith('*') && name.endsWith('*'))) {
    place.refuse(`'${domain}': a wildcard can only begin or end a name`)
  } else if (name.startsWith('*')) {
    addWildcard(domains.suffixes, name.slice(1), { value, place })
  } else if (name.endsWith('*')) {
    addWildcard(domains.prefixes, name.slice(0, -1), { value, place })
  } else if (domains.exact.has(name)) place.refuse(`'${domain}' is there twice`)
  else domains.exact.set(name, value)
}

function addWildcard<T>(
  { lengths, byLength }: Wildcards<T>,
  text: string,
  { value, place }: { readonly value: T; readonly place: Place },
): void {
  let texts = byLength.get(text.length)
  if (texts === undefined) {
    byLength.set(text.length, (texts = new Map()))
    lengths.push(text.length)
    lengths.sort((left, right) => right - left)
  }
  if (texts.has(text)) place.refuse(`'${text}' with a wildcard is there twice`)
  else texts.set(text, value)
}

export function findHost<T>(
  domains: Domains<T>,
  authority: string,
  ignorePort: boolean,
): T | undefined {
  const { exact, suffixes, prefixes, any } = domains
  if (exact.size === 0 && suffixes.lengths.length + prefixes.lengths.length === 0) return any
  const plain = ignorePort ? withoutPort(authority) : authority
  const name = plain.toLowerCase()
  const found = exact.get(name)
  if (found !== undefined) return found
  for (const length of suffixes.lengths) {
    if (length >= name.length) continue
    const host = suffixes.byLength.get(length)?.get(name.slice(name.length - length))
    if (host !== undefined) return host
  }
  for (const length of prefixes.lengths) {
    if (length >= name.length) continue
    const host = prefixes.byLength.get(length)?.get(name.slice(0, length))
    if (host !== undefined) return host
  }
  return any
}

/** Brackets of an IPv6 address stay. */
export function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(':')
  return colon >= 0 && colon > authority.lastIndexOf(']') ? authority.slice(0, colon) : authority
}
