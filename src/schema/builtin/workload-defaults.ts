/** Defaults of workloads: Deployment, ReplicaSet, DaemonSet, StatefulSet, Job, CronJob, autoscalers. */
import { asMap, asText, type Json, mapsOf } from '../json.ts'
import { podTemplateDefaults } from './pod-defaults.ts'
import { defaults, ensureMap, isUnset } from './set.ts'

const specOf = (object: Json): Json => asMap(object['spec']) ?? {}

/** Status fields that Go writes even when they are zero; clients count on them. */
function statusDefaults(object: Json, values: Json = {}): void {
  const status = ensureMap(object, 'status')
  if (status !== undefined) defaults(status, values)
}

export function deploymentDefaults(object: Json): void {
  const spec = specOf(object)
  defaults(spec, { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 })
  const strategy = ensureMap(spec, 'strategy')
  if (strategy !== undefined) {
    if (strategy['type'] === '') delete strategy['type']
    defaults(strategy, { type: 'RollingUpdate' })
    const rolling =
      strategy['type'] === 'RollingUpdate' ? ensureMap(strategy, 'rollingUpdate') : undefined
    if (rolling !== undefined) defaults(rolling, { maxUnavailable: '25%', maxSurge: '25%' })
  }
  podTemplateDefaults(spec)
  statusDefaults(object)
}

export function replicaSetDefaults(object: Json): void {
  const spec = specOf(object)
  defaults(spec, { replicas: 1 })
  podTemplateDefaults(spec)
  statusDefaults(object, { replicas: 0 })
}

export function replicationControllerDefaults(object: Json): void {
  const spec = specOf(object)
  const labels = asMap(asMap(asMap(spec['template'])?.['metadata'])?.['labels'])
  if (labels !== undefined) defaults(spec, { selector: { ...labels } })
  replicaSetDefaults(object)
}

export function daemonSetDefaults(object: Json): void {
  const spec = specOf(object)
  defaults(spec, { revisionHistoryLimit: 10 })
  const strategy = ensureMap(spec, 'updateStrategy')
  if (strategy !== undefined) {
    defaults(strategy, { type: 'RollingUpdate' })
    const rolling =
      strategy['type'] === 'RollingUpdate' ? ensureMap(strategy, 'rollingUpdate') : undefined
    if (rolling !== undefined) defaults(rolling, { maxUnavailable: 1, maxSurge: 0 })
  }
  podTemplateDefaults(spec)
  statusDefaults(object, {
    currentNumberScheduled: 0,
    numberMisscheduled: 0,
    desiredNumberScheduled: 0,
    numberReady: 0,
  })
}

export function statefulSetDefaults(object: Json): void {
  const spec = specOf(object)
  defaults(spec, { replicas: 1, revisionHistoryLimit: 10, podManagementPolicy: 'OrderedReady' })
  const strategy = ensureMap(spec, 'updateStrategy')
  if (strategy !== undefined) {
    defaults(strategy, { type: 'RollingUpdate' })
    const rolling =
      strategy['type'] === 'RollingUpdate' ? ensureMap(strategy, 'rollingUpdate') : undefined
    if (rolling !== undefined) defaults(rolling, { partition: 0 })
  }
  const retention = ensureMap(spec, 'persistentVolumeClaimRetentionPolicy')
  if (retention !== undefined) defaults(retention, { whenDeleted: 'Retain', whenScaled: 'Retain' })
  for (const claim of mapsOf(spec['volumeClaimTemplates'])) {
    defaults(claim, { apiVersion: 'v1', kind: 'PersistentVolumeClaim' })
    persistentVolumeClaimDefaults(claim)
  }
  podTemplateDefaults(spec)
  statusDefaults(object, { replicas: 0, availableReplicas: 0 })
}

export function persistentVolumeClaimDefaults(claim: Json): void {
  defaults(specOf(claim), { volumeMode: 'Filesystem' })
  statusDefaults(claim, { phase: 'Pending' })
}

export function jobDefaults(object: Json): void {
  const spec = specOf(object)
  const metadata = asMap(object['metadata']) ?? {}
  // Without a number of completions the job is done when one pod succeeds.
  if (isUnset(spec['completions']) && isUnset(spec['parallelism'])) spec['completions'] = 1
  defaults(spec, {
    parallelism: 1,
    backoffLimit: isUnset(spec['backoffLimitPerIndex']) ? 6 : 2147483647,
    completionMode: 'NonIndexed',
    suspend: false,
    manualSelector: false,
    podReplacementPolicy: isUnset(spec['podFailurePolicy']) ? 'TerminatingOrFailed' : 'Failed',
  })
  jobSelector(spec, metadata)
  const labels = asMap(asMap(asMap(spec['template'])?.['metadata'])?.['labels'])
  if (labels !== undefined) defaults(metadata, { labels: { ...labels } })
  podTemplateDefaults(spec)
  statusDefaults(object)
}

/** Every job selects its pods by its uid, which the caller has given it before. */
function jobSelector(spec: Json, metadata: Json): void {
  const uid = asText(metadata['uid'])
  const template = asMap(spec['template'])
  if (spec['manualSelector'] === true || isUnset(uid) || template === undefined) return
  const templateMetadata = ensureMap(template, 'metadata')
  const labels = templateMetadata === undefined ? undefined : ensureMap(templateMetadata, 'labels')
  if (labels === undefined) return
  const name = metadata['name']
  defaults(labels, {
    'batch.kubernetes.io/controller-uid': uid,
    'batch.kubernetes.io/job-name': name,
    'controller-uid': uid,
    'job-name': name,
  })
  const selector = ensureMap(spec, 'selector')
  const wanted = selector === undefined ? undefined : ensureMap(selector, 'matchLabels')
  if (wanted !== undefined) defaults(wanted, { 'batch.kubernetes.io/controller-uid': uid })
}

export function cronJobDefaults(object: Json): void {
  const spec = specOf(object)
  defaults(spec, {
    concurrencyPolicy: 'Allow',
    suspend: false,
    successfulJobsHistoryLimit: 3,
    failedJobsHistoryLimit: 1,
  })
  podTemplateDefaults(asMap(asMap(spec['jobTemplate'])?.['spec']))
  statusDefaults(object)
}

export function autoscalerDefaults(object: Json): void {
  const spec = specOf(object)
  defaults(spec, { minReplicas: 1 })
  if (object['apiVersion'] === 'autoscaling/v1') {
    // Other metrics are in an annotation; then the processor is not meant unless it is named.
    const annotations = asMap(asMap(object['metadata'])?.['annotations']) ?? {}
    if (annotations['autoscaling.alpha.kubernetes.io/metrics'] === undefined) {
      defaults(spec, { targetCPUUtilizationPercentage: 80 })
    }
    statusDefaults(object, { currentReplicas: 0, desiredReplicas: 0 })
    return
  }
  const target = { type: 'Utilization', averageUtilization: 80 }
  if (mapsOf(spec['metrics']).length === 0) {
    spec['metrics'] = [{ type: 'Resource', resource: { name: 'cpu', target } }]
  }
  statusDefaults(object, { desiredReplicas: 0, currentMetrics: null })
}
