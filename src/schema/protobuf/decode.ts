/**
 * Objects that clients send as protobuf: kubectl since 1.32 in every typed `create`, helm for its
 * release Secrets and for delete options. They become what the same client would have sent as JSON.
 *
 * Go's encoder writes every field that is not a pointer, zero or not, and its JSON leaves the zero
 * ones out where the tag says `omitempty`; the tables know which those are. Pointers to zero
 * (`storageClassName: ""`) mean something and stay. Fields that the tables don't know are skipped.
 */
import { type ApiError, badRequest } from '../../kube/index.ts'
import {
  type Field,
  type Message,
  MessageTable,
  type ProtobufBundle,
  readProtobufBundle,
  type ScalarType,
} from './bundle.ts'
import { bodyBytesMax, depthMax, textShownMax, valuesMax } from './limits.ts'
import { WireError, WireReader, wireTypes } from './reader.ts'
import { embeddedJson } from './special.ts'

/** The media type of such bodies. */
export const kubernetesProtobufType = 'application/vnd.kubernetes.protobuf'

export interface DecodedObject {
  readonly apiVersion: string
  readonly kind: string
  readonly [field: string]: unknown
}

/** What the path of a request says; bodies may leave it out. */
export interface ExpectedKind {
  readonly apiVersion: string
  readonly kind: string
}

let committed: MessageTable | undefined

/**
 * Decodes a request body of type `application/vnd.kubernetes.protobuf`.
 * Throws an ApiError 400 that names the field when it is malformed, too large, or of a kind
 * without protobuf form; the body is not kept or changed.
 */
export function decodeKubernetesProtobuf(body: Uint8Array, expected?: ExpectedKind): DecodedObject {
  committed ??= new MessageTable(readProtobufBundle())
  return decodeWith(committed, body, expected)
}

/** The same with other tables: how the generator compares itself with upstream's samples. */
export function protobufDecoder(bundle: ProtobufBundle): (body: Uint8Array) => DecodedObject {
  const table = new MessageTable(bundle)
  return (body) => decodeWith(table, body)
}

function decodeWith(table: MessageTable, body: Uint8Array, expected?: ExpectedKind): DecodedObject {
  if (body.byteLength > bodyBytesMax) {
    throw refused(`it has ${body.byteLength} bytes, ${bodyBytesMax} at most`)
  }
  const envelope = readEnvelope(body)
  const apiVersion = envelope.apiVersion || expected?.apiVersion
  const kind = envelope.kind || expected?.kind
  if (apiVersion === undefined || kind === undefined) {
    throw refused('its envelope has no apiVersion or no kind')
  }
  const message = table.ofKind(apiVersion, kind)
  if (message === undefined) {
    throw badRequest(
      `kind "${shown(kind)}" of version "${shown(apiVersion)}" can't be read from protobuf here ` +
        '(custom resources never can); send it as application/json',
    )
  }
  const object: Record<string, unknown> = { apiVersion, kind }
  const reader = new WireReader(envelope.raw)
  const decoding = new Decoding(reader)
  try {
    decoding.fields(message, object)
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    throw refused(`${kind}: ${decoding.path}${error.message}`, error)
  }
  return object as unknown as DecodedObject
}

function refused(why: string, cause?: Error): ApiError {
  const error = badRequest(`the protobuf body can't be read: ${why}`)
  if (cause !== undefined) error.cause = cause
  return error
}

/** Texts of a client in a message: long enough to be recognised, never as long as a body. */
function shown(text: string): string {
  return text.length > textShownMax ? `${text.slice(0, textShownMax)}...` : text
}

const magic = Buffer.from('k8s\0')

interface Envelope {
  apiVersion: string
  kind: string
  raw: Uint8Array
}

/** `k8s\0` and a `runtime.Unknown`: type, the object's own bytes, and how those are encoded. */
function readEnvelope(body: Uint8Array): Envelope {
  if (body.byteLength < magic.length || magic.compare(body, 0, magic.length) !== 0) {
    throw refused('it does not start with the bytes "k8s" and 0 of Kubernetes messages')
  }
  const reader = new WireReader(body, magic.length)
  const envelope: Envelope = { apiVersion: '', kind: '', raw: new Uint8Array() }
  let encoding = ''
  try {
    while (!reader.done) {
      const { number, wireType } = reader.tag()
      if (number > 4 || wireType !== wireTypes.bytes) reader.skip(wireType)
      else if (number === 1) reader.within(() => readType(reader, envelope))
      else if (number === 2) envelope.raw = reader.bytes()
      else if (number === 3) encoding = reader.string()
      else checkContentType(reader.string())
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    throw refused(`its envelope is malformed: ${error.message}`, error)
  }
  if (encoding !== '') {
    throw refused(`its content encoding is "${shown(encoding)}"; send it unencoded`)
  }
  return envelope
}

function readType(reader: WireReader, envelope: Envelope): void {
  while (!reader.done) {
    const { number, wireType } = reader.tag()
    if (number > 2 || wireType !== wireTypes.bytes) reader.skip(wireType)
    else if (number === 1) envelope.apiVersion = reader.string()
    else envelope.kind = reader.string()
  }
}

function checkContentType(type: string): void {
  if (type !== '' && type !== kubernetesProtobufType) {
    throw new WireError(`its content is "${shown(type)}", which is sent without an envelope`)
  }
}

/** One body being read. After a failure `path` says where. */
class Decoding {
  readonly #reader: WireReader
  readonly #path: string[] = []
  #valuesLeft = valuesMax
  #depth = 0

  constructor(reader: WireReader) {
    this.#reader = reader
  }

  /** `spec.containers[0].name: `, or nothing at the root. */
  get path(): string {
    const text = this.#path.join('').replace(/^\./, '')
    return text === '' ? '' : `${text}: `
  }

  /** Reads fields up to the end of the reader into an object. */
  fields(message: Message, target: Record<string, unknown>): void {
    if (++this.#depth > depthMax) throw new WireError(`more than ${depthMax} levels of messages`)
    const reader = this.#reader
    while (!reader.done) {
      const { number, wireType } = reader.tag()
      const field = message.fields.get(number)
      if (field === undefined) {
        reader.skip(wireType)
        continue
      }
      this.#path.push(field.name === '' || field.name === '[]' ? '' : `.${field.name}`)
      this.#count()
      this.#field(field, wireType, target)
      this.#path.pop()
    }
    this.#depth--
  }

  #count(): void {
    if (--this.#valuesLeft < 0) throw new WireError(`the body has more than ${valuesMax} values`)
  }

  #field(field: Field, wireType: number, target: Record<string, unknown>): void {
    const { name, type } = field
    if (name === '' && typeof type === 'object') {
      expectType(wireType, wireTypes.bytes)
      this.#reader.within(() => this.fields(type, target))
    } else if (field.shape === 'list') {
      const list = (target[name] ??= []) as unknown[]
      this.#item(type, wireType, list)
    } else if (field.shape === 'map') {
      expectType(wireType, wireTypes.bytes)
      this.#entry(type, (target[name] ??= {}) as Record<string, unknown>)
    } else {
      const value = this.#value(type, wireType)
      if (field.omitZero && isZero(value)) delete target[name]
      else target[name] = value
    }
  }

  #item(type: ScalarType | Message, wireType: number, list: unknown[]): void {
    if (wireType === wireTypes.bytes && wireTypeOf(type) !== wireTypes.bytes) {
      // Numbers may come packed, many under one tag.
      this.#reader.within(() => {
        while (!this.#reader.done) {
          this.#count()
          list.push(this.#value(type, wireTypeOf(type)))
        }
      })
      return
    }
    this.#path.push(`[${list.length}]`)
    list.push(this.#value(type, wireType))
    this.#path.pop()
  }

  #entry(type: ScalarType | Message, map: Record<string, unknown>): void {
    const reader = this.#reader
    let key = ''
    let value: unknown
    reader.within(() => {
      while (!reader.done) {
        const { number, wireType } = reader.tag()
        if (number === 1) {
          expectType(wireType, wireTypes.bytes)
          key = reader.string()
        } else if (number === 2) {
          this.#path.push(`[${shown(key)}]`)
          value = this.#value(type, wireType)
          this.#path.pop()
        } else reader.skip(wireType)
      }
    })
    // Not by assignment: a key `__proto__` would change what the map inherits.
    Object.defineProperty(map, key, {
      value: value ?? emptyOf(type),
      enumerable: true,
      configurable: true,
      writable: true,
    })
  }

  #value(type: ScalarType | Message, wireType: number): unknown {
    expectType(wireType, wireTypeOf(type))
    if (typeof type === 'object') {
      const parts: Record<string, unknown> = {}
      this.#reader.within(() => this.fields(type, parts))
      return type.form === undefined ? parts : type.form(parts)
    }
    return readScalar(this.#reader, type)
  }
}

function readScalar(reader: WireReader, type: ScalarType): unknown {
  switch (type) {
    case 'string':
      return reader.string()
    case 'bytes':
      return reader.base64()
    case 'json':
      return embeddedJson(reader.string())
    case 'bool':
      return reader.bool()
    case 'int32':
      return reader.int32()
    case 'int64':
      return reader.int64()
    case 'double':
      return reader.double()
  }
}

function wireTypeOf(type: ScalarType | Message): number {
  if (typeof type === 'object') return wireTypes.bytes
  if (type === 'double') return wireTypes.fixed64
  return type === 'bool' || type === 'int32' || type === 'int64'
    ? wireTypes.varint
    : wireTypes.bytes
}

function expectType(found: number, wanted: number): void {
  if (found !== wanted) throw new WireError(`wire type ${found} where ${wanted} belongs`)
}

/** What a map entry without a value holds. */
function emptyOf(type: ScalarType | Message): unknown {
  if (typeof type === 'object') return type.form === undefined ? {} : type.form({})
  return type === 'string' || type === 'bytes' ? '' : null
}

function isZero(value: unknown): boolean {
  return value === '' || value === 0 || value === false || value === null
}
