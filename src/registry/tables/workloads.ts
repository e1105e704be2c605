/** Rows of the kinds that make pods. */
import type { KubeObject } from '../../kube/index.ts'
import { listOf, textOf, valueAt } from '../values.ts'
import {
  age,
  ageOf,
  between,
  type Cells,
  containerImages,
  containerNames,
  labelsText,
  none,
  number,
  selectorCell,
} from './cells.ts'

const template: Cells = {
  'Containers*': containerNames(),
  'Images*': containerImages(),
}

const templateAndSelector: Cells = {
  ...template,
  'Selector*': (object) => selectorCell(valueAt(object, 'spec.selector')),
}

function jobStatus(job: KubeObject): string {
  if (job.metadata.deletionTimestamp !== undefined) return 'Terminating'
  const conditions = listOf(valueAt(job, 'status.conditions')).filter(
    ({ status }) => status === 'True',
  )
  for (const [type, text] of [
    ['Complete', 'Complete'],
    ['Failed', 'Failed'],
    ['Suspended', 'Suspended'],
    ['FailureTarget', 'FailureTarget'],
    ['SuccessCriteriaMet', 'SuccessCriteriaMet'],
  ] as const) {
    if (conditions.some((condition) => condition.type === type)) return text
  }
  return 'Running'
}

function completions(job: KubeObject): string {
  const wanted = valueAt(job, 'spec.completions')
  const succeeded = number(job, 'status.succeeded')
  if (typeof wanted === 'number') return `${succeeded}/${wanted}`
  const parallel = number(job, 'spec.parallelism')
  return parallel > 1 ? `${succeeded}/1 of ${parallel}` : `${succeeded}/1`
}

export const workloadPrinters: Readonly<Record<string, Cells>> = {
  'apps/deployments': {
    Ready: (object) =>
      `${number(object, 'status.readyReplicas')}/${number(object, 'spec.replicas')}`,
    'Up-to-date': (object) => number(object, 'status.updatedReplicas'),
    Available: (object) => number(object, 'status.availableReplicas'),
    Age: age,
    ...templateAndSelector,
  },
  'apps/replicasets': {
    Desired: (object) => number(object, 'spec.replicas'),
    Current: (object) => number(object, 'status.replicas'),
    Ready: (object) => number(object, 'status.readyReplicas'),
    Age: age,
    ...templateAndSelector,
  },
  'apps/daemonsets': {
    Desired: (object) => number(object, 'status.desiredNumberScheduled'),
    Current: (object) => number(object, 'status.currentNumberScheduled'),
    Ready: (object) => number(object, 'status.numberReady'),
    'Up-to-date': (object) => number(object, 'status.updatedNumberScheduled'),
    Available: (object) => number(object, 'status.numberAvailable'),
    'Node Selector': (object) => labelsText(valueAt(object, 'spec.template.spec.nodeSelector')),
    Age: age,
    ...templateAndSelector,
  },
  'apps/statefulsets': {
    Ready: (object) =>
      `${number(object, 'status.readyReplicas')}/${number(object, 'spec.replicas')}`,
    Age: age,
    ...template,
  },
  'apps/controllerrevisions': {
    Controller: (object) => {
      const owner = object.metadata.ownerReferences?.find(({ controller }) => controller === true)
      return owner === undefined
        ? none
        : `${owner.kind.toLowerCase()}.${owner.apiVersion.split('/')[0]}/${owner.name}`
    },
    Revision: (object) => number(object, 'revision'),
    Age: age,
  },
  'batch/jobs': {
    Status: jobStatus,
    Completions: completions,
    Duration: (job, now) =>
      between(valueAt(job, 'status.startTime'), valueAt(job, 'status.completionTime'), now),
    Age: age,
    ...templateAndSelector,
  },
  'batch/cronjobs': {
    Schedule: (object) => textOf(valueAt(object, 'spec.schedule')),
    Timezone: (object) => textOf(valueAt(object, 'spec.timeZone')) || none,
    Suspend: (object) => (valueAt(object, 'spec.suspend') === true ? 'True' : 'False'),
    Active: (object) => listOf(valueAt(object, 'status.active')).length,
    'Last Schedule': (object, now) => {
      const last = valueAt(object, 'status.lastScheduleTime')
      return last === undefined ? none : ageOf(last, now)
    },
    Age: age,
    'Containers*': containerNames('spec.jobTemplate.spec.template'),
    'Images*': containerImages('spec.jobTemplate.spec.template'),
    'Selector*': (object) => selectorCell(valueAt(object, 'spec.jobTemplate.spec.selector')),
  },
  '/replicationcontrollers': {
    Desired: (object) => number(object, 'spec.replicas'),
    Current: (object) => number(object, 'status.replicas'),
    Ready: (object) => number(object, 'status.readyReplicas'),
    Age: age,
    ...template,
    'Selector*': (object) => labelsText(valueAt(object, 'spec.selector')),
  },
  '/podtemplates': {
    Containers: containerNames('template'),
    Images: containerImages('template'),
    'Pod Labels': (object) => labelsText(valueAt(object, 'template.metadata.labels')),
  },
}
