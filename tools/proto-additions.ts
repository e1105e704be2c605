/**
 * Fields of Envoy 1.40 which the pinned schemas are too old for, as that Envoy's own descriptors have
 * them: without most of them Envoy warns of a deprecated field; one is a user's switch.
 */
import { create } from '@bufbuild/protobuf'
import {
  DescriptorProtoSchema,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt'

const scopeFile = 'envoy/type/v3/scope.proto'
const types = FieldDescriptorProto_Type

/** The files with what they lack; a field that is there already stays as it is. */
export function withAdditions(files: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const stats = find(files, 'envoy/extensions/access_loggers/stats/v3/stats.proto')
  add(stats, ['Config'], field('stats_scope', 6, types.MESSAGE, '.envoy.type.v3.Scope'))
  if (!stats.dependency.includes(scopeFile)) stats.dependency.push(scopeFile)
  const manager = find(
    files,
    'envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto',
  )
  const tracing = ['HttpConnectionManager', 'Tracing']
  add(manager, tracing, field('no_context_propagation', 13, types.BOOL))
  const otel = find(files, 'envoy/extensions/access_loggers/open_telemetry/v3/logs_service.proto')
  const service = '.envoy.config.core.v3.GrpcService'
  add(otel, ['OpenTelemetryAccessLogConfig'], field('grpc_service', 9, types.MESSAGE, service))
  add(otel, ['OpenTelemetryAccessLogConfig'], field('log_name', 10, types.STRING))
  const serviceFile = 'envoy/config/core/v3/grpc_service.proto'
  if (!otel.dependency.includes(serviceFile)) otel.dependency.push(serviceFile)
  return files.some(({ name }) => name === scopeFile) ? [...files] : [scope(), ...files]
}

function scope(): FileDescriptorProto {
  return create(FileDescriptorProtoSchema, {
    name: scopeFile,
    package: 'envoy.type.v3',
    syntax: 'proto3',
    messageType: [
      create(DescriptorProtoSchema, {
        name: 'Scope',
        field: [
          field('enable_eviction', 4, types.BOOL),
          field('prefix', 5, types.STRING),
          field('sharing_name', 6, types.STRING),
        ],
      }),
    ],
  })
}

function field(
  name: string,
  number: number,
  type: FieldDescriptorProto_Type,
  typeName = '',
): FieldDescriptorProto {
  return create(FieldDescriptorProtoSchema, {
    name,
    jsonName: name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
    number,
    type,
    label: FieldDescriptorProto_Label.OPTIONAL,
    ...(typeName === '' ? {} : { typeName }),
  })
}

function find(files: readonly FileDescriptorProto[], name: string): FileDescriptorProto {
  const file = files.find((candidate) => candidate.name === name)
  if (file === undefined) throw new Error(`no schema has the file ${name}`)
  return file
}

function add(
  file: FileDescriptorProto,
  path: readonly string[],
  added: FieldDescriptorProto,
): void {
  let messages = file.messageType
  let message = messages[0]
  for (const name of path) {
    message = messages.find((candidate) => candidate.name === name)
    if (message === undefined) throw new Error(`${file.name}: no message ${path.join('.')}`)
    messages = message.nestedType
  }
  if (message?.field.some(({ name }) => name === added.name) === false) message.field.push(added)
}
