/** The Scale form of a workload: where its replicas are, and how `autoscaling/v1` shows them. */
import { type KubeObject, type LabelSelector, selectorOf, selectorText } from '../../kube/index.ts'
import type { AdmissionShape } from '../admission/admission.ts'
import type { ResourceType } from '../resource-type.ts'
import { type JsonMap, setAt, textOf, valueAt } from '../values.ts'

interface ScalePaths {
  readonly specPath: string
  readonly statusPath: string
  readonly selectorPath: string | undefined
}

export function pathsOf(type: ResourceType): ScalePaths {
  const custom = type.custom?.scale
  if (custom === undefined) {
    return { specPath: 'spec.replicas', statusPath: 'status.replicas', selectorPath: undefined }
  }
  const plain = (path: string): string => path.replace(/^\./, '')
  return {
    specPath: plain(custom.specPath),
    statusPath: plain(custom.statusPath),
    selectorPath: custom.selectorPath === undefined ? undefined : plain(custom.selectorPath),
  }
}

export function scaleOf(type: ResourceType, object: KubeObject): KubeObject {
  const { specPath, statusPath, selectorPath } = pathsOf(type)
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata
  const replicas = valueAt(object, specPath)
  const selector =
    selectorPath === undefined ? builtinSelector(object) : textOf(valueAt(object, selectorPath))
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    },
    spec: replicas === undefined ? {} : { replicas },
    status: {
      replicas: valueAt(object, statusPath) ?? 0,
      ...(selector === '' ? {} : { selector }),
    },
  }
}

function builtinSelector(object: KubeObject): string {
  const selector = valueAt(object, 'spec.selector') as LabelSelector | undefined
  const parsed = selectorOf(selector)
  return parsed === undefined ? '' : selectorText(parsed)
}

/** How webhooks see a change of replicas. */
export function scaleShape(type: ResourceType): AdmissionShape {
  return {
    kind: { group: 'autoscaling', version: 'v1', kind: 'Scale' },
    view: (object) => scaleOf(type, object),
    take: (object, changed) => {
      const replicas = valueAt(changed, 'spec.replicas')
      setAt(object as unknown as JsonMap, pathsOf(type).specPath, replicas ?? 0)
    },
  }
}
