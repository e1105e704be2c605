/**
 * Writes src/proto/gen: JavaScript and type declarations for the messages of proto/*.binpb that the doors of
 * src/proto export or reach. The launcher runs it when the result is missing or older than its sources.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponseSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt'
import { withAdditions } from './proto-additions.ts'
import { closure, filesBehind, wellKnown } from './proto-closure.ts'

const root = resolve(import.meta.dirname, '..')
const target = join(root, 'src/proto/gen')
const staging = `${target}.${process.pid}.tmp`

const all = ['envoy', 'istio'].flatMap(
  (name) =>
    fromBinary(FileDescriptorSetSchema, readFileSync(join(root, `proto/${name}.binpb`))).file,
)
const roots = ['index', 'envoy'].flatMap((door) =>
  filesBehind(readFileSync(join(root, `src/proto/${door}.ts`), 'utf8')),
)
const schemas = withAdditions([...new Map(all.map((file) => [file.name, file])).values()])
const files = closure(schemas, roots)

const request = create(CodeGeneratorRequestSchema, {
  parameter: 'target=js+dts,import_extension=js',
  protoFile: files,
  fileToGenerate: files.map(({ name }) => name).filter((name) => !wellKnown(name)),
})
const output = execFileSync(
  process.execPath,
  [join(root, 'node_modules/@bufbuild/protoc-gen-es/bin/protoc-gen-es')],
  { input: toBinary(CodeGeneratorRequestSchema, request), maxBuffer: 256 * 1024 * 1024 },
)
const response = fromBinary(CodeGeneratorResponseSchema, output)
if (response.error !== '') throw new Error(response.error)

rmSync(staging, { recursive: true, force: true })
for (const file of response.file) {
  const path = join(staging, file.name)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, file.content)
}
writeFileSync(join(staging, '.stamp'), `${response.file.length} files\n`)
rmSync(target, { recursive: true, force: true })
try {
  renameSync(staging, target)
} catch (error) {
  // Another process has done the same in this moment: its result is as good.
  if (!existsSync(join(target, '.stamp'))) throw error
  rmSync(staging, { recursive: true })
}
