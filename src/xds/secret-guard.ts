/** Keys and certificates go to proxies that proved who they are; on the plaintext port there are none. */
import { typeUrl as urls } from '../proto/index.ts'
import type { EncodedResource, ProxyNode, ResourceChange, ResourceSource } from './contract.ts'

export class SecretGuard implements ResourceSource {
  readonly #source: ResourceSource

  constructor(source: ResourceSource) {
    this.#source = source
  }

  get revision(): number {
    return this.#source.revision
  }

  get ready(): boolean {
    return this.#source.ready
  }

  typeUrls(): readonly string[] {
    return this.#source.typeUrls()
  }

  list(typeUrl: string, proxy: ProxyNode): Iterable<EncodedResource> {
    return isHidden(typeUrl, proxy) ? [] : this.#source.list(typeUrl, proxy)
  }

  get(typeUrl: string, name: string, proxy: ProxyNode): EncodedResource | undefined {
    return isHidden(typeUrl, proxy) ? undefined : this.#source.get(typeUrl, name, proxy)
  }

  related(typeUrl: string, name: string, proxy: ProxyNode): Iterable<EncodedResource> {
    return this.#source.related?.(typeUrl, name, proxy) ?? []
  }

  viewKey(typeUrl: string, proxy: ProxyNode): string {
    return isHidden(typeUrl, proxy) ? 'unauthenticated' : this.#source.viewKey(typeUrl, proxy)
  }

  joined(proxy: ProxyNode): void {
    this.#source.joined?.(proxy)
  }

  left(proxy: ProxyNode): void {
    this.#source.left?.(proxy)
  }

  onChange(listener: (change: ResourceChange) => void): () => void {
    return this.#source.onChange(listener)
  }
}

function isHidden(typeUrl: string, proxy: ProxyNode): boolean {
  return typeUrl === urls.secret && proxy.identity === undefined
}
