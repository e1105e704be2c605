/** Host names in Istio's configuration: short names, wildcards, which of two is more specific. */

/** A name without a dot is a Service of the object's own namespace. */
export function expandHost(host: string, namespace: string, domain: string): string {
  if (host === '' || host.includes('.') || host.startsWith('*')) return host
  return `${host}.${namespace}.svc.${domain}`
}

export function isWildcard(host: string): boolean {
  return host.startsWith('*')
}

/** Whether every name that `host` stands for is one that `pattern` stands for. */
export function covers(pattern: string, host: string): boolean {
  if (pattern === host || pattern === '*') return true
  if (!pattern.startsWith('*')) return false
  const suffix = pattern.slice(1)
  const own = host.startsWith('*') ? host.slice(1) : host
  return own.length >= suffix.length && own.endsWith(suffix) && own !== suffix.slice(1)
}

/** Whether some name is covered by both. */
export function overlaps(left: string, right: string): boolean {
  return covers(left, right) || covers(right, left)
}

/** Most specific first: exact names before wildcards, longer wildcards before shorter ones. */
export function compareSpecificity(left: string, right: string): number {
  if (isWildcard(left) !== isWildcard(right)) return isWildcard(left) ? 1 : -1
  if (left.length !== right.length) return right.length - left.length
  return left < right ? -1 : left > right ? 1 : 0
}

/** The most specific pattern that covers the host; undefined when none does. */
export function mostSpecific(patterns: Iterable<string>, host: string): string | undefined {
  let best: string | undefined
  for (const pattern of patterns) {
    if (!covers(pattern, host)) continue
    if (best === undefined || compareSpecificity(pattern, best) < 0) best = pattern
  }
  return best
}

/** The more specific of each pair that overlaps, each once. */
export function intersectHosts(left: readonly string[], right: readonly string[]): string[] {
  const found = new Set<string>()
  for (const one of left) {
    for (const two of right) {
      if (covers(one, two)) found.add(two)
      else if (covers(two, one)) found.add(one)
    }
  }
  return [...found]
}
