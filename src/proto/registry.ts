/**
 * All of Envoy's messages, from the descriptor set: for those who take JSON of whichever of them. Generated
 * code for all would cost every process memory that only these need.
 */
import { createFileRegistry, type FileRegistry, fromBinary } from '@bufbuild/protobuf'
import { type DescriptorProto, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'

export type { FileRegistry } from '@bufbuild/protobuf'

/** @param sets descriptor sets, as `proto/*.binpb` has them */
export function readRegistry(...sets: readonly Uint8Array[]): FileRegistry {
  return createFileRegistry(
    ...sets.map((bytes) => {
      const files = fromBinary(FileDescriptorSetSchema, bytes)
      for (const file of files.file) nameFields(file.messageType)
      return createFileRegistry(files)
    }),
  )
}

/** The sets were made without the JSON names, which follow from the fields' names. */
function nameFields(messages: readonly DescriptorProto[]): void {
  for (const { field: fields, nestedType } of messages) {
    for (const field of fields) {
      if (field.jsonName !== '') continue
      field.jsonName = field.name.replace(/_+(.?)/g, (_, next: string) => next.toUpperCase())
    }
    nameFields(nestedType)
  }
}
