/**
 * Job → Pods until enough have succeeded or too many failed. `plan.ts` decides; this creates and deletes pods, and
 * counts each ended pod exactly once: first its uid goes into the status, then its finalizer away,
 * then the number up, so that no crash in between loses or doubles one.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Component } from '../../base/index.ts'
import { objectKey, WorkQueue } from '../../client/index.ts'
import { controllerOf, formatTime, isApiError, resources } from '../../kube/index.ts'
import type { ControllerContext } from '../context.ts'
import { limits } from '../limits.ts'
import { Owned } from '../owned.ts'
import { PodControl } from '../pod-control.ts'
import type { Pod } from '../workload-types.ts'
import {
  deadlineMs,
  isIndexed,
  isTracked,
  type JobView,
  outcomeOf,
  pendingIndexes,
  surplusPods,
  viewJob,
  wantedActive,
} from './plan.ts'
import { jobPod } from './pod.ts'
import { finalConditions, statusOf, suspension } from './status.ts'
import { finishedAs, type Job, type JobStatus, trackingFinalizer } from './types.ts'

const byJob = 'job'
const ourName = 'kubernetes.io/job-controller'

/** Failed pods since the last success: the next one waits longer. */
interface Failures {
  count: number
  lastMs: number
}

export class JobController implements Component {
  readonly #context: ControllerContext
  readonly #owned: Owned<Job, Pod>
  readonly #control: PodControl
  readonly #queue: WorkQueue
  readonly #failures = new Map<string, Failures>()
  /** Uids of pods whose finalizer is being removed, until the cache shows it. */
  readonly #settled = new Set<string>()
  /** The version that we wrote last: with an older one in the cache ended pods would be missed. */
  readonly #written = new Map<string, number>()

  constructor(context: ControllerContext) {
    this.#context = context
    this.#control = new PodControl(context)
    this.#owned = new Owned<Job, Pod>({
      context,
      kind: 'Job',
      ownerResource: resources.jobs,
      childResource: resources.pods,
      selectorOf: (job) => job.spec?.selector,
      wake: (key) => this.#queue.add(key),
      onChild: (key, pod, change) => {
        this.#control.seen(key, pod, change)
        if (change === 'deleted' || !isTracked(pod)) this.#settled.delete(pod.metadata.uid ?? '')
      },
    })
    this.#owned.children.addIndex(byJob, (pod) => {
      const owner = controllerOf(pod)
      return owner?.kind === 'Job' ? [`${pod.metadata.namespace}/${owner.name}`] : []
    })
    this.#queue = new WorkQueue({
      name: 'job controller',
      work: (key) => this.#sync(key),
      clock: context.clock,
      logger: context.logger,
      concurrency: 4,
    })
  }

  async start(): Promise<void> {
    this.#owned.listen()
    await this.#queue.start()
  }

  stop(): Promise<void> {
    return this.#queue.stop()
  }

  async #sync(key: string): Promise<void> {
    const job = this.#owned.owners.get(key)
    await this.#releaseStrays(key, job)
    if (job?.spec === undefined) {
      this.#failures.delete(key)
      this.#written.delete(key)
      return this.#control.forget(key)
    }
    // The newer state is on its way, and wakes us again.
    if (Number(job.metadata.resourceVersion) < (this.#written.get(key) ?? 0)) return
    if ((job.spec.managedBy ?? ourName) !== ourName) return
    if (finishedAs(job) !== undefined) return this.#afterwards(key, job)
    const pods = await this.#owned.claim(job)
    if (job.metadata.deletionTimestamp !== undefined) {
      await this.#untrack(pods.filter((pod) => pod.metadata.deletionTimestamp !== undefined))
      return
    }
    await this.#work(key, job, pods)
  }

  async #work(key: string, job: Job, pods: readonly Pod[]): Promise<void> {
    const { clock } = this.#context
    const view = viewJob(job, pods, this.#settled)
    this.#countFailures(key, view)
    const outcome = outcomeOf(job, view, clock.now())
    const waits: (number | undefined)[] = [deadlineMs(job, clock.now())]
    let failure: unknown
    let active = view.active.length
    if (this.#control.settled(key)) {
      try {
        if (outcome !== undefined) active -= await this.#deleteActive(key, job, view.active)
        else {
          const managed = await this.#manage(key, job, view)
          active += managed.change
          waits.push(managed.waitMs)
        }
      } catch (error) {
        failure = error
      }
    }
    await this.#track(job, pods, view, { active, outcome })
    const next = waits.filter((wait) => wait !== undefined)
    if (failure !== undefined) throw failure
    if (outcome === undefined && next.length > 0) this.#queue.addAfter(key, Math.min(...next) + 50)
  }

  /** Brings the number of active pods to what it should be. */
  async #manage(
    key: string,
    job: Job,
    view: JobView,
  ): Promise<{ change: number; waitMs?: number }> {
    const { clock } = this.#context
    const surplus = view.active.length - wantedActive(job, view)
    const extra = surplusPods(job, view, Math.max(0, surplus))
    if (extra.length > 0) {
      const chosen = extra.slice(0, limits.podBurst)
      // Who is deleted by us has not failed.
      await this.#untrack(chosen)
      await Promise.all(chosen.map((pod) => this.#control.delete(key, job, pod)))
      return { change: -chosen.length }
    }
    const replaced = job.spec?.podReplacementPolicy === 'Failed' ? view.terminating.length : 0
    const missing = Math.min(-surplus - replaced, limits.podBurst)
    if (missing <= 0) return { change: 0 }
    const waitMs = this.#backoffMs(key, clock.now())
    if (waitMs > 0) return { change: 0, waitMs }
    const indexes = isIndexed(job)
      ? pendingIndexes(job, view, missing)
      : Array.from({ length: missing }, () => undefined)
    const made = indexes.map((index) =>
      jobPod(job, index, view.indexFailures.get(index ?? -1) ?? 0, this.#context.random),
    )
    const results = await Promise.allSettled(made.map((pod) => this.#control.create(key, job, pod)))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    return { change: made.length }
  }

  #countFailures(key: string, view: JobView): void {
    const known = this.#failures.get(key) ?? { count: 0, lastMs: 0 }
    if (view.succeededNow.length > 0) known.count = 0
    else if (view.failedNow.length > 0) {
      known.count += view.failedNow.length
      known.lastMs = this.#context.clock.now()
    }
    if (known.count > 0) this.#failures.set(key, known)
    else this.#failures.delete(key)
  }

  #backoffMs(key: string, nowMs: number): number {
    const known = this.#failures.get(key)
    if (known === undefined) return 0
    const delay = Math.min(limits.jobBackoffMs * 2 ** (known.count - 1), limits.jobBackoffMaxMs)
    return Math.max(0, known.lastMs + delay - nowMs)
  }

  async #deleteActive(key: string, job: Job, active: readonly Pod[]): Promise<number> {
    await Promise.all(active.map((pod) => this.#control.delete(key, job, pod)))
    return active.length
  }

  /** Writes the status, in the three steps that count each pod once. */
  async #track(
    job: Job,
    pods: readonly Pod[],
    view: JobView,
    now: { readonly active: number; readonly outcome: ReturnType<typeof outcomeOf> },
  ): Promise<void> {
    const nowMs = this.#context.clock.now()
    this.#announceSuspension(job)
    const { succeeded = [], failed = [] } = job.status?.uncountedTerminatedPods ?? {}
    const uids = (ended: readonly Pod[]): string[] =>
      ended.map(({ metadata }) => metadata.uid ?? '')
    const uncounted = {
      succeeded: [...succeeded, ...uids(view.succeededNow)],
      failed: [...failed, ...uids(view.failedNow)],
    }
    const before = statusOf(job, { view, ...now, uncounted, nowMs })
    const counting = uncounted.succeeded.length + uncounted.failed.length > 0
    let current = job
    if (counting) current = await this.#write(job, before)
    const waiting = new Set([...uncounted.succeeded, ...uncounted.failed])
    await this.#untrack([
      ...pods.filter((pod) => waiting.has(pod.metadata.uid ?? '')),
      ...view.ignoredNow,
    ])
    const after = statusOf(current, { view, ...now, uncounted: {}, nowMs, counted: uncounted })
    const { outcome } = now
    const over = outcome !== undefined && now.active === 0 && view.terminating.length === 0
    const conditions = over ? finalConditions(after.conditions ?? [], outcome, nowMs) : undefined
    if (conditions !== undefined) after.conditions = conditions
    if (over && outcome.type === 'SuccessCriteriaMet') after.completionTime = formatTime(nowMs)
    await this.#write(current, after)
    if (over) this.#announce(job, outcome)
  }

  async #write(job: Job, status: JobStatus): Promise<Job> {
    if (isDeepStrictEqual(job.status ?? {}, status)) return job
    const { client } = this.#context
    const body = { ...job, status }
    const written = await client.update<Job>(resources.jobs, body, { subresource: 'status' })
    this.#written.set(objectKey(job), Number(written.metadata.resourceVersion))
    return written
  }

  #announce(job: Job, outcome: { type: string; reason: string; message: string }): void {
    const { events } = this.#context
    if (outcome.type === 'FailureTarget')
      events.record(job, 'Warning', outcome.reason, outcome.message)
    else events.record(job, 'Normal', 'Completed', 'Job completed')
  }

  #announceSuspension(job: Job): void {
    const change = suspension(job)
    if (change === 'suspended')
      this.#context.events.record(job, 'Normal', 'Suspended', 'Job suspended')
    if (change === 'resumed') this.#context.events.record(job, 'Normal', 'Resumed', 'Job resumed')
  }

  /** A finished Job: its pods are free, and it goes after its time to live. */
  async #afterwards(key: string, job: Job): Promise<void> {
    await this.#untrack(this.#owned.of(job))
    this.#failures.delete(key)
    const { ttlSecondsAfterFinished } = job.spec ?? {}
    if (ttlSecondsAfterFinished === undefined) return
    if (job.metadata.deletionTimestamp !== undefined) return
    const { client, clock } = this.#context
    const since = Date.parse(finishedAs(job)?.lastTransitionTime ?? '')
    const leftMs = since + ttlSecondsAfterFinished * 1000 - clock.now()
    if (leftMs > 0) return this.#queue.addAfter(key, leftMs)
    const { namespace, name, uid = '' } = job.metadata
    await client
      .delete(resources.jobs, namespace, name, {
        propagationPolicy: 'Foreground',
        preconditions: { uid },
      })
      .catch(ignoreGone)
  }

  /** Pods whose Job is gone (or another of the same name) must not wait for it. */
  async #releaseStrays(key: string, job: Job | undefined): Promise<void> {
    const strays = this.#owned.children
      .byIndex(byJob, key)
      .filter((pod) => controllerOf(pod)?.uid !== job?.metadata.uid)
    await this.#untrack(strays)
  }

  async #untrack(pods: readonly Pod[]): Promise<void> {
    const { client } = this.#context
    const tracked = pods.filter(
      (pod) => isTracked(pod) && !this.#settled.has(pod.metadata.uid ?? ''),
    )
    await Promise.all(
      tracked.map(async (pod) => {
        const { namespace, name, uid = '' } = pod.metadata
        const removed = { '$deleteFromPrimitiveList/finalizers': [trackingFinalizer] }
        const body = { metadata: { uid, ...removed } }
        this.#settled.add(uid)
        try {
          await client.patch(resources.pods, namespace, name, 'strategic', body)
        } catch (error) {
          // A pod that is gone, or another of its name, has no finalizer of ours.
          if (isApiError(error) && [404, 409].includes(error.status.code)) return
          this.#settled.delete(uid)
          throw error
        }
      }),
    )
  }
}

function ignoreGone(error: unknown): void {
  if (!isApiError(error) || ![404, 409].includes(error.status.code)) throw error
}
