/**
 * Identities in policies, `<trust domain>/ns/<namespace>/sa/<account>`: what stands for the own trust
 * domain (its aliases, and `cluster.local` as everyone writes it) is spelled out in all its names, and
 * trust domains alone become the beginning of identities.
 */
import type { AuthorizationSource, Snapshot } from '../../model/index.ts'

/** Principals as they may be presented: those of our trust domain under every name it has. */
export function expandPrincipals(
  snapshot: Snapshot,
  values: readonly string[] | undefined,
): string[] {
  const { trustDomain, trustDomainAliases } = snapshot.mesh
  const names = [trustDomain, ...trustDomainAliases]
  const expanded = (values ?? []).flatMap((value) => {
    const slash = value.indexOf('/')
    const own = value.slice(0, Math.max(slash, 0))
    if (own !== 'cluster.local' && !names.includes(own)) return [value]
    return names.map((name) => `${name}${value.slice(slash)}`)
  })
  return [...new Set(expanded)]
}

/** Trust domains as patterns of principals; undefined when one can't be written as such (`*x`). */
export function trustDomainPrincipals(values: readonly string[] | undefined): string[] | undefined {
  const patterns: string[] = []
  for (const value of values ?? []) {
    if (value !== '*' && value.startsWith('*')) return undefined
    patterns.push(value.endsWith('*') ? value : `${value}/*`)
  }
  return patterns
}

/**
 * The principals that a source admits when it names trust domains as well: both must hold, but the
 * list is one of alternatives, so what they have in common is worked out here.
 */
export function admittedPrincipals(
  snapshot: Snapshot,
  source: AuthorizationSource,
): string[] | undefined {
  const principals = expandPrincipals(snapshot, source.principals)
  const domains = trustDomainPrincipals(source.trustDomains)
  if (domains === undefined) return undefined
  if (domains.length === 0) return principals
  if (principals.length === 0) return domains
  const common: string[] = []
  for (const principal of principals) {
    if (principal === '*') common.push(...domains)
    else if (principal.startsWith('*') || !principal.includes('/')) return undefined
    else if (domains.some((domain) => covers(domain, principal))) common.push(principal)
  }
  // Nothing in common is a source that admits nobody; an empty list would admit everybody.
  return common.length === 0 ? undefined : [...new Set(common)]
}

function covers(domain: string, principal: string): boolean {
  return domain === '*' || principal.startsWith(domain.slice(0, -1))
}
