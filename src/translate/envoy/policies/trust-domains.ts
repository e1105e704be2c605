/**
 * Trust domain aliases: a mesh that moves from one trust domain to another accepts the identities of
 * both, so that a policy written for either goes on holding.
 */

/** The name that stands for the local trust domain, whatever it is called. */
const localPointer = 'cluster.local'

/**
 * The principals with all spellings of those in a trust domain of ours.
 * @param trustDomains the mesh's own and its aliases
 */
export function principalsWithAliases(
  principals: readonly string[],
  trustDomains: readonly string[],
): string[] {
  return [...new Set(principals.flatMap((principal) => spellings(principal, trustDomains)))]
}

function spellings(principal: string, trustDomains: readonly string[]): string[] {
  const parts = principal.split('/')
  const [domain = '', ...rest] = parts
  // No whole identity, or one of any trust domain: nothing to replace.
  if (parts.length !== 5 || domain === '*') return [principal]
  const ours = domain === localPointer || trustDomains.some((own) => covers(domain, own))
  if (!ours) return [principal]
  return trustDomains.map((own) =>
    domain.startsWith('*') && covers(domain, own) ? principal : [own, ...rest].join('/'),
  )
}

function covers(pattern: string, domain: string): boolean {
  return pattern === domain || (pattern.startsWith('*') && domain.endsWith(pattern.slice(1)))
}

/** Trust domains with the aliases of those that are ours. */
export function trustDomainsWithAliases(
  values: readonly string[],
  trustDomains: readonly string[],
): string[] {
  return [
    ...new Set(values.flatMap((value) => (trustDomains.includes(value) ? trustDomains : [value]))),
  ]
}
