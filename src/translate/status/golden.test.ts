/**
 * Golden cases: `testdata/<case>/input.yaml` (Kubernetes objects) against `expected.yaml`, the status that each of
 * them should have. What stands in the status of a Service is what its load balancer offers.
 * `UPDATE_GOLDEN=1` rewrites expectations.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { parse, stringify } from 'yaml'
import { modelEvents, objectsFromYaml } from '../../ingest/index.ts'
import { buildSnapshot, defaultMeshSettings, type Snapshot } from '../../model/index.ts'
import {
  backendTlsStatus,
  gatewayStatus,
  listenerSetStatus,
  type OutsideFacts,
  Reader,
  routeNamed,
  routeStatus,
  waypointAccepted,
  waypointBound,
} from '../index.ts'

const folder = join(import.meta.dirname, 'testdata')

interface ServiceShape {
  spec?: { type?: string }
  status?: { loadBalancer?: { ingress?: { ip?: string; hostname?: string }[] } }
}

type Objects = ReturnType<typeof objectsFromYaml>[number]['object'][]

function factsOf(objects: Objects): OutsideFacts {
  const find = (kind: string, namespace: string, name: string) =>
    objects.find(
      ({ kind: other, metadata }) =>
        other === kind && metadata.name === name && (metadata.namespace ?? 'default') === namespace,
    )
  return {
    frontService(namespace, name) {
      const service = find('Service', namespace, name) as ServiceShape | undefined
      if (service === undefined) return undefined
      const ingress = service.status?.loadBalancer?.ingress ?? []
      return {
        isLoadBalancer: service.spec?.type === 'LoadBalancer',
        external: ingress.flatMap(({ ip, hostname }) => ip ?? hostname ?? []),
      }
    },
    hasConfigMap: (namespace, name) => find('ConfigMap', namespace, name) !== undefined,
  }
}

function statuses(snapshot: Snapshot, facts: OutsideFacts): Record<string, unknown> {
  const reader = new Reader(snapshot)
  const { objects } = snapshot
  const found: Record<string, unknown> = {}
  const put = (kind: string, key: string, status: unknown): void => {
    found[`${kind} ${key}`] = status ?? 'none'
  }
  for (const [key, gateway] of objects.Gateway.entries()) {
    put('Gateway', key, gatewayStatus(reader, gateway, facts))
  }
  for (const [key, set] of objects.ListenerSet.entries()) {
    put('ListenerSet', key, listenerSetStatus(reader, set, facts))
  }
  for (const kind of ['HTTPRoute', 'GRPCRoute', 'TLSRoute', 'TCPRoute'] as const) {
    for (const key of objects[kind].keys()) {
      const route = routeNamed(reader, `${kind}/${key}`)
      assert.ok(route)
      put(kind, key, routeStatus(reader, route))
    }
  }
  for (const [key, policy] of objects.BackendTLSPolicy.entries()) {
    put('BackendTLSPolicy', key, backendTlsStatus(reader, policy))
  }
  for (const [key, policy] of objects.AuthorizationPolicy.entries()) {
    put('AuthorizationPolicy', key, waypointAccepted(reader, policy))
  }
  for (const [key, service] of snapshot.services.entries()) {
    const bound = waypointBound(reader, service)
    if (bound !== undefined) put(service.source, key, bound)
  }
  const keys = Object.keys(found).toSorted()
  return Object.fromEntries(keys.map((key) => [key, found[key]]))
}

for (const name of readdirSync(folder).toSorted()) {
  test(`golden case: ${name.replaceAll('-', ' ')}`, () => {
    const inputPath = join(folder, name, 'input.yaml')
    const expectedPath = join(folder, name, 'expected.yaml')
    const objects = objectsFromYaml(readFileSync(inputPath, 'utf8'), inputPath).map(
      ({ object }) => object,
    )
    const snapshot = buildSnapshot(defaultMeshSettings, modelEvents(objects, defaultMeshSettings))
    // Through YAML, so that both sides have lost the same (absent fields).
    const actual: unknown = parse(stringify(statuses(snapshot, factsOf(objects))))
    if (process.env.UPDATE_GOLDEN === '1' || !existsSync(expectedPath)) {
      const options = { lineWidth: 100, aliasDuplicateObjects: false }
      writeFileSync(expectedPath, stringify(actual, options))
      return
    }
    assert.deepEqual(actual, parse(readFileSync(expectedPath, 'utf8')))
  })
}
