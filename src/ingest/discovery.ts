/**
 * Which namespaces the mesh looks into (`discoverySelectors` of MeshConfig). Objects elsewhere are as
 * good as absent. MeshConfig itself and the namespaces are read wherever they are.
 */
import {
  buildSnapshot,
  type MeshConfigSpec,
  type MeshSettings,
  type ModelEvent,
  type SelectorSpec,
  selectsNamespace,
} from '../model/index.ts'

export class DiscoveryFilter {
  readonly #settings: MeshSettings
  readonly #configs = new Map<string, MeshConfigSpec>()
  readonly #namespaces = new Map<string, Readonly<Record<string, string>>>()
  #selectors: readonly SelectorSpec[] = []

  constructor(settings: MeshSettings) {
    this.#settings = settings
  }

  /** Whether objects of a namespace (empty: of none) are the mesh's. */
  includes(namespace: string): boolean {
    if (namespace === '' || this.#selectors.length === 0) return true
    const labels = this.#namespaces.get(namespace)
    return labels !== undefined && selectsNamespace(this.#selectors, labels)
  }

  /** Takes note of an event. True when it may have changed which namespaces are included. */
  observe(event: ModelEvent): boolean {
    if (event.kind === 'Namespace') {
      const { key, value } = event
      if (value === undefined) this.#namespaces.delete(key)
      else this.#namespaces.set(key, value.labels)
      return this.#selectors.length > 0
    }
    if (event.kind !== 'MeshConfig') return false
    if (event.value === undefined) this.#configs.delete(event.key)
    else this.#configs.set(event.key, event.value)
    const before = this.#selectors
    this.#selectors = this.#effectiveSelectors()
    return before.length > 0 || this.#selectors.length > 0
  }

  /** The names of the included ones among the namespaces that are known. */
  included(): Set<string> {
    return new Set([...this.#namespaces.keys()].filter((name) => this.includes(name)))
  }

  #effectiveSelectors(): readonly SelectorSpec[] {
    const events = [...this.#configs].map(
      ([key, value]): ModelEvent => ({ kind: 'MeshConfig', key, value }),
    )
    return buildSnapshot(this.#settings, events).mesh.discoverySelectors
  }
}
