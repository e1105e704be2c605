/** How host names of configuration relate: `*.example.com` covers `www.example.com` and `*.a.example.com`. */

function suffixOf(wildcard: string): string {
  return wildcard.slice(1)
}

/** Whether some name belongs to both. */
export function hostCovers(left: string, right: string): boolean {
  if (left.startsWith('*')) {
    return right.startsWith('*')
      ? suffixOf(right).endsWith(suffixOf(left)) || suffixOf(left).endsWith(suffixOf(right))
      : right.endsWith(suffixOf(left))
  }
  return right.startsWith('*') ? left.endsWith(suffixOf(right)) : left === right
}

/** Whether every name of the first belongs to the second. */
export function isSubsetOf(name: string, host: string): boolean {
  if (!host.startsWith('*')) return name === host
  return name.startsWith('*')
    ? suffixOf(name).endsWith(suffixOf(host))
    : name.endsWith(suffixOf(host))
}
