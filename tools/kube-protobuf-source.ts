/**
 * Reads what Kubernetes' protobuf messages look like in JSON. Neither source is enough alone: the
 * `generated.proto` files know the types, and only the tags of the Go structs know the JSON names,
 * which fields are embedded, and which are left out when they are zero.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { FieldFacts, ProtobufBundle } from '../src/schema/protobuf/bundle.ts'
import { specialForms } from '../src/schema/protobuf/special.ts'

export interface ProtoField {
  readonly number: number
  readonly name: string
  readonly type: string
  readonly shape: 'l' | 'm' | undefined
}

export interface GoField {
  readonly json: string
  readonly inline: boolean
  /** Left out of JSON when zero, so that zero and absent are the same to a Go server. */
  readonly omitZero: boolean
}

interface SourceMessage {
  readonly fields: readonly ProtoField[]
  /** `list` for a Go list under a name of its own, a name for a struct that is another message's. */
  readonly go: ReadonlyMap<number, GoField> | string | undefined
}

/** `k8s.io.apimachinery.pkg.apis.meta.v1` → `meta.v1`; packages without a version keep one segment. */
function shortPackage(name: string): string {
  const parts = name.split('.')
  return parts.slice(/^v\d/.test(parts.at(-1) ?? '') ? -2 : -1).join('.')
}

function shortType(type: string, own: string): string {
  if (!type.startsWith('.')) return /^[A-Z]/.test(type) ? `${own}.${type}` : type
  const dot = type.lastIndexOf('.')
  return `${shortPackage(type.slice(1, dot))}.${type.slice(dot + 1)}`
}

/** The messages of one `generated.proto`, by short name. */
export function readProto(text: string): Map<string, ProtoField[]> {
  const bare = text.replace(/^\s*\/\/.*$/gm, '')
  const own = shortPackage(/^package ([\w.]+);/m.exec(bare)?.[1] ?? '')
  const messages = new Map<string, ProtoField[]>()
  for (const [, name = '', body = ''] of bare.matchAll(/^message (\w+) \{(.*?)^\}/gms)) {
    const fields: ProtoField[] = []
    for (const line of body.split('\n').filter((text) => text.trim() !== '')) {
      const match =
        /^\s*(?:(optional|repeated|required) ([\w.]+)|map<string, ([\w.]+)>) (\w+) = (\d+);$/.exec(
          line,
        )
      if (match === null) throw new Error(`${own}.${name}: can't read the line ${line}`)
      const [, label, single, values, field = '', number] = match
      fields.push({
        number: Number(number),
        name: field,
        type: shortType(values ?? single ?? '', own),
        shape: values !== undefined ? 'm' : label === 'repeated' ? 'l' : undefined,
      })
    }
    messages.set(`${own}.${name}`, fields)
  }
  return messages
}

/** The tagged fields of all structs in Go source, by struct and field number. */
export function readStructs(text: string): Map<string, Map<number, GoField>> {
  const structs = new Map<string, Map<number, GoField>>()
  for (const [, name = '', body = ''] of text.matchAll(/^type (\w+) struct \{(.*?)^\}/gms)) {
    const fields = new Map<number, GoField>()
    for (const [, type = '', tags = ''] of body.matchAll(
      /^\s+(?:\w+\s+)?([*[\]\w.]+)\s+`(.*)`/gm,
    )) {
      const number = /protobuf:"\w+,(\d+)/.exec(tags)?.[1]
      const json = /json:"([^"]*)"/.exec(tags)?.[1]
      if (number === undefined || json === undefined) continue
      const [field = '', ...options] = json.split(',')
      fields.set(Number(number), {
        json: field,
        inline: options.includes('inline') || field === '',
        omitZero:
          !type.startsWith('*') && options.some((option) => /^omit(empty|zero)$/.test(option)),
      })
    }
    structs.set(name, fields)
  }
  return structs
}

function specialField({ number, name, type, shape }: ProtoField): FieldFacts {
  // `raw` of RawExtension and its like carries JSON, not bytes that JSON would show as base64.
  const facts: FieldFacts = [number, name, type === 'bytes' ? 'json' : type]
  return shape === undefined ? facts : [number, name, type, shape]
}

/** Every message of some module folders. */
export class ProtobufSource {
  readonly #messages = new Map<string, SourceMessage>()

  constructor(folders: readonly string[]) {
    for (const folder of folders) {
      for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        if (file.endsWith('generated.proto')) this.#readPackage(join(folder, file))
      }
    }
  }

  #readPackage(file: string): void {
    const folder = dirname(file)
    const sources = readdirSync(folder).filter(
      (name) => name.endsWith('.go') && !/_test\.go$|^zz_|^generated|swagger_doc/.test(name),
    )
    const go = sources.map((name) => readFileSync(join(folder, name), 'utf8')).join('\n')
    const structs = readStructs(go)
    for (const [name, fields] of readProto(readFileSync(file, 'utf8'))) {
      const [group = '', version = '', own = version] = name.split('.')
      const [, list, alias] =
        new RegExp(`^type ${own} (?:(\\[\\]\\w+)|(v\\w+\\.\\w+))$`, 'm').exec(go) ?? []
      const renamed = alias === undefined ? undefined : `${group}.${alias}`
      this.#messages.set(name, {
        fields,
        go: structs.get(own) ?? (list === undefined ? renamed : 'list'),
      })
    }
  }

  #tags(name: string): ReadonlyMap<number, GoField> | 'list' {
    const go = this.#messages.get(name)?.go
    if (go === undefined) throw new Error(`${name}: there is no Go struct of that name`)
    return typeof go !== 'string' || go === 'list' ? go : this.#tags(go)
  }

  has(message: string): boolean {
    return this.#messages.has(message)
  }

  /** The messages that some messages reach, themselves included, in the order of their names. */
  reachable(roots: readonly string[]): ProtobufBundle['messages'] {
    const found: Record<string, readonly FieldFacts[]> = {}
    const pending = [...roots]
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (found[name] !== undefined) continue
      const facts = this.#facts(name)
      found[name] = facts
      pending.push(...facts.map(([, , type]) => type).filter((type) => type.includes('.')))
    }
    return Object.fromEntries(Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  #facts(name: string): FieldFacts[] {
    const message = this.#messages.get(name)
    if (message === undefined) throw new Error(`no generated.proto has ${name}`)
    const special = specialForms.has(name)
    const go = special || message.fields.length === 0 ? 'list' : this.#tags(name)
    return message.fields.map((field) => {
      // Their JSON is made in code, from fields under their own names.
      if (special) return specialField(field)
      if (go === 'list') return [field.number, '[]', field.type, 'l']
      const tags = go.get(field.number)
      if (tags === undefined)
        throw new Error(`${name}.${field.name}: the Go struct has no such tag`)
      const start: [number, string, string] = [
        field.number,
        tags.inline ? '' : tags.json,
        field.type,
      ]
      // A struct is never zero to Go's encoder, only what JSON shows as one value.
      const single = !field.type.includes('.') || specialForms.has(field.type)
      const shape = field.shape ?? (single && tags.omitZero ? 'o' : undefined)
      return shape === undefined ? start : [...start, shape]
    })
  }
}

/** `apps/v1` and `Deployment` → `apps.v1.Deployment`. */
export function messageOfKind(apiVersion: string, kind: string): string {
  const [group = '', version] = apiVersion.split('/')
  return version === undefined
    ? `core.${group}.${kind}`
    : `${group.split('.')[0]}.${version}.${kind}`
}
