/**
 * How the L7 translation reads the mesh: every question is noted, so that whoever asked (a cluster,
 * a route table, a listener of some proxies) is asked again exactly when an answer changes.
 *
 * A dependency is a string. `touchedKeys` turns what an update touched into the same strings; what
 * was translated from a snapshot is stale if, and only if, it has one of them.
 */
import type {
  AuthorizationPolicy,
  ConfigObject,
  Credential,
  EndpointSlice,
  Gateway,
  GatewayClass,
  HttpRoute,
  Kind,
  Kinds,
  Locality,
  MeshConfig,
  MeshSettings,
  Namespace,
  PeerAuthentication,
  ReferenceGrant,
  Service,
  Snapshot,
  Touched,
  Workload,
} from '../model/index.ts'
import { localityOf, networkOf, slicesOf } from '../model/index.ts'

/** Kinds that are kept as users wrote them. */
export type ConfigKind = {
  [K in Kind]: Kinds[K] extends ConfigObject<infer _> ? K : never
}[Kind]

export class Reader {
  readonly #snapshot: Snapshot
  readonly #dependencies = new Set<string>()
  readonly #memo: Memo

  /** @param memo shared by the readers of successive snapshots; none: nothing is remembered */
  constructor(snapshot: Snapshot, memo: Memo = new Memo()) {
    this.#snapshot = snapshot
    this.#memo = memo
  }

  /** What the answers so far rest on. */
  get dependencies(): ReadonlySet<string> {
    return this.#dependencies
  }

  depend(key: string): void {
    this.#dependencies.add(key)
  }

  /** MeshConfig sets some of them. */
  get settings(): MeshSettings {
    this.depend('mesh')
    return this.#snapshot.settings
  }

  mesh(): MeshConfig {
    this.depend('mesh')
    return this.#snapshot.mesh
  }

  /** The network of the system namespace. */
  network(): string {
    this.depend(`namespace/${this.settings.systemNamespace}`)
    return networkOf(this.#snapshot)
  }

  /** @param key `<namespace>/<hostname>` */
  service(key: string): Service | undefined {
    this.depend(`service/${key}`)
    return this.#snapshot.services.get(key)
  }

  /** A Kubernetes Service by its object's name. */
  kubernetesService(namespace: string, name: string): Service | undefined {
    const found = this.service(`${namespace}/${name}.${namespace}.svc.${this.settings.domain}`)
    return found?.source === 'Service' ? found : undefined
  }

  /** The services of that name in whatever namespace. */
  servicesByHost(hostname: string): Service[] {
    this.depend(`host/${hostname}`)
    const keys = this.#snapshot.indexes.servicesByHostname.get(hostname) ?? []
    return keys.flatMap((key) => this.#snapshot.services.get(key) ?? [])
  }

  /** Every service, ordered by key. */
  services(): readonly Service[] {
    return this.memo('services', (reader) => {
      reader.depend('services')
      return [...this.#snapshot.services.entries()]
        .toSorted(([left], [right]) => (left < right ? -1 : 1))
        .map(([, service]) => service)
    })
  }

  /** The services of a namespace, ordered by key. */
  servicesOf(namespace: string): readonly Service[] {
    return this.memo(`services/${namespace}`, (reader) => {
      reader.depend(`services/${namespace}`)
      return [...this.#snapshot.services.entries()]
        .filter(([, service]) => service.namespace === namespace)
        .toSorted(([left], [right]) => (left < right ? -1 : 1))
        .map(([, service]) => service)
    })
  }

  /** The services that a ServiceEntry object makes, in the order of its hosts. */
  serviceEntryHosts(namespace: string, name: string): readonly Service[] {
    this.depend(`config/ServiceEntry/${namespace}/${name}`)
    return this.#snapshot.objects.ServiceEntry.get(`${namespace}/${name}`)?.services ?? []
  }

  slices(service: Service): EndpointSlice[] {
    this.depend(`endpoints/${service.namespace}/${service.hostname}`)
    return slicesOf(this.#snapshot, service)
  }

  /**
   * Workloads that were derived from a service, pods and WorkloadEntries which a ServiceEntry selects,
   * and WorkloadEntries which a Service selects.
   */
  workloadsOf(service: Service): Workload[] {
    const key = `${service.namespace}/${service.hostname}`
    this.depend(`endpoints/${key}`)
    const bound = this.#snapshot.indexes.boundWorkloads.get(key) ?? []
    const found = bound.flatMap((uid) => this.workload(uid) ?? [])
    const selected = this.#snapshot.indexes.selectedWorkloads.get(key) ?? []
    return [...found, ...selected.flatMap((uid) => this.workload(uid) ?? [])]
  }

  workload(uid: string): Workload | undefined {
    this.depend(`workload/${uid}`)
    return this.#snapshot.workloads.get(uid)
  }

  locality(workload: Workload): Locality | undefined {
    this.depend(`workload/${workload.uid}`)
    return localityOf(this.#snapshot, workload)
  }

  /** The locality of a node; slices change with it. */
  nodeLocality(node: string): Locality | undefined {
    return this.#snapshot.objects.Node.get(node)?.locality
  }

  namespace(name: string): Namespace | undefined {
    this.depend(`namespace/${name}`)
    return this.#snapshot.objects.Namespace.get(name)
  }

  config<K extends ConfigKind>(kind: K, namespace: string, name: string): Kinds[K] | undefined {
    const key = `${namespace}/${name}`
    this.depend(`config/${kind}/${key}`)
    // TypeScript does not join the slot's kind with the value's.
    return this.#snapshot.objects[kind].get(key) as Kinds[K] | undefined
  }

  /** The objects of a kind in a namespace, oldest first. */
  configs<K extends ConfigKind>(kind: K, namespace: string): readonly Kinds[K][] {
    return this.memo(`configs/${kind}/${namespace}`, (reader) => {
      reader.depend(`configs/${kind}/${namespace}`)
      const keys = this.#snapshot.indexes.configsByNamespace.get(`${kind}|${namespace}`) ?? []
      // See `config`.
      const found = keys.flatMap((key) => this.#snapshot.objects[kind].get(key) ?? []) as Kinds[K][]
      return found.toSorted(olderFirst)
    })
  }

  /** The objects of a kind in all namespaces, oldest first. */
  allConfigs<K extends ConfigKind>(kind: K): readonly Kinds[K][] {
    return this.memo(`configs/${kind}`, (reader) => {
      reader.depend(`configs/${kind}`)
      // See `config`.
      return ([...this.#snapshot.objects[kind].values()] as Kinds[K][]).toSorted(olderFirst)
    })
  }

  /** The AuthorizationPolicies of a namespace, oldest first. */
  authorizationPolicies(namespace: string): readonly AuthorizationPolicy[] {
    return this.#policies('AuthorizationPolicy', namespace)
  }

  /** The PeerAuthentications of a namespace, oldest first. */
  peerAuthentications(namespace: string): readonly PeerAuthentication[] {
    return this.#policies('PeerAuthentication', namespace)
  }

  #policies<K extends 'AuthorizationPolicy' | 'PeerAuthentication'>(
    kind: K,
    namespace: string,
  ): readonly Kinds[K][] {
    return this.memo(`configs/${kind}/${namespace}`, (reader) => {
      reader.depend(`configs/${kind}/${namespace}`)
      const keys = this.#snapshot.indexes.configsByNamespace.get(`${kind}|${namespace}`) ?? []
      // See `config`.
      const found = keys.flatMap((key) => this.#snapshot.objects[kind].get(key) ?? []) as Kinds[K][]
      return found.toSorted(olderFirst)
    })
  }

  /** @param key `<namespace>/<name>`; undefined as well for one that has no usable content */
  credential(kind: 'Secret' | 'ConfigMap', key: string): Credential | undefined {
    this.depend(`secret/${kind}/${key}`)
    return this.#snapshot.objects[kind].get(key)
  }

  /** Every Gateway of Gateway API, ordered by key. */
  gateways(): readonly Gateway[] {
    return this.memo('gateways', (reader) => {
      reader.depend('gateways')
      return [...this.#snapshot.objects.Gateway.entries()]
        .toSorted(([left], [right]) => (left < right ? -1 : 1))
        .map(([, gateway]) => gateway)
    })
  }

  /**
   * Routes of Gateway API that name a parent, as `<Kind>/<namespace>/<name>`.
   * @param parent `<Kind>|<namespace>/<name>`
   */
  routesOfParent(parent: string): readonly string[] {
    this.depend(`routes-of/${parent}`)
    return this.#snapshot.indexes.routesByParent.get(parent) ?? []
  }

  /**
   * Policies of any kind that target an object, as `<Kind>/<namespace>/<name>`.
   * @param target `<Kind>|<namespace>/<name>`
   * @param kind the kind of policy that is asked for
   */
  policiesOfTarget(target: string, kind: Kind): readonly string[] {
    const namespace = target.slice(target.indexOf('|') + 1, target.indexOf('/'))
    this.depend(`configs/${kind}/${namespace}`)
    const names = this.#snapshot.indexes.policiesByTarget.get(target) ?? []
    return names.filter((name) => name.startsWith(`${kind}/`))
  }

  /** Every HTTPRoute, oldest first. */
  allHttpRoutes(): readonly HttpRoute[] {
    return this.memo('configs/HTTPRoute', (reader) => {
      reader.depend('configs/HTTPRoute')
      return [...this.#snapshot.objects.HTTPRoute.values()].toSorted(olderFirst)
    })
  }

  httpRoute(key: string): HttpRoute | undefined {
    this.depend(`config/HTTPRoute/${key}`)
    return this.#snapshot.objects.HTTPRoute.get(key)
  }

  gateway(key: string): Gateway | undefined {
    this.depend(`gateway/${key}`)
    return this.#snapshot.objects.Gateway.get(key)
  }

  gatewayClass(name: string): GatewayClass | undefined {
    this.depend(`gatewayclass/${name}`)
    return this.#snapshot.objects.GatewayClass.get(name)
  }

  /** HTTPRoutes that name the Gateway as a parent. */
  routesOfGateway(key: string): HttpRoute[] {
    this.depend(`gateway/${key}`)
    const keys = this.#snapshot.indexes.routes.get(key) ?? []
    return keys.flatMap((route) => this.#snapshot.objects.HTTPRoute.get(route) ?? [])
  }

  grants(namespace: string): ReferenceGrant[] {
    this.depend(`configs/ReferenceGrant/${namespace}`)
    const keys = this.#snapshot.indexes.grants.get(namespace) ?? []
    return keys.flatMap((key) => this.#snapshot.objects.ReferenceGrant.get(key) ?? [])
  }

  /**
   * A value that several units need: computed once, and for each of them with all that it rests on.
   * The key must name everything the computation takes besides the mesh.
   */
  memo<T>(key: string, compute: (reader: Reader) => T): T {
    const known = this.#memo.get(key)
    if (known !== undefined) {
      for (const dependency of known.dependencies) this.#dependencies.add(dependency)
      // The key determines the type: one computation per key.
      return known.value as T
    }
    const inner = new Reader(this.#snapshot, this.#memo)
    const value = compute(inner)
    this.#memo.put(key, { value, dependencies: inner.dependencies })
    for (const dependency of inner.dependencies) this.#dependencies.add(dependency)
    return value
  }
}

interface Aged {
  readonly createdAt: number
  readonly namespace: string
  readonly name: string
}

/** Oldest, then by name, then by namespace: who wins where objects compete. */
export function olderFirst(left: Aged, right: Aged): number {
  if (left.createdAt !== right.createdAt) return left.createdAt - right.createdAt
  if (left.name !== right.name) return left.name < right.name ? -1 : 1
  return left.namespace < right.namespace ? -1 : left.namespace > right.namespace ? 1 : 0
}

/** Which units (ids of the owner's choice) rest on which dependencies. */
export class DependencyIndex {
  readonly #units = new Map<string, ReadonlySet<string>>()
  readonly #byKey = new Map<string, Set<string>>()

  /** Replaces the dependencies of a unit. The set is kept, not copied: there are very many. */
  set(unit: string, dependencies: ReadonlySet<string>): void {
    const previous = this.#units.get(unit)
    for (const key of previous ?? []) if (!dependencies.has(key)) this.#drop(key, unit)
    for (const key of dependencies) {
      const units = this.#byKey.get(key)
      if (units === undefined) this.#byKey.set(key, new Set([unit]))
      else units.add(unit)
    }
    this.#units.set(unit, dependencies)
  }

  delete(unit: string): void {
    for (const key of this.#units.get(unit) ?? []) this.#drop(key, unit)
    this.#units.delete(unit)
  }

  /** The units that rest on any of the keys. */
  stale(keys: Iterable<string>): Set<string> {
    const found = new Set<string>()
    for (const key of keys) for (const unit of this.#byKey.get(key) ?? []) found.add(unit)
    return found
  }

  #drop(key: string, unit: string): void {
    const units = this.#byKey.get(key)
    units?.delete(unit)
    if (units?.size === 0) this.#byKey.delete(key)
  }
}

interface Remembered {
  readonly value: unknown
  readonly dependencies: ReadonlySet<string>
}

/** Values that outlive a snapshot until something they rest on is touched. */
export class Memo {
  readonly #values = new Map<string, Remembered>()
  readonly #index = new DependencyIndex()

  get(key: string): Remembered | undefined {
    return this.#values.get(key)
  }

  put(key: string, remembered: Remembered): void {
    this.#values.set(key, remembered)
    this.#index.set(key, remembered.dependencies)
  }

  /** Must be called with the keys of every update before the next snapshot is read. */
  invalidate(keys: Iterable<string>): void {
    for (const key of this.#index.stale(keys)) {
      this.#values.delete(key)
      this.#index.delete(key)
    }
  }

  /** Lets go of what was computed for somebody who is gone: the values whose keys say so. */
  forget(belongs: (key: string) => boolean): void {
    for (const key of this.#values.keys()) {
      if (!belongs(key)) continue
      this.#values.delete(key)
      this.#index.delete(key)
    }
  }

  get size(): number {
    return this.#values.size
  }
}

/** What an update touched, as the dependencies that are no longer what they were. */
export function touchedKeys(touched: Touched): Set<string> {
  const keys = new Set<string>()
  for (const key of touched.services) {
    const slash = key.indexOf('/')
    keys
      .add('services')
      .add(`services/${key.slice(0, slash)}`)
      .add(`service/${key}`)
      .add(`host/${key.slice(slash + 1)}`)
  }
  for (const key of touched.endpoints) keys.add(`endpoints/${key}`)
  for (const uid of touched.workloads) keys.add(`workload/${uid}`)
  for (const key of touched.gateways) keys.add(`gateway/${key}`).add('gateways')
  for (const key of touched.parents) keys.add(`routes-of/${key}`)
  for (const name of touched.namespaces) keys.add(`namespace/${name}`)
  for (const key of touched.secrets) keys.add(`secret/${key}`)
  if (touched.mesh) keys.add('mesh')
  for (const config of touched.configs) {
    const [kind = '', namespace = ''] = config.split('/')
    keys.add(`config/${config}`).add(`configs/${kind}/${namespace}`).add(`configs/${kind}`)
  }
  return keys
}
