/** Who may see what: `exportTo` of services, VirtualServices and DestinationRules. */
import type { MeshConfig, Service } from '../../../model/index.ts'
import type { Reader } from '../../reader.ts'

/** @param exportTo `.` the object's own namespace, `*` all, `~` none, or names of namespaces */
export function exportedTo(
  exportTo: readonly string[],
  ownNamespace: string,
  namespace: string,
): boolean {
  return exportTo.some(
    (entry) =>
      entry === '*' || entry === namespace || (entry === '.' && ownNamespace === namespace),
  )
}

/** What the object says, else what the mesh says, else everybody. */
export function exportList(
  own: readonly string[] | undefined,
  meshDefault: readonly string[],
): readonly string[] {
  if (own !== undefined && own.length > 0) return own
  return meshDefault.length > 0 ? meshDefault : everybody
}

const everybody: readonly string[] = ['*']

export function serviceExports(service: Service, mesh: MeshConfig): readonly string[] {
  return exportList(service.exportTo, mesh.defaultServiceExportTo)
}

export function seesService(reader: Reader, service: Service, namespace: string): boolean {
  return exportedTo(serviceExports(service, reader.mesh()), service.namespace, namespace)
}

/**
 * Which of several services of one host name a proxy means: its own namespace's, then a Kubernetes
 * Service, then the oldest.
 */
export function preferredService(
  services: readonly Service[],
  namespace: string,
): Service | undefined {
  let best: Service | undefined
  for (const service of services) {
    if (best === undefined || comparePreference(service, best, namespace) < 0) best = service
  }
  return best
}

function comparePreference(left: Service, right: Service, namespace: string): number {
  const rank = (service: Service): number =>
    (service.namespace === namespace ? 0 : 2) + (service.source === 'Service' ? 0 : 1)
  if (rank(left) !== rank(right)) return rank(left) - rank(right)
  if (left.createdAt !== right.createdAt) return left.createdAt - right.createdAt
  return left.namespace < right.namespace ? -1 : 1
}

interface VisibleServices {
  /** Ordered by host name, one for each. */
  readonly all: readonly Service[]
  readonly byPort: ReadonlyMap<number, readonly Service[]>
}

/** What the proxies of a namespace see; namespaces that see the same share one list. */
export function visibleServices(reader: Reader, namespace: string): VisibleServices {
  return reader.memo(`visible/${namespace}`, (inner) => {
    const { shared, hidden } = inner.memo('visible', sortOut)
    const own = hidden.filter((service) => seesService(inner, service, namespace))
    const contested = inner.memo('visible/contested', contestedHosts)
    if (own.length === 0 && !contested.has(namespace)) return shared
    const candidates = inner.services().filter((service) => seesService(inner, service, namespace))
    return listed(candidates, namespace)
  })
}

interface SortedOut {
  readonly shared: VisibleServices
  /** Exported to some namespaces only. */
  readonly hidden: readonly Service[]
}

function sortOut(reader: Reader): SortedOut {
  const mesh = reader.mesh()
  const open: Service[] = []
  const hidden: Service[] = []
  for (const service of reader.services()) {
    if (serviceExports(service, mesh).includes('*')) open.push(service)
    else hidden.push(service)
  }
  return { shared: listed(open, ''), hidden }
}

/** Namespaces with a service whose host name others have as well: each of them prefers its own. */
function contestedHosts(reader: Reader): ReadonlySet<string> {
  const namespaces = new Map<string, string[]>()
  for (const { hostname, namespace } of reader.services()) {
    const known = namespaces.get(hostname)
    if (known === undefined) namespaces.set(hostname, [namespace])
    else known.push(namespace)
  }
  return new Set([...namespaces.values()].filter((list) => list.length > 1).flat())
}

function listed(services: readonly Service[], namespace: string): VisibleServices {
  const byHost = Map.groupBy(services, (service) => service.hostname)
  const all = [...byHost]
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .flatMap(([, candidates]) => preferredService(candidates, namespace) ?? [])
  const byPort = new Map<number, Service[]>()
  for (const service of all) {
    for (const { port } of service.ports) {
      const list = byPort.get(port)
      if (list === undefined) byPort.set(port, [service])
      else list.push(service)
    }
  }
  return { all, byPort }
}
