/**
 * The step from client-side to server-side apply. `kubectl apply` without `--server-side` keeps what it
 * applied in an annotation; when kubectl applies the same object server-side, what the annotation says is
 * its own and no conflict, and the annotation follows, so that the way back stays open.
 */
import type { SchemaNode } from '../schema/index.ts'
import { type FieldSet, nothing } from './field-set.ts'
import { compare, fieldsOf } from './typed-values.ts'
import { isMap, type Json } from './values.ts'

const annotation = 'kubectl.kubernetes.io/last-applied-configuration'
const onlyManager = 'kubectl'

/** Kubernetes' limit for all annotations of an object. */
const annotationsMaxBytes = 256 * 1024

interface Applying {
  readonly live: Json | undefined
  readonly config: Json
  readonly manager: string
  readonly schema: SchemaNode | undefined
  readonly apiVersion: string
}

/** The fields which kubectl may take without being forced: last applied by it, and still as it left them. */
export function takeoverFields({ manager, live, schema, apiVersion }: Applying): FieldSet {
  if (manager !== onlyManager || live === undefined) return nothing
  const last = parsed(annotationsOf(live)?.[annotation])
  if (last === undefined || last['apiVersion'] !== apiVersion) return nothing
  const { added, modified, removed } = compare(schema, last, live)
  return fieldsOf(schema, last).difference(added.union(modified).union(removed))
}

/** The applied object, with the annotation renewed if it has one. */
export function withLastApplied(object: Json, { manager, config }: Applying): Json {
  const annotations = annotationsOf(object)
  if (manager !== onlyManager || annotations?.[annotation] === undefined) return object
  const next: Json = { ...annotations, [annotation]: lastAppliedText(config) }
  if (sizeOf(next) > annotationsMaxBytes) delete next[annotation]
  return { ...object, metadata: { ...(object['metadata'] as Json), annotations: next } }
}

/** The configuration as the annotation has it: without itself, keys sorted, a line feed at the end. */
function lastAppliedText(config: Json): string {
  const own = annotationsOf(config)
  if (own === undefined) return `${JSON.stringify(sorted(config))}\n`
  const { [annotation]: _itself, ...annotations } = own
  const metadata = { ...(config['metadata'] as Json), annotations }
  return `${JSON.stringify(sorted({ ...config, metadata }))}\n`
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (!isMap(value)) return value
  const keys = Object.keys(value).sort()
  return Object.fromEntries(keys.map((key) => [key, sorted(value[key])]))
}

function annotationsOf(object: Json): Json | undefined {
  const { metadata } = object
  const annotations = isMap(metadata) ? metadata['annotations'] : undefined
  return isMap(annotations) ? annotations : undefined
}

function parsed(text: unknown): Json | undefined {
  if (typeof text !== 'string') return undefined
  try {
    const value: unknown = JSON.parse(text)
    return isMap(value) ? value : undefined
  } catch {
    // Anyone may write the annotation; then nothing was applied by it.
    return undefined
  }
}

function sizeOf(annotations: Json): number {
  return Object.entries(annotations).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(String(value)),
    0,
  )
}
