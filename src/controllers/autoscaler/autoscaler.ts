/**
 * HorizontalPodAutoscaler → the scale of its target. Every 15 s the metrics API is asked for the target's pods;
 * `calculate.ts` says what they ask for, `behavior.ts` how fast that may come.
 */
import { isDeepStrictEqual } from 'node:util'
import { type Component, toError } from '../../base/index.ts'
import { type Informer, objectKey, WorkQueue } from '../../client/index.ts'
import {
  ApiError,
  type Condition,
  formatTime,
  type GroupVersionResource,
  type KubeList,
  type KubeObject,
  matchesLabels,
  parseLabelSelector,
  resources,
  type Status,
  withCondition,
} from '../../kube/index.ts'
import type { ControllerContext } from '../context.ts'
import { servedResources } from '../discovery.ts'
import { limits } from '../limits.ts'
import type { Pod } from '../workload-types.ts'
import { decide, type Memory } from './behavior.ts'
import { type Answer, askedByMetric } from './calculate.ts'
import type {
  Autoscaler,
  AutoscalerStatus,
  MetricSpec,
  MetricStatus,
  PodMetrics,
  Scale,
} from './types.ts'

const metricsPath = '/apis/metrics.k8s.io/v1beta1'
const inNamespace = 'namespace'

export class AutoscalerController implements Component {
  readonly #context: ControllerContext
  readonly #autoscalers: Informer<Autoscaler>
  readonly #pods: Informer<Pod>
  readonly #queue: WorkQueue
  readonly #memory = new Map<string, Memory>()
  /** `group/Kind` → its resource. */
  #kinds = new Map<string, GroupVersionResource>()

  constructor(context: ControllerContext) {
    this.#context = context
    this.#autoscalers = context.informers.of(resources.horizontalpodautoscalers)
    this.#pods = context.informers.of(resources.pods)
    this.#pods.addIndex(inNamespace, ({ metadata }) => [metadata.namespace ?? ''])
    this.#queue = new WorkQueue({
      name: 'autoscaler controller',
      work: (key) => this.#sync(key),
      clock: context.clock,
      logger: context.logger,
    })
  }

  async start(): Promise<void> {
    this.#autoscalers.on({
      added: (object) => this.#queue.add(objectKey(object)),
      updated: (object, previous) => {
        // Its own status must not bring the next look forward.
        if (!isDeepStrictEqual(object.spec, previous.spec)) this.#queue.add(objectKey(object))
      },
      deleted: (object) => this.#memory.delete(objectKey(object)),
    })
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  async #sync(key: string): Promise<void> {
    const autoscaler = this.#autoscalers.get(key)
    if (autoscaler?.spec === undefined) return
    try {
      await this.#reconcile(key, autoscaler)
    } finally {
      this.#queue.addAfter(key, limits.autoscalerPeriodMs)
    }
  }

  async #reconcile(key: string, autoscaler: Autoscaler): Promise<void> {
    const { events, clock } = this.#context
    const report = new Report(autoscaler, clock.now())
    const target = await this.#target(autoscaler).catch((error: unknown) => toError(error))
    if (target instanceof Error) {
      report.set(
        'AbleToScale',
        'False',
        'FailedGetScale',
        `the HPA controller was unable to get the target's current scale: ${target.message}`,
      )
      events.record(autoscaler, 'Warning', 'FailedGetScale', target.message)
      return this.#write(autoscaler, report.status())
    }
    report.set(
      'AbleToScale',
      'True',
      'SucceededGetScale',
      "the HPA controller was able to get the target's current scale",
    )
    const replicas = target.scale.spec?.replicas ?? 0
    const seen = target.scale.status?.replicas ?? 0
    if (replicas === 0) {
      report.set(
        'ScalingActive',
        'False',
        'ScalingDisabled',
        'scaling is disabled since the replica count of the target is zero',
      )
      return this.#write(autoscaler, report.status({ currentReplicas: seen, desiredReplicas: 0 }))
    }
    const asked = await this.#asked(autoscaler, target.scale, replicas, report)
    if (asked === undefined) {
      return this.#write(
        autoscaler,
        report.status({ currentReplicas: seen, desiredReplicas: replicas }),
      )
    }
    const memory = this.#memory.get(key) ?? { recommendations: [], changes: [] }
    this.#memory.set(key, memory)
    const decision = decide(autoscaler.spec as NonNullable<Autoscaler['spec']>, memory, {
      replicas,
      asked: asked.replicas,
      atMs: clock.now(),
    })
    report.set('AbleToScale', 'True', decision.able.reason, decision.able.message)
    if (decision.limited === undefined) {
      report.set(
        'ScalingLimited',
        'False',
        'DesiredWithinRange',
        'the desired count is within the acceptable range',
      )
    } else {
      report.set('ScalingLimited', 'True', decision.limited.reason, decision.limited.message)
    }
    let lastScaleTime: string | undefined
    if (decision.replicas !== replicas) {
      await this.#rescale(autoscaler, target.path, decision.replicas, asked.reason)
      memory.changes.push({ atMs: clock.now(), by: decision.replicas - replicas })
      report.set(
        'AbleToScale',
        'True',
        'SucceededRescale',
        `the HPA controller was able to update the target scale to ${decision.replicas}`,
      )
      lastScaleTime = formatTime(clock.now())
    }
    await this.#write(
      autoscaler,
      report.status({
        currentReplicas: seen,
        desiredReplicas: decision.replicas,
        currentMetrics: asked.metrics,
        ...(lastScaleTime === undefined ? {} : { lastScaleTime }),
      }),
    )
  }

  async #rescale(
    autoscaler: Autoscaler,
    path: string,
    replicas: number,
    why: string,
  ): Promise<void> {
    const { client, events } = this.#context
    const headers = { 'content-type': 'application/merge-patch+json' }
    const answer = await client.raw('PATCH', path, { spec: { replicas } }, headers)
    if (answer.code !== 200) throw new ApiError(JSON.parse(answer.body.toString()) as Status)
    const before = autoscaler.status?.desiredReplicas ?? 0
    const reason = replicas > before ? `${why} above target` : 'All metrics below target'
    events.record(
      autoscaler,
      'Normal',
      'SuccessfulRescale',
      `New size: ${replicas}; reason: ${reason}`,
    )
  }

  async #target(autoscaler: Autoscaler): Promise<{ scale: Scale; path: string }> {
    const {
      apiVersion = 'apps/v1',
      kind,
      name,
    } = autoscaler.spec?.scaleTargetRef ?? { kind: '', name: '' }
    const group = apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : ''
    const id = `${group}/${kind}`
    if (!this.#kinds.has(id)) {
      const served = await servedResources(this.#context.client)
      this.#kinds = new Map(served.map((each) => [`${each.gvr.group}/${each.kind}`, each.gvr]))
    }
    const gvr = this.#kinds.get(id)
    if (gvr === undefined) throw new Error(`no matches for kind "${kind}" in group "${group}"`)
    const root = gvr.group === '' ? `/api/${gvr.version}` : `/apis/${gvr.group}/${gvr.version}`
    const path = `${root}/namespaces/${autoscaler.metadata.namespace}/${gvr.resource}/${name}/scale`
    return { scale: await this.#read<Scale>(path), path }
  }

  async #read<T>(path: string): Promise<T> {
    const answer = await this.#context.client.raw('GET', path)
    const text = answer.body.toString()
    if (answer.code === 200) return JSON.parse(text) as T
    // A group that is not served is answered in plain text.
    if (!text.startsWith('{')) throw new Error('the server could not find the requested resource')
    throw new ApiError(JSON.parse(text) as Status)
  }

  /** The highest number that a metric asks for. */
  async #asked(
    autoscaler: Autoscaler,
    scale: Scale,
    replicas: number,
    report: Report,
  ): Promise<{ replicas: number; reason: string; metrics: MetricStatus[] } | undefined> {
    const { events, clock } = this.#context
    const { namespace = 'default' } = autoscaler.metadata
    const selectorText = scale.status?.selector ?? ''
    const selector = parseLabelSelector(selectorText)
    const pods = this.#pods
      .byIndex(inNamespace, namespace)
      .filter(({ metadata }) => matchesLabels(selector, metadata.labels))
    const path = `${metricsPath}/namespaces/${namespace}/pods?labelSelector=${encodeURIComponent(selectorText)}`
    const list = await this.#read<KubeList<PodMetrics>>(path).catch((error: unknown) =>
      toError(error),
    )
    const metrics = new Map(
      (list instanceof Error ? [] : list.items).map((item) => [item.metadata.name, item]),
    )
    const found: { replicas: number; value: MetricStatus; reason: string }[] = []
    let problem: { reason: string; why: string } | undefined
    for (const spec of autoscaler.spec?.metrics ?? []) {
      const { name, what, failed } = describe(spec)
      const source = spec.resource ?? spec.containerResource
      const answer: Answer =
        list instanceof Error
          ? { why: `unable to fetch metrics from resource metrics API: ${list.message}` }
          : source === undefined
            ? { why: `metrics of type ${spec.type} are not served in standalone mode` }
            : askedByMetric({
                resource: source.name,
                container: spec.containerResource?.container,
                target: source.target,
                replicas,
                pods,
                metrics,
                nowMs: clock.now(),
              })
      if ('why' in answer)
        problem ??= { reason: failed, why: `failed to get ${name} ${answer.why}` }
      else found.push({ ...answer, reason: what })
    }
    const highest = found.toSorted((a, b) => b.replicas - a.replicas)[0]
    // One metric that can't be told may hide a higher number: then nothing shrinks.
    if (highest === undefined || (problem !== undefined && highest.replicas < replicas)) {
      const { reason = 'FailedGetResourceMetric', why = 'no metrics' } = problem ?? {}
      report.set(
        'ScalingActive',
        'False',
        reason,
        `the HPA was unable to compute the replica count: ${why}`,
      )
      events.record(autoscaler, 'Warning', reason, why)
      return undefined
    }
    report.set(
      'ScalingActive',
      'True',
      'ValidMetricFound',
      `the HPA was able to successfully calculate a replica count from ${highest.reason}`,
    )
    return {
      replicas: highest.replicas,
      reason: highest.reason,
      metrics: found.map(({ value }) => value),
    }
  }

  async #write(autoscaler: Autoscaler, status: AutoscalerStatus): Promise<void> {
    if (isDeepStrictEqual(autoscaler.status, status)) return
    const { client } = this.#context
    const { namespace, name } = autoscaler.metadata
    // A patch of what it alone writes: the spec may have changed meanwhile.
    const gvr = resources.horizontalpodautoscalers
    await client.patch<KubeObject>(
      gvr,
      namespace,
      name,
      'merge',
      { status },
      { subresource: 'status' },
    )
  }
}

function describe(spec: MetricSpec): { name: string; what: string; failed: string } {
  const source = spec.resource ?? spec.containerResource
  if (source === undefined) {
    return { name: `${spec.type} metric:`, what: spec.type, failed: `FailedGet${spec.type}Metric` }
  }
  const { name, target } = source
  const kind = spec.resource === undefined ? 'container resource' : 'resource'
  return target.type === 'Utilization'
    ? {
        name: `${name} utilization:`,
        what: `${name} ${kind} utilization (percentage of request)`,
        failed:
          spec.resource === undefined
            ? 'FailedGetContainerResourceMetric'
            : 'FailedGetResourceMetric',
      }
    : {
        name: `${name} usage:`,
        what: `${name} ${kind}`,
        failed:
          spec.resource === undefined
            ? 'FailedGetContainerResourceMetric'
            : 'FailedGetResourceMetric',
      }
}

/** Collects conditions; what was known before stays where nothing new is said. */
class Report {
  readonly #autoscaler: Autoscaler
  readonly #now: string
  #conditions: readonly Condition[]

  constructor(autoscaler: Autoscaler, nowMs: number) {
    this.#autoscaler = autoscaler
    this.#now = formatTime(nowMs)
    this.#conditions = autoscaler.status?.conditions ?? []
  }

  set(type: string, status: 'True' | 'False', reason: string, message: string): void {
    const condition: Condition = { type, status, reason, message }
    this.#conditions = withCondition(this.#conditions, condition, this.#now)
  }

  status(values: Partial<AutoscalerStatus> = {}): AutoscalerStatus {
    return {
      ...this.#autoscaler.status,
      ...values,
      conditions: this.#conditions,
    }
  }
}
