/**
 * What of the published schemas Weft's programs load: the files behind the two doors of `src/proto`, and of
 * other files only the messages that those can reach. The rest, and all options (validation rules,
 * annotations), would cost every process megabytes that it never reads.
 */
import { create } from '@bufbuild/protobuf'
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FieldOptionsSchema,
  type FileDescriptorProto,
  MessageOptionsSchema,
} from '@bufbuild/protobuf/wkt'

/** `envoy/config/core/v3/base.proto` for each `./gen/envoy/config/core/v3/base_pb.js` that a door imports. */
export function filesBehind(door: string): string[] {
  return [...door.matchAll(/'\.\/gen\/(.+)_pb\.js'/g)].map((match) => `${match[1]}.proto`)
}

interface Owner {
  readonly file: FileDescriptorProto
  /** The outermost message; nested ones come and go with it. */
  readonly message?: DescriptorProto
}

/** The files to generate, cut down to what the root files reach; Google's own stay whole. */
export function closure(
  files: readonly FileDescriptorProto[],
  roots: readonly string[],
): FileDescriptorProto[] {
  const owners = new Map<string, Owner>()
  for (const file of files) {
    for (const message of file.messageType) own(owners, file, message, `.${file.package}`, message)
    for (const type of file.enumType) owners.set(`.${file.package}.${type.name}`, { file })
  }
  const kept = new Set<DescriptorProto | EnumDescriptorProto>()
  const used = new Map<FileDescriptorProto, Set<FileDescriptorProto>>()
  const visit = (message: DescriptorProto, file: FileDescriptorProto): void => {
    if (kept.has(message)) return
    kept.add(message)
    for (const name of typesOf(message)) reach(name, file)
  }
  const reach = (name: string, from: FileDescriptorProto): void => {
    const owner = owners.get(name)
    if (owner === undefined) throw new Error(`${from.name}: no type ${name}`)
    uses(used, from).add(owner.file)
    uses(used, owner.file)
    if (owner.message !== undefined) visit(owner.message, owner.file)
  }
  for (const root of roots) {
    const file = files.find(({ name }) => name === root)
    if (file === undefined) throw new Error(`no schema has the file ${root}`)
    uses(used, file)
    for (const message of file.messageType) visit(message, file)
    for (const service of file.service) {
      for (const method of service.method) {
        reach(method.inputType, file)
        reach(method.outputType, file)
      }
    }
  }
  for (const [file, targets] of used) {
    if (wellKnown(file.name)) continue
    file.messageType = file.messageType.filter((message) => kept.has(message))
    // Imports of what is gone, and of annotations, go too.
    file.dependency = file.dependency.filter((name) =>
      [...targets].some((target) => target !== file && target.name === name),
    )
    file.publicDependency = []
    file.weakDependency = []
    file.extension = []
    delete file.options
    for (const message of file.messageType) strip(message)
    for (const type of file.enumType) stripEnum(type)
    for (const service of file.service) {
      delete service.options
      for (const method of service.method) delete method.options
    }
  }
  return files.filter((file) => used.has(file) || wellKnown(file.name))
}

/** The library ships Google's own well-known types; generating them again would make two of each. */
export function wellKnown(name: string): boolean {
  return name.startsWith('google/protobuf/')
}

function uses(
  used: Map<FileDescriptorProto, Set<FileDescriptorProto>>,
  file: FileDescriptorProto,
): Set<FileDescriptorProto> {
  let targets = used.get(file)
  if (targets === undefined) used.set(file, (targets = new Set()))
  return targets
}

function own(
  owners: Map<string, Owner>,
  file: FileDescriptorProto,
  message: DescriptorProto,
  prefix: string,
  top: DescriptorProto,
): void {
  const name = `${prefix}.${message.name}`
  owners.set(name, { file, message: top })
  for (const nested of message.nestedType) own(owners, file, nested, name, top)
  for (const type of message.enumType) owners.set(`${name}.${type.name}`, { file, message: top })
}

function typesOf(message: DescriptorProto): string[] {
  const own = message.field.map(({ typeName }) => typeName).filter((name) => name !== '')
  return [...own, ...message.nestedType.flatMap(typesOf)]
}

function strip(message: DescriptorProto): void {
  if (message.options?.mapEntry === true) {
    message.options = create(MessageOptionsSchema, { mapEntry: true })
  } else delete message.options
  message.extension = []
  for (const field of message.field) stripField(field)
  for (const oneof of message.oneofDecl) delete oneof.options
  for (const type of message.enumType) stripEnum(type)
  for (const nested of message.nestedType) strip(nested)
}

function stripField(field: FieldDescriptorProto): void {
  // Only `packed` changes what is on the wire.
  if (field.options !== undefined && Object.hasOwn(field.options, 'packed')) {
    field.options = create(FieldOptionsSchema, { packed: field.options.packed })
  } else delete field.options
}

function stripEnum(type: EnumDescriptorProto): void {
  delete type.options
  for (const value of type.value) delete value.options
}
