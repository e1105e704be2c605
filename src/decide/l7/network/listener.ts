/** Listeners: from a connection to the filter chain that serves it, and what that does with it. */
import type { listener as api, core, listenerComponents } from '../../../proto/envoy.ts'
import { type Compiled, Place } from '../errors.ts'
import { Exchange } from '../exchange.ts'
import type { ExtensionConfigs } from '../filters/chain.ts'
import type { EffectResult } from '../filters/reply.ts'
import type { ConnectionFacts, DecideContext, Origin } from '../types.ts'
import { originOf, typeOf } from '../values.ts'
import { compileChainMatch } from './chain-match.ts'
import type { NetworkChain } from './filters.ts'
import { type Closed, compileNetworkFilters, type NetworkPause, type Terminal } from './filters.ts'
import { compileMatcher } from './matcher-tree.ts'

export interface ListenerChain extends NetworkChain {
  readonly name: string
  /** In the listener; -1: the default chain. */
  readonly index: number
  readonly transportSocket: core.TransportSocket | undefined
  readonly origin: Origin | undefined
}

export interface CompiledListener {
  readonly name: string
  readonly chains: readonly ListenerChain[]
  /** Undefined: no chain matches; the connection is closed. */
  choose(facts: ConnectionFacts): ListenerChain | undefined
  readonly origin: Origin | undefined
  /** The rest, which is about sockets: addresses, listener filters, buffers, logs. */
  readonly message: api.Listener
}

/** What becomes of a connection. */
export type ConnectionDecision =
  | (Closed & { readonly chain: ListenerChain | undefined })
  | {
      readonly kind: 'stream'
      readonly chain: ListenerChain
      readonly terminal: Terminal
      /** What filters wrote; requests on the connection see it. */
      readonly exchange: Exchange
    }
  | {
      readonly kind: 'pause'
      readonly chain: ListenerChain
      readonly effect: NetworkPause['effect']
      resume(result: EffectResult): ConnectionDecision
    }

const listenerFilters = new Set([
  'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector',
  'envoy.extensions.filters.listener.http_inspector.v3.HttpInspector',
  'envoy.extensions.filters.listener.original_dst.v3.OriginalDst',
  'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol',
])

const transportSockets = new Set([
  'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
  'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer',
])

export interface ListenerOptions {
  /** Configurations of filters that come by discovery. */
  readonly extensions?: ExtensionConfigs
}

/** Compiles a Listener, or says what is wrong with it. */
export function compileListener(
  message: api.Listener,
  { extensions = new Map() }: ListenerOptions = {},
): Compiled<CompiledListener> {
  const place = Place.of(`listener ${message.name}`)
  refuseUnsupported(message, place)
  const chains = message.filterChains.map((chain, index) =>
    compileChain(chain, index, { extensions, place: place.at('filter_chains', index) }),
  )
  const fallback =
    message.defaultFilterChain === undefined
      ? undefined
      : compileChain(message.defaultFilterChain, -1, {
          extensions,
          place: place.at('default_filter_chain'),
        })
  return place.finish({
    name: message.name,
    chains: fallback === undefined ? chains : [...chains, fallback],
    choose: chooser(message, { chains, fallback, place }),
    origin: originOf(message.metadata),
    message,
  })
}

function refuseUnsupported(message: api.Listener, place: Place): void {
  const refused: readonly (readonly [field: string, used: boolean])[] = [
    ['udp_listener_config', message.udpListenerConfig !== undefined],
    ['api_listener', message.apiListener !== undefined],
    ['fcds_config', message.fcdsConfig !== undefined],
  ]
  for (const [field, used] of refused) if (used) place.at(field).refuse('is not supported')
  for (const [index, { name, configType }] of message.listenerFilters.entries()) {
    const type = configType.case === 'typedConfig' ? typeOf(configType.value) : ''
    if (listenerFilters.has(type)) continue
    place.at('listener_filters', index).refuse(`${name}: ${type} is not supported`)
  }
}

interface ChainContext {
  readonly extensions: ExtensionConfigs
  readonly place: Place
}

function compileChain(
  message: listenerComponents.FilterChain,
  index: number,
  { extensions, place }: ChainContext,
): ListenerChain {
  const { transportSocket } = message
  const type = transportSocket === undefined ? '' : typeOf(transportSocket.configType.value)
  if (transportSocket !== undefined && !transportSockets.has(type)) {
    place.at('transport_socket').refuse(`${transportSocket.name}: ${type} is not supported`)
  }
  return {
    ...compileNetworkFilters(message.filters, { extensions, place }),
    name: message.name,
    index,
    transportSocket,
    origin: originOf(message.metadata),
  }
}

interface Chains {
  readonly chains: readonly ListenerChain[]
  readonly fallback: ListenerChain | undefined
  readonly place: Place
}

function chooser(message: api.Listener, { chains, fallback, place }: Chains) {
  if (message.filterChainMatcher === undefined) {
    const index = compileChainMatch(message.filterChains, place)
    return (facts: ConnectionFacts): ListenerChain | undefined => chains[index(facts)] ?? fallback
  }
  const tree = compileMatcher(message.filterChainMatcher, place.at('filter_chain_matcher'))
  const byName = new Map(chains.map((chain) => [chain.name, chain]))
  if (byName.size < chains.length) place.at('filter_chains').refuse('two chains have the same name')
  return (facts: ConnectionFacts): ListenerChain | undefined => {
    const name = tree(facts)
    return (name === undefined ? undefined : byName.get(name)) ?? fallback
  }
}

const noRequest = {
  method: '',
  scheme: '',
  authority: '',
  path: '',
  headers: new Map<string, string>(),
}

/** An exchange that knows of a connection only. */
export function connectionExchange(connection: ConnectionFacts, context: DecideContext): Exchange {
  return new Exchange({ ...noRequest, connection }, context)
}

/** Chooses the chain of a connection and runs its filters. */
export function decideConnection(
  listener: CompiledListener,
  facts: ConnectionFacts,
  context: DecideContext,
): ConnectionDecision {
  const chain = listener.choose(facts)
  if (chain === undefined) {
    const details = 'filter_chain_not_found'
    return { kind: 'close', details, by: listener.name, delayMs: 0, chain }
  }
  return runChain(chain, connectionExchange(facts, context), 0)
}

/** Runs the filters of a chain, from one on. */
export function runChain(
  chain: ListenerChain,
  exchange: Exchange,
  from: number,
): ConnectionDecision {
  const { filters, terminal } = chain
  for (let index = from; index < filters.length; index++) {
    const stop = filters[index]?.run(exchange)
    if (stop === undefined) continue
    if (stop.kind === 'close') return { ...stop, chain }
    return {
      kind: 'pause',
      chain,
      effect: stop.effect,
      resume: (result) => {
        const closed = stop.resume(result)
        return closed === undefined ? runChain(chain, exchange, index + 1) : { ...closed, chain }
      },
    }
  }
  if (terminal !== undefined) return { kind: 'stream', chain, terminal, exchange }
  return { kind: 'close', details: 'no_filters', by: chain.name, delayMs: 0, chain }
}
