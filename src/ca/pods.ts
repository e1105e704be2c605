/** What the impersonation check needs to know of pods, answered from an informer's cache. */
import type { Informer } from '../client/index.ts'
import type { KubeObject } from '../kube/index.ts'

export interface PodFacts {
  readonly uid: string
  readonly serviceAccount: string
  readonly node: string
}

export interface PodLookup {
  find(namespace: string, name: string): PodFacts | undefined
  /** Whether a pod that has not failed runs on the node with this account. */
  runsOnNode(node: string, namespace: string, serviceAccount: string): boolean
}

interface Pod extends KubeObject {
  spec?: { nodeName?: string; serviceAccountName?: string }
  status?: { phase?: string }
}

const indexName = 'ca/node-account'

/** A lookup over an informer of all pods; call it before the informer starts. */
export function createPodLookup(informer: Informer<KubeObject>): PodLookup {
  informer.addIndex(indexName, (object) => {
    const pod = object as Pod // the informer is one of pods
    const { nodeName } = pod.spec ?? {}
    if (nodeName === undefined || pod.status?.phase === 'Failed') return []
    return [accountKey(nodeName, pod.metadata.namespace ?? '', accountOf(pod))]
  })
  return {
    find(namespace, name) {
      const pod = informer.get(`${namespace}/${name}`) as Pod | undefined
      if (pod === undefined) return undefined
      const { uid = '' } = pod.metadata
      return { uid, serviceAccount: accountOf(pod), node: pod.spec?.nodeName ?? '' }
    },
    runsOnNode: (node, namespace, serviceAccount) =>
      informer.byIndex(indexName, accountKey(node, namespace, serviceAccount)).length > 0,
  }
}

function accountOf(pod: Pod): string {
  return pod.spec?.serviceAccountName ?? 'default'
}

/** Slashes are in none of the parts. */
function accountKey(node: string, namespace: string, serviceAccount: string): string {
  return `${node}/${namespace}/${serviceAccount}`
}
