/**
 * Protobuf's merge: what the patch sets wins, messages are merged field by field, lists are appended (or
 * replaced), maps get the patch's entries, and one member of a oneof takes the place of another.
 */
import type { DescMessage, FileRegistry, Message } from '@bufbuild/protobuf'
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect'
import { type Any, AnySchema, anyPack, anyUnpack } from '@bufbuild/protobuf/wkt'

/** Messages that are one value: half of a duration is no duration. */
const values: ReadonlySet<string> = new Set(
  [
    'Duration',
    'Timestamp',
    'FieldMask',
    'Value',
    'ListValue',
    'DoubleValue',
    'FloatValue',
    'Int64Value',
    'UInt64Value',
    'Int32Value',
    'UInt32Value',
    'BoolValue',
    'StringValue',
    'BytesValue',
  ].map((name) => `google.protobuf.${name}`),
)

export interface Merging {
  readonly registry: FileRegistry
  /** Lists that the patch has replace those of the target, except inside typed configurations. */
  readonly replaceLists: boolean
}

/** Changes the target. Both are of the same type. */
export function mergeMessage(
  desc: DescMessage,
  target: Message,
  patch: Message,
  merging: Merging,
): void {
  mergeInto(reflect(desc, target), reflect(desc, patch), merging)
}

function mergeInto(target: ReflectMessage, patch: ReflectMessage, merging: Merging): void {
  for (const field of patch.desc.fields) {
    if (!patch.isSet(field)) continue
    switch (field.fieldKind) {
      case 'list': {
        const list = target.get(field)
        if (merging.replaceLists) list.clear()
        for (const item of patch.get(field)) list.add(item)
        break
      }
      case 'map': {
        const map = target.get(field)
        for (const [key, value] of patch.get(field)) map.set(key, value)
        break
      }
      case 'message': {
        const given = patch.get(field)
        const isWhole = values.has(field.message.typeName) || !target.isSet(field)
        target.set(field, isWhole ? given : merged(target.get(field), given, merging))
        break
      }
      default:
        target.set(field, patch.get(field))
    }
  }
}

function merged(target: ReflectMessage, patch: ReflectMessage, merging: Merging): ReflectMessage {
  if (patch.desc.typeName === AnySchema.typeName) {
    // The descriptor says that both are Anys.
    const [one, two] = [target.message as unknown as Any, patch.message as unknown as Any]
    return reflect(patch.desc, mergedAny(one, two, merging) as unknown as Message)
  }
  mergeInto(target, patch, merging)
  return target
}

/** Two configurations of one extension become one; that of another extension takes its place. */
export function mergedAny(target: Any, patch: Any, { registry }: Merging): Any {
  const desc = registry.getMessage(patch.typeUrl.slice(patch.typeUrl.lastIndexOf('/') + 1))
  if (desc === undefined || patch.typeUrl !== target.typeUrl) return patch
  const [one, two] = [anyUnpack(target, desc), anyUnpack(patch, desc)]
  if (one === undefined || two === undefined) return patch
  mergeMessage(desc, one, two, { registry, replaceLists: false })
  return anyPack(desc, one)
}
