/** Rules for what steers workloads: autoscalers and disruption budgets. */

import type { Cursor } from './report.ts'
import { amountErrors } from './workload-validation.ts'

const windowMaxSeconds = 3600
const periodMaxSeconds = 1800
const sources: Readonly<Record<string, string>> = {
  Resource: 'resource',
  ContainerResource: 'containerResource',
  Pods: 'pods',
  Object: 'object',
  External: 'external',
}

export function autoscalerErrors(object: Cursor): void {
  const spec = object.child('spec')
  if (spec === undefined) {
    object.required('spec')
    return
  }
  const min = spec.number('minReplicas') ?? 1
  const max = spec.number('maxReplicas') ?? 0
  if (min < 1) spec.invalid('minReplicas', 'must be greater than or equal to 1')
  if (max < 1) spec.invalid('maxReplicas', 'must be greater than 0', max)
  if (max < min) spec.invalid('maxReplicas', 'must be greater than or equal to `minReplicas`', max)
  const target = spec.child('scaleTargetRef')
  if (target === undefined) spec.required('scaleTargetRef')
  target?.need('kind')
  target?.need('name')
  const utilization = spec.number('targetCPUUtilizationPercentage')
  if (utilization !== undefined && utilization < 1) {
    spec.invalid('targetCPUUtilizationPercentage', 'must be greater than 0')
  }
  for (const metric of spec.children('metrics')) metricErrors(metric)
  const behavior = spec.child('behavior')
  for (const name of ['scaleUp', 'scaleDown']) {
    const rules = behavior?.child(name)
    if (rules !== undefined) scalingErrors(rules)
  }
}

function metricErrors(metric: Cursor): void {
  if (!metric.need('type', 'must specify a metric source type')) return
  const kinds = Object.keys(sources)
  const field = sources[metric.text('type') ?? '']
  if (field === undefined) {
    metric.notSupported('type', kinds)
    return
  }
  const source = metric.child(field)
  if (source === undefined) {
    metric.required(field, 'must populate information for the given metric source')
    return
  }
  if (field === 'resource' || field === 'containerResource') source.need('name')
  if (field === 'containerResource') source.need('container')
  const target = source.child('target')
  if (target === undefined) {
    source.required('target', 'must specify a metric target')
    return
  }
  target.oneOf('type', ['Utilization', 'Value', 'AverageValue'])
  const utilization = target.number('averageUtilization')
  if (utilization !== undefined && utilization < 1) {
    target.invalid('averageUtilization', 'must be greater than 0')
  }
  if (!field.toLowerCase().endsWith('resource')) return
  if (utilization === undefined && !target.isSet('averageValue')) {
    const text = 'must set either a target raw value or a target utilization'
    target.required('averageUtilization', text)
  } else if (utilization !== undefined && target.isSet('averageValue')) {
    target.forbidden('averageValue', 'may not set both a target raw value and a target utilization')
  }
}

function scalingErrors(rules: Cursor): void {
  const window = rules.number('stabilizationWindowSeconds')
  if (window !== undefined && window > windowMaxSeconds) {
    rules.invalid('stabilizationWindowSeconds', `must be less than or equal to ${windowMaxSeconds}`)
  }
  rules.notNegative('stabilizationWindowSeconds')
  rules.oneOf('selectPolicy', ['Max', 'Min', 'Disabled'])
  for (const policy of rules.children('policies')) {
    policy.oneOf('type', ['Pods', 'Percent'])
    if ((policy.number('value') ?? 0) <= 0) {
      policy.invalid('value', 'must be greater than zero')
    }
    const period = policy.number('periodSeconds') ?? 0
    if (period <= 0) policy.invalid('periodSeconds', 'must be greater than zero')
    else if (period > periodMaxSeconds) {
      policy.invalid('periodSeconds', `must be less than or equal to ${periodMaxSeconds}`)
    }
  }
}

export function disruptionBudgetErrors(object: Cursor): void {
  const spec = object.child('spec')
  if (spec === undefined) return
  if (spec.isSet('minAvailable') && spec.isSet('maxUnavailable')) {
    spec.errors.push({
      reason: 'FieldValueInvalid',
      message: 'Invalid value: minAvailable and maxUnavailable cannot be both set',
      field: spec.path,
    })
  }
  for (const name of ['minAvailable', 'maxUnavailable']) amountErrors(spec, name)
  spec.oneOf('unhealthyPodEvictionPolicy', ['AlwaysAllow', 'IfHealthyBudget'])
}
