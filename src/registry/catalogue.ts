/** Which resources are served right now: the built-in ones and those of CustomResourceDefinitions. */
import { compareVersions } from '../kube/index.ts'
import { apiVersionOfType, type ResourceType } from './resource-type.ts'

export class Catalogue {
  readonly #byGroupVersion = new Map<string, Map<string, ResourceType>>()
  readonly #ofDefinition = new Map<string, readonly ResourceType[]>()
  #generation = 0

  constructor(builtin: readonly ResourceType[]) {
    for (const type of builtin) this.#add(type)
  }

  /** Moves with every change; answers computed from the catalogue are kept until then. */
  get generation(): number {
    return this.#generation
  }

  find(groupVersion: string, resource: string): ResourceType | undefined {
    return this.#byGroupVersion.get(groupVersion)?.get(resource)
  }

  findKind(groupVersion: string, kind: string): ResourceType | undefined {
    for (const type of this.#byGroupVersion.get(groupVersion)?.values() ?? []) {
      if (type.kind === kind) return type
    }
    return undefined
  }

  has(groupVersion: string): boolean {
    return this.#byGroupVersion.has(groupVersion)
  }

  /** The resources of a group version, by name. */
  of(groupVersion: string): ResourceType[] {
    const types = [...(this.#byGroupVersion.get(groupVersion)?.values() ?? [])]
    return types.toSorted((left, right) => (left.resource < right.resource ? -1 : 1))
  }

  /** Groups by name, each with its versions, the preferred one first. */
  groups(): { readonly group: string; readonly versions: readonly string[] }[] {
    const versions = new Map<string, string[]>()
    for (const groupVersion of this.#byGroupVersion.keys()) {
      const slash = groupVersion.indexOf('/')
      const group = slash < 0 ? '' : groupVersion.slice(0, slash)
      const list = versions.get(group) ?? []
      list.push(groupVersion.slice(slash + 1))
      versions.set(group, list)
    }
    return [...versions]
      .map(([group, list]) => ({ group, versions: list.toSorted(compareVersions) }))
      .toSorted((left, right) => (left.group < right.group ? -1 : 1))
  }

  groupVersions(): string[] {
    return [...this.#byGroupVersion.keys()]
  }

  /** Replaces what the definition of this name serves. */
  define(name: string, types: readonly ResourceType[]): void {
    this.#forget(name)
    this.#ofDefinition.set(name, types)
    for (const type of types) this.#add(type)
    this.#generation++
  }

  undefine(name: string): void {
    this.#forget(name)
    this.#ofDefinition.delete(name)
    this.#generation++
  }

  #add(type: ResourceType): void {
    const groupVersion = apiVersionOfType(type)
    let types = this.#byGroupVersion.get(groupVersion)
    if (types === undefined) {
      types = new Map()
      this.#byGroupVersion.set(groupVersion, types)
    }
    types.set(type.resource, type)
  }

  #forget(name: string): void {
    for (const type of this.#ofDefinition.get(name) ?? []) {
      const groupVersion = apiVersionOfType(type)
      const types = this.#byGroupVersion.get(groupVersion)
      types?.delete(type.resource)
      if (types?.size === 0) this.#byGroupVersion.delete(groupVersion)
    }
  }
}
