/** From a reference to a Service to an endpoint of it that is ready. */
import { MeshError } from '../../../base/index.ts'
import type { KubeObject } from '../../../kube/index.ts'
import type { ObjectStore } from '../../store/objects.ts'
import { type JsonMap, listOf, mapOf, stringsOf, textOf, valueAt } from '../../values.ts'
import type { ServiceReference } from './configuration.ts'
import type { WebhookAddress } from './dial.ts'

const serviceNameLabel = 'kubernetes.io/service-name'

export class ServiceEndpoints {
  readonly #store: ObjectStore
  readonly #random: () => number

  constructor(store: ObjectStore, random: () => number) {
    this.#store = store
    this.#random = random
  }

  /** One of the ready endpoints, any of them. Throws what the user shall read when there is none. */
  resolve({ namespace, name, port }: ServiceReference): WebhookAddress {
    const service = this.#store.bucket('/services').get(namespace, name)?.parse()
    if (service === undefined) throw unreachable(`service "${name}" not found`)
    const spec = mapOf(service.spec)
    if (spec.type === 'ExternalName') {
      return { host: textOf(spec.externalName), port, inCluster: false }
    }
    const wanted = listOf(spec.ports).find((each) => each.port === port)
    if (wanted === undefined) {
      throw unreachable(`no service port ${port} found for service "${name}"`)
    }
    const found = this.#endpoints(namespace, name, textOf(wanted.name))
    const chosen = found[Math.floor(this.#random() * found.length)]
    if (chosen === undefined) throw unreachable(`no endpoints available for service "${name}"`)
    return chosen
  }

  #endpoints(namespace: string, name: string, portName: string): WebhookAddress[] {
    return this.#store
      .bucket('discovery.k8s.io/endpointslices')
      .list(namespace)
      .filter(({ index }) => index.labels[serviceNameLabel] === name)
      .flatMap((entry) => addressesOf(entry.parse(), portName))
  }
}

function addressesOf(slice: KubeObject, portName: string): WebhookAddress[] {
  const { ports, endpoints } = slice as unknown as JsonMap
  const port = listOf(ports).find((each) => textOf(each.name) === portName)?.port
  if (typeof port !== 'number') return []
  return listOf(endpoints)
    .filter((endpoint) => valueAt(endpoint, 'conditions.ready') !== false)
    .flatMap((endpoint) => stringsOf(endpoint.addresses).slice(0, 1))
    .map((host) => ({ host, port, inCluster: true }))
}

function unreachable(text: string): MeshError {
  return new MeshError('WEBHOOK_UNREACHABLE', text)
}
