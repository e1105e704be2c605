/** For tests: resources in a map, every write a change of its own. */
import { createHash } from 'node:crypto'
import type { EncodedResource, ProxyNode, ResourceChange, ResourceSource } from './contract.ts'

export class MemorySource implements ResourceSource {
  revision = 0
  ready = true
  /** Which view a proxy belongs to, and which names a view leaves out. */
  viewOf: (proxy: ProxyNode) => string = () => ''
  hidden: (view: string, name: string) => boolean = () => false
  readonly #types: readonly string[]
  readonly #resources = new Map<string, EncodedResource>()
  readonly #listeners = new Set<(change: ResourceChange) => void>()

  constructor(...types: readonly string[]) {
    this.#types = types
  }

  set(
    typeUrl: string,
    name: string,
    content: string | Uint8Array,
    aliases?: readonly string[],
    belongsTo?: readonly string[],
  ): void {
    const version = createHash('sha256').update(content).digest('hex').slice(0, 16)
    const bytes = Buffer.from(content)
    this.#resources.set(`${typeUrl} ${name}`, {
      name,
      typeUrl,
      version,
      bytes,
      ...(aliases && { aliases }),
      ...(belongsTo && { belongsTo }),
    })
    this.change(typeUrl, new Set([name]))
  }

  delete(typeUrl: string, name: string): void {
    this.#resources.delete(`${typeUrl} ${name}`)
    this.change(typeUrl, new Set([name]))
  }

  change(typeUrl: string, names: ReadonlySet<string> | '*'): void {
    this.revision++
    const change = { revision: this.revision, names: new Map([[typeUrl, names]]) }
    for (const listener of this.#listeners) listener(change)
  }

  typeUrls(): readonly string[] {
    return this.#types
  }

  list(typeUrl: string, proxy: ProxyNode): EncodedResource[] {
    const view = this.viewOf(proxy)
    return [...this.#resources.values()].filter((resource) => {
      return resource.typeUrl === typeUrl && !this.hidden(view, resource.name)
    })
  }

  get(typeUrl: string, name: string, proxy: ProxyNode): EncodedResource | undefined {
    return this.list(typeUrl, proxy).find((resource) => {
      return resource.name === name || resource.aliases?.includes(name)
    })
  }

  related(typeUrl: string, name: string, proxy: ProxyNode): EncodedResource[] {
    return this.list(typeUrl, proxy).filter((resource) => resource.belongsTo?.includes(name))
  }

  viewKey(_typeUrl: string, proxy: ProxyNode): string {
    return this.viewOf(proxy)
  }

  onChange(listener: (change: ResourceChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

export const testProxy: ProxyNode = {
  id: 'ztunnel~10.0.0.1~ztunnel-a.istio-system~istio-system.svc.cluster.local',
  type: 'ztunnel',
  ip: '10.0.0.1',
  name: 'ztunnel-a',
  namespace: 'istio-system',
  cluster: 'Kubernetes',
  metadata: {},
  identity: undefined,
}
