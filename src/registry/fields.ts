/** The fields that `fieldSelector` may ask for, by resource; the values are what is compared. */
import type { KubeObject } from '../kube/index.ts'
import type { FieldsOf } from './store/entry.ts'
import { valueAt } from './values.ts'

const everywhere = ['metadata.name', 'metadata.namespace']

const paths: Record<string, readonly string[]> = {
  '/pods': [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  '/events': [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'type',
  ],
  '/secrets': ['type'],
  '/namespaces': ['status.phase'],
  '/nodes': ['spec.unschedulable'],
  '/services': ['spec.clusterIP', 'spec.type'],
  '/replicationcontrollers': ['status.replicas'],
  'apps/replicasets': ['status.replicas'],
  'batch/jobs': ['status.successful'],
}

/** Values that selectors see when the field is absent. */
const whenAbsent: Record<string, string> = {
  'spec.hostNetwork': 'false',
  'spec.unschedulable': 'false',
  'status.replicas': '0',
  'status.successful': '0',
}

const extra: Record<string, FieldsOf> = {
  '/events': (object) => ({
    source: text(valueAt(object, 'source.component') ?? valueAt(object, 'reportingComponent')),
  }),
  'batch/jobs': (object) => ({
    'status.successful': text(valueAt(object, 'status.succeeded') ?? 0),
  }),
}

/** @param selectable paths that a CustomResourceDefinition adds (`selectableFields`) */
export function fieldsFor(bucketId: string, selectable: readonly string[] = []): FieldsOf {
  const own = [...(paths[bucketId] ?? []), ...selectable]
  const more = extra[bucketId]
  return (object: KubeObject) => {
    const fields: Record<string, string> = {
      'metadata.name': object.metadata.name,
      'metadata.namespace': object.metadata.namespace ?? '',
    }
    for (const path of own) {
      fields[path] = text(valueAt(object, path) ?? whenAbsent[path])
    }
    return more === undefined ? fields : { ...fields, ...more(object) }
  }
}

/** The names of the fields, for the answer to an unknown one. */
export function fieldNames(
  bucketId: string,
  selectable: readonly string[] = [],
): readonly string[] {
  const added = bucketId === '/events' ? ['source'] : []
  return [...everywhere, ...(paths[bucketId] ?? []), ...added, ...selectable]
}

function text(value: unknown): string {
  return value === undefined || value === null ? '' : String(value)
}
