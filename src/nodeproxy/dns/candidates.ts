/**
 * Which names a question may mean (reference: ambient, DNS proxy). A pod's resolver appends its
 * search domains before it asks for a short name as such; the mesh answers the first question
 * whatever was appended, which saves the client up to three questions that end in NXDOMAIN.
 */

export interface Candidate {
  /** Lower case, without the final dot. */
  readonly name: string
  /** Whether a search domain was taken off: then the answer begins with a CNAME. */
  readonly stripped: boolean
}

/**
 * Names to look for, best first, each once.
 * @param name canonical: lower case, without the final dot
 * @param domain of the cluster, such as `cluster.local`
 */
export function candidateNames(name: string, namespace: string, domain: string): Candidate[] {
  const found = new Map<string, Candidate>()
  const add = (candidate: string, stripped: boolean): void => {
    if (!found.has(candidate)) found.set(candidate, { name: candidate, stripped })
  }
  add(name, false)
  for (const expanded of expansions(name, namespace, domain)) add(expanded, false)
  for (const search of [`${namespace}.svc.${domain}`, `svc.${domain}`, domain]) {
    if (!name.endsWith(`.${search}`)) continue
    const rest = name.slice(0, -search.length - 1)
    add(rest, true)
    for (const expanded of expansions(rest, namespace, domain)) add(expanded, true)
  }
  return [...found.values()]
}

/** The name itself, then wildcards that cover it, the narrowest first. */
export function* matchingHosts(
  name: string,
): IterableIterator<{ host: string; wildcard: boolean }> {
  yield { host: name, wildcard: false }
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
    yield { host: `*${name.slice(dot)}`, wildcard: true }
  }
}

/** What a shortened Kubernetes name stands for, by its number of labels. */
function expansions(name: string, namespace: string, domain: string): string[] {
  const labels = name.split('.')
  const isService = labels.at(-1) === 'svc'
  switch (labels.length) {
    case 1:
      return [`${name}.${namespace}.svc.${domain}`]
    case 2:
      return [`${name}.svc.${domain}`, `${name}.${namespace}.svc.${domain}`]
    case 3:
      return isService ? [`${name}.${domain}`, `${name}.svc.${domain}`] : [`${name}.svc.${domain}`]
    case 4:
      return isService ? [`${name}.${domain}`] : []
    default:
      return []
  }
}
