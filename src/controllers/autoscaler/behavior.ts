/** How fast an autoscaler may move: recommendations are remembered, and so are changes. Pure but for its memory. */
import type { AutoscalerSpec, ScalingRules } from './types.ts'

const defaultUp: Required<ScalingRules> = {
  stabilizationWindowSeconds: 0,
  selectPolicy: 'Max',
  policies: [
    { type: 'Pods', value: 4, periodSeconds: 15 },
    { type: 'Percent', value: 100, periodSeconds: 15 },
  ],
}
const defaultDown: Required<ScalingRules> = {
  stabilizationWindowSeconds: 300,
  selectPolicy: 'Max',
  policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
}

/** What an autoscaler remembers of one target; lost with the process, as in Kubernetes. */
export interface Memory {
  recommendations: { readonly atMs: number; readonly replicas: number }[]
  changes: { readonly atMs: number; readonly by: number }[]
}

export interface Decision {
  readonly replicas: number
  /** Of the condition AbleToScale. */
  readonly able: { readonly reason: string; readonly message: string }
  /** Of the condition ScalingLimited; undefined: not limited. */
  readonly limited: { readonly reason: string; readonly message: string } | undefined
}

export function decide(
  spec: AutoscalerSpec,
  memory: Memory,
  now: { readonly replicas: number; readonly asked: number; readonly atMs: number },
): Decision {
  const up = { ...defaultUp, ...spec.behavior?.scaleUp }
  const down = { ...defaultDown, ...spec.behavior?.scaleDown }
  const stable = stabilize(memory, now, up, down)
  let able = { reason: 'ReadyForNewScale', message: 'recommended size matches current size' }
  if (stable !== now.asked) {
    able =
      stable > now.asked
        ? {
            reason: 'ScaleDownStabilized',
            message:
              'recent recommendations were higher than current one, applying the highest recent recommendation',
          }
        : {
            reason: 'ScaleUpStabilized',
            message:
              'recent recommendations were lower than current one, applying the lowest recent recommendation',
          }
  }
  const { minReplicas = 1, maxReplicas } = spec
  let replicas = stable
  let limited: Decision['limited']
  const limit = (to: number, reason: string, message: string): void => {
    replicas = to
    limited = { reason, message }
  }
  if (stable > now.replicas) {
    const most = rateLimit(memory, now, up, 1)
    if (stable > most)
      limit(
        most,
        'ScaleUpLimit',
        'the desired replica count is increasing faster than the maximum scale rate',
      )
  } else if (stable < now.replicas) {
    const least = rateLimit(memory, now, down, -1)
    if (stable < least)
      limit(
        least,
        'ScaleDownLimit',
        'the desired replica count is decreasing faster than the maximum scale rate',
      )
  }
  if (replicas > maxReplicas)
    limit(
      maxReplicas,
      'TooManyReplicas',
      'the desired replica count is more than the maximum replica count',
    )
  if (replicas < minReplicas)
    limit(
      minReplicas,
      'TooFewReplicas',
      'the desired replica count is less than the minimum replica count',
    )
  return { replicas, able, limited }
}

/** The highest recommendation of the window holds a fall back, the lowest one a rise. */
function stabilize(
  memory: Memory,
  now: { readonly replicas: number; readonly asked: number; readonly atMs: number },
  up: Required<ScalingRules>,
  down: Required<ScalingRules>,
): number {
  const upMs = up.stabilizationWindowSeconds * 1000
  const downMs = down.stabilizationWindowSeconds * 1000
  const oldest = now.atMs - Math.max(upMs, downMs)
  memory.recommendations = memory.recommendations.filter(({ atMs }) => atMs > oldest)
  let [lowest, highest] = [now.asked, now.asked]
  for (const { atMs, replicas } of memory.recommendations) {
    if (atMs > now.atMs - upMs) lowest = Math.min(lowest, replicas)
    if (atMs > now.atMs - downMs) highest = Math.max(highest, replicas)
  }
  memory.recommendations.push({ atMs: now.atMs, replicas: now.asked })
  return Math.min(Math.max(now.replicas, lowest), highest)
}

/** The farthest size that the policies allow now. */
function rateLimit(
  memory: Memory,
  now: { readonly replicas: number; readonly atMs: number },
  rules: Required<ScalingRules>,
  direction: 1 | -1,
): number {
  if (rules.selectPolicy === 'Disabled') return now.replicas
  const longestMs = Math.max(0, ...rules.policies.map(({ periodSeconds }) => periodSeconds * 1000))
  memory.changes = memory.changes.filter(
    ({ atMs, by }) => Math.sign(by) !== direction || atMs > now.atMs - longestMs,
  )
  const sizes = rules.policies.map(({ type, value, periodSeconds }) => {
    const moved = memory.changes
      .filter(
        ({ atMs, by }) => Math.sign(by) === direction && atMs > now.atMs - periodSeconds * 1000,
      )
      .reduce((sum, { by }) => sum + by, 0)
    const start = now.replicas - moved
    if (type === 'Pods') return start + direction * value
    return direction > 0
      ? Math.ceil(start * (1 + value / 100))
      : Math.floor(start * (1 - value / 100))
  })
  const farthest = (rules.selectPolicy === 'Min') === direction > 0 ? Math.min : Math.max
  return farthest(...sizes)
}
