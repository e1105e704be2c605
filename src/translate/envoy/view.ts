/**
 * Everything that the proxies of one view get. The resources are made in units, each with the dependencies
 * that it recorded; after a change only units that rest on something touched are made again, and units
 * that nothing needs any more go.
 */
import type { Snapshot } from '../../model/index.ts'
import { typeUrl } from '../../proto/index.ts'
import { DependencyIndex, type Memo, Reader } from '../reader.ts'
import type { TranslatedResource } from '../types.ts'
import { outboundRef } from './clusters/names.ts'
import {
  connectOriginateCluster,
  inboundPassthrough,
  internalCluster,
  outboundStaticClusters,
} from './clusters/static.ts'
import { additionsUnit, patchMade } from './filters-patch/patch.ts'
import type { RouteOwner } from './filters-patch/routes.ts'
import type { EnvoyTypes } from './filters-patch/select.ts'
import { gatewayServers, gatewayUnits, routeOwners } from './listeners/gateway.ts'
import {
  connectOriginateListener,
  connectTerminateListener,
  mainInternal,
} from './listeners/hbone.ts'
import { customEgressUnits } from './listeners/sidecar-egress.ts'
import {
  inboundClusterUnit,
  inboundPorts,
  inboundRouteUnit,
  passthroughRouteUnit,
  virtualInboundUnit,
} from './listeners/sidecar-inbound.ts'
import {
  addressUnit,
  outboundPlan,
  unknownPolicy,
  virtualOutboundUnit,
  wildcardUnit,
} from './listeners/sidecar-outbound.ts'
import {
  directRoutes,
  encapCluster,
  mainInternalUnit,
  waypointRouteUnits,
} from './listeners/waypoint.ts'
import { waypointTraffic } from './listeners/waypoint-services.ts'
import type { Scope } from './lookup/scope.ts'
import { scopeOf } from './lookup/sidecar-scope.ts'
import type { Problem } from './policies/problem.ts'
import type { KeySets } from './policies/request-authentication.ts'
import type { ProxyView } from './proxy.ts'
import { sidecarRoutes } from './routes/sidecar.ts'
import { partDependency, recordedView, type SharedUnit, type SharedUnits } from './shared-units.ts'
import { listenerAccessLogs } from './telemetry/access-log.ts'
import { clusterUnit, type Made, type MadeUnit, makeUnit, resourceUnit, type Unit } from './unit.ts'

export interface ViewResources {
  readonly listeners: readonly TranslatedResource[]
  readonly routes: readonly TranslatedResource[]
  readonly clusters: readonly TranslatedResource[]
  readonly endpoints: readonly TranslatedResource[]
  readonly secrets: readonly TranslatedResource[]
  readonly extensionConfigs: readonly TranslatedResource[]
}

/** A resource that is new, different or (without a value) gone. */
export interface ResourceUpdate {
  readonly typeUrl: string
  readonly name: string
  readonly resource: TranslatedResource | undefined
}

export interface ViewInput {
  readonly snapshot: Snapshot
  /** Shared by the views of successive snapshots; whoever owns it has invalidated what was touched. */
  readonly memo: Memo
  readonly keySets: KeySets
  /** What views have in common; absent: this one makes everything itself. */
  readonly shared?: SharedUnits
  /** All of Envoy's types, read when the first EnvoyFilter needs them; absent: those have no effect. */
  readonly types?: EnvoyTypes
  /**
   * Told of a unit that can't be made because of a mistake of ours: it stays as it was, and all others are
   * made. Absent: the mistake is thrown.
   */
  readonly failed?: (unit: string, error: unknown) => void
}

interface Held {
  readonly unit: Unit
  /** As the EnvoyFilters left it. */
  readonly made: Made
  /** Where it comes from, if other views have it too. */
  readonly shared: SharedUnit | undefined
}

interface Holder {
  readonly unit: string
  readonly resource: TranslatedResource
}

/** The resources of one view as they follow the mesh. */
export class ViewTranslation {
  readonly view: ProxyView
  readonly #held = new Map<string, Held>()
  readonly #index = new DependencyIndex()
  /** By type and name, then by unit: several listeners may need one extension. */
  readonly #resources = new Map<string, Holder | Map<string, TranslatedResource>>()
  /** Units with something to tell. */
  readonly #troubled = new Set<string>()
  #made = 0

  constructor(view: ProxyView) {
    this.view = view
  }

  /**
   * Follows the mesh to a snapshot.
   * @param touched dependencies that changed since the last call (`touchedKeys`, `keySetDependency`)
   * @returns what differs from before
   */
  update(input: ViewInput, touched: Iterable<string>): ResourceUpdate[] {
    const before = new Map<string, string>()
    const stale = this.#staleUnits(touched, input.shared)
    if (this.#held.size === 0) this.#make(rootUnit, input, before)
    let moved = this.#held.size === 1
    for (const key of stale) {
      const held = this.#held.get(key)
      if (held === undefined) continue
      const next = this.#make(held.unit, input, before)
      moved ||= !sameKeys(held.made.units, next.units)
    }
    if (moved) this.#settle(input, before)
    return this.#updates(before)
  }

  /** Whether a change of these dependencies would make anything new. */
  isStale(touched: Iterable<string>, shared?: SharedUnits): boolean {
    return this.#held.size === 0 || this.#staleUnits(touched, shared).size > 0
  }

  /** Lets go of what it shares with others. */
  close(shared: SharedUnits): void {
    for (const held of this.#held.values()) {
      if (held.shared !== undefined) shared.release(held.shared)
    }
    this.#held.clear()
  }

  /** The resources of a type, in no order. */
  list(url: string): TranslatedResource[] {
    const found: TranslatedResource[] = []
    for (const key of this.#resources.keys()) {
      const resource = key.startsWith(url) ? this.#current(key) : undefined
      if (resource !== undefined) found.push(resource)
    }
    return found
  }

  get resources(): ViewResources {
    const sorted = (url: string): TranslatedResource[] =>
      this.list(url).toSorted((left, right) => (left.name < right.name ? -1 : 1))
    return {
      listeners: sorted(typeUrl.listener),
      routes: sorted(typeUrl.route),
      clusters: sorted(typeUrl.cluster),
      endpoints: sorted(typeUrl.endpoint),
      secrets: sorted(typeUrl.secret),
      extensionConfigs: sorted(typeUrl.extensionConfig),
    }
  }

  get(url: string, name: string): TranslatedResource | undefined {
    return this.#current(`${url} ${name}`)
  }

  /** What authors of objects should be told; each once. */
  get problems(): readonly Problem[] {
    const found = new Map<string, Problem>()
    for (const key of this.#troubled) {
      for (const problem of this.#held.get(key)?.made.problems ?? []) {
        found.set(`${problem.config ?? ''}|${problem.path}|${problem.message}`, problem)
      }
    }
    return [...found].toSorted(([left], [right]) => (left < right ? -1 : 1)).map(([, one]) => one)
  }

  /** How many units there are, and how many were made since the beginning. */
  get statistics(): { readonly units: number; readonly made: number } {
    return { units: this.#held.size, made: this.#made }
  }

  #make(unit: Unit, input: ViewInput, before: Map<string, string>): Made {
    this.#made++
    const { made, shared, dependencies } = this.#tryMake(unit, input)
    if (shared !== undefined) shared.users++
    this.#drop(unit.key, before, input.shared)
    this.#held.set(unit.key, { unit, made, shared })
    if (made.problems.length > 0) this.#troubled.add(unit.key)
    // What is shared is followed where it is shared.
    if (shared === undefined) this.#index.set(unit.key, dependencies)
    else this.#index.delete(unit.key)
    for (const resource of made.resources) {
      const key = `${resource.typeUrl} ${resource.name}`
      this.#remember(key, before)
      this.#hold(key, unit.key, resource)
    }
    return made
  }

  #staleUnits(touched: Iterable<string>, shared: SharedUnits | undefined): Set<string> {
    const stale = this.#index.stale(touched)
    for (const entry of shared?.stale ?? []) {
      for (const key of this.#index.stale([partDependency(entry)])) stale.add(key)
      if (this.#held.get(entry.unit)?.shared === entry) stale.add(entry.unit)
    }
    // Other patches: everything may be different, though it is made from the same.
    return stale.has(additionsUnit.key) ? new Set(this.#held.keys()) : stale
  }

  #tryMake(unit: Unit, input: ViewInput): Omit<Held, 'unit'> & Pick<MadeUnit, 'dependencies'> {
    const { failed, snapshot, memo } = input
    const reader = new Reader(snapshot, memo)
    try {
      const shared = unit.isShared === true ? this.#share(unit, input) : undefined
      const { keySets, types } = input
      const share = (part: Unit): MadeUnit => this.#part(part, input)
      const own = { reader, keySets, view: this.view, types }
      const made = shared?.made ?? makeUnit(unit, input.shared ? { ...own, share } : own)
      return { made: this.#patch(made, input), shared, dependencies: made.dependencies }
    } catch (error) {
      if (failed === undefined) throw error
      failed(unit.key, error)
      const made = this.#held.get(unit.key)?.made ?? { resources: [], units: [], problems: [] }
      // Whatever it read so far may have been what it stumbled over.
      return { made, shared: undefined, dependencies: reader.dependencies }
    }
  }

  /** A shared part of a unit; not shared, it is made with what the unit is made with. */
  #part(unit: Unit, input: ViewInput): MadeUnit {
    const { keySets, types, snapshot, memo } = input
    const shared = this.#share(unit, input)
    if (shared !== undefined) {
      return { ...shared.made, dependencies: new Set([partDependency(shared)]) }
    }
    const reader = new Reader(snapshot, memo)
    return makeUnit(unit, { reader, keySets, view: this.view, types })
  }

  /** The same as some other view has, or made for the first time. */
  #share(unit: Unit, input: ViewInput): SharedUnit | undefined {
    const { shared, keySets, types, snapshot, memo } = input
    if (shared === undefined) return undefined
    const known = shared.get(unit, this.view)
    if (known !== undefined) return known
    const { view, read } = recordedView(this.view)
    const reader = new Reader(snapshot, memo)
    return shared.put(unit, this.view, read, makeUnit(unit, { reader, keySets, view, types }))
  }

  /** EnvoyFilters are followed by the unit of what they add; see `#staleUnits`. */
  #patch(made: Made, { types, snapshot, memo }: ViewInput): Made {
    if (snapshot.objects.EnvoyFilter.size === 0) return made
    const { view } = this
    const reader = new Reader(snapshot, memo)
    const owners = (name: string): RouteOwner[] =>
      view.kind === 'gateway' ? routeOwners(scopeOf(reader, view), name) : []
    return patchMade(made, { reader, view, types, owners })
  }

  #drop(key: string, before: Map<string, string>, shared: SharedUnits | undefined): void {
    this.#troubled.delete(key)
    const entry = this.#held.get(key)?.shared
    if (entry !== undefined) shared?.release(entry)
    for (const { typeUrl: url, name } of this.#held.get(key)?.made.resources ?? []) {
      const resourceKey = `${url} ${name}`
      this.#remember(resourceKey, before)
      const holders = this.#resources.get(resourceKey)
      if (!(holders instanceof Map)) this.#resources.delete(resourceKey)
      else if (holders.delete(key) && holders.size === 0) this.#resources.delete(resourceKey)
    }
  }

  /** Nearly always one unit alone has a name. */
  #hold(key: string, unit: string, resource: TranslatedResource): void {
    const known = this.#resources.get(key)
    if (known === undefined) this.#resources.set(key, { unit, resource })
    else if (known instanceof Map) known.set(unit, resource)
    else
      this.#resources.set(
        key,
        new Map([
          [known.unit, known.resource],
          [unit, resource],
        ]),
      )
  }

  #remember(key: string, before: Map<string, string>): void {
    if (!before.has(key)) before.set(key, this.#current(key)?.version ?? '')
  }

  /** Of several units the one whose key is least has the name, whatever came first. */
  #current(key: string): TranslatedResource | undefined {
    const holders = this.#resources.get(key)
    if (!(holders instanceof Map)) return holders?.resource
    const [only] = holders.keys()
    const unit = holders.size === 1 ? only : [...holders.keys()].toSorted()[0]
    return unit === undefined ? undefined : holders.get(unit)
  }

  /** Makes what is needed and missing, and lets go of what nothing leads to any more. */
  #settle(input: ViewInput, before: Map<string, string>): void {
    const reached = new Set<string>([rootUnit.key])
    const open = [rootUnit]
    for (let unit = open.pop(); unit !== undefined; unit = open.pop()) {
      const made = this.#held.get(unit.key)?.made ?? this.#make(unit, input, before)
      for (const next of made.units) {
        if (reached.has(next.key)) continue
        reached.add(next.key)
        open.push(next)
      }
    }
    for (const key of this.#held.keys()) {
      if (reached.has(key)) continue
      this.#drop(key, before, input.shared)
      this.#held.delete(key)
      this.#index.delete(key)
    }
  }

  #updates(before: ReadonlyMap<string, string>): ResourceUpdate[] {
    const updates: ResourceUpdate[] = []
    for (const [key, version] of before) {
      const resource = this.#current(key)
      if ((resource?.version ?? '') === version) continue
      const space = key.indexOf(' ')
      updates.push({ typeUrl: key.slice(0, space), name: key.slice(space + 1), resource })
    }
    return updates
  }
}

function sameKeys(left: readonly Unit[], right: readonly Unit[]): boolean {
  return left.length === right.length && left.every(({ key }, index) => key === right[index]?.key)
}

/** Everything at once: what a fresh `ViewTranslation` has. */
export function translateView(input: ViewInput, view: ProxyView): ViewTranslation {
  const translation = new ViewTranslation(view)
  translation.update(input, [])
  return translation
}

/** Which units there are at all; each of these leads to more. */
const rootUnit: Unit = {
  key: 'root',
  make: ({ scope }) => {
    const { kind } = scope.view
    if (kind === 'waypoint')
      return { resources: [], units: [...waypointUnits(scope), additionsUnit], problems: [] }
    if (kind === 'sidecar')
      return { resources: [], units: [...sidecarUnits(scope), additionsUnit], problems: [] }
    const { problems } = gatewayServers(scope)
    const units = [...gatewayUnits(scope), ...outboundBase(scope), additionsUnit]
    return { resources: [], units, problems }
  },
}

/** What every proxy that opens connections to the mesh has. */
function outboundBase({ view }: Scope): Unit[] {
  const tunnel = resourceUnit('tunnel', ({ scope }) => [
    connectOriginateCluster(scope),
    connectOriginateListener(),
  ])
  return [
    resourceUnit('static-clusters', ({ scope }) => outboundStaticClusters(scope.reader)),
    ...(view.sendsHbone ? [tunnel] : []),
  ]
}

function waypointUnits(scope: Scope): Unit[] {
  const end = resourceUnit('listener|connect_terminate', ({ scope: own }) => {
    const logs = listenerAccessLogs(own.reader, { proxy: own.view, side: 'SERVER' })
    return [connectTerminateListener(own, logs.logs), internalCluster(mainInternal)]
  })
  const direct = resourceUnit('direct', () => [
    directRoutes(),
    internalCluster(encapCluster, 'connect_originate'),
  ])
  return [
    ...outboundBase(scope),
    end,
    mainInternalUnit,
    ...waypointRouteUnits(scope),
    ...(waypointTraffic(scope.reader, scope.view).workloads ? [direct] : []),
  ]
}

function sidecarUnits(scope: Scope): Unit[] {
  const plan = outboundPlan(scope)
  const ports = inboundPorts(scope)
  return [
    ...outboundBase(scope),
    virtualOutboundUnit,
    ...[...plan.byAddress].map(([name, { service, port }]) =>
      addressUnit(name, `${service.namespace}/${service.hostname}`, port.port),
    ),
    ...plan.wildcardPorts.map(wildcardUnit),
    ...plan.httpPorts.map(portRouteUnit),
    ...[...plan.byAddress].flatMap(([, { service, port }]) =>
      port.appProtocol === 'unknown'
        ? [serviceRouteUnit(`${service.namespace}/${service.hostname}`, port.port)]
        : [],
    ),
    ...customEgressUnits(scope),
    ...scope
      .services()
      .map(({ namespace, hostname }) => serviceClustersUnit(`${namespace}/${hostname}`)),
    virtualInboundUnit,
    passthroughRouteUnit,
    resourceUnit('inbound-passthrough', ({ scope: own }) =>
      own.view.ipFamilies.map((family) => inboundPassthrough(own.reader, family)),
    ),
    ...ports.map(inboundClusterUnit),
    ...ports.map(inboundRouteUnit),
  ]
}

function portRouteUnit(port: number): Unit {
  return resourceUnit(`route|${port}`, ({ scope, share }) => {
    const { mode, egressProxy } = unknownPolicy(scope)
    const more = egressProxy === undefined ? {} : { egressProxy }
    return [sidecarRoutes({ scope, name: String(port), port, unknown: mode, share, ...more })]
  })
}

/** The table of one service whose port may be anything. */
function serviceRouteUnit(key: string, port: number): Unit {
  return resourceUnit(`route|${key}:${port}`, ({ scope }) => {
    const service = scope.reader.service(key)
    if (service === undefined) return []
    const name = `${service.hostname}:${port}`
    return [sidecarRoutes({ scope, name, port, service, unknown: 'allow' })]
  })
}

/** Sidecars have the clusters of all services that they see: any route may come to name them. */
function serviceClustersUnit(key: string): Unit {
  return {
    key: `service|${key}`,
    make: ({ scope }) => {
      const service = scope.reader.service(key)
      if (service === undefined) return { resources: [], units: [], problems: [] }
      const subsets = [
        '',
        ...(scope.destinationRule(service)?.subsets ?? []).map(({ name }) => name),
      ]
      const units = service.ports.flatMap(({ port, protocol }) =>
        protocol === 'TCP'
          ? subsets.map((subset) => clusterUnit(outboundRef(service, port, subset)))
          : [],
      )
      return { resources: [], units, problems: [] }
    },
  }
}
