/** Services get their cluster IP and node ports here, and keep them over updates. */
import { cidrContains, formatIp, parseCidr, parseIp } from '../../base/index.ts'
import { internalError, invalid, type KubeObject, type StatusCause } from '../../kube/index.ts'
import type { ObjectStore } from '../store/objects.ts'
import { type JsonMap, listOf, mapOf, stringsOf, textOf } from '../values.ts'
import type { AdmissionRequest, AdmissionStep } from './admission.ts'
import { Allocator } from './allocator.ts'

/** Addresses below this offset are left for those who ask for one by name, as in Kubernetes. */
const staticBand = 256
const firstNodePort = 30_000
const nodePortCount = 2_768

export class ServiceAdmission implements AdmissionStep {
  readonly #range: string
  readonly #store: ObjectStore
  readonly #addresses: Allocator
  readonly #ports: Allocator

  /** @param range the CIDR of cluster IPs */
  constructor(store: ObjectStore, range: string, random: () => number) {
    this.#store = store
    this.#range = range
    const cidr = parseCidr(range)
    if (cidr === undefined || cidr.address.length !== 4)
      throw internalError(`bad service range ${range}`)
    const base = toNumber(cidr.address)
    const size = 2 ** (32 - cidr.length)
    this.#addresses = new Allocator(base + staticBand, size - staticBand - 1, random)
    this.#ports = new Allocator(firstNodePort, nodePortCount, random)
  }

  /** Takes what stored Services have, and follows their changes. */
  start(): void {
    const bucket = this.#store.bucket('/services')
    for (const entry of bucket.list()) {
      const service = entry.parse()
      this.#hold(service)
    }
    bucket.listen(({ type, entry, previous }) => {
      if (previous === undefined) return
      this.#release(previous.parse(), type === 'DELETED' ? undefined : entry.parse())
    })
  }

  admit(request: AdmissionRequest, service: KubeObject, old: KubeObject | undefined): boolean {
    const { type, subresource } = request
    if (type.group !== '' || type.resource !== 'services') return false
    if (subresource !== undefined) return false
    const spec = mapOf(service.spec)
    service.spec = spec
    if (old !== undefined) keepAllocated(spec, mapOf(old.spec))
    const owner = service.metadata.uid ?? ''
    if (spec.type === 'ExternalName') {
      for (const field of [
        'clusterIP',
        'clusterIPs',
        'ipFamilies',
        'ipFamilyPolicy',
        'internalTrafficPolicy',
      ]) {
        delete spec[field]
      }
      return true
    }
    this.#allocateAddress(service, spec, owner)
    const wantsPorts =
      spec.type === 'NodePort' ||
      (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false)
    for (const [index, port] of listOf(spec.ports).entries()) {
      if (wantsPorts) this.#allocatePort(service, { port, index, owner })
      else if (spec.type !== 'LoadBalancer') delete port.nodePort
    }
    return true
  }

  abandon(object: KubeObject, old: KubeObject | undefined): void {
    if (object.kind === 'Service') this.#release(object, old)
  }

  #allocateAddress(service: KubeObject, spec: JsonMap, owner: string): void {
    let address = textOf(spec.clusterIP) || (stringsOf(spec.clusterIPs)[0] ?? '')
    if (address === '') {
      const free = this.#addresses.next(owner)
      if (free === undefined) throw internalError(`no cluster IP is left in ${this.#range}`)
      address = toText(free)
    } else if (address !== 'None') {
      const complain = (why: string): never =>
        refuse(
          service,
          'spec.clusterIPs',
          `Invalid value: ["${address}"]: failed to allocate IP ${address}: ${why}`,
        )
      const bytes = parseIp(address)
      const cidr = parseCidr(this.#range)
      if (bytes === undefined || cidr === undefined || !cidrContains(cidr, bytes)) {
        complain(
          `the provided IP (${address}) is not in the valid range. The range of valid IPs is ${this.#range}`,
        )
      } else if (!this.#addresses.take(toNumber(bytes), owner)) {
        complain('provided IP is already allocated')
      }
    }
    spec.clusterIP = address
    spec.clusterIPs = [address]
    spec.ipFamilies ??= ['IPv4']
    spec.ipFamilyPolicy ??= 'SingleStack'
    spec.internalTrafficPolicy ??= 'Cluster'
  }

  #allocatePort(
    service: KubeObject,
    request: { readonly port: JsonMap; readonly index: number; readonly owner: string },
  ): void {
    const { port, index, owner } = request
    if (typeof port.nodePort === 'number' && port.nodePort > 0) {
      const field = `spec.ports[${index}].nodePort`
      if (port.nodePort < firstNodePort || port.nodePort >= firstNodePort + nodePortCount) {
        const last = firstNodePort + nodePortCount - 1
        refuse(
          service,
          field,
          `Invalid value: ${port.nodePort}: provided port is not in the valid range. ` +
            `The range of valid ports is ${firstNodePort}-${last}`,
        )
      }
      if (!this.#ports.take(port.nodePort, owner)) {
        refuse(
          service,
          field,
          `Invalid value: ${port.nodePort}: provided port is already allocated`,
        )
      }
      return
    }
    const free = this.#ports.next(owner)
    if (free === undefined) throw internalError('no node port is left')
    port.nodePort = free
  }

  #hold(service: KubeObject): void {
    const { addresses, ports } = allocationsOf(service)
    const owner = service.metadata.uid ?? ''
    for (const address of addresses) this.#addresses.take(address, owner)
    for (const port of ports) this.#ports.take(port, owner)
  }

  /** Gives back what `service` had and `kept` no longer has. */
  #release(service: KubeObject, kept: KubeObject | undefined): void {
    const before = allocationsOf(service)
    const after = kept === undefined ? { addresses: [], ports: [] } : allocationsOf(kept)
    const owner = service.metadata.uid ?? ''
    for (const address of before.addresses) {
      if (!after.addresses.includes(address)) this.#addresses.release(address, owner)
    }
    for (const port of before.ports)
      if (!after.ports.includes(port)) this.#ports.release(port, owner)
  }
}

/** An update that leaves allocated values out keeps them. */
function keepAllocated(spec: JsonMap, old: JsonMap): void {
  if (
    old.type !== 'ExternalName' &&
    textOf(spec.clusterIP) === '' &&
    spec.clusterIPs === undefined
  ) {
    spec.clusterIP = old.clusterIP
    spec.clusterIPs = old.clusterIPs
  }
  for (const port of listOf(spec.ports)) {
    if (port.nodePort !== undefined && port.nodePort !== 0) continue
    const same = listOf(old.ports).find(
      (other) => other.port === port.port && (other.protocol ?? 'TCP') === (port.protocol ?? 'TCP'),
    )
    if (same?.nodePort !== undefined) port.nodePort = same.nodePort
  }
}

function allocationsOf(service: KubeObject): { addresses: number[]; ports: number[] } {
  const spec = mapOf(service.spec)
  const bytes = parseIp(textOf(spec.clusterIP))
  return {
    addresses: bytes?.length === 4 ? [toNumber(bytes)] : [],
    ports: listOf(spec.ports)
      .map(({ nodePort }) => nodePort)
      .filter((port): port is number => typeof port === 'number' && port > 0),
  }
}

function refuse(service: KubeObject, field: string, message: string): never {
  const cause: StatusCause = { reason: 'FieldValueInvalid', message, field }
  throw invalid({ group: '', kind: 'Service', name: service.metadata.name }, [{ ...cause, field }])
}

function toNumber(bytes: Uint8Array): number {
  return bytes.reduce((value, byte) => value * 256 + byte, 0)
}

function toText(value: number): string {
  return formatIp(
    Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255),
  )
}
