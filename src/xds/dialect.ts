/**
 * The two protocols of ADS, apart in how a request says what it wants and in how a response is framed; all else
 * (who may connect, when what is sent, acknowledgements) is the same and is in connection.ts.
 */
import { GrpcError, grpcStatus } from '../grpc/index.ts'
import type { DeltaDiscoveryRequest, DiscoveryRequest } from '../proto/index.ts'
import type { ProxyNode, ResourceSource } from './contract.ts'
import { NamedWatch } from './named-watch.ts'
import { type RequestKind, StateWatch } from './state-watch.ts'
import type { Views } from './view.ts'
import { type DeltaWatch, type Versions, type Watch, WildcardWatch } from './watch.ts'

export interface DialectContext {
  readonly source: ResourceSource
  readonly views: Views
  readonly namesMax: number
  /** The revision up to which views and watches were told. */
  revision(): number
  /** A change of this name waits for its round. */
  isEarly(typeUrl: string, name: string): boolean
}

/** How a request's nonce relates to what was sent. */
export type Nonce = 'first' | 'settles' | 'again' | 'stale'

export interface Dialect<R> {
  readonly protocol: 'delta' | 'state'
  /** Takes over what a request wants; returns the watch, which may be another than before. */
  want(request: R, nonce: Nonce, watch: Watch | undefined, proxy: ProxyNode): Watch
  /** The names that a request of a debug type asks for. */
  names(request: R): readonly string[]
}

export class DeltaDialect implements Dialect<DeltaDiscoveryRequest> {
  readonly protocol = 'delta'
  readonly #context: DialectContext

  constructor(context: DialectContext) {
    this.#context = context
  }

  /** Subscriptions are differences, so they count whatever the nonce. */
  want(
    request: DeltaDiscoveryRequest,
    _nonce: Nonce,
    watch: Watch | undefined,
    proxy: ProxyNode,
  ): Watch {
    const { resourceNamesSubscribe: add, resourceNamesUnsubscribe: drop } = request
    // Only this dialect's watches are on its streams.
    const known = watch as DeltaWatch | undefined
    const empty = known === undefined && add.length === 0
    const all = empty || add.includes('*') || known?.wildcard === true
    const wildcard = all && !drop.includes('*')
    let next = known
    if (next === undefined || wildcard !== next.wildcard) {
      next?.close()
      const initial = known === undefined ? request.initialResourceVersions : {}
      next = this.#open(request.typeUrl, wildcard, initial, proxy)
    }
    if (next.names + add.length > this.#context.namesMax) throw tooManyNames(proxy)
    next.subscribe(add.filter((name) => name !== '*'))
    next.unsubscribe(drop)
    return next
  }

  names(request: DeltaDiscoveryRequest): readonly string[] {
    return request.resourceNamesSubscribe
  }

  #open(typeUrl: string, wildcard: boolean, initial: Versions, proxy: ProxyNode): DeltaWatch {
    const { source, views, isEarly } = this.#context
    const options = { source, typeUrl, proxy, initial, isEarly }
    return wildcard
      ? new WildcardWatch(options, views, this.#context.revision())
      : new NamedWatch(options)
  }
}

export class StateDialect implements Dialect<DiscoveryRequest> {
  readonly protocol = 'state'
  readonly #context: DialectContext

  constructor(context: DialectContext) {
    this.#context = context
  }

  want(request: DiscoveryRequest, nonce: Nonce, watch: Watch | undefined, proxy: ProxyNode): Watch {
    const { source, views, namesMax, isEarly } = this.#context
    const { typeUrl, resourceNames } = request
    if (resourceNames.length > namesMax) throw tooManyNames(proxy)
    // Only this dialect's watches are on its streams.
    const known = watch as StateWatch | undefined
    const options = { source, typeUrl, proxy, isEarly }
    const next = known ?? new StateWatch(options, views, () => this.#context.revision())
    if (nonce === 'stale') next.overtaken()
    else next.want(resourceNames, nonce satisfies RequestKind)
    return next
  }

  names(request: DiscoveryRequest): readonly string[] {
    return request.resourceNames
  }
}

function tooManyNames(proxy: ProxyNode): GrpcError {
  return new GrpcError(grpcStatus.resourceExhausted, `${proxy.id} subscribes to too many names`)
}
