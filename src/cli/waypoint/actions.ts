/** What the commands for waypoints do with the API server. */
import { type Clock, MeshError, sleep } from '../../base/index.ts'
import type { KubeClient } from '../../client/index.ts'
import { isApiError, type KubeObject, resources } from '../../kube/index.ts'
import {
  isProgrammed,
  isWaypoint,
  keyOf,
  useWaypointLabel,
  type WaypointObject,
} from './gateway.ts'

/** How often a waypoint that is waited for is looked at. */
const lookPeriodMs = 500

export async function getNamespace(client: KubeClient, name: string): Promise<KubeObject> {
  const found = await client.get<KubeObject>(resources.namespaces, undefined, name)
  if (found !== undefined) return found
  throw new MeshError('CLI_NO_NAMESPACE', `namespace: ${name} not found`, {
    hint: `Make it: kubectl create namespace ${name}`,
  })
}

/** By server-side apply, without taking fields from others. */
export async function applyWaypoint(client: KubeClient, object: WaypointObject): Promise<void> {
  const { namespace = 'default', name } = object.metadata
  const options = { fieldManager: 'istioctl' }
  try {
    await client.patch(resources.gateways, namespace, name, 'apply', object, options)
  } catch (error) {
    if (!isApiError(error, 'NotFound')) throw error
    throw new MeshError('CLI_NO_GATEWAY_API', `waypoints need Gateway API: ${error.message}`, {
      hint: 'Install its custom resources, or create the namespace, then apply the waypoint again.',
      cause: error,
    })
  }
}

export async function enrollNamespace(
  client: KubeClient,
  namespace: string,
  waypoint: string,
): Promise<void> {
  const body = { metadata: { labels: { [useWaypointLabel]: waypoint } } }
  await client.patch(resources.namespaces, undefined, namespace, 'merge', body)
}

/** Sorted by namespace and name. */
export async function listWaypoints(
  client: KubeClient,
  namespace: string | undefined,
  labelSelector?: string,
): Promise<WaypointObject[]> {
  const { items } = await client.list<WaypointObject>(resources.gateways, {
    ...(namespace === undefined ? {} : { namespace }),
    ...(labelSelector === undefined ? {} : { labelSelector }),
  })
  return items.filter(isWaypoint).toSorted((left, right) => (keyOf(left) < keyOf(right) ? -1 : 1))
}

/** @returns the waypoint as it was last, ready or not */
export async function waitForWaypoint(
  client: KubeClient,
  key: { readonly namespace: string; readonly name: string },
  limit: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<WaypointObject | undefined> {
  const { clock, timeoutMs } = limit
  const deadline = clock.monotonic() + timeoutMs
  for (;;) {
    const { namespace, name } = key
    const found = await client.get<WaypointObject>(resources.gateways, namespace, name)
    const isReady = found !== undefined && isProgrammed(found)
    if (isReady || clock.monotonic() >= deadline) return found
    await sleep(clock, Math.min(lookPeriodMs, Math.max(1, deadline - clock.monotonic())))
  }
}

type Pod = KubeObject<
  unknown,
  {
    containerStatuses?: {
      state?: PodState
      lastState?: PodState
    }[]
  }
>

interface PodState {
  readonly waiting?: { readonly reason?: string; readonly message?: string }
  readonly terminated?: { readonly message?: string }
}

/** Why its pods don't run, in their own words. */
export async function podTroubles(client: KubeClient, waypoint: WaypointObject): Promise<string[]> {
  const { namespace = 'default', name } = waypoint.metadata
  const { items } = await client.list<Pod>(resources.pods, {
    namespace,
    labelSelector: `gateway.networking.k8s.io/gateway-name=${name}`,
  })
  return items.flatMap(({ metadata, status }) =>
    (status?.containerStatuses ?? []).flatMap(({ state, lastState }) => {
      const text =
        state?.terminated?.message || lastState?.terminated?.message || state?.waiting?.message
      return text === undefined || text === '' ? [] : [`pod ${namespace}/${metadata.name}: ${text}`]
    }),
  )
}
