/** Telemetry: providers, sampling, tags, overrides and filters. */
import { CelEnvironment, standardLibraries, types } from '../../cel/index.ts'
import { checkTargets } from './common.ts'
import type { Complaint, Place } from './findings.ts'

export function checkTelemetry(spec: Place): void {
  checkTargets(spec)
  for (const metrics of spec.at('metrics').items) checkMetrics(metrics)
  const tracing = spec.at('tracing')
  if (tracing.items.length > 1) tracing.warn('multiple tracing is not currently supported')
  for (const one of tracing.items) checkTracing(one)
  for (const logging of spec.at('accessLogging').items) {
    const expression = logging.at('filter').at('expression')
    if (logging.at('filter').present) expression.check(filterExpression(expression.text))
    checkProviders(logging)
  }
}

function checkProviders(holder: Place): void {
  const nameless = holder.at('providers').items.find((one) => one.at('name').text === '')
  nameless?.error('providers.name may not be empty')
}

function checkTracing(tracing: Place): void {
  if (tracing.at('providers').items.length > 1) {
    tracing.at('providers').warn('multiple providers is not currently supported')
  }
  checkProviders(tracing)
  const share = tracing.at('randomSamplingPercentage')
  if (share.number < 0 || share.number > 100) {
    share.error('randomSamplingPercentage must be in range [0.0, 100.0]')
  }
  for (const [name, tag] of tracing.at('customTags').entries) {
    if (name === '') tag.error('tag name may not be empty')
    if (!tag.present) tag.error(`tag '${name}' may not have a nil value`)
    const needs = (kind: string, field: string, message: string): void => {
      if (tag.at(kind).present && tag.at(kind).at(field).text === '') tag.error(message)
    }
    needs('literal', 'value', 'literal tag value may not be empty')
    needs('header', 'name', 'header tag name may not be empty')
    needs('environment', 'name', 'environment tag name may not be empty')
    needs('formatter', 'value', 'formatter tag value may not be empty')
  }
}

function checkMetrics(metrics: Place): void {
  checkProviders(metrics)
  for (const override of metrics.at('overrides').items) {
    for (const [name, tag] of override.at('tagOverrides').entries) {
      if (name === '') tag.warn('tagOverrides.name may not be empty')
      if (!tag.present) {
        tag.error('tagOverrides may not be null')
        continue
      }
      const removes = tag.at('operation').text === 'REMOVE'
      const value = tag.at('value').text
      if (!removes && value === '') {
        tag.error('tagOverrides.value must be set when operation is UPSERT')
      }
      if (removes && value !== '') {
        tag.error('tagOverrides.value may only be set when operation is UPSERT')
      }
    }
    const custom = override.at('match').at('customMetric')
    if (custom.present && custom.text === '') custom.error('customMetric may not be empty')
  }
}

/** What Envoy's access log filter knows; what is in it depends on the request. */
const attributes = [
  'request',
  'response',
  'connection',
  'upstream',
  'source',
  'destination',
  'metadata',
  'filter_state',
  'upstream_filter_state',
  'xds',
  'node',
  'plugin_name',
  'plugin_root_id',
  'plugin_vm_id',
  'cluster_name',
  'cluster_metadata',
  'listener_direction',
  'listener_metadata',
  'route_name',
  'route_metadata',
].map((name) => ({ name, type: types.dyn }))

const environment = new CelEnvironment(standardLibraries)

function filterExpression(text: string): Complaint {
  if (text === '') return 'filter expression may not be empty'
  try {
    environment.compile(text, attributes)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
