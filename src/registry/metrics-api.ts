/**
 * `metrics.k8s.io/v1beta1`: what pods and the node use, for `kubectl top` and autoscalers. Nothing of it is stored:
 * the backend measures, the registry knows names and labels. Served only when the backend can measure.
 */
import type { Clock } from '../base/index.ts'
import { formatTime, type KubeObject, methodNotAllowed, notFound } from '../kube/index.ts'
import type { PodBackend, ResourceUsage, UsageReport } from './backend.ts'
import { noBackend } from './errors.ts'
import type { Exchange } from './http/exchange.ts'
import type { ResourceType } from './resource-type.ts'
import type { Entry } from './store/entry.ts'
import type { ObjectStore } from './store/objects.ts'
import { matcherOf } from './verbs/list.ts'
import type { Target } from './verbs/target.ts'
import { partialMetadata } from './verbs/view.ts'

export const metricsGroup = 'metrics.k8s.io'
const apiVersion = `${metricsGroup}/v1beta1`

function metricsType(kind: string, resource: string, namespaced: boolean): ResourceType {
  return {
    group: metricsGroup,
    version: 'v1beta1',
    kind,
    listKind: `${kind}List`,
    resource,
    singular: '',
    namespaced,
    shortNames: [],
    categories: [],
    verbs: ['get', 'list'],
    subresources: [],
    storageVersion: 'v1beta1',
    generation: false,
    custom: undefined,
    warning: undefined,
  }
}

/** What the catalogue holds while a backend measures. */
export const metricsTypes: readonly ResourceType[] = [
  metricsType('NodeMetrics', 'nodes', false),
  metricsType('PodMetrics', 'pods', true),
]

type Metrics = KubeObject & { usage?: Usage; containers?: { name: string; usage: Usage }[] }

interface Usage {
  readonly cpu: string
  readonly memory: string
}

export class MetricsApi {
  readonly #store: ObjectStore
  readonly #clock: Clock

  constructor(store: ObjectStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  async answer(exchange: Exchange, target: Target, backend: PodBackend | undefined): Promise<void> {
    if (exchange.method !== 'GET' || exchange.flag('watch')) throw methodNotAllowed()
    if (backend?.usage === undefined) throw noBackend()
    const { type, namespace, name } = target
    const pods = type.resource === 'pods'
    const bucket = this.#store.bucket(pods ? '/pods' : '/nodes')
    const report = await backend.usage()
    const measure = (entry: Entry): Metrics | undefined =>
      pods ? this.#ofPod(entry, report) : this.#ofNode(entry, report)
    if (name !== undefined) {
      const entry = bucket.get(namespace ?? '', name)
      const found = entry === undefined ? undefined : measure(entry)
      if (found === undefined) {
        const full = namespace === undefined ? name : `${namespace}/${name}`
        throw notFound({ group: metricsGroup, kind: `${type.kind.toLowerCase()}`, name: full })
      }
      return exchange.json(200, this.#view(exchange, [found]) ?? found)
    }
    const match = matcherOf(exchange, { ...target, bucket })
    const items = bucket
      .list(namespace)
      .filter((entry) => match?.(entry) ?? true)
      .flatMap((entry) => measure(entry) ?? [])
    const list = { kind: type.listKind, apiVersion, metadata: {}, items }
    exchange.json(200, this.#view(exchange, items) ?? list)
  }

  #ofPod(entry: Entry, report: UsageReport): Metrics | undefined {
    const containers = report.pods.get(entry.index.uid)
    if (containers === undefined || containers.size === 0) return undefined
    const { namespace, name } = entry
    return {
      ...this.#head('PodMetrics', entry, report, { name, namespace }),
      containers: [...containers].map(([container, usage]) => {
        return { name: container, usage: usageText(usage) }
      }),
    }
  }

  #ofNode(entry: Entry, report: UsageReport): Metrics | undefined {
    const usage = report.nodes.get(entry.name)
    if (usage === undefined) return undefined
    return {
      ...this.#head('NodeMetrics', entry, report, { name: entry.name }),
      usage: usageText(usage),
    }
  }

  #head(
    kind: string,
    entry: Entry,
    report: UsageReport,
    place: { readonly name: string; readonly namespace?: string },
  ): Metrics {
    const { labels } = entry.index
    const timing = {
      timestamp: formatTime(report.atMs),
      window: `${(report.windowMs / 1000).toFixed(3)}s`,
    }
    return {
      kind,
      apiVersion,
      metadata: {
        ...place,
        creationTimestamp: formatTime(this.#clock.now()),
        ...(Object.keys(labels).length === 0 ? {} : { labels: { ...labels } }),
      },
      ...timing,
    }
  }

  /** The form that the client asked for, when it is not the plain one. */
  #view(exchange: Exchange, items: readonly Metrics[]): object | undefined {
    const { as } = exchange.representation
    if (as === undefined) return undefined
    if (as !== 'Table') {
      const partial = items.map(partialMetadata)
      if (as === 'PartialObjectMetadata') return partial[0]
      return { kind: as, apiVersion: 'meta.k8s.io/v1', metadata: {}, items: partial }
    }
    return {
      kind: 'Table',
      apiVersion: 'meta.k8s.io/v1',
      metadata: {},
      columnDefinitions: columns,
      rows: items.map((item) => ({ cells: cells(item), object: partialMetadata(item) })),
    }
  }
}

const column = (name: string, format = '') => {
  return { name, type: 'string', format, description: '', priority: 0 }
}
const columns = [
  column('Name', 'name'),
  column('cpu', 'quantity'),
  column('memory', 'quantity'),
  column('Window', 'duration'),
]

function cells(item: Metrics): unknown[] {
  const { window } = item as Metrics & { window?: string }
  const all = item.containers?.map(({ usage }) => usage) ?? [
    item.usage ?? { cpu: '0', memory: '0' },
  ]
  const sum = (read: (usage: Usage) => string): number =>
    all.reduce((total, usage) => total + Number.parseInt(read(usage), 10), 0)
  return [
    item.metadata.name,
    `${sum(({ cpu }) => cpu)}n`,
    `${sum(({ memory }) => memory)}Ki`,
    window,
  ]
}

function usageText({ cpuNanoCores, memoryBytes }: ResourceUsage): Usage {
  return { cpu: `${Math.round(cpuNanoCores)}n`, memory: `${Math.round(memoryBytes / 1024)}Ki` }
}
