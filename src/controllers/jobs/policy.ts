/** What a Job's policies say about pods that failed, and about indexes that succeeded. Pure. */
import type { Pod } from '../workload-types.ts'
import { parseIndexes } from './indexes.ts'
import type { FailureRule, Job } from './types.ts'

export type Verdict =
  | { readonly action: 'Count' | 'Ignore' | 'FailIndex' }
  | { readonly action: 'FailJob'; readonly message: string }

/** The first rule that matches decides; without one the failure counts. */
export function judgeFailure(job: Job, pod: Pod): Verdict {
  const rules = job.spec?.podFailurePolicy?.rules ?? []
  for (const [position, rule] of rules.entries()) {
    const why = matches(rule, pod)
    if (why === undefined) continue
    if (rule.action !== 'FailJob') return { action: rule.action }
    const { namespace, name } = pod.metadata
    return {
      action: 'FailJob',
      message: `${why.replace('%pod', `${namespace}/${name}`)} matching FailJob rule at index ${position}`,
    }
  }
  return { action: 'Count' }
}

function matches(rule: FailureRule, pod: Pod): string | undefined {
  const { onExitCodes, onPodConditions } = rule
  if (onExitCodes !== undefined) {
    const { containerName, operator, values } = onExitCodes
    const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {}
    for (const { name, state } of [...containerStatuses, ...initContainerStatuses]) {
      const code = state?.terminated?.exitCode ?? 0
      if (code === 0 || (containerName !== undefined && containerName !== name)) continue
      if (values.includes(code) === (operator === 'In')) {
        return `Container ${name} for pod %pod failed with exit code ${code}`
      }
    }
    return undefined
  }
  for (const { type, status = 'True' } of onPodConditions ?? []) {
    const found = pod.status?.conditions?.some((c) => c.type === type && c.status === status)
    if (found === true) return `Pod %pod has condition ${type}`
  }
  return undefined
}

/** Which rule of the success policy the succeeded indexes satisfy, if any. */
export function successRuleMet(job: Job, succeeded: ReadonlySet<number>): number | undefined {
  const completions = job.spec?.completions ?? 0
  const rules = job.spec?.successPolicy?.rules ?? []
  const position = rules.findIndex(({ succeededIndexes, succeededCount }) => {
    if (succeededIndexes === undefined) return succeeded.size >= (succeededCount ?? Infinity)
    const asked = parseIndexes(succeededIndexes, completions)
    const met = [...asked].filter((index) => succeeded.has(index)).length
    return met >= (succeededCount ?? asked.size)
  })
  return position < 0 ? undefined : position
}
