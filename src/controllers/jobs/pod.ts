/** The pods of a Job: tracked by a finalizer, and with an index of their own when the Job asks for it. */
import { podFromTemplate } from '../pods.ts'
import type { Container, Pod } from '../workload-types.ts'
import { indexFailuresAnnotation, indexLabel, type Job, trackingFinalizer } from './types.ts'

/** @param index undefined when all pods are alike */
export function jobPod(
  job: Job,
  index: number | undefined,
  failures: number,
  random: () => number,
): Pod {
  const template = job.spec?.template ?? { spec: {} }
  const base = index === undefined ? job.metadata.name : `${job.metadata.name}-${index}`
  const pod = podFromTemplate(job, template, random, base)
  pod.metadata.finalizers = [trackingFinalizer]
  if (index === undefined) return pod
  const { metadata, spec = {} } = pod
  metadata.labels = { ...metadata.labels, [indexLabel]: String(index) }
  metadata.annotations = {
    ...metadata.annotations,
    [indexLabel]: String(index),
    ...(job.spec?.backoffLimitPerIndex === undefined
      ? {}
      : { [indexFailuresAnnotation]: String(failures) }),
  }
  const { containers = [], initContainers } = spec
  return {
    ...pod,
    spec: {
      ...spec,
      hostname: base,
      containers: containers.map(withIndex),
      ...(initContainers === undefined ? {} : { initContainers: initContainers.map(withIndex) }),
    },
  }
}

const variable = 'JOB_COMPLETION_INDEX'

function withIndex<T extends Container>(container: T): T {
  const env = (container.env ?? []) as { name?: string }[]
  if (env.some(({ name }) => name === variable)) return container
  const fieldRef = { apiVersion: 'v1', fieldPath: `metadata.labels['${indexLabel}']` }
  return { ...container, env: [...env, { name: variable, valueFrom: { fieldRef } }] }
}
