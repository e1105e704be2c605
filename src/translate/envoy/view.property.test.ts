/** A view that followed the mesh change by change has what a fresh one has, byte for byte. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { modelEvents, objectsFromYaml } from '../../ingest/index.ts'
import { defaultMeshSettings, Model, type ModelEvent } from '../../model/index.ts'
import { Memo, touchedKeys } from '../reader.ts'
import type { TranslatedResource } from '../types.ts'
import { testTypes } from './filters-patch/fixture.ts'
import { keySetDependency } from './listeners/key-sets.ts'
import { type ProxyView, proxyView } from './proxy.ts'
import { SharedUnits } from './shared-units.ts'
import { translateView, ViewTranslation } from './view.ts'

const views: readonly ProxyView[] = [
  proxyView({ kind: 'waypoint', namespace: 'a', gateway: 'a/waypoint' }),
  proxyView({ kind: 'gateway', namespace: 'a', gateway: 'a/edge', labels: { istio: 'gw' } }),
  proxyView({ kind: 'sidecar', namespace: 'a', labels: { app: 'one' } }),
  proxyView({ kind: 'sidecar', namespace: 'b', labels: { app: 'two' } }),
  // Shares with the others of its namespace what does not look at labels.
  proxyView({ kind: 'sidecar', namespace: 'a', labels: { app: 'three' } }),
]

/** Objects that may come, change and go; the number makes one version differ from another. */
const objects: Readonly<Record<string, (version: number) => string>> = {
  one: (n) => service('one', 'a', n),
  two: (n) => service('two', 'b', n),
  namespace: (n) =>
    `{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {istio.io/use-waypoint: ${n === 0 ? 'none' : 'waypoint'}}}}`,
  class: () => gatewayClass('istio', 'gateway'),
  waypointClass: () => gatewayClass('istio-waypoint', 'mesh'),
  waypoint: (n) =>
    `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: waypoint, namespace: a, labels: {istio.io/waypoint-for: ${n === 2 ? 'all' : 'service'}}}, spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}`,
  edge: (n) =>
    `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: a}, spec: {gatewayClassName: istio, listeners: [{name: http, port: ${80 + n}, protocol: HTTP}, {name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]}}`,
  classic: (n) =>
    `{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: classic, namespace: b}, spec: {selector: {istio: gw}, servers: [{port: {number: ${81 + n}, name: http, protocol: HTTP}, hosts: ["*"]}]}}`,
  cert: (n) =>
    `{apiVersion: v1, kind: Secret, metadata: {name: cert, namespace: a}, type: kubernetes.io/tls, data: {tls.crt: ${pem('CERTIFICATE', n)}, tls.key: ${pem('PRIVATE KEY', n)}}}`,
  route: (n) =>
    `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: route, namespace: a}, spec: {parentRefs: [{name: edge}], hostnames: [h${n}.example], rules: [{backendRefs: [{name: one, port: 80}]}]}}`,
  virtual: (n) =>
    `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: virtual, namespace: a}, spec: {hosts: [one], gateways: [mesh, b/classic], http: [{timeout: ${n + 1}s, route: [{destination: {host: one, subset: s${n}}}]}]}}`,
  rule: (n) =>
    `{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: rule, namespace: a}, spec: {host: one, subsets: [{name: s${n}, labels: {v: "${n}"}}]}}`,
  peer: (n) =>
    `{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: default, namespace: a}, spec: {mtls: {mode: ${['STRICT', 'PERMISSIVE', 'DISABLE'][n] ?? 'STRICT'}}}}`,
  tokens: (n) =>
    `{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: t, namespace: a}, spec: {jwtRules: [{issuer: us, jwksUri: "https://keys.example/${n}"}]}}`,
  sidecar: (n) =>
    `{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: default, namespace: a}, spec: {egress: [{hosts: ["${n === 0 ? '.' : '*'}/*"]}]}}`,
  patch: (n) =>
    `{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: patch, namespace: ${n === 0 ? 'istio-system' : 'a'}}, spec: {configPatches: [{applyTo: CLUSTER, match: {cluster: {portNumber: 80}}, patch: {operation: ${n === 2 ? 'REMOVE' : `MERGE, value: {connect_timeout: ${n + 3}s}`}}}]}}`,
  virtualToo: (n) =>
    `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v, namespace: a}, spec: {hosts: [${n === 0 ? '"*.a.svc.cluster.local"' : 'one'}], http: [{match: [{sourceLabels: {app: "${n === 1 ? 'one' : 'x'}"}}], timeout: ${n + 1}s, route: [{destination: {host: one}}]}, {route: [{destination: {host: one}}]}]}}`,
  telemetry: (n) =>
    `{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: all, namespace: istio-system}, spec: {accessLogging: [{disabled: ${n === 0}, providers: [{name: envoy}]}]}}`,
}

function service(name: string, namespace: string, n: number): string {
  return `{apiVersion: v1, kind: Service, metadata: {name: ${name}, namespace: ${namespace}}, spec: {clusterIP: 10.96.0.${n + 1}, selector: {app: ${name}}, ports: [{name: http, port: 80, targetPort: ${8080 + n}}, {name: tcp-x, port: ${90 + n}}]}}`
}

function gatewayClass(name: string, controller: string): string {
  return `{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: ${name}}, spec: {controllerName: istio.io/${controller}-controller}}`
}

/** As much of PEM as the translation looks at. */
function pem(label: string, n: number): string {
  const body = Buffer.from([0x30, 1, n]).toString('base64')
  return Buffer.from(`-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`).toString(
    'base64',
  )
}

function gone(event: ModelEvent): ModelEvent {
  return { ...event, value: undefined }
}

const step = fc.record({
  name: fc.constantFrom(...Object.keys(objects), 'keys'),
  version: fc.integer({ min: 0, max: 2 }),
  present: fc.boolean(),
})

function contents(of: ViewTranslation): Record<string, string> {
  const all = Object.values(of.resources).flat() as TranslatedResource[]
  return Object.fromEntries(all.map((one) => [`${one.typeUrl} ${one.name}`, one.version]))
}

void test('a view that follows the mesh has the same resources as a fresh one', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 25 }), (steps) => {
      const model = new Model(defaultMeshSettings)
      const memo = new Memo()
      const shared = new SharedUnits()
      const keySets = new Map<string, string>()
      const held = views.map((view) => new ViewTranslation(view))
      const mirrors = views.map(() => new Map<string, string>())
      for (const { name, version, present } of steps) {
        const keys = new Set<string>()
        let { snapshot } = model
        if (name === 'keys') {
          const source = `https://keys.example/${version}`
          if (present) keySets.set(source, `{"keys": [${version}]}`)
          else keySets.delete(source)
          keys.add(keySetDependency(source))
        } else {
          const [parsed] = objectsFromYaml(objects[name]?.(version) ?? '', name)
          assert.ok(parsed)
          const events = modelEvents([parsed.object], defaultMeshSettings).map((event) =>
            present ? event : gone(event),
          )
          const update = model.update(events)
          snapshot = update.snapshot
          for (const key of touchedKeys(update.touched)) keys.add(key)
        }
        memo.invalidate(keys)
        shared.invalidate(keys)
        for (const [index, translation] of held.entries()) {
          for (const change of translation.update(
            { snapshot, memo, keySets, shared, types: testTypes },
            keys,
          )) {
            const key = `${change.typeUrl} ${change.name}`
            if (change.resource === undefined) mirrors[index]?.delete(key)
            else mirrors[index]?.set(key, change.resource.version)
          }
        }
      }
      for (const [index, view] of views.entries()) {
        const fresh = translateView(
          { snapshot: model.snapshot, memo: new Memo(), keySets, types: testTypes },
          view,
        )
        const followed = held[index]
        assert.ok(followed)
        assert.deepEqual(contents(followed), contents(fresh))
        // Whoever only listened to the changes knows the same.
        assert.deepEqual(Object.fromEntries(mirrors[index] ?? []), contents(fresh))
        assert.deepEqual(followed.problems, fresh.problems)
      }
    }),
    { numRuns: 60 },
  )
})

void test('what happens in a namespace that a Sidecar does not import makes nothing anew but the plan', () => {
  const model = new Model(defaultMeshSettings)
  const apply = (text: string): ReturnType<Model['update']> =>
    model.update(
      modelEvents(
        objectsFromYaml(text, 'test').map(({ object }) => object),
        defaultMeshSettings,
      ),
    )
  apply(objects.one?.(0) ?? '')
  apply(objects.sidecar?.(0) ?? '')
  const memo = new Memo()
  const given = { memo, keySets: new Map<string, string>() }
  const [, , view] = views
  assert.ok(view)
  const translation = translateView({ snapshot: model.snapshot, ...given }, view)
  const update = apply(service('far', 'far', 7))
  const keys = touchedKeys(update.touched)
  memo.invalidate(keys)
  const before = translation.statistics
  assert.deepEqual(translation.update({ snapshot: update.snapshot, ...given }, keys), [])
  const after = translation.statistics
  assert.equal(after.units, before.units)
  assert.ok(after.made - before.made < before.units / 2, JSON.stringify({ before, after }))
})
