/** Host names as Istio's kinds write them: short, in full, or with a leading wildcard. */

export function isWildcard(host: string): boolean {
  return host.startsWith('*')
}

/** A name without dots is a service of the object's own namespace. */
export function resolveHost(host: string, namespace: string, domain: string): string {
  return host.includes('.') || isWildcard(host) ? host : `${host}.${namespace}.svc.${domain}`
}

/** Whether `host` (exact or a wildcard itself) lies within `pattern`. Case does not matter. */
export function hostMatches(pattern: string, host: string): boolean {
  const [outer, inner] = [pattern.toLowerCase(), host.toLowerCase()]
  if (!isWildcard(outer)) return outer === inner
  const suffix = outer.slice(1)
  const bare = isWildcard(inner) ? inner.slice(1) : inner
  return bare.length >= suffix.length && bare.endsWith(suffix)
}

/** The keys under which an index of hosts has them: themselves, or `*` for all wildcards. */
export function hostKeys(hosts: readonly string[], namespace: string, domain: string): string[] {
  const keys = new Set<string>()
  for (const host of hosts) {
    keys.add(isWildcard(host) ? '*' : resolveHost(host, namespace, domain).toLowerCase())
  }
  return [...keys]
}
