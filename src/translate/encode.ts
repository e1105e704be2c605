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
  readonly belongsTo?: readonly string[]
}

export function encodeResource<S extends DescMessage>(
  options: EncodeOptions<S>,
): TranslatedResource {
  const { name, typeUrl, schema, message, aliases = [], belongsTo = [] } = options
  const bytes = toBinary(schema, message)
  return {
    name,
    typeUrl,
    version: contentVersion(bytes),
    bytes,
    ...(aliases.length === 0 ? {} : { aliases }),
    ...(belongsTo.length === 0 ? {} : { belongsTo }),
  }
}
