/** Durations as Go programs write them in flags and variables: `24h`, `1h30m`, `500ms`. */

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Milliseconds, or undefined when the text is no duration above zero. */
export function parseGoDuration(text: string): number | undefined {
  let total = 0
  let length = 0
  for (const [part, digits = '', unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) {
    total += Number(digits) * (units[unit] ?? 0)
    length += part.length
  }
  return length === text.length && total > 0 ? total : undefined
}
