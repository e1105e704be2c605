/**
 * One stored object, several served versions. Conversion "None" changes nothing but `apiVersion`,
 * which stands at a known place in the bytes, so another version costs one copy and no parsing.
 */
import type { KubeObject } from '../../kube/index.ts'
import { apiVersionOfType, type ResourceType } from '../resource-type.ts'
import type { Entry } from '../store/entry.ts'
import { autoscalerFromHub, autoscalerToHub } from './autoscaler-shapes.ts'
import { eventFromCore, eventToCore } from './event-shapes.ts'

/** Versions that are another shape of what is stored, not only another name. */
interface Shape {
  readonly fromStorage: (object: KubeObject) => KubeObject
  readonly toStorage: (object: KubeObject) => KubeObject
}

const shapes: Readonly<Record<string, Readonly<Record<string, Shape>>>> = {
  'events.k8s.io': { v1: { fromStorage: eventFromCore, toStorage: eventToCore } },
  autoscaling: { v1: { fromStorage: autoscalerFromHub, toStorage: autoscalerToHub } },
}

function shapeOf({ group, version }: ResourceType): Shape | undefined {
  return shapes[group]?.[version]
}

/** How the bytes begin when they are in the version of the type already. */
const heads = new WeakMap<ResourceType, Buffer>()

function headOf(type: ResourceType): Buffer {
  let head = heads.get(type)
  if (head === undefined) {
    head = Buffer.from(`{"kind":"${type.kind}","apiVersion":"${apiVersionOfType(type)}"`)
    heads.set(type, head)
  }
  return head
}

/** The object's JSON in the version of `type`. */
export function bytesAt(type: ResourceType, entry: Entry): Buffer {
  const { bytes } = entry
  const shape = shapeOf(type)
  if (shape !== undefined) return Buffer.from(JSON.stringify(shape.fromStorage(entry.parse())))
  const head = headOf(type)
  if (bytes.subarray(0, head.length).equals(head)) return bytes
  const start = Buffer.byteLength(`{"kind":"${type.kind}","apiVersion":"`)
  return Buffer.concat([head, bytes.subarray(bytes.indexOf('"', start) + 1)])
}

/** A fresh object in the version of `type`. */
export function objectAt(type: ResourceType, entry: Entry): KubeObject {
  const object = entry.parse()
  const shape = shapeOf(type)
  if (shape !== undefined) return shape.fromStorage(object)
  object.apiVersion = apiVersionOfType(type)
  return object
}

/** The object as it is stored. */
export function toStorage(type: ResourceType, object: KubeObject): KubeObject {
  const shape = shapeOf(type)
  if (shape !== undefined) return shape.toStorage(object)
  return {
    ...object,
    apiVersion: apiVersionOfType({ group: type.group, version: type.storageVersion }),
  }
}

/** An object of one served version as another; the same object when it is one version. */
export function inVersion(object: KubeObject, from: ResourceType, to: ResourceType): KubeObject {
  const apiVersion = apiVersionOfType(to)
  if (apiVersionOfType(from) === apiVersion) return object
  const stored = toStorage(from, object)
  return shapeOf(to)?.fromStorage(stored) ?? { ...stored, apiVersion }
}
