/**
 * The committed facts about Kubernetes' protobuf messages: their form on disk, and the tables which
 * the decoder reads. A message is compiled when it is first met, since most never are.
 */
import { readFileSync } from 'node:fs'
import { type Parts, type SpecialForm, specialForms } from './special.ts'

/** `json` is a byte field whose content is JSON and stands in the object as such. */
export type ScalarType = 'string' | 'bytes' | 'json' | 'bool' | 'int32' | 'int64' | 'double'

/**
 * `[number, JSON name, type, shape]`. The type is a scalar or the name of a message. The name is
 * empty when the fields of the message belong to its parent, and `[]` when its list is all there
 * is to the message. Shapes: `l` list, `m` map from texts, `o` left out of JSON when zero.
 */
export type FieldFacts = readonly [
  number: number,
  name: string,
  type: string,
  shape?: 'l' | 'm' | 'o',
]

export interface ProtobufBundle {
  readonly provenance: string
  /** `v1/Pod` → the name of its message. */
  readonly kinds: Record<string, string>
  /** Kinds that exist in every group and version (`DeleteOptions`). */
  readonly metaKinds: Record<string, string>
  readonly messages: Record<string, readonly FieldFacts[]>
}

export interface Field {
  readonly name: string
  readonly type: ScalarType | Message
  readonly shape: 'single' | 'list' | 'map'
  readonly omitZero: boolean
}

export interface Message {
  /** The last two segments of the package and the name, such as `core.v1.Pod`. */
  readonly name: string
  readonly fields: ReadonlyMap<number, Field>
  /** What makes the JSON value from the fields, where that is not an object of them. */
  readonly form: SpecialForm | undefined
}

const scalars: ReadonlySet<string> = new Set<ScalarType>([
  'string',
  'bytes',
  'json',
  'bool',
  'int32',
  'int64',
  'double',
])

function isScalar(type: string): type is ScalarType {
  return scalars.has(type)
}

/** Finds the message of a kind. */
export class MessageTable {
  readonly #bundle: ProtobufBundle
  readonly #messages = new Map<string, Message>()

  constructor(bundle: ProtobufBundle) {
    this.#bundle = bundle
  }

  /** The message of a kind, or undefined when the kind is not served. */
  ofKind(apiVersion: string, kind: string): Message | undefined {
    const { kinds, metaKinds } = this.#bundle
    const key = `${apiVersion}/${kind}`
    if (Object.hasOwn(kinds, key)) return this.#message(String(kinds[key]))
    return Object.hasOwn(metaKinds, kind) ? this.#message(String(metaKinds[kind])) : undefined
  }

  #message(name: string): Message {
    const known = this.#messages.get(name)
    if (known !== undefined) return known
    const fields = new Map<number, Field>()
    const facts = this.#bundle.messages[name] ?? []
    const isList = facts[0]?.[1] === '[]'
    const form = isList ? (parts: Parts): unknown => parts['[]'] ?? [] : specialForms.get(name)
    const message: Message = { name, fields, form }
    // Before its fields: JSONSchemaProps contains itself.
    this.#messages.set(name, message)
    for (const [number, field, type, shape] of facts) {
      fields.set(number, {
        name: field,
        type: isScalar(type) ? type : this.#message(type),
        shape: shape === 'l' ? 'list' : shape === 'm' ? 'map' : 'single',
        omitZero: shape === 'o',
      })
    }
    return message
  }
}

/** Reads the committed bundle. */
export function readProtobufBundle(): ProtobufBundle {
  const file = new URL('./kubernetes-protobuf.bundle.json', import.meta.url)
  return JSON.parse(readFileSync(file, 'utf8')) as ProtobufBundle
}
