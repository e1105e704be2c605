/** What a waypoint serves: the services that chose it, of the namespaces that its listener admits. */
import {
  type Gateway,
  matchesSelector,
  type Service,
  type WaypointChoice,
} from '../../../model/index.ts'
import type { Reader } from '../../reader.ts'
import type { ProxyView } from '../proxy.ts'
import { compareText } from '../values.ts'

const waypointFor = 'istio.io/waypoint-for'

export interface WaypointTraffic {
  readonly services: readonly Service[]
  /** Whether connections to addresses of workloads come here too. */
  readonly workloads: boolean
}

/** Whether the waypoint of the view serves a service, by its key. */
export function servedKeys(reader: Reader, view: ProxyView): ReadonlySet<string> {
  return reader.memo(`waypoint-served/${view.gateway ?? ''}`, (inner) => {
    const { services } = waypointTraffic(inner, view)
    return new Set(services.map(({ namespace, hostname }) => `${namespace}/${hostname}`))
  })
}

export function waypointTraffic(reader: Reader, view: ProxyView): WaypointTraffic {
  const key = view.gateway ?? ''
  return reader.memo(`waypoint-traffic/${key}`, (inner) => {
    const gateway = inner.gateway(key)
    if (gateway === undefined) return { services: [], workloads: false }
    const purpose = purposeOf(inner, gateway)
    const services =
      purpose === 'service' || purpose === 'all'
        ? inner
            .services()
            .filter((service) => uses(inner, service, gateway, key))
            .toSorted((left, right) => compareText(left.hostname, right.hostname))
        : []
    return { services, workloads: purpose === 'workload' || purpose === 'all' }
  })
}

/** The Gateway's own label before that of its class. */
function purposeOf(reader: Reader, gateway: Gateway): string {
  const ofClass = reader.gatewayClass(gateway.className)?.labels[waypointFor]
  return gateway.labels[waypointFor] ?? ofClass ?? 'service'
}

function uses(reader: Reader, service: Service, gateway: Gateway, key: string): boolean {
  // A waypoint's own Service is not behind a waypoint, whatever its namespace says.
  if (service.ofWaypoint) return false
  const namespace = service.namespace
  const choice = service.waypoint ?? reader.namespace(namespace)?.waypoint
  const isPrimary = keyOf(choice, namespace) === key
  const isCanary = keyOf(service.waypointCanary, namespace) === key
  return (isPrimary || isCanary) && admits(reader, gateway, namespace)
}

function keyOf(choice: WaypointChoice | undefined, namespace: string): string | undefined {
  if (choice === undefined || choice.name === 'none') return undefined
  return `${choice.namespace ?? namespace}/${choice.name}`
}

function admits(reader: Reader, gateway: Gateway, namespace: string): boolean {
  if (gateway.namespace === namespace) return true
  return gateway.listeners.some(({ namespaces }) => {
    if (namespaces.from === 'All') return true
    const labels = reader.namespace(namespace)?.labels ?? {}
    return namespaces.from === 'Selector' && matchesSelector(namespaces, labels)
  })
}
