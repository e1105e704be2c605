/** The downward API: fields of a pod and resources of its containers, as text. */
import { availableParallelism, totalmem } from 'node:os'
import { quantityToNumber } from '../../kube/index.ts'
import { ContainerConfigError } from './errors.ts'
import {
  type Container,
  namespaceOf,
  type Pod,
  type ResourceFieldSelector,
  specOf,
  uidOf,
} from './types.ts'

/** What the status says once the sandbox is there. */
export interface PodAddresses {
  readonly podIp: string
  readonly hostIp: string
}

/** The text of a `fieldRef`. */
export function fieldText(pod: Pod, path: string, addresses: PodAddresses): string {
  const { metadata } = pod
  const keyed = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path)
  if (keyed !== null) {
    const map = keyed[1] === 'labels' ? metadata.labels : metadata.annotations
    return map?.[keyed[2] ?? ''] ?? ''
  }
  switch (path) {
    case 'metadata.name':
      return metadata.name
    case 'metadata.namespace':
      return namespaceOf(pod)
    case 'metadata.uid':
      return uidOf(pod)
    case 'metadata.labels':
      return mapText(metadata.labels)
    case 'metadata.annotations':
      return mapText(metadata.annotations)
    case 'spec.nodeName':
      return specOf(pod).nodeName ?? ''
    case 'spec.serviceAccountName':
      return specOf(pod).serviceAccountName ?? 'default'
    case 'status.podIP':
    case 'status.podIPs':
      return addresses.podIp
    case 'status.hostIP':
    case 'status.hostIPs':
      return addresses.hostIp
    default:
      throw new ContainerConfigError(
        'CreateContainerConfigError',
        `fieldRef.fieldPath "${path}" is not supported`,
      )
  }
}

function mapText(map: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(map ?? {})
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n')
}

/** The text of a `resourceFieldRef`, in whole units of its divisor; without a limit: the machine's. */
export function resourceText(pod: Pod, own: Container, selector: ResourceFieldSelector): string {
  const { containerName, resource, divisor } = selector
  const spec = specOf(pod)
  const container =
    containerName === undefined || containerName === ''
      ? own
      : [...spec.containers, ...(spec.initContainers ?? [])].find((c) => c.name === containerName)
  const [kind = '', name = ''] = resource.split('.')
  const { limits, requests } = container?.resources ?? {}
  const stated = kind === 'limits' ? limits?.[name] : (requests?.[name] ?? limits?.[name])
  const value = stated === undefined ? capacityOf(name) : quantityToNumber(stated)
  const unit = divisor === undefined ? 1 : quantityToNumber(divisor)
  return String(Math.ceil(value / (unit === 0 ? 1 : unit) - 1e-9))
}

function capacityOf(resource: string): number {
  if (resource === 'cpu') return availableParallelism()
  return resource === 'memory' ? totalmem() : 0
}
