/** Events have two shapes, `v1` and `events.k8s.io/v1`; they are stored in the first. */
import type { KubeObject } from '../../kube/index.ts'
import type { JsonMap } from '../values.ts'

type Event = KubeObject & JsonMap

/** Names in `v1`, names in `events.k8s.io/v1`. */
const renamed: readonly (readonly [string, string])[] = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['reportingComponent', 'reportingController'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
]

export function eventFromCore(object: KubeObject): KubeObject {
  return rename(object, renamed, 'events.k8s.io/v1')
}

export function eventToCore(object: KubeObject): KubeObject {
  return rename(
    object,
    renamed.map(([core, other]) => [other, core] as const),
    'v1',
  )
}

function rename(
  object: KubeObject,
  names: readonly (readonly [string, string])[],
  apiVersion: string,
): KubeObject {
  const result: Event = { ...object, apiVersion }
  for (const [from, to] of names) {
    if (result[from] === undefined) continue
    result[to] = result[from]
    delete result[from]
  }
  return result
}
