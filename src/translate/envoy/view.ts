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
import { gatewayServers, gatewayUnits } from './listeners/gateway.ts'
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
import type { Problem } from './policies/problem.ts'
import type { KeySets } from './policies/request-authentication.ts'
import type { ProxyView } from './proxy.ts'
import { sidecarRoutes } from './routes/sidecar.ts'
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
  /**
   * Told of a unit that can't be made because of a mistake of ours: it stays as it was, and all others are
   * made. Absent: the mistake is thrown.
   */
  readonly failed?: (unit: string, error: unknown) => void
}

interface Held {
  readonly unit: Unit
  readonly made: MadeUnit
}

/** The resources of one view as they follow the mesh. */
export class ViewTranslation {
  readonly view: ProxyView
  readonly #held = new Map<string, Held>()
  readonly #index = new DependencyIndex()
  /** By type and name, then by unit: several listeners may need one extension. */
  readonly #resources = new Map<string, Map<string, TranslatedResource>>()
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
    const stale = this.#index.stale(touched)
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
  isStale(touched: Iterable<string>): boolean {
    return this.#held.size === 0 || this.#index.stale(touched).size > 0
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
    const made = this.#tryMake(unit, input)
    this.#drop(unit.key, before)
    this.#held.set(unit.key, { unit, made })
    if (made.problems.length > 0) this.#troubled.add(unit.key)
    this.#index.set(unit.key, made.dependencies)
    for (const resource of made.resources) {
      const key = `${resource.typeUrl} ${resource.name}`
      this.#remember(key, before)
      const holders = this.#resources.get(key)
      if (holders === undefined) this.#resources.set(key, new Map([[unit.key, resource]]))
      else holders.set(unit.key, resource)
    }
    return made
  }

  #tryMake(unit: Unit, input: ViewInput): MadeUnit {
    const { failed } = input
    const reader = new Reader(input.snapshot, input.memo)
    try {
      return makeUnit(unit, { reader, keySets: input.keySets, view: this.view })
    } catch (error) {
      if (failed === undefined) throw error
      failed(unit.key, error)
      const last = this.#held.get(unit.key)?.made ?? { resources: [], units: [], problems: [] }
      // Whatever it read so far may have been what it stumbled over.
      return { ...last, dependencies: reader.dependencies }
    }
  }

  #drop(key: string, before: Map<string, string>): void {
    this.#troubled.delete(key)
    for (const { typeUrl: url, name } of this.#held.get(key)?.made.resources ?? []) {
      const resourceKey = `${url} ${name}`
      this.#remember(resourceKey, before)
      const holders = this.#resources.get(resourceKey)
      holders?.delete(key)
      if (holders?.size === 0) this.#resources.delete(resourceKey)
    }
  }

  #remember(key: string, before: Map<string, string>): void {
    if (!before.has(key)) before.set(key, this.#current(key)?.version ?? '')
  }

  /** Of several units the one whose key is least has the name, whatever came first. */
  #current(key: string): TranslatedResource | undefined {
    const holders = this.#resources.get(key)
    if (holders === undefined) return undefined
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
      this.#drop(key, before)
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
    if (kind === 'waypoint') return { resources: [], units: waypointUnits(scope), problems: [] }
    if (kind === 'sidecar') return { resources: [], units: sidecarUnits(scope), problems: [] }
    const { problems } = gatewayServers(scope)
    return { resources: [], units: [...gatewayUnits(scope), ...outboundBase(scope)], problems }
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
  return resourceUnit(`route|${port}`, ({ scope }) => {
    const { mode, egressProxy } = unknownPolicy(scope)
    const more = egressProxy === undefined ? {} : { egressProxy }
    return [sidecarRoutes({ scope, name: String(port), port, unknown: mode, ...more })]
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
