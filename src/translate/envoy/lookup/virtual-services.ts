/** VirtualServices with names expanded and delegates put in place: what route tables start from. */
import type {
  ConfigObject,
  VirtualHttpRoute,
  VirtualServiceSpec,
  VirtualTcpRoute,
  VirtualTlsRoute,
} from '../../../model/index.ts'
import { configPath } from '../../provenance.ts'
import { olderFirst, type Reader } from '../../reader.ts'
import { mergeDelegate } from './delegates.ts'
import { expandHost } from './hosts.ts'
import { exportedTo, exportList } from './visibility.ts'

/** A rule and where it stands: of a delegate, the delegate's own object. */
export interface Placed<Route> {
  readonly route: Route
  readonly config: string
  readonly path: string
  /** Short host names in it mean this namespace. */
  readonly namespace: string
}

export interface VirtualService {
  readonly name: string
  readonly namespace: string
  readonly createdAt: number
  readonly config: string
  readonly hosts: readonly string[]
  /** `mesh` or `<namespace>/<name>`. */
  readonly gateways: readonly string[]
  readonly exportTo: readonly string[]
  readonly http: readonly Placed<VirtualHttpRoute>[]
  readonly tls: readonly Placed<VirtualTlsRoute>[]
  readonly tcp: readonly Placed<VirtualTcpRoute>[]
}

/** Those visible in a namespace that name the gateway (or `mesh`), oldest first. */
export function virtualServices(
  reader: Reader,
  namespace: string,
  gateway: string,
): readonly VirtualService[] {
  return reader.memo(`virtual-services/${namespace}/${gateway}`, (inner) =>
    allOf(inner).filter(
      (virtual) =>
        virtual.gateways.includes(gateway) &&
        exportedTo(virtual.exportTo, virtual.namespace, namespace),
    ),
  )
}

/** Those that stand in the namespace itself, for waypoints. */
export function virtualServicesIn(reader: Reader, namespace: string): readonly VirtualService[] {
  return reader.memo(`virtual-services-in/${namespace}`, (inner) =>
    inner
      .configs('VirtualService', namespace)
      .flatMap((object) => resolved(inner, object) ?? [])
      .toSorted(olderFirst),
  )
}

function allOf(reader: Reader): readonly VirtualService[] {
  return reader.memo('virtual-services', (inner) =>
    inner.allConfigs('VirtualService').flatMap((object) => resolved(inner, object) ?? []),
  )
}

/** Undefined for delegates, which have no hosts and work through others only. */
function resolved(
  reader: Reader,
  object: ConfigObject<VirtualServiceSpec>,
): VirtualService | undefined {
  const { spec, namespace } = object
  const { domain } = reader.settings
  if ((spec.hosts ?? []).length === 0) return undefined
  const config = configPath(object)
  const place = <Route>(kind: string, routes: readonly Route[] = []): Placed<Route>[] =>
    routes.map((route, index) => ({ route, config, namespace, path: `/spec/${kind}/${index}` }))
  return {
    name: object.name,
    namespace,
    createdAt: object.createdAt,
    config,
    hosts: [...new Set((spec.hosts ?? []).map((host) => expandHost(host, namespace, domain)))],
    gateways: gatewaysOf(spec.gateways, namespace),
    exportTo: exportList(spec.exportTo, reader.mesh().defaultVirtualServiceExportTo),
    http: place('http', spec.http).flatMap((root) => withDelegate(reader, root)),
    tls: place('tls', spec.tls),
    tcp: place('tcp', spec.tcp),
  }
}

export function gatewaysOf(names: readonly string[] | undefined, namespace: string): string[] {
  if (names === undefined || names.length === 0) return ['mesh']
  return names.map((name) => gatewayName(name, namespace))
}

/** `name`, `ns/name`, `./name` or the old form `name.ns.svc.domain`. */
function gatewayName(name: string, namespace: string): string {
  if (name === 'mesh') return name
  if (name.startsWith('./')) return `${namespace}/${name.slice(2)}`
  if (name.includes('/')) return name
  const [first = '', second] = name.split('.')
  return second === undefined ? `${namespace}/${name}` : `${second}/${first}`
}

function withDelegate(reader: Reader, root: Placed<VirtualHttpRoute>): Placed<VirtualHttpRoute>[] {
  const { delegate } = root.route
  if (delegate === undefined) return [root]
  const namespace = delegate.namespace || root.namespace
  const object = reader.config('VirtualService', namespace, delegate.name ?? '')
  // A delegate has no hosts and does not delegate on; anything else is left out, never followed.
  if (object === undefined || (object.spec.hosts ?? []).length > 0) return []
  const exports = exportList(object.spec.exportTo, reader.mesh().defaultVirtualServiceExportTo)
  if (!exportedTo(exports, namespace, root.namespace)) return []
  return (object.spec.http ?? []).flatMap((leaf, index) => {
    if (leaf.delegate !== undefined) return []
    const route = mergeDelegate(root.route, leaf)
    if (route === undefined) return []
    return [{ route, config: configPath(object), namespace, path: `/spec/http/${index}` }]
  })
}
