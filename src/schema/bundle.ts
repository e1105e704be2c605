/** The committed bundles: their form on disk, reading them, and putting shared parts in place. */
import { readFileSync } from 'node:fs'
import type { SchemaNode } from './types.ts'

export interface KubernetesBundle {
  readonly provenance: string
  /** `group/version/Kind` → the name of its definition. */
  readonly kinds: Record<string, string>
  readonly definitions: Record<string, SchemaNode>
}

export interface CrdVersionFacts {
  readonly name: string
  readonly served: boolean
  readonly storage: boolean
  readonly deprecated: boolean
  readonly columns: readonly Record<string, unknown>[]
  readonly subresources: Record<string, unknown>
  schema: SchemaNode
}

export interface CrdFacts {
  /** Where it comes from; the Gateway API has two channels with the same names. */
  readonly source: 'istio' | 'standard' | 'experimental'
  readonly labels: Record<string, string>
  readonly annotations: Record<string, string>
  readonly group: string
  readonly scope: 'Namespaced' | 'Cluster'
  readonly names: {
    readonly plural: string
    readonly singular?: string
    readonly kind: string
    readonly listKind?: string
    readonly shortNames?: string[]
    readonly categories?: string[]
  }
  readonly versions: readonly CrdVersionFacts[]
}

export interface CrdBundle {
  readonly provenance: string
  readonly definitions: Record<string, SchemaNode>
  readonly crds: readonly CrdFacts[]
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`./${name}.bundle.json`, import.meta.url), 'utf8'))
}

/** Reads the schemas of the built-in kinds. */
export function readKubernetesBundle(): KubernetesBundle {
  const bundle = read('kubernetes') as KubernetesBundle
  for (const [name, node] of Object.entries(bundle.definitions)) node.name = name
  return bundle
}

/** Reads the CRDs of Istio and the Gateway API. */
export function readCrdBundle(): CrdBundle {
  return read('crds') as CrdBundle
}

/**
 * Puts definitions in place of references, in everything that can be reached from a node. Nodes
 * are changed in place and each is visited once, so cycles are no trouble and a second call is free.
 */
export class Linker {
  readonly #definitions: Record<string, SchemaNode>
  readonly #done = new WeakSet<SchemaNode>()

  constructor(definitions: Record<string, SchemaNode>) {
    this.#definitions = definitions
  }

  /** The node itself, or what it refers to, with all references below resolved. */
  link(node: SchemaNode): SchemaNode {
    const target = this.#resolve(node)
    const pending = [target]
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (this.#done.has(next)) continue
      this.#done.add(next)
      this.#linkChildren(next, pending)
    }
    return target
  }

  #resolve(node: SchemaNode): SchemaNode {
    if (node.ref === undefined) return node
    const { ref, ...own } = node
    const definition = this.#definitions[ref]
    if (definition === undefined) throw new Error(`the bundle has no definition ${ref}`)
    const target = this.#resolve(definition)
    return Object.keys(own).length === 0 ? target : { ...target, ...own }
  }

  #linkChildren(node: SchemaNode, pending: SchemaNode[]): void {
    const linked = (child: SchemaNode): SchemaNode => {
      const target = this.#resolve(child)
      pending.push(target)
      return target
    }
    const { properties, additionalProperties } = node
    if (properties !== undefined) {
      for (const [name, child] of Object.entries(properties)) properties[name] = linked(child)
    }
    if (node.items !== undefined) node.items = linked(node.items)
    if (typeof additionalProperties === 'object') {
      node.additionalProperties = linked(additionalProperties)
    }
  }
}
