/**
 * Cuts the metadata out of a stored object without parsing it. The store writes JSON without blanks and with
 * kind, apiVersion and metadata first, so a scan for the closing brace is enough.
 */

export interface MetadataSpan {
  /** The opening brace, and the place after the closing one. */
  readonly start: number
  readonly end: number
  /** `"managedFields":[...]` with the comma before it; equal places when there is none. */
  readonly managedStart: number
  readonly managedEnd: number
}

const metadataKey = '"metadata":{'
const managedKey = '"managedFields":['
const codes = { quote: 0x22, backslash: 0x5c, comma: 0x2c, openList: 0x5b, closeList: 0x5d }
const braces = { open: 0x7b, close: 0x7d }

/** Places are those of the bytes: read as Latin-1, each byte is one character, and strings scan fastest. */
export function metadataSpan(bytes: Buffer): MetadataSpan {
  const text = bytes.toString('latin1')
  const start = text.indexOf(metadataKey) + metadataKey.length - 1
  let managedStart = 0
  let managedEnd = 0
  let depth = 0
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === codes.quote) {
      if (depth === 1 && managedStart === 0 && text.startsWith(managedKey, at)) managedStart = at
      at = endOfString(text, at)
    } else if (code === braces.open || code === codes.openList) depth++
    else if (code === braces.close || code === codes.closeList) {
      depth--
      if (depth === 1 && managedStart > 0 && managedEnd === 0) managedEnd = at + 1
      if (depth > 0) continue
      // A list of managers that comes first has its comma behind it.
      if (text.charCodeAt(managedStart - 1) === codes.comma) managedStart--
      else if (text.charCodeAt(managedEnd) === codes.comma) managedEnd++
      return { start, end: at + 1, managedStart, managedEnd }
    }
  }
  throw new Error('the stored object has no whole metadata')
}

/** The closing quote of the string that opens at `at`. */
function endOfString(text: string, at: number): number {
  let end = at + 1
  for (; end < text.length; end++) {
    const code = text.charCodeAt(end)
    if (code === codes.quote) return end
    if (code === codes.backslash) end++
  }
  return end
}
