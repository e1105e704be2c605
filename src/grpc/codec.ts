/**
 * Between protobuf-es and the wire. A message may also be given as bytes, in one piece or in several: then
 * they go out as they are, which is how encoded resources pass through a push without being encoded again.
 */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf'
import { fromBinary, toBinary } from '../proto/index.ts'

/** What both sides need of a generated method descriptor (`Service.method.name`). */
export interface Method<I extends DescMessage, O extends DescMessage> {
  readonly name: string
  readonly parent: { readonly typeName: string }
  readonly input: I
  readonly output: O
}

export type Encodable<D extends DescMessage> = MessageShape<D> | Uint8Array | readonly Uint8Array[]

export function methodPath(method: Method<DescMessage, DescMessage>): string {
  return `/${method.parent.typeName}/${method.name}`
}

/** For the server: what is in pieces stays so. */
export function pieces<D extends DescMessage>(
  schema: D,
): (message: Encodable<D>) => readonly Uint8Array[] {
  return (message) => {
    if (isPieces(message)) return message
    return [message instanceof Uint8Array ? message : toBinary(schema, message)]
  }
}

/** For grpc-js, which wants one buffer. */
export function serializer<D extends DescMessage>(schema: D): (message: Encodable<D>) => Buffer {
  const split = pieces(schema)
  return (message) => {
    const [only, ...more] = split(message)
    if (only === undefined) return Buffer.alloc(0)
    if (more.length > 0) return Buffer.concat([only, ...more])
    return Buffer.from(only.buffer, only.byteOffset, only.byteLength)
  }
}

function isPieces(message: unknown): message is readonly Uint8Array[] {
  return Array.isArray(message)
}

/** Byte fields of the result are views into the received buffer: copy what is kept. */
export function deserializer<D extends DescMessage>(schema: D): (bytes: Buffer) => MessageShape<D> {
  return (bytes) => fromBinary(schema, bytes)
}
