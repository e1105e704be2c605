/**
 * The mesh as the Sidecar object of a proxy lets it see: the services and VirtualServices that its egress
 * hosts name, and what those VirtualServices lead to. Without a Sidecar it is the namespace's whole view.
 */
import {
  type ConfigObject,
  type Service,
  type SidecarEgress,
  type SidecarSpec,
  selects,
} from '../../../model/index.ts'
import type { Reader } from '../../reader.ts'
import { type ProxyView, viewKey } from '../proxy.ts'
import type { MergedRule } from './destination-rules.ts'
import { covers, expandHost, overlaps } from './hosts.ts'
import { NamespaceScope, type Scope } from './scope.ts'
import type { VirtualService } from './virtual-services.ts'

export type SidecarObject = ConfigObject<SidecarSpec>

/** The scope of any proxy; gateways and waypoints are not for Sidecars to narrow. */
export function scopeOf(reader: Reader, view: ProxyView): Scope {
  const base = new NamespaceScope(reader, view)
  const egress = sidecarOf(reader, view)?.spec.egress ?? []
  return egress.length === 0 ? base : new SidecarScope(base, egress, 'all')
}

/** What one egress listener with a port of its own sees. */
export function egressScope(reader: Reader, view: ProxyView, index: number): Scope {
  const base = new NamespaceScope(reader, view)
  const listener = sidecarOf(reader, view)?.spec.egress?.[index]
  return listener === undefined ? base : new SidecarScope(base, [listener], String(index))
}

/** The oldest that selects the proxy, then the namespace's, then the mesh's. */
export function sidecarOf(reader: Reader, view: ProxyView): SidecarObject | undefined {
  if (view.kind !== 'sidecar') return undefined
  const { rootNamespace } = reader.settings
  const own = reader.configs('Sidecar', view.namespace)
  const labelsOf = ({ spec }: SidecarObject): Readonly<Record<string, string>> =>
    spec.workloadSelector?.labels ?? {}
  const isWide = (object: SidecarObject): boolean => Object.keys(labelsOf(object)).length === 0
  return (
    own.find((object) => !isWide(object) && selects(labelsOf(object), view.labels)) ??
    own.find(isWide) ??
    reader.configs('Sidecar', rootNamespace).find(isWide)
  )
}

interface Import {
  /** `*`, a namespace's name; nothing matches `~`. */
  readonly namespace: string
  readonly host: string
}

interface Imports {
  readonly included: readonly Import[]
  readonly excluded: readonly Import[]
}

function importsOf(listeners: readonly SidecarEgress[], ownNamespace: string): Imports {
  const included: Import[] = []
  const excluded: Import[] = []
  for (const entry of listeners.flatMap(({ hosts = [] }) => hosts)) {
    const slash = entry.indexOf('/')
    const from = entry.slice(0, Math.max(slash, 0))
    const host = entry.slice(slash + 1)
    const resolve = (name: string): string => (name === '.' ? ownNamespace : name)
    if (from === '~') continue
    if (from.startsWith('~')) excluded.push({ namespace: resolve(from.slice(1)), host })
    else included.push({ namespace: resolve(from), host })
  }
  return { included, excluded }
}

function imports({ included, excluded }: Imports, namespace: string, host: string): boolean {
  const fits = (entry: Import, isSame: (pattern: string) => boolean): boolean =>
    (entry.namespace === '*' || entry.namespace === namespace) && isSame(entry.host)
  return (
    included.some((entry) => fits(entry, (pattern) => overlaps(pattern, host))) &&
    !excluded.some((entry) => fits(entry, (pattern) => covers(pattern, host)))
  )
}

interface Narrowed {
  readonly all: readonly Service[]
  readonly byHost: ReadonlyMap<string, Service>
  readonly byPort: ReadonlyMap<number, readonly Service[]>
  readonly virtuals: readonly VirtualService[]
}

class SidecarScope implements Scope {
  readonly reader: Reader
  readonly view: ProxyView
  readonly #base: NamespaceScope
  readonly #listeners: readonly SidecarEgress[]
  readonly #part: string

  constructor(base: NamespaceScope, listeners: readonly SidecarEgress[], part: string) {
    this.reader = base.reader
    this.view = base.view
    this.#base = base
    this.#listeners = listeners
    this.#part = part
  }

  services(): readonly Service[] {
    return this.#narrowed().all
  }

  servicesWithPort(port: number): readonly Service[] {
    return this.#narrowed().byPort.get(port) ?? []
  }

  serviceOf(hostname: string): Service | undefined {
    return this.#narrowed().byHost.get(hostname)
  }

  virtualServices(gateway: string): readonly VirtualService[] {
    return gateway === 'mesh' ? this.#narrowed().virtuals : this.#base.virtualServices(gateway)
  }

  destinationRule(service: Pick<Service, 'namespace' | 'hostname'>): MergedRule | undefined {
    return this.#base.destinationRule(service)
  }

  #narrowed(): Narrowed {
    const { view } = this
    const key = `sidecar-scope/${viewKey(view)}/${this.#part}`
    return this.reader.memo(key, (inner) => {
      // Read again, so that the Sidecar is among what the answer rests on.
      sidecarOf(inner, view)
      return narrow(new NamespaceScope(inner, view), this.#listeners)
    })
  }
}

function narrow(base: NamespaceScope, listeners: readonly SidecarEgress[]): Narrowed {
  const wanted = importsOf(listeners, base.view.namespace)
  const virtuals = base
    .virtualServices('mesh')
    .filter(({ namespace, hosts }) => hosts.some((host) => imports(wanted, namespace, host)))
  const byHost = new Map<string, Service>()
  for (const service of base.services()) {
    if (imports(wanted, service.namespace, service.hostname)) byHost.set(service.hostname, service)
  }
  // Whoever may use a VirtualService may use what it leads to.
  for (const host of virtuals.flatMap((virtual) => destinationsOf(base, virtual))) {
    const service = byHost.has(host) ? undefined : base.serviceOf(host)
    if (service !== undefined) byHost.set(host, service)
  }
  const all = [...byHost.values()].toSorted((left, right) =>
    left.hostname < right.hostname ? -1 : 1,
  )
  const byPort = new Map<number, Service[]>()
  for (const service of all) {
    for (const { port } of service.ports) {
      const list = byPort.get(port)
      if (list === undefined) byPort.set(port, [service])
      else list.push(service)
    }
  }
  return { all, byHost, byPort, virtuals }
}

function destinationsOf({ reader }: NamespaceScope, virtual: VirtualService): string[] {
  const { domain } = reader.settings
  const found: string[] = []
  const add = (host: string | undefined, namespace: string): void => {
    if (host !== undefined) found.push(expandHost(host, namespace, domain))
  }
  for (const { route, namespace } of virtual.http) {
    for (const { destination } of route.route ?? []) add(destination?.host, namespace)
    add(route.mirror?.host, namespace)
    for (const { destination } of route.mirrors ?? []) add(destination?.host, namespace)
  }
  for (const { route, namespace } of [...virtual.tls, ...virtual.tcp]) {
    for (const { destination } of route.route ?? []) add(destination?.host, namespace)
  }
  return found
}
