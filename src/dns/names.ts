/**
 * Domain names: text form on our side (no trailing dot, `''` is the root, a dot or backslash inside
 * a label is escaped), label sequence with compression pointers on the wire.
 */
import { limits } from './limits.ts'
import { type Reader, type Writer, wireError } from './wire.ts'

/** The form to compare and index by: lower case (ASCII only, as RFC 4343 says), no trailing dot. */
export function canonicalName(name: string): string {
  const lower = name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
  return lower.endsWith('.') && !lower.endsWith('\\.') ? lower.slice(0, -1) : lower
}

/** The labels of a name in text form, unescaped to bytes. Throws on a malformed name. */
export function labelsOf(name: string): Uint8Array[] {
  if (name === '' || name === '.') return []
  const labels: Uint8Array[] = []
  let current: number[] = []
  const bytes = Buffer.from(name, 'latin1')
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] ?? 0
    if (byte === 0x2e) {
      if (current.length === 0) throw wireError(`"${name}" has an empty label`)
      labels.push(Uint8Array.from(current))
      current = []
    } else if (byte !== 0x5c) current.push(byte)
    else {
      const digits = name.slice(index + 1, index + 4)
      if (/^\d{3}$/.test(digits)) {
        if (Number(digits) > 255) throw wireError(`"${name}" has a bad escape`)
        current.push(Number(digits))
        index += 3
      } else if (index + 1 < bytes.length) current.push(bytes[++index] ?? 0)
      else throw wireError(`"${name}" ends in a backslash`)
    }
  }
  if (current.length > 0) labels.push(Uint8Array.from(current))
  return labels
}

function labelText(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) {
    if (byte === 0x2e || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`
    else if (byte > 0x20 && byte < 0x7f) text += String.fromCharCode(byte)
    else text += `\\${byte.toString().padStart(3, '0')}`
  }
  return text
}

/** Reads a name at the reader's place; pointers may only go backwards. */
export function readName(reader: Reader): string {
  const labels: string[] = []
  let total = 1
  let hops = 0
  let at = reader.offset
  let end: number | undefined
  let lowest = at
  for (;;) {
    const length = reader.byteAt(at)
    if (length === 0) {
      reader.offset = end ?? at + 1
      return labels.join('.')
    }
    if (length >= 0xc0) {
      const target = ((length & 0x3f) << 8) | reader.byteAt(at + 1)
      end ??= at + 2
      if (target >= lowest || ++hops > limits.pointerHops) throw wireError('a name points forwards')
      at = lowest = target
    } else if (length > limits.labelBytes) throw wireError('a label of an unknown kind')
    else {
      total += length + 1
      if (total > limits.nameBytes) throw wireError('a name longer than 255 bytes')
      labels.push(labelText(reader.bytesAt(at + 1, length)))
      at += length + 1
    }
  }
}

/**
 * Writes a name; `seen` maps what was written before to its offset and is extended.
 * Absent `seen` writes it in full (names inside SRV data are not to be compressed).
 */
export function writeName(writer: Writer, name: string, seen?: Map<string, number>): void {
  const labels = labelsOf(name)
  let total = 1
  for (const label of labels) {
    if (label.length > limits.labelBytes) throw wireError(`"${name}" has a label over 63 bytes`)
    total += label.length + 1
  }
  if (total > limits.nameBytes) throw wireError(`"${name}" is longer than 255 bytes`)
  for (let index = 0; index < labels.length; index++) {
    if (seen !== undefined) {
      const rest = labels.slice(index).map(labelText).join('.')
      const known = seen.get(rest)
      if (known !== undefined) {
        writer.u16(0xc000 | known)
        return
      }
      if (writer.length <= limits.compressionOffset) seen.set(rest, writer.length)
    }
    const label = labels[index] ?? new Uint8Array()
    writer.u8(label.length)
    writer.bytes(label)
  }
  writer.u8(0)
}
