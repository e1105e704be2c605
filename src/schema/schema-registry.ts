/**
 * The schemas of everything the API serves: built-in kinds from the bundle, custom ones from CRDs.
 * Kinds are made ready at their first use, so that starting costs one parse of the bundle.
 */
import { type GroupVersionKind, gvkKey } from '../kube/index.ts'
import { Linker, readKubernetesBundle } from './bundle.ts'
import { asMap, asText, isMap, type Json, mapsOf } from './json.ts'
import { fromOpenApi } from './openapi-node.ts'
import type { KindSchema, SchemaNode } from './types.ts'

const objectMeta = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'

export class SchemaRegistry {
  readonly #definitions: Record<string, SchemaNode>
  readonly #names: Record<string, string>
  readonly #linker: Linker
  readonly #ready = new Map<string, KindSchema>()
  /** Custom kinds: how to make the schema, by `group/version/Kind`. */
  readonly #custom = new Map<string, () => KindSchema>()
  readonly #keysOfCrd = new Map<string, string[]>()

  /** @param bundle as `readKubernetesBundle` returns it; the registry owns it from here on. */
  constructor(bundle: { kinds: Record<string, string>; definitions: Record<string, SchemaNode> }) {
    this.#definitions = bundle.definitions
    this.#names = bundle.kinds
    this.#linker = new Linker(bundle.definitions)
  }

  /** The schema of a kind, or undefined when neither a built-in kind nor a CRD has that name. */
  get(gvk: GroupVersionKind): KindSchema | undefined {
    const key = gvkKey(gvk)
    const ready = this.#ready.get(key)
    if (ready !== undefined) return ready
    const made = this.#custom.get(key)?.() ?? this.#builtin(key, gvk)
    if (made !== undefined) this.#ready.set(key, made)
    return made
  }

  /** A definition that isn't a kind, by its OpenAPI name; for documents and for `metadata`. */
  definition(name: string): SchemaNode | undefined {
    const node = this.#definitions[name]
    return node === undefined ? undefined : this.#linker.link(node)
  }

  /** Takes in all versions of a CustomResourceDefinition, in place of what it said before. */
  addCrd(crd: unknown): void {
    const object = asMap(crd) ?? {}
    const spec = asMap(object['spec']) ?? {}
    const name = asText(asMap(object['metadata'])?.['name']) ?? ''
    const group = asText(spec['group']) ?? ''
    const kind = asText(asMap(spec['names'])?.['kind']) ?? ''
    this.removeCrd(name)
    const keys: string[] = []
    for (const version of mapsOf(spec['versions'])) {
      const gvk = { group, version: asText(version['name']) ?? '', kind }
      const key = gvkKey(gvk)
      const preserve = spec['preserveUnknownFields'] === true
      this.#custom.set(key, () => ({
        gvk,
        node: this.#customNode(asMap(version['schema'])?.['openAPIV3Schema'], preserve),
        custom: true,
      }))
      keys.push(key)
    }
    this.#keysOfCrd.set(name, keys)
  }

  /** Forgets a CustomResourceDefinition by its name (`foos.example.com`). */
  removeCrd(name: string): void {
    for (const key of this.#keysOfCrd.get(name) ?? []) {
      this.#custom.delete(key)
      this.#ready.delete(key)
    }
    this.#keysOfCrd.delete(name)
  }

  #builtin(key: string, gvk: GroupVersionKind): KindSchema | undefined {
    const name = this.#names[key]
    const node = name === undefined ? undefined : this.definition(name)
    if (node === undefined) return undefined
    // Callers ask with richer objects; what is kept, and written into documents, is the three names.
    const { group, version, kind } = gvk
    return { gvk: { group, version, kind }, node, custom: false }
  }

  #customNode(schema: unknown, preserve: boolean): SchemaNode {
    const node = fromOpenApi(schema, { descriptions: true })
    if (!isMap(schema) || preserve) node.preserveUnknown = true
    node.type ??= 'object'
    const metadata = this.definition(objectMeta)
    node.properties = {
      ...node.properties,
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      // A CRD may bound names and generateName, nothing else.
      metadata: mergeMetadata(metadata ?? { type: 'object' }, node.properties?.['metadata']),
    }
    return node
  }
}

function mergeMetadata(standard: SchemaNode, own: SchemaNode | undefined): SchemaNode {
  if (own?.properties === undefined) return standard
  const properties = { ...standard.properties }
  for (const [name, node] of Object.entries(own.properties)) {
    properties[name] = { ...properties[name], ...node }
  }
  return { ...standard, properties }
}

/** A registry with the built-in kinds and no CRD. */
export function loadBuiltinSchemas(): SchemaRegistry {
  return new SchemaRegistry(readKubernetesBundle())
}

export type CrdObject = Json & {
  apiVersion: string
  kind: string
  metadata: { name: string; labels?: Record<string, string>; annotations?: Record<string, string> }
}
