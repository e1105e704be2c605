/**
 * One stored object, several served versions. Conversion "None" changes nothing but `apiVersion`,
 * which stands at a known place in the bytes, so another version costs one copy and no parsing.
 */
import type { KubeObject } from '../../kube/index.ts'
import { apiVersionOfType, type ResourceType } from '../resource-type.ts'
import type { Entry } from '../store/entry.ts'
import { eventFromCore, eventToCore } from './event-shapes.ts'

/** The object's JSON in the version of `type`. */
export function bytesAt(type: ResourceType, entry: Entry): Buffer {
  if (type.group === 'events.k8s.io') {
    return Buffer.from(JSON.stringify(eventFromCore(entry.parse())))
  }
  const start = Buffer.byteLength(`{"kind":"${type.kind}","apiVersion":"`)
  const wanted = apiVersionOfType(type)
  const end = entry.bytes.indexOf('"', start)
  const current = entry.bytes.toString('utf8', start, end)
  if (current === wanted) return entry.bytes
  return Buffer.concat([
    entry.bytes.subarray(0, start),
    Buffer.from(wanted),
    entry.bytes.subarray(end),
  ])
}

/** A fresh object in the version of `type`. */
export function objectAt(type: ResourceType, entry: Entry): KubeObject {
  const object = entry.parse()
  if (type.group === 'events.k8s.io') return eventFromCore(object)
  object.apiVersion = apiVersionOfType(type)
  return object
}

/** The object as it is stored. */
export function toStorage(type: ResourceType, object: KubeObject): KubeObject {
  if (type.group === 'events.k8s.io') return eventToCore(object)
  return {
    ...object,
    apiVersion: apiVersionOfType({ group: type.group, version: type.storageVersion }),
  }
}
