/**
 * EnvoyFilters: what a unit made is opened, patched and encoded again, for those views alone that some
 * EnvoyFilter is for. What is added as a whole is a unit of its own.
 */
import { fromBinary, type Message, toBinary } from '@bufbuild/protobuf'
import type { cluster, extension, listener, route } from '../../../proto/envoy.ts'
import { typeUrl } from '../../../proto/index.ts'
import { encodeResource } from '../../encode.ts'
import { contentVersion } from '../../hash.ts'
import type { Reader } from '../../reader.ts'
import type { TranslatedResource } from '../../types.ts'
import type { ProxyView } from '../proxy.ts'
import type { Made, Unit } from '../unit.ts'
import { clusterContext, patchCluster } from './clusters.ts'
import { listenerContext, patchListener } from './listeners.ts'
import { isContext, type Patcher } from './patcher.ts'
import { patchRoutes, type RouteOwner } from './routes.ts'
import { type EnvoyTypes, type Patch, patchesFor } from './select.ts'

export interface PatchContext {
  readonly reader: Reader
  readonly view: ProxyView
  /** All of Envoy's types; absent: EnvoyFilters have no effect but a problem. */
  readonly types: EnvoyTypes | undefined
  /** Who serves a route configuration of a gateway. */
  owners(routeName: string): readonly RouteOwner[]
}

const patchable: ReadonlySet<string> = new Set([typeUrl.listener, typeUrl.route, typeUrl.cluster])

/** What a unit made, as the EnvoyFilters want it. */
export function patchMade<T extends Made>(made: T, context: PatchContext): T {
  if (!made.resources.some((resource) => patchable.has(resource.typeUrl))) return made
  const { reader, view, types } = context
  const { patches } = patchesFor(reader, view, types)
  if (patches.length === 0 || types === undefined) return made
  const patcher: Patcher = { registry: types(), view, patches }
  const resources = made.resources.flatMap(
    (resource) => patchResource(resource, patcher, context) ?? [],
  )
  return { ...made, resources }
}

function patchResource(
  resource: TranslatedResource,
  patcher: Patcher,
  context: PatchContext,
): TranslatedResource | undefined {
  if (!patchable.has(resource.typeUrl)) return resource
  const { registry } = patcher
  const desc = registry.getMessage(resource.typeUrl.slice(resource.typeUrl.lastIndexOf('/') + 1))
  if (desc === undefined) return resource
  const message = patchMessage(fromBinary(desc, resource.bytes), resource, patcher, context)
  if (message === undefined) return undefined
  const bytes = toBinary(desc, message)
  return { ...resource, bytes, version: contentVersion(bytes) }
}

/** A message read by its descriptor has the form of the generated type of the same name. */
function patchMessage(
  message: Message,
  { typeUrl: type, name }: TranslatedResource,
  patcher: Patcher,
  context: PatchContext,
): Message | undefined {
  if (type === typeUrl.listener) {
    return patchListener(patcher, message as unknown as listener.Listener)
  }
  if (type === typeUrl.cluster) return patchCluster(patcher, message as unknown as cluster.Cluster)
  const routes = message as unknown as route.RouteConfiguration
  return patchRoutes(patcher, routes, context.owners(name))
}

/** Listeners, clusters and extension configurations that EnvoyFilters add, and what is wrong with any. */
export const additionsUnit: Unit = {
  key: 'envoy-filters',
  make: ({ scope, types }) => {
    const { reader, view } = scope
    const { patches, problems } = patchesFor(reader, view, types)
    const resources = new Map<string, TranslatedResource>()
    for (const patch of patches) {
      const added = types === undefined ? undefined : addition(patch, view, types)
      // Of one name the first is added; the others would be refused with all the rest.
      if (added === undefined || resources.has(`${added.typeUrl} ${added.name}`)) continue
      resources.set(`${added.typeUrl} ${added.name}`, added)
    }
    return { resources: [...resources.values()], units: [], problems }
  },
}

function addition(
  patch: Patch,
  view: ProxyView,
  types: EnvoyTypes,
): TranslatedResource | undefined {
  const { operation, target, value } = patch
  if (operation !== 'ADD' || value === undefined) return undefined
  const encoded = (
    type: string,
    { name }: { readonly name: string },
  ): TranslatedResource | undefined => {
    const schema = types().getMessage(type.slice(type.lastIndexOf('/') + 1))
    if (schema === undefined) return undefined
    return encodeResource({ name, typeUrl: type, schema, message: value })
  }
  // The targets say of which types the values are.
  if (target === 'LISTENER') {
    const message = value as unknown as listener.Listener
    const context = listenerContext(message, view)
    return isContext(patch, context) ? encoded(typeUrl.listener, message) : undefined
  }
  if (target === 'CLUSTER') {
    const message = value as unknown as cluster.Cluster
    return isContext(patch, clusterContext(message.name, view)) || patch.match.cluster === undefined
      ? encoded(typeUrl.cluster, message)
      : undefined
  }
  if (target !== 'EXTENSION_CONFIG') return undefined
  return encoded(typeUrl.extensionConfig, value as unknown as extension.TypedExtensionConfig)
}
