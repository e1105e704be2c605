/**
 * Service + Pods → EndpointSlice: the addresses behind a Service, with named target ports resolved for each pod.
 * Pods whose resolved ports differ go into different slices, at most 100 endpoints in each.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Component } from '../base/index.ts'
import { type Informer, objectKey, WorkQueue } from '../client/index.ts'
import { type KubeObject, resources } from '../kube/index.ts'
import type { ControllerContext } from './context.ts'
import { shortHash } from './pods.ts'
import { isReady, type Pod, type Service, type ServicePort } from './workload-types.ts'

const serviceLabel = 'kubernetes.io/service-name'
const managedLabel = 'endpointslice.kubernetes.io/managed-by'
const manager = 'endpointslice-controller.k8s.io'
const endpointsMax = 100
const byLabel = 'label'

interface Endpoint {
  addresses: string[]
  conditions: { ready: boolean; serving: boolean; terminating: boolean }
  hostname?: string
  nodeName?: string
  targetRef: { kind: 'Pod'; namespace: string; name: string; uid: string }
}

interface SlicePort {
  name: string
  protocol: string
  port: number
  appProtocol?: string
}

type Slice = KubeObject & { addressType: string; endpoints: Endpoint[]; ports: SlicePort[] }

export class EndpointSliceController implements Component {
  readonly #context: ControllerContext
  readonly #services: Informer<Service>
  readonly #pods: Informer<Pod>
  readonly #slices: Informer<Slice>
  readonly #queue: WorkQueue

  constructor(context: ControllerContext) {
    this.#context = context
    this.#services = context.informers.of(resources.services)
    this.#pods = context.informers.of(resources.pods)
    this.#slices = context.informers.of(resources.endpointslices)
    this.#services.addIndex(byLabel, (service) => firstPair(service) ?? [])
    this.#pods.addIndex(byLabel, ({ metadata }) =>
      Object.entries(metadata.labels ?? {}).map(([key, value]) =>
        labelKey(metadata.namespace, key, value),
      ),
    )
    this.#slices.addIndex('service', (slice) => [
      `${slice.metadata.namespace}/${slice.metadata.labels?.[serviceLabel]}`,
    ])
    this.#queue = new WorkQueue({
      name: 'endpointslice controller',
      work: (key) => this.#sync(key),
      clock: context.clock,
      logger: context.logger,
      concurrency: 4,
    })
  }

  async start(): Promise<void> {
    const enqueue = (service: Service): void => this.#queue.add(objectKey(service))
    this.#services.on({ added: enqueue, updated: enqueue, deleted: enqueue })
    this.#pods.on({
      added: (pod) => this.#podChanged(pod),
      updated: (pod, previous) => {
        this.#podChanged(pod)
        if (!isDeepStrictEqual(pod.metadata.labels, previous.metadata.labels))
          this.#podChanged(previous)
      },
      deleted: (pod) => this.#podChanged(pod),
    })
    this.#slices.on({
      deleted: (slice) => {
        if (slice.metadata.labels?.[managedLabel] === manager) this.#queue.add(serviceKey(slice))
      },
    })
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  #podChanged(pod: Pod): void {
    const { labels = {}, namespace } = pod.metadata
    for (const [key, value] of Object.entries(labels)) {
      for (const service of this.#services.byIndex(byLabel, labelKey(namespace, key, value))) {
        if (selects(service, pod)) this.#queue.add(objectKey(service))
      }
    }
  }

  async #sync(key: string): Promise<void> {
    const { client } = this.#context
    const service = this.#services.get(key)
    const present = this.#slices
      .byIndex('service', key)
      .filter((slice) => slice.metadata.labels?.[managedLabel] === manager)
    const wanted = service === undefined ? new Map<string, Slice>() : this.#wanted(service)
    for (const slice of present) {
      const next = wanted.get(slice.metadata.name)
      wanted.delete(slice.metadata.name)
      if (next === undefined) {
        await client.delete(resources.endpointslices, slice.metadata.namespace, slice.metadata.name)
      } else if (
        !isDeepStrictEqual(slice.endpoints ?? [], next.endpoints) ||
        !isDeepStrictEqual(slice.ports ?? [], next.ports) ||
        !isDeepStrictEqual(slice.metadata.labels, next.metadata.labels)
      ) {
        next.metadata.resourceVersion = slice.metadata.resourceVersion ?? ''
        await client.update(resources.endpointslices, next)
      }
    }
    for (const slice of wanted.values()) await client.create(resources.endpointslices, slice)
  }

  #wanted(service: Service): Map<string, Slice> {
    const slices = new Map<string, Slice>()
    if (service.spec?.selector === undefined || service.spec.type === 'ExternalName') return slices
    const groups = new Map<string, { ports: SlicePort[]; pods: Pod[] }>()
    const [pair = ''] = firstPair(service) ?? []
    for (const pod of this.#pods.byIndex(byLabel, pair)) {
      if (!selects(service, pod) || pod.status?.podIP === undefined || ended(pod)) continue
      const ports = resolvePorts(service.spec.ports ?? [], pod)
      const group = JSON.stringify(ports)
      const entry = groups.get(group) ?? { ports, pods: [] }
      entry.pods.push(pod)
      groups.set(group, entry)
    }
    // An empty slice tells clients that there is nothing, rather than nothing yet.
    if (groups.size === 0) groups.set('', { ports: [], pods: [] })
    for (const { ports, pods } of groups.values()) {
      const sorted = pods.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
      for (let start = 0; start === 0 || start < sorted.length; start += endpointsMax) {
        const endpoints = sorted
          .slice(start, start + endpointsMax)
          .map((pod) => endpoint(service, pod))
        const slice = newSlice(service, ports, endpoints, start / endpointsMax)
        slices.set(slice.metadata.name, slice)
      }
    }
    return slices
  }
}

function serviceKey(slice: KubeObject): string {
  return `${slice.metadata.namespace}/${slice.metadata.labels?.[serviceLabel]}`
}

function labelKey(namespace: string | undefined, key: string, value: string): string {
  return `${namespace}/${key}=${value}`
}

/** Whatever a Service selects has this label: so neither side looks through all of the other. */
function firstPair(service: Service): [string] | undefined {
  const pairs = Object.entries(service.spec?.selector ?? {})
  const [first] = pairs.toSorted(([a], [b]) => (a < b ? -1 : 1))
  return first === undefined ? undefined : [labelKey(service.metadata.namespace, ...first)]
}

function selects(service: Service, pod: Pod): boolean {
  const selector = service.spec?.selector
  if (selector === undefined || Object.keys(selector).length === 0) return false
  return Object.entries(selector).every(([key, value]) => pod.metadata.labels?.[key] === value)
}

function ended(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

/** A named target port is looked up in the pod's containers; one that the pod lacks is left out. */
function resolvePorts(ports: readonly ServicePort[], pod: Pod): SlicePort[] {
  const sidecars = (pod.spec?.initContainers ?? []).filter(
    (container) => container.restartPolicy === 'Always',
  )
  const named = [...(pod.spec?.containers ?? []), ...sidecars].flatMap(
    (container) => container.ports ?? [],
  )
  return ports.flatMap((port) => {
    const protocol = port.protocol ?? 'TCP'
    const target = port.targetPort ?? port.port
    const resolved =
      typeof target === 'number'
        ? target
        : named.find((entry) => entry.name === target && (entry.protocol ?? 'TCP') === protocol)
            ?.containerPort
    if (resolved === undefined) return []
    return [
      {
        name: port.name ?? '',
        protocol,
        port: resolved,
        ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
      },
    ]
  })
}

function endpoint(service: Service, pod: Pod): Endpoint {
  const serving = isReady(pod)
  const terminating = pod.metadata.deletionTimestamp !== undefined
  const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating)
  const named = pod.spec?.subdomain === service.metadata.name ? pod.spec?.hostname : undefined
  return {
    addresses: [pod.status?.podIP ?? ''],
    conditions: { ready, serving, terminating },
    ...(named === undefined ? {} : { hostname: named }),
    ...(pod.spec?.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
    targetRef: {
      kind: 'Pod',
      namespace: pod.metadata.namespace ?? '',
      name: pod.metadata.name,
      uid: pod.metadata.uid ?? '',
    },
  }
}

function newSlice(
  service: Service,
  ports: SlicePort[],
  endpoints: Endpoint[],
  page: number,
): Slice {
  const { name, namespace, uid = '', labels } = service.metadata
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      // Stable names, so that the same content is found again after a restart.
      name: `${name}-${shortHash([uid, ports, page]).slice(0, 5)}`,
      ...(namespace === undefined ? {} : { namespace }),
      labels: {
        ...labels,
        [serviceLabel]: name,
        [managedLabel]: manager,
        ...(service.spec?.clusterIP === 'None' ? { 'service.kubernetes.io/headless': '' } : {}),
      },
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'Service',
          name,
          uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    addressType: 'IPv4',
    endpoints,
    ports,
  }
}
