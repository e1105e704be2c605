/**
 * Everything that the golden cases of the translation become: `decide` has to take all of it, but for
 * what only the Envoy engine runs, which it has to refuse by name.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import type { Any } from '@bufbuild/protobuf/wkt'
import {
  type Compiled,
  compileCluster,
  compileEndpoints,
  compileListener,
  compileRoutes,
} from '../../src/decide/l7.ts'
import { cluster, endpoint, extension, listener, route } from '../../src/proto/envoy.ts'
import { fromBinary, typeUrl } from '../../src/proto/index.ts'
import { readViewCase, viewCases } from '../../src/translate/envoy/listeners/fixture.ts'

interface Resource {
  readonly typeUrl: string
  readonly name: string
  readonly bytes: Uint8Array
}

function compile(
  { typeUrl: type, bytes }: Resource,
  extensions: ReadonlyMap<string, Any>,
): Compiled<unknown> {
  if (type === typeUrl.route)
    return compileRoutes(fromBinary(route.RouteConfigurationSchema, bytes))
  if (type === typeUrl.cluster) return compileCluster(fromBinary(cluster.ClusterSchema, bytes))
  if (type === typeUrl.endpoint) {
    return compileEndpoints(fromBinary(endpoint.ClusterLoadAssignmentSchema, bytes))
  }
  if (type !== typeUrl.listener) return { value: undefined }
  return compileListener(fromBinary(listener.ListenerSchema, bytes), { extensions })
}

function extensionsOf(resources: readonly Resource[]): Map<string, Any> {
  return new Map(
    resources.flatMap(({ typeUrl: type, bytes }) => {
      if (type !== typeUrl.extensionConfig) return []
      const { name, typedConfig } = fromBinary(extension.TypedExtensionConfigSchema, bytes)
      return typedConfig === undefined ? [] : [[name, typedConfig]]
    }),
  )
}

/** What a resource is refused for, and may be. */
const envoyOnly = /scripts in Lua|WebAssembly modules/

function refusals(resources: readonly Resource[]): { count: number; wrong: string[] } {
  const extensions = extensionsOf(resources)
  const wrong = resources.flatMap((resource) =>
    (compile(resource, extensions).errors ?? [])
      .filter(({ message }) => !envoyOnly.test(message))
      .map(({ field, message }) => `${resource.name}: ${field}: ${message}`),
  )
  return { count: resources.length, wrong }
}

test('the resources of every golden case of whole proxies compile', () => {
  let total = 0
  for (const name of viewCases()) {
    const { resources } = readViewCase(name).translation
    const { count, wrong } = refusals(Object.values(resources).flat())
    assert.deepEqual(wrong, [], name)
    total += count
  }
  assert(total > 100, String(total))
})
