/**
 * The proxy's configuration as it arrives by xDS: listeners and clusters are all taken, routes and
 * endpoints are asked for by the names which those mention.
 */
import { typeUrl } from '../proto/index.ts'
import type { DeltaType } from '../xdsclient/index.ts'
import { compileCluster, compileEndpoints, compileListener } from './compile.ts'
import { compileRoutes } from './compile-routes.ts'
import type { ClusterConfig, Endpoint, ListenerConfig, RouteTable } from './types.ts'

/** Asks for one resource; resolves when the control plane has answered. */
export type Demand = (typeUrl: string, name: string) => Promise<void>

export class ConfigStore {
  readonly listeners = new Map<string, ListenerConfig>()
  readonly routes = new Map<string, RouteTable>()
  readonly clusters = new Map<string, ClusterConfig>()
  readonly endpoints = new Map<string, readonly Endpoint[]>()
  readonly #demanded = new Map<string, Promise<void>>()
  readonly #onListeners: () => void
  #demand: Demand | undefined

  /** @param onListeners called after each response that changed listeners */
  constructor(onListeners: () => void) {
    this.#onListeners = onListeners
  }

  /** The way to ask; it exists only after the client which is made with our `types`. */
  connect(demand: Demand): void {
    this.#demand = demand
  }

  types(): DeltaType[] {
    return [
      this.#type(typeUrl.cluster, true, this.clusters, compileCluster, ({ endpointsName }) => {
        if (endpointsName !== '') this.#want(typeUrl.endpoint, endpointsName)
      }),
      this.#type(typeUrl.endpoint, false, this.endpoints, compileEndpoints),
      {
        ...this.#type(typeUrl.listener, true, this.listeners, compileListener, (listener) =>
          this.#want(typeUrl.route, listener.routeName),
        ),
        onBatchEnd: this.#onListeners,
      },
      this.#type(typeUrl.route, false, this.routes, compileRoutes),
    ]
  }

  /** Resolves when everything that was asked for so far is answered. */
  async settled(): Promise<void> {
    for (;;) {
      const { size } = this.#demanded
      await Promise.all(this.#demanded.values())
      if (this.#demanded.size === size) return
    }
  }

  #type<T>(
    type: string,
    wildcard: boolean,
    into: Map<string, T>,
    compile: (bytes: Uint8Array) => T,
    after?: (value: T) => void,
  ): DeltaType {
    return {
      typeUrl: type,
      wildcard,
      onResource(name, bytes) {
        const value = compile(bytes)
        into.set(name, value)
        after?.(value)
      },
      onRemoved: (name) => void into.delete(name),
    }
  }

  #want(type: string, name: string): void {
    const key = `${type}|${name}`
    if (this.#demanded.has(key) || this.#demand === undefined) return
    this.#demanded.set(key, this.#demand(type, name))
  }
}
