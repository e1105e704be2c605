/**
 * The one thing this room reads of a resource's content: which endpoint resource a cluster asks for.
 * Envoy keeps a changed cluster aside until its endpoints are sent again, so they have to follow it. Walks
 * the top-level fields only; decoding the whole message would cost more than sending it.
 */
const clusterField = { type: 2, edsConfig: 3, name: 1 } as const
const edsField = { serviceName: 2 } as const
const typeEds = 3

interface Field {
  readonly number: number
  /** Of a varint. */
  readonly value: number
  /** Of a length-delimited field. */
  readonly bytes: Uint8Array
}

const nothing = new Uint8Array()

/** The name of the endpoint resource; undefined for a cluster that has none or can't be read. */
export function endpointNameOf(cluster: Uint8Array): string | undefined {
  let name = ''
  let serviceName = ''
  let isEds = false
  for (const field of fieldsOf(cluster)) {
    if (field.number === clusterField.name) name = textOf(field.bytes)
    else if (field.number === clusterField.type) isEds = field.value === typeEds
    else if (field.number === clusterField.edsConfig) {
      for (const inner of fieldsOf(field.bytes)) {
        if (inner.number === edsField.serviceName) serviceName = textOf(inner.bytes)
      }
    }
  }
  if (!isEds) return undefined
  return serviceName === '' ? name : serviceName
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
}

/** Ends at the first thing that is no field. */
function* fieldsOf(bytes: Uint8Array): Generator<Field> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let factor = 1; at < bytes.length; factor *= 128) {
      const byte = bytes[at++] ?? 0
      value += (byte & 0x7f) * factor
      if (byte < 0x80) break
    }
    return value
  }
  while (at < bytes.length) {
    const tag = varint()
    const number = Math.floor(tag / 8)
    switch (tag % 8) {
      case 0:
        yield { number, value: varint(), bytes: nothing }
        break
      case 1:
        at += 8
        break
      case 2: {
        const length = varint()
        yield { number, value: 0, bytes: bytes.subarray(at, at + length) }
        at += length
        break
      }
      case 5:
        at += 4
        break
      default:
        return
    }
  }
}
