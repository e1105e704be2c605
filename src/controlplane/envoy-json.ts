/**
 * Any Envoy message as JSON and back, for people and for istioctl. The descriptor set of all of Envoy is read when
 * it is first needed: generated code for all of it would cost every process memory that only a question needs.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  create,
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  toBinary,
  toJson,
} from '@bufbuild/protobuf'
import { type DescriptorProto, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { MeshError } from '../base/index.ts'

const folder = join(import.meta.dirname, '../../proto')
let registry: FileRegistry | undefined

function types(): FileRegistry {
  registry ??= createFileRegistry(
    ...['envoy', 'istio'].map((name) => {
      const bytes = readFileSync(join(folder, `${name}.binpb`))
      const files = fromBinary(FileDescriptorSetSchema, bytes)
      for (const file of files.file) nameFields(file.messageType)
      return createFileRegistry(files)
    }),
  )
  return registry
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

function messageOf(typeUrl: string): DescMessage | undefined {
  return types().getMessage(typeUrl.slice(typeUrl.lastIndexOf('/') + 1))
}

/** With `@type`, as protobuf's JSON form of an Any has it; what can't be read is left in base64. */
export function anyToJson(typeUrl: string, bytes: Uint8Array): JsonObject {
  const schema = messageOf(typeUrl)
  try {
    if (schema !== undefined) {
      const json = toJson(schema, fromBinary(schema, bytes), { registry: types() })
      if (isObject(json)) return { '@type': typeUrl, ...json }
    }
  } catch {
    // An extension in it is unknown here.
  }
  return { '@type': typeUrl, value: Buffer.from(bytes).toString('base64') }
}

/** A message of Envoy's API from its JSON form. */
export function jsonToBytes(typeName: string, json: JsonValue): Uint8Array {
  const schema = required(typeName)
  return toBinary(schema, fromJson(schema, json, { registry: types() }))
}

/** A message that holds other messages as they are: no extension in them needs to be known. */
export function encodeMessage(typeName: string, fields: Record<string, unknown>): Uint8Array {
  const schema = required(typeName)
  return toBinary(schema, create(schema, fields))
}

function required(typeName: string): DescMessage {
  const schema = messageOf(typeName)
  if (schema === undefined) {
    throw new MeshError('CONTROLPLANE_DESCRIPTORS', `Envoy's descriptors have no ${typeName}`)
  }
  return schema
}

function isObject(json: JsonValue): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json)
}
