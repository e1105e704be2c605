/**
 * Where clients reach a Gateway: the Services that stand for it, their ports that have instances, and
 * the addresses of these Services. What can't be used is told in words.
 */
import type { Gateway, Service } from '../../model/index.ts'
import { controllerOf, meshController } from '../envoy/routes/gateway-listeners.ts'
import type { Reader } from '../reader.ts'
import { type Fault, readableList, type WantedCondition } from './condition.ts'

/** What the model leaves out of a Service because no proxy needs it. */
export interface FrontService {
  readonly isLoadBalancer: boolean
  /** Of its load balancer, and `externalIPs`. */
  readonly external: readonly string[]
}

/** Objects that are not in the mesh's model but in what users read about it. */
export interface OutsideFacts {
  frontService(namespace: string, name: string): FrontService | undefined
  hasConfigMap(namespace: string, name: string): boolean
}

/** The name of what is deployed for a Gateway: waypoints have their Gateway's name. */
export function deployedName(
  gateway: {
    readonly name: string
    readonly className: string
    readonly annotations: Readonly<Record<string, string>>
  },
  controller: string | undefined,
): string {
  const override = gateway.annotations['gateway.istio.io/name-override']
  if (override !== undefined && override !== '') return override
  return controller === meshController ? gateway.name : `${gateway.name}-${gateway.className}`
}

/** Whether this control plane deploys something for the Gateway: not when it names its Service itself. */
export function isManaged(
  addresses: readonly { readonly type?: string; readonly value?: string }[] = [],
): boolean {
  if (addresses.length === 0) return true
  return addresses.length === 1 && (addresses[0]?.type ?? 'IPAddress') === 'IPAddress'
}

export interface FoundServices {
  /** Host names of the Services that stand for the Gateway. */
  readonly hosts: readonly string[]
  readonly fault: Fault | undefined
}

export function gatewayHosts(reader: Reader, gateway: Gateway): FoundServices {
  const { name, namespace, className, config } = gateway
  const { domain } = reader.settings
  const { addresses = [] } = config.spec
  if (isManaged(addresses)) {
    const naming = { name, className, annotations: config.annotations }
    const deployed = deployedName(naming, controllerOf(reader, gateway))
    return { hosts: [`${deployed}.${namespace}.svc.${domain}`], fault: undefined }
  }
  const [hosts, skipped]: [string[], string[]] = [[], []]
  for (const { type = 'Hostname', value = '' } of addresses) {
    if (type !== 'Hostname') skipped.push(value)
    else hosts.push(value.includes('.') ? value : `${value}.${namespace}.svc.${domain}`)
  }
  if (skipped.length === 0) return { hosts, fault: undefined }
  const message = `only Hostname is supported, ignoring [${skipped.join(' ')}]`
  return { hosts, fault: { reason: 'UnsupportedAddress', message } }
}

export interface Reach {
  /** `<host>:<port>` */
  readonly internal: readonly string[]
  readonly clusterIps: readonly string[]
  readonly external: readonly string[]
  /** Hosts whose load balancer has no address yet. */
  readonly pending: readonly string[]
  readonly warnings: readonly string[]
  /** False when waiting does not help. */
  readonly isUsable: boolean
}

/** Looks every port up at every Service. */
export function reachOf(
  reader: Reader,
  gateway: Gateway,
  found: { readonly hosts: readonly string[]; readonly ports: Iterable<number> },
  facts: OutsideFacts,
): Reach {
  const sets = {
    internal: new Set<string>(),
    clusterIps: new Set<string>(),
    external: new Set<string>(),
    pending: new Set<string>(),
    warnings: new Set<string>(),
  }
  let isUsable = true
  const ports = [...new Set(found.ports)]
  for (const host of found.hosts) {
    const services = reader.servicesByHost(host)
    const service = services.find(({ namespace }) => namespace === gateway.namespace)
    if (service === undefined) {
      sets.warnings.add(missing(host, gateway.namespace, services))
      isUsable = false
      continue
    }
    const front = facts.frontService(service.namespace, service.name)
    for (const port of ports) {
      const problem = portProblem(reader, service, port)
      if (problem !== undefined) {
        if (problem.message !== '') sets.warnings.add(problem.message)
        if (!problem.passes) isUsable = false
        continue
      }
      sets.internal.add(`${host}:${port}`)
      for (const address of service.addresses) sets.clusterIps.add(address)
      for (const address of front?.external ?? []) sets.external.add(address)
      if (front?.isLoadBalancer === true && front.external.length === 0) {
        sets.pending.add(host)
        sets.warnings.add(`address pending for hostname "${host}"`)
      }
    }
  }
  const sorted = (set: ReadonlySet<string>): string[] => [...set].toSorted()
  return {
    internal: sorted(sets.internal),
    clusterIps: sorted(sets.clusterIps),
    external: sorted(sets.external),
    pending: sorted(sets.pending),
    warnings: sorted(sets.warnings),
    isUsable,
  }
}

function missing(host: string, namespace: string, elsewhere: readonly Service[]): string {
  if (elsewhere.length === 0) return `hostname "${host}" not found`
  const names = elsewhere.map((service) => `"${service.namespace}"`).toSorted()
  return `hostname "${host}" not found in namespace "${namespace}", but it was found in namespace(s) ${names.join(', ')}`
}

interface PortProblem {
  /** Empty: nothing to say yet. */
  readonly message: string
  /** Whether it goes away by itself. */
  readonly passes: boolean
}

const managedLabel = 'gateway.istio.io/managed'

/** Undefined when some instance serves the port. */
function portProblem(reader: Reader, service: Service, port: number): PortProblem | undefined {
  const host = service.hostname
  let hasInstances = false
  const isWorkloadPort: number[] = []
  const own = service.ports.find((candidate) => candidate.port === port)
  if (service.source === 'ServiceEntry' && reader.workloadsOf(service).length > 0) {
    if (own !== undefined) return undefined
    hasInstances = true
  }
  for (const slice of reader.slices(service)) {
    if (!slice.endpoints.some(({ ready }) => ready)) continue
    hasInstances = true
    for (const served of slice.ports) {
      if (own !== undefined && served.name === own.name) return undefined
      if (served.port === port) {
        const named = service.ports.find(({ name }) => name === served.name)
        if (named !== undefined) isWorkloadPort.push(named.port)
      }
    }
  }
  if (!hasInstances) return { message: `no instances found for hostname "${host}"`, passes: true }
  if (isWorkloadPort.length > 0) {
    const hint = `hint: the service port should be specified, not the workload port. Did you mean one of these ports: [${isWorkloadPort.join(' ')}]?`
    return { message: `port ${port} not found for hostname "${host}" (${hint})`, passes: false }
  }
  // Endpoints of a Service that we keep ourselves follow in a moment.
  if (own !== undefined && service.labels[managedLabel] !== undefined) {
    return { message: '', passes: true }
  }
  return { message: `port ${port} not found for hostname "${host}"`, passes: false }
}

/** Whether traffic can reach the listeners by the Services. */
export function programmedCondition(hosts: readonly string[], reach: Reach): WantedCondition {
  const type = 'Programmed'
  const { internal, warnings, isUsable } = reach
  const failed = (reason: string, message: string): WantedCondition => ({
    type,
    status: 'False',
    reason,
    message,
  })
  if (hosts.length === 0) {
    return failed('UnsupportedAddress', 'Failed to assign to any requested addresses')
  }
  const assigned = readableList(internal)
  if (warnings.length > 0) {
    const start =
      internal.length === 0
        ? 'Failed to assign to any requested addresses: '
        : `Assigned to service(s) ${assigned}, but failed to assign to all requested addresses: `
    const reason = isUsable ? 'AddressNotAssigned' : 'AddressNotUsable'
    return failed(reason, `${start}${warnings.join('; ')}`)
  }
  const message =
    internal.length === 0
      ? 'Resource programmed'
      : `Resource programmed, assigned to service(s) ${assigned}`
  return { type, status: 'True', reason: 'Programmed', message }
}
