/** Which resources the server has: what the namespace and garbage controllers must look through. */
import type { KubeClient } from '../client/index.ts'
import type { GroupVersionResource } from '../kube/index.ts'

export interface ServedResource {
  readonly gvr: GroupVersionResource
  readonly kind: string
  readonly namespaced: boolean
  readonly verbs: readonly string[]
}

interface AggregatedDiscovery {
  items?: {
    metadata?: { name?: string }
    versions: {
      version: string
      resources?: {
        resource: string
        scope: string
        verbs: string[]
        responseKind?: { kind: string }
      }[]
    }[]
  }[]
}

const accept =
  'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json'

/** Every resource in its preferred version. */
export async function servedResources(client: KubeClient): Promise<ServedResource[]> {
  const found: ServedResource[] = []
  for (const root of ['/api', '/apis']) {
    const answer = await client.raw('GET', root, undefined, { accept })
    if (answer.code !== 200) throw new Error(`discovery at ${root} answered ${answer.code}`)
    const document = JSON.parse(answer.body.toString()) as AggregatedDiscovery
    for (const item of document.items ?? []) {
      const seen = new Set<string>()
      for (const version of item.versions) {
        for (const entry of version.resources ?? []) {
          if (seen.has(entry.resource)) continue
          seen.add(entry.resource)
          found.push({
            gvr: {
              group: item.metadata?.name ?? '',
              version: version.version,
              resource: entry.resource,
            },
            kind: entry.responseKind?.kind ?? '',
            namespaced: entry.scope === 'Namespaced',
            verbs: entry.verbs,
          })
        }
      }
    }
  }
  return found
}
