/**
 * Proxies whose pods changed (labels, locality) so that another configuration is theirs. Their streams end, which
 * is no loss: they dial at once and are what they are from then on.
 */
import type { Component } from '../base/index.ts'
import type { XdsServer } from '../xds/index.ts'
import type { MeshSource } from './source.ts'

export class MovedProxies implements Component {
  readonly #source: Pick<MeshSource, 'onMeshChange' | 'movedProxies'>
  readonly #xds: Pick<XdsServer, 'connections' | 'disconnect'>
  #unsubscribe: (() => void) | undefined

  constructor(
    source: Pick<MeshSource, 'onMeshChange' | 'movedProxies'>,
    xds: Pick<XdsServer, 'connections' | 'disconnect'>,
  ) {
    this.#source = source
    this.#xds = xds
  }

  async start(): Promise<void> {
    this.#unsubscribe = this.#source.onMeshChange(({ touched }) => {
      const moved = new Set(this.#source.movedProxies(touched))
      if (moved.size === 0) return
      for (const { id, node } of this.#xds.connections()) {
        if (moved.has(node)) this.#xds.disconnect(id)
      }
    })
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
  }
}
