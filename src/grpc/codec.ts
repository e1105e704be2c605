/**
 * Between protobuf-es and grpc-js. A message may also be given as bytes: then they go out as they
 * are, which is how encoded resources pass through a push without being encoded again.
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

export type Encodable<D extends DescMessage> = MessageShape<D> | Uint8Array

export function methodPath(method: Method<DescMessage, DescMessage>): string {
  return `/${method.parent.typeName}/${method.name}`
}

export function serializer<D extends DescMessage>(schema: D): (message: Encodable<D>) => Buffer {
  return (message) => {
    const bytes = message instanceof Uint8Array ? message : toBinary(schema, message)
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
}

/** Byte fields of the result are views into the received buffer: copy what is kept. */
export function deserializer<D extends DescMessage>(schema: D): (bytes: Buffer) => MessageShape<D> {
  return (bytes) => fromBinary(schema, bytes)
}
