/** For tests: writes Kubernetes protobuf by field number, without the tables that the decoder uses. */

export type FieldValue = Uint8Array | string | number | bigint | boolean

/** `[field number, value]`; numbers become varints, texts and bytes are delimited. */
export type Written = readonly [number: number, value: FieldValue]

function varint(value: bigint): number[] {
  const bytes: number[] = []
  let left = BigInt.asUintN(64, value)
  while (left > 0x7fn) {
    bytes.push(Number(left & 0x7fn) | 0x80)
    left >>= 7n
  }
  bytes.push(Number(left))
  return bytes
}

/** Raw bytes of a tag. */
export function tag(number: number, wireType: number): Uint8Array {
  return Uint8Array.from(varint((BigInt(number) << 3n) | BigInt(wireType)))
}

/** A message of fields. */
export function message(...fields: readonly Written[]): Uint8Array {
  return Buffer.concat(
    fields.flatMap(([number, value]) => {
      if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
        return [tag(number, 0), Uint8Array.from(varint(BigInt(value)))]
      }
      const bytes = typeof value === 'string' ? Buffer.from(value) : value
      return [tag(number, 2), Uint8Array.from(varint(BigInt(bytes.length))), bytes]
    }),
  )
}

/** A 64-bit float field. */
export function double(number: number, value: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return Buffer.concat([tag(number, 1), bytes])
}

/** A whole body: the magic bytes and the envelope round an object. */
export function envelope(apiVersion: string, kind: string, object: Uint8Array): Uint8Array {
  const type = message([1, apiVersion], [2, kind])
  // Go always writes both content fields, empty.
  return Buffer.concat([Buffer.from('k8s\0'), message([1, type], [2, object], [3, ''], [4, ''])])
}
