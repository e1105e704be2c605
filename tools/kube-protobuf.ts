/**
 * Makes src/schema/protobuf/kubernetes-protobuf.bundle.json: field numbers, JSON names and types of
 * the protobuf messages that the served kinds reach. For developers, by `sh tools/kube-protobuf.sh`,
 * which also holds the decoder against upstream's own samples; the result is committed.
 */
import { writeFileSync } from 'node:fs'
import type { ProtobufBundle } from '../src/schema/protobuf/bundle.ts'
import { builtinKinds } from './kube-bundle-kinds.ts'
import { messageOfKind, ProtobufSource } from './kube-protobuf-source.ts'

/** Kinds that clients send to every group version; they are the same message everywhere. */
const metaKinds = [
  'CreateOptions',
  'DeleteOptions',
  'GetOptions',
  'ListOptions',
  'PatchOptions',
  'Status',
  'UpdateOptions',
]

const folders = process.argv.slice(2)
if (folders.length === 0) throw new Error('usage: kube-protobuf.ts MODULE_FOLDER...')
const source = new ProtobufSource(folders)

const kinds = Object.fromEntries(
  Object.entries(builtinKinds).flatMap(([apiVersion, names]) =>
    names.map((kind) => [`${apiVersion}/${kind}`, messageOfKind(apiVersion, kind)]),
  ),
)
const meta = Object.fromEntries(metaKinds.map((kind) => [kind, `meta.v1.${kind}`]))
const versions = folders.map((folder) => /k8s\.io\/.*$/.exec(folder)?.[0] ?? folder)
const bundle: ProtobufBundle = {
  provenance: `Go modules ${versions.join(', ')} (Apache-2.0), facts only`,
  kinds,
  metaKinds: meta,
  messages: source.reachable([...Object.values(kinds), ...Object.values(meta)]),
}

/** One kind or message a line, so that a version bump can be reviewed. */
const rows = (map: object): string =>
  Object.entries(map)
    .map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`)
    .join(',\n')
const text = `{"provenance":${JSON.stringify(bundle.provenance)},
"kinds":{\n${rows(bundle.kinds)}\n},
"metaKinds":{\n${rows(bundle.metaKinds)}\n},
"messages":{\n${rows(bundle.messages)}\n}}
`
const name = 'kubernetes-protobuf.bundle.json'
writeFileSync(new URL(`../src/schema/protobuf/${name}`, import.meta.url), text)
console.log(`${name}: ${Object.keys(bundle.messages).length} messages, ${text.length} bytes`)
