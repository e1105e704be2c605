/** Message → resource. The only place where the translation serializes. */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf'
import { toBinary } from '../proto/index.ts'
import { contentVersion } from './hash.ts'
import type { TranslatedResource } from './types.ts'

export interface EncodeOptions<S extends DescMessage> {
  readonly name: string
  readonly typeUrl: string
  readonly schema: S
  readonly message: MessageShape<S>
  readonly aliases?: readonly string[]
}

export function encodeResource<S extends DescMessage>(
  options: EncodeOptions<S>,
): TranslatedResource {
  const { name, typeUrl, schema, message, aliases } = options
  const bytes = toBinary(schema, message)
  const resource = { name, typeUrl, version: contentVersion(bytes), bytes }
  return aliases === undefined || aliases.length === 0 ? resource : { ...resource, aliases }
}
