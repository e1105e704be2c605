/** Rules for Jobs and CronJobs: numbers, modes, policies, schedules. */
import { isTimeZone, parseSchedule } from '../../kube/index.ts'
import { asMap, type Json } from '../json.ts'
import type { Cursor } from './report.ts'
import { selectorOrError, templateErrors } from './workload-validation.ts'

/** Jobs are named after the CronJob, and eleven characters more. */
const cronNameMax = 52

const indexedParallelismMax = 100_000
const rulesMax = 20

export function jobErrors(object: Cursor, old: Json | undefined): void {
  const spec = object.child('spec')
  if (spec === undefined) {
    object.required('spec')
    return
  }
  const selector = asMap(spec.value('selector'))
  const parsed = selector === undefined ? undefined : selectorOrError(spec, selector)
  jobSpecErrors(spec)
  templateErrors(spec, parsed)
  const before = asMap(old?.['spec'])
  spec.immutable(
    before,
    'selector',
    'completionMode',
    'podFailurePolicy',
    'backoffLimitPerIndex',
    'managedBy',
    'successPolicy',
  )
  // A suspended job hasn't used its template yet.
  if (before?.['suspend'] !== true) spec.immutable(before, 'template')
  if (spec.value('completionMode') !== 'Indexed') spec.immutable(before, 'completions')
}

function jobSpecErrors(spec: Cursor): void {
  spec.notNegative(
    'parallelism',
    'completions',
    'backoffLimit',
    'activeDeadlineSeconds',
    'ttlSecondsAfterFinished',
    'backoffLimitPerIndex',
    'maxFailedIndexes',
  )
  spec.oneOf('completionMode', ['NonIndexed', 'Indexed'])
  spec.oneOf(
    'podReplacementPolicy',
    spec.isSet('podFailurePolicy') ? ['Failed'] : ['Failed', 'TerminatingOrFailed'],
  )
  indexErrors(spec)
  const policy = spec.child('podFailurePolicy')
  if (policy !== undefined) failurePolicyErrors(spec, policy)
  restartErrors(spec)
}

function indexErrors(spec: Cursor): void {
  const completions = spec.number('completions')
  const lost = spec.number('maxFailedIndexes')
  if (spec.value('completionMode') === 'Indexed') {
    if (completions === undefined) spec.required('completions', 'when completion mode is Indexed')
    if ((spec.number('parallelism') ?? 0) > indexedParallelismMax) {
      const text = `must be less than or equal to ${indexedParallelismMax} when completion mode is Indexed`
      spec.invalid('parallelism', text)
    }
    if (lost !== undefined && completions !== undefined && lost > completions) {
      spec.invalid('maxFailedIndexes', 'must be less than or equal to completions')
    }
  } else {
    for (const name of ['backoffLimitPerIndex', 'maxFailedIndexes', 'successPolicy']) {
      if (spec.isSet(name)) spec.invalid(name, 'requires indexed completion mode')
    }
  }
  if (lost !== undefined && !spec.isSet('backoffLimitPerIndex')) {
    spec.required('backoffLimitPerIndex', 'when maxFailedIndexes is specified')
  }
}

function restartErrors(spec: Cursor): void {
  const pod = spec.child('template')?.child('spec')
  const policy = pod?.text('restartPolicy') ?? 'Always'
  if (pod === undefined) return
  if (policy === 'Always') {
    pod.required('restartPolicy', 'valid values: "OnFailure", "Never"')
  } else if (policy !== 'OnFailure' && policy !== 'Never') {
    pod.notSupported('restartPolicy', ['OnFailure', 'Never'])
  } else if (policy !== 'Never' && spec.isSet('podFailurePolicy')) {
    pod.invalid('restartPolicy', 'only "Never" is supported when podFailurePolicy is specified')
  }
}

function failurePolicyErrors(spec: Cursor, policy: Cursor): void {
  const rules = policy.children('rules')
  if (rules.length > rulesMax) {
    policy.errors.push({
      reason: 'FieldValueTooMany',
      message: `Too many: ${rules.length}: must have at most ${rulesMax} items`,
      field: policy.at('rules'),
    })
  }
  const pod = spec.child('template')?.child('spec')
  const names = new Set(
    [...(pod?.children('containers') ?? []), ...(pod?.children('initContainers') ?? [])].map(
      (container) => container.text('name'),
    ),
  )
  for (const rule of rules) {
    const actions = ['Count', 'FailIndex', 'FailJob', 'Ignore']
    if (rule.need('action', `valid values: ${JSON.stringify(actions)}`)) {
      rule.oneOf('action', actions)
    }
    if (rule.value('action') === 'FailIndex' && !spec.isSet('backoffLimitPerIndex')) {
      rule.invalid('action', 'requires the backoffLimitPerIndex to be set')
    }
    const codes = rule.child('onExitCodes')
    const conditions = rule.children('onPodConditions')
    if (codes !== undefined && conditions.length > 0) {
      rule.invalid(
        'onPodConditions',
        'specifying both OnExitCodes and OnPodConditions is not supported',
      )
    } else if (codes === undefined && conditions.length === 0) {
      rule.errors.push({
        reason: 'FieldValueInvalid',
        message: 'Invalid value: specifying one of OnExitCodes and OnPodConditions is required',
        field: rule.path,
      })
    }
    if (codes !== undefined) exitCodeErrors(codes, names)
  }
}

function exitCodeErrors(codes: Cursor, names: ReadonlySet<string | undefined>): void {
  const name = codes.text('containerName')
  if (name !== undefined && !names.has(name)) {
    const text = 'must be one of the container or initContainer names in the pod template'
    codes.invalid('containerName', text)
  }
  codes.oneOf('operator', ['In', 'NotIn'])
  const values = codes.value('values')
  if (!Array.isArray(values) || values.length === 0) {
    codes.invalid('values', 'at least one value is required')
  } else if (codes.value('operator') === 'In' && values.includes(0)) {
    codes.invalid(`values[${values.indexOf(0)}]`, 'must not be 0 for the In operator', 0)
  }
}

export function cronJobErrors(object: Cursor): void {
  const metadata = object.child('metadata')
  if ((metadata?.text('name') ?? '').length > cronNameMax) {
    metadata?.invalid('name', `must be no more than ${cronNameMax} characters`)
  }
  const spec = object.child('spec')
  if (spec === undefined) {
    object.required('spec')
    return
  }
  scheduleErrors(spec)
  spec.oneOf('concurrencyPolicy', ['Allow', 'Forbid', 'Replace'])
  spec.notNegative(
    'startingDeadlineSeconds',
    'successfulJobsHistoryLimit',
    'failedJobsHistoryLimit',
  )
  const job = spec.child('jobTemplate')?.child('spec')
  if (job === undefined) {
    spec.required('jobTemplate.spec')
    return
  }
  jobSpecErrors(job)
  templateErrors(job, undefined)
}

function scheduleErrors(spec: Cursor): void {
  if (spec.need('schedule')) {
    const schedule = spec.text('schedule') ?? ''
    try {
      parseSchedule(schedule)
    } catch (error) {
      const zoned = /TZ=/.test(schedule)
      const text = 'cannot use TZ or CRON_TZ in schedule, use timeZone field instead'
      spec.invalid('schedule', zoned ? text : (error as Error).message)
    }
  }
  const zone = spec.text('timeZone')
  if (zone === undefined) return
  if (zone === '') spec.invalid('timeZone', 'timeZone must be nil or non-empty string')
  else if (zone === 'Local' || !isTimeZone(zone)) {
    spec.invalid('timeZone', `unknown time zone ${zone}`)
  }
}
