/**
 * Golden cases: `testdata/<case>/input.yaml` (Kubernetes objects) against `expected.yaml` (every
 * resource it becomes, as JSON of the protobuf messages). `settings.yaml` has what the control plane is
 * started with, when it is not the default. `UPDATE_GOLDEN=1` rewrites expectations.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { createRegistry, type DescMessage } from '@bufbuild/protobuf'
import { StructSchema } from '@bufbuild/protobuf/wkt'
import { parse, stringify } from 'yaml'
import { modelEvents, objectsFromYaml } from '../ingest/index.ts'
import {
  buildSnapshot,
  defaultMeshSettings,
  type MeshSettings,
  type Snapshot,
} from '../model/index.ts'
import * as envoy from '../proto/envoy.ts'
import { fromBinary, security, toJson, typeUrl, workload } from '../proto/index.ts'
import {
  gatewayView,
  NamespaceScope,
  policyCondition,
  Reader,
  type TranslatedResource,
  translateCluster,
  translateEndpoints,
  translateGateway,
  translatePeerAuthentication,
  translatePolicy,
  translateService,
  translateStaticStrict,
  translateWaypointAllow,
  translateWorkload,
} from './index.ts'

const folder = join(import.meta.dirname, 'testdata')

const schemas: Readonly<Record<string, DescMessage>> = {
  [typeUrl.address]: workload.AddressSchema,
  [typeUrl.authorization]: security.AuthorizationSchema,
  [typeUrl.listener]: envoy.listener.ListenerSchema,
  [typeUrl.route]: envoy.route.RouteConfigurationSchema,
  [typeUrl.cluster]: envoy.cluster.ClusterSchema,
  [typeUrl.endpoint]: envoy.endpoint.ClusterLoadAssignmentSchema,
}
const registry = createRegistry(
  StructSchema,
  envoy.hcm.HttpConnectionManagerSchema,
  envoy.router.RouterSchema,
  envoy.previousHosts.PreviousHostsPredicateSchema,
  envoy.httpProtocolOptions.HttpProtocolOptionsSchema,
  envoy.internalUpstream.InternalUpstreamTransportSchema,
  envoy.rawBuffer.RawBufferSchema,
  envoy.tls.UpstreamTlsContextSchema,
  envoy.streamLog.StdoutAccessLogSchema,
)

function translateAll(snapshot: Snapshot): TranslatedResource[] {
  const found: (TranslatedResource | undefined)[] = [
    ...[...snapshot.services.keys()].map((key) => translateService(snapshot, key)),
    ...[...snapshot.workloads.keys()].map((uid) => translateWorkload(snapshot, uid)),
    ...[...snapshot.objects.AuthorizationPolicy.keys()].map((key) =>
      translatePolicy(snapshot, key),
    ),
    ...[...snapshot.objects.PeerAuthentication.keys()].map((key) =>
      translatePeerAuthentication(snapshot, key),
    ),
    translateStaticStrict(snapshot),
    ...[...snapshot.objects.Gateway.keys()].map((key) => translateWaypointAllow(snapshot, key)),
  ]
  for (const key of snapshot.objects.Gateway.keys()) {
    const gateway = translateGateway(snapshot, key)
    found.push(...(gateway?.listeners ?? []), ...(gateway?.routes ?? []))
    for (const ref of gateway?.clusters ?? []) {
      const scope = new NamespaceScope(new Reader(snapshot), gatewayView(key))
      found.push(translateCluster(scope, ref), translateEndpoints(scope, ref))
    }
  }
  return found.filter((resource) => resource !== undefined)
}

function readable(resource: TranslatedResource): unknown {
  const schema = schemas[resource.typeUrl]
  assert.ok(schema, resource.typeUrl)
  return {
    type: schema.name,
    name: resource.name,
    ...(resource.aliases === undefined ? {} : { aliases: resource.aliases }),
    message: toJson(schema, fromBinary(schema, resource.bytes), { registry }),
  }
}

function result(input: string, file: string): unknown {
  const objects = objectsFromYaml(input, file).map(({ object }) => object)
  const flags = join(dirname(file), 'settings.yaml')
  const settings: MeshSettings = {
    ...defaultMeshSettings,
    ...(existsSync(flags) ? (parse(readFileSync(flags, 'utf8')) as Partial<MeshSettings>) : {}),
  }
  const snapshot = buildSnapshot(settings, modelEvents(objects, settings))
  const resources = translateAll(snapshot).toSorted((left, right) =>
    `${left.typeUrl} ${left.name}` < `${right.typeUrl} ${right.name}` ? -1 : 1,
  )
  const conditions: Record<string, unknown> = {}
  for (const [key, policy] of snapshot.objects.AuthorizationPolicy.entries()) {
    conditions[key] = policyCondition(snapshot, policy) ?? 'none'
  }
  return {
    resources: resources.map(readable),
    ...(Object.keys(conditions).length === 0 ? {} : { conditions }),
  }
}

for (const name of readdirSync(folder).toSorted()) {
  test(`golden case: ${name.replaceAll('-', ' ')}`, () => {
    const inputPath = join(folder, name, 'input.yaml')
    const expectedPath = join(folder, name, 'expected.yaml')
    // Through YAML, so that both sides have lost the same (absent fields).
    const actual: unknown = parse(stringify(result(readFileSync(inputPath, 'utf8'), inputPath)))
    if (process.env.UPDATE_GOLDEN === '1' || !existsSync(expectedPath)) {
      writeFileSync(
        expectedPath,
        stringify(actual, { lineWidth: 100, aliasDuplicateObjects: false }),
      )
      return
    }
    assert.deepEqual(actual, parse(readFileSync(expectedPath, 'utf8')))
  })
}
