/** Sets of completion indexes, written as ranges: `0,2-4,7`. */

/** Reads ranges; what is no range is left out. Indexes from `limit` on are, too. */
export function parseIndexes(text: string | undefined, limit: number): Set<number> {
  const found = new Set<number>()
  for (const part of (text ?? '').split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim())
    if (match === null) continue
    const last = Math.min(Number(match[2] ?? match[1]), limit - 1)
    for (let index = Number(match[1]); index <= last; index++) found.add(index)
  }
  return found
}

export function formatIndexes(indexes: ReadonlySet<number>): string {
  const sorted = [...indexes].toSorted((a, b) => a - b)
  const parts: string[] = []
  for (let start = 0; start < sorted.length; ) {
    let end = start
    while (sorted[end + 1] === (sorted[end] ?? 0) + 1) end++
    const [first, last] = [sorted[start], sorted[end]]
    // Two neighbours are two indexes, three are a range.
    if (first === last) parts.push(`${first}`)
    else parts.push(end === start + 1 ? `${first},${last}` : `${first}-${last}`)
    start = end + 1
  }
  return parts.join(',')
}
