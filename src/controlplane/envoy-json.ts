/**
 * Any Envoy message as JSON and back, for people and for istioctl. The descriptor set of all of Envoy is read when
 * it is first needed: generated code for all of it would cost every process memory that only a question needs.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  create,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  toBinary,
  toJson,
} from '@bufbuild/protobuf'
import { MeshError } from '../base/index.ts'
import { type FileRegistry, readRegistry } from '../proto/index.ts'

const folder = join(import.meta.dirname, '../../proto')
let registry: FileRegistry | undefined

/** All of Envoy's and Istio's messages. */
export function envoyTypes(): FileRegistry {
  registry ??= readRegistry(
    ...['envoy', 'istio'].map((name) => readFileSync(join(folder, `${name}.binpb`))),
  )
  return registry
}

function messageOf(typeUrl: string): DescMessage | undefined {
  return envoyTypes().getMessage(typeUrl.slice(typeUrl.lastIndexOf('/') + 1))
}

/** With `@type`, as protobuf's JSON form of an Any has it; what can't be read is left in base64. */
export function anyToJson(typeUrl: string, bytes: Uint8Array): JsonObject {
  const schema = messageOf(typeUrl)
  try {
    if (schema !== undefined) {
      const json = toJson(schema, fromBinary(schema, bytes), { registry: envoyTypes() })
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
  return toBinary(schema, fromJson(schema, json, { registry: envoyTypes() }))
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
