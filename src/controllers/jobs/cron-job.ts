/**
 * CronJob → Jobs at the times of its schedule. Every look computes from the object, its Jobs and the clock what
 * the newest missed time is; the timer only brings the next look.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Component } from '../../base/index.ts'
import { objectKey, WorkQueue } from '../../client/index.ts'
import {
  controllerReference,
  formatTime,
  isApiError,
  isTimeZone,
  parseSchedule,
  resources,
  type Schedule,
} from '../../kube/index.ts'
import type { ControllerContext } from '../context.ts'
import { limits } from '../limits.ts'
import { Owned } from '../owned.ts'
import { namespaceTerminating } from '../pod-control.ts'
import {
  type CronJob,
  type CronJobStatus,
  finishedAs,
  type Job,
  type ObjectReference,
  scheduledAnnotation,
} from './types.ts'

/** A timer may not be longer (2^31 ms); an earlier look costs nothing. */
const longestWaitMs = 24 * 3_600_000

export class CronJobController implements Component {
  readonly #context: ControllerContext
  readonly #owned: Owned<CronJob, Job>
  readonly #queue: WorkQueue
  readonly #written = new Map<string, number>()

  constructor(context: ControllerContext) {
    this.#context = context
    this.#owned = new Owned<CronJob, Job>({
      context,
      kind: 'CronJob',
      ownerResource: resources.cronjobs,
      childResource: resources.jobs,
      selectorOf: () => undefined,
      wake: (key) => this.#queue.add(key),
    })
    this.#queue = new WorkQueue({
      name: 'cronjob controller',
      work: (key) => this.#sync(key),
      clock: context.clock,
      logger: context.logger,
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
    const cron = this.#owned.owners.get(key)
    if (cron?.spec === undefined) return void this.#written.delete(key)
    if (Number(cron.metadata.resourceVersion) < (this.#written.get(key) ?? 0)) return
    if (cron.metadata.deletionTimestamp !== undefined) return
    const jobs = this.#owned.of(cron)
    const status: CronJobStatus = { ...cron.status, active: this.#stillActive(cron, jobs) }
    for (const job of jobs) {
      const { completionTime } = job.status ?? {}
      if (
        finishedAs(job)?.type === 'Complete' &&
        (completionTime ?? '') > (status.lastSuccessfulTime ?? '')
      )
        status.lastSuccessfulTime = completionTime ?? ''
    }
    try {
      await this.#trimHistory(cron, jobs)
      const schedule = this.#schedule(cron)
      if (schedule !== undefined && cron.spec.suspend !== true) {
        await this.#startDue(cron, jobs, schedule, status)
        const next = schedule.next(this.#context.clock.now())
        if (next !== undefined) this.#wakeAt(key, next)
      }
    } finally {
      await this.#write(cron, status)
    }
  }

  #wakeAt(key: string, atMs: number): void {
    const waitMs = Math.min(atMs - this.#context.clock.now() + 10, longestWaitMs)
    this.#queue.addAfter(key, waitMs)
  }

  /** The Jobs in the status that still run; what happened to the others becomes an event. */
  #stillActive(cron: CronJob, jobs: readonly Job[]): ObjectReference[] {
    const { events } = this.#context
    const byUid = new Map(jobs.map((job) => [job.metadata.uid, job]))
    const active: ObjectReference[] = []
    for (const reference of cron.status?.active ?? []) {
      const job = byUid.get(reference.uid ?? '')
      const finished = job === undefined ? undefined : finishedAs(job)
      if (job === undefined) {
        // Made a moment ago, perhaps.
        if (this.#owned.children.get(`${cron.metadata.namespace}/${reference.name}`) === undefined)
          events.record(cron, 'Normal', 'MissingJob', `Active job went missing: ${reference.name}`)
      } else if (finished !== undefined) {
        const text = `Saw completed job: ${reference.name}, condition: ${finished.type}`
        events.record(cron, 'Normal', 'SawCompletedJob', text)
      } else active.push(reference)
    }
    for (const job of jobs) {
      const known = cron.status?.active?.some(({ uid }) => uid === job.metadata.uid)
      if (known === true || finishedAs(job) !== undefined) continue
      if (job.metadata.annotations?.[scheduledAnnotation] !== undefined)
        active.push(referenceTo(job))
      else {
        const text = `Saw a job that the controller did not create or forgot: ${job.metadata.name}`
        events.record(cron, 'Warning', 'UnexpectedJob', text)
      }
    }
    return active
  }

  #schedule(cron: CronJob): Schedule | undefined {
    const { events } = this.#context
    const { schedule = '', timeZone } = cron.spec ?? {}
    if (timeZone !== undefined && !isTimeZone(timeZone)) {
      events.record(cron, 'Warning', 'UnknownTimeZone', `invalid timeZone: "${timeZone}"`)
      return undefined
    }
    try {
      return parseSchedule(schedule, timeZone)
    } catch (error) {
      const why = `unparseable schedule "${schedule}": ${(error as Error).message}`
      events.record(cron, 'Warning', 'UnparseableSchedule', why)
      return undefined
    }
  }

  async #startDue(
    cron: CronJob,
    jobs: readonly Job[],
    schedule: Schedule,
    status: CronJobStatus,
  ): Promise<void> {
    const { events, client, clock } = this.#context
    const due = this.#newestDue(cron, schedule)
    if (due === undefined) return
    const { concurrencyPolicy, startingDeadlineSeconds, timeZone } = cron.spec ?? {}
    if (
      startingDeadlineSeconds !== undefined &&
      due + startingDeadlineSeconds * 1000 < clock.now()
    ) {
      const text = `Missed scheduled time to start a job: ${new Date(due).toUTCString()}`
      return events.record(cron, 'Warning', 'MissSchedule', text)
    }
    if (concurrencyPolicy === 'Forbid' && (status.active ?? []).length > 0) {
      const text =
        'Not starting job because prior execution is running and concurrency policy is Forbid'
      return events.record(cron, 'Normal', 'JobAlreadyActive', text)
    }
    if (concurrencyPolicy === 'Replace') {
      const running = new Set((status.active ?? []).map(({ uid }) => uid))
      await this.#remove(
        cron,
        jobs.filter(({ metadata }) => running.has(metadata.uid)),
      )
      status.active = []
    }
    const wanted = newJob(cron, due, timeZone)
    const job = await client.create<Job>(resources.jobs, wanted).catch(async (error: unknown) => {
      if (namespaceTerminating(error)) return undefined
      if (isApiError(error, 'AlreadyExists')) {
        const { namespace, name } = wanted.metadata
        const present = await client.get<Job>(resources.jobs, namespace, name)
        const mine = present?.metadata.ownerReferences?.some(({ uid }) => uid === cron.metadata.uid)
        // Made before our last stop; it only has to be written down.
        if (mine === true) return present
      }
      const text = `Error creating job: ${(error as Error).message}`
      events.record(cron, 'Warning', 'FailedCreate', text)
      throw error
    })
    if (job === undefined) return
    events.record(cron, 'Normal', 'SuccessfulCreate', `Created job ${job.metadata.name}`)
    const others = (status.active ?? []).filter(({ uid }) => uid !== job.metadata.uid)
    status.active = [...others, ...(finishedAs(job) === undefined ? [referenceTo(job)] : [])]
    status.lastScheduleTime = formatTime(due)
  }

  /** The newest time of the schedule that has passed and was not met. */
  #newestDue(cron: CronJob, schedule: Schedule): number | undefined {
    const nowMs = this.#context.clock.now()
    const { creationTimestamp = '' } = cron.metadata
    const { startingDeadlineSeconds } = cron.spec ?? {}
    let from = Date.parse(cron.status?.lastScheduleTime ?? creationTimestamp)
    if (startingDeadlineSeconds !== undefined) {
      from = Math.max(from, nowMs - startingDeadlineSeconds * 1000)
    }
    let newest: number | undefined
    let missed = 0
    for (let time = schedule.next(from); time !== undefined && time <= nowMs; ) {
      newest = time
      missed++
      if (missed > limits.missedSchedulesMax) {
        newest = lastBefore(schedule, time, nowMs)
        const text =
          'too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew'
        this.#context.events.record(cron, 'Warning', 'TooManyMissedTimes', text)
        break
      }
      time = schedule.next(time)
    }
    return newest
  }

  async #trimHistory(cron: CronJob, jobs: readonly Job[]): Promise<void> {
    const { successfulJobsHistoryLimit = 3, failedJobsHistoryLimit = 1 } = cron.spec ?? {}
    for (const [type, limit] of [
      ['Complete', successfulJobsHistoryLimit],
      ['Failed', failedJobsHistoryLimit],
    ] as const) {
      const done = jobs
        .filter(
          (job) => finishedAs(job)?.type === type && job.metadata.deletionTimestamp === undefined,
        )
        .toSorted((a, b) => (a.status?.startTime ?? '').localeCompare(b.status?.startTime ?? ''))
      await this.#remove(cron, done.slice(0, Math.max(0, done.length - limit)))
    }
  }

  async #remove(cron: CronJob, jobs: readonly Job[]): Promise<void> {
    const { client, events } = this.#context
    for (const { metadata } of jobs) {
      try {
        await client.delete(resources.jobs, metadata.namespace, metadata.name, {
          propagationPolicy: 'Background',
        })
        events.record(cron, 'Normal', 'SuccessfulDelete', `Deleted job ${metadata.name}`)
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error
      }
    }
  }

  async #write(cron: CronJob, status: CronJobStatus): Promise<void> {
    const wanted = { ...status }
    if ((wanted.active ?? []).length === 0) delete wanted.active
    if (isDeepStrictEqual(cron.status ?? {}, wanted)) return
    const written = await this.#context.client.update<CronJob>(
      resources.cronjobs,
      { ...cron, status: wanted },
      { subresource: 'status' },
    )
    this.#written.set(objectKey(cron), Number(written.metadata.resourceVersion))
  }
}

/** After a long sleep: the last time before now, found with few steps. */
function lastBefore(schedule: Schedule, from: number, nowMs: number): number {
  let found = from
  for (let backMs = 60_000; backMs < nowMs - from; backMs *= 4) {
    const time = schedule.next(nowMs - backMs)
    if (time === undefined || time > nowMs) continue
    found = time
    break
  }
  for (let next = schedule.next(found); next !== undefined && next <= nowMs; ) {
    found = next
    next = schedule.next(found)
  }
  return found
}

function newJob(cron: CronJob, dueMs: number, timeZone: string | undefined): Job {
  const { name, namespace = 'default' } = cron.metadata
  const { metadata = {}, spec = { template: { spec: {} } } } = cron.spec?.jobTemplate ?? {}
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: `${name}-${Math.trunc(dueMs / 60_000)}`,
      namespace,
      ...(metadata.labels === undefined ? {} : { labels: { ...metadata.labels } }),
      annotations: { ...metadata.annotations, [scheduledAnnotation]: inZone(dueMs, timeZone) },
      ownerReferences: [controllerReference(cron)],
    },
    spec,
  }
}

/** RFC 3339 with the offset of the zone. */
function inZone(ms: number, timeZone = 'UTC'): string {
  if (timeZone === 'UTC') return formatTime(ms)
  const format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' })
  const name = format.formatToParts(ms).find(({ type }) => type === 'timeZoneName')?.value ?? 'GMT'
  const offset = name.replace('GMT', '') || 'Z'
  if (offset === 'Z') return formatTime(ms)
  const [hours = '0', minutes = '0'] = offset.slice(1).split(':')
  const shift = (Number(hours) * 60 + Number(minutes)) * 60_000 * (offset.startsWith('-') ? -1 : 1)
  return formatTime(ms + shift).replace('Z', offset)
}

function referenceTo(job: Job): ObjectReference {
  const { apiVersion, kind, metadata } = job
  const { namespace = 'default', name, uid = '', resourceVersion = '' } = metadata
  return { kind, namespace, name, uid, apiVersion, resourceVersion }
}
