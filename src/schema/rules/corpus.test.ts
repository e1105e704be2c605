import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { builtinCrds } from '../builtin-crds.ts'
import { arbitraryOf } from '../fixture.ts'
import type { Json } from '../json.ts'
import { applyDefaults } from '../schema-defaults.ts'
import { loadBuiltinSchemas } from '../schema-registry.ts'
import type { KindSchema } from '../types.ts'
import { prune } from '../unknown-fields.ts'
import { validateCustomResource } from './custom.ts'
import { validateRules } from './evaluate.ts'

const schemas = loadBuiltinSchemas()
for (const crd of builtinCrds()) schemas.addCrd(crd)

function kindOf(apiVersion: string, kind: string): KindSchema {
  const [group = '', version = ''] = apiVersion.split('/')
  const found = schemas.get({ group, version, kind })
  assert.ok(found, `${apiVersion} ${kind}`)
  return found
}

const istio = {
  AuthorizationPolicy: 'security.istio.io/v1',
  PeerAuthentication: 'security.istio.io/v1',
  RequestAuthentication: 'security.istio.io/v1',
  ServiceEntry: 'networking.istio.io/v1',
  WorkloadEntry: 'networking.istio.io/v1',
  DestinationRule: 'networking.istio.io/v1',
  Sidecar: 'networking.istio.io/v1',
  Telemetry: 'telemetry.istio.io/v1',
  WasmPlugin: 'extensions.istio.io/v1alpha1',
}
const gateway = 'gateway.networking.k8s.io/v1'

/** `field: message` without what is the same in all. */
function complaints(apiVersion: string, kind: string, spec: Json, old?: Json): string[] {
  const schema = kindOf(apiVersion, kind)
  const object = { apiVersion, kind, metadata: { name: 'x', namespace: 'default' }, spec }
  prune(schema, object)
  applyDefaults(schema, object)
  const before = old === undefined ? undefined : { ...object, spec: old }
  return validateCustomResource(schema, object, before).map(
    ({ field, message }) => `${field}: ${message.replace(/^Invalid value: "\w+": /, '')}`,
  )
}

test('rules of Istio: what they accept and what they name when they refuse', () => {
  const check = (kind: keyof typeof istio, spec: Json, ...wanted: string[]) => {
    assert.deepEqual(complaints(istio[kind], kind, spec), wanted, JSON.stringify(spec))
  }
  const app = { matchLabels: { app: 'a' } }
  const ref = { group: gateway.split('/')[0], kind: 'Gateway', name: 'g' }
  const port = { number: 80, name: 'http', protocol: 'HTTP' }
  const entry = (more: Json) => ({ hosts: ['a.example'], ports: [port], ...more })

  check('AuthorizationPolicy', { selector: app, action: 'DENY', rules: [{}] })
  check(
    'AuthorizationPolicy',
    { selector: app, targetRefs: [ref] },
    'spec: only one of targetRefs or selector can be set',
  )
  check(
    'AuthorizationPolicy',
    { selector: { matchLabels: { app: '*' } } },
    'spec.selector.matchLabels[app]: wildcard not allowed in label value match',
  )
  check(
    'AuthorizationPolicy',
    { rules: [{ from: [{ source: { serviceAccounts: ['a'], principals: ['b'] } }] }] },
    'spec.rules[0].from[0].source: Cannot set serviceAccounts with namespaces or principals',
  )
  check('PeerAuthentication', { selector: app, portLevelMtls: { '80': { mode: 'STRICT' } } })
  check(
    'PeerAuthentication',
    { portLevelMtls: { '80': { mode: 'STRICT' } } },
    'spec: portLevelMtls requires selector',
  )
  check(
    'PeerAuthentication',
    { selector: app, portLevelMtls: { '65536': {} } },
    'spec.portLevelMtls: port must be between 1-65535',
  )
  const jwt = (more: Json) => ({ jwtRules: [{ issuer: 'i', ...more }] })
  check('RequestAuthentication', jwt({ jwksUri: 'https://a.example/keys' }))
  check(
    'RequestAuthentication',
    jwt({ jwksUri: 'ftp://a.example' }),
    'spec.jwtRules[0].jwksUri: url must have scheme http:// or https://',
  )
  check(
    'RequestAuthentication',
    jwt({ jwksUri: 'https://a', jwks: '{}' }),
    'spec.jwtRules[0]: only one of jwks or jwksUri can be set',
  )
  check('ServiceEntry', entry({ resolution: 'STATIC', endpoints: [{ address: '10.0.0.1' }] }))
  check(
    'ServiceEntry',
    entry({ resolution: 'DNS', addresses: ['10.0.0.0/8'] }),
    'spec: CIDR addresses are allowed only for NONE/STATIC resolution types',
  )
  check(
    'ServiceEntry',
    entry({ ports: [port, { ...port, name: 'b' }], resolution: 'DNS' }),
    'spec.ports: port number cannot be duplicated',
  )
  check(
    'ServiceEntry',
    entry({ ports: [{ ...port, targetPort: 70000 }] }),
    'spec.ports[0].targetPort: port must be between 1-65535',
  )
  check('WorkloadEntry', { address: 'unix:///run/x' })
  check('WorkloadEntry', { address: 'unix:///run/' }, 'spec.address: UDS may not be a dir')
  check(
    'WorkloadEntry',
    { address: 'unix:///run/x', ports: { http: 80 } },
    'spec: UDS may not include ports',
  )
  check('WorkloadEntry', {}, 'spec: Address is required')
  const pool = { connectionPool: { tcp: { connectTimeout: '0.1ms' } } }
  check(
    'DestinationRule',
    { host: 'a', trafficPolicy: pool },
    'spec.trafficPolicy.connectionPool.tcp.connectTimeout: must be a valid duration greater than 1ms',
  )
  check('WasmPlugin', { url: 'oci://ghcr.example/x:1' })
  check('WasmPlugin', { url: 'registry.example/x:1' })
  check(
    'WasmPlugin',
    { url: 'ftp://x/y' },
    'spec.url: url must have schema one of [http, https, file, oci]',
  )
  const overrides = (override: Json) => ({
    metrics: [{ overrides: [{ tagOverrides: { x: override } }] }],
  })
  check('Telemetry', overrides({ operation: 'REMOVE' }))
  check(
    'Telemetry',
    overrides({ operation: 'REMOVE', value: 'a' }),
    'spec.metrics[0].overrides[0].tagOverrides[x]: value must not be set when operation is REMOVE',
  )
})

test('rules of Gateway API: what they accept and what they name when they refuse', () => {
  const route = (rule: Json, ...wanted: string[]) => {
    assert.deepEqual(
      complaints(gateway, 'HTTPRoute', { rules: [rule] }),
      wanted,
      JSON.stringify(rule),
    )
  }
  const path = (type: string, value: string) => ({ matches: [{ path: { type, value } }] })
  route(path('PathPrefix', '/a'))
  route(path('RegularExpression', 'a//b'))
  route(
    path('Exact', '/a//b'),
    "spec.rules[0].matches[0].path: must not contain '//' when type one of ['Exact', 'PathPrefix']",
  )
  route(
    path('PathPrefix', '/a%2Fb'),
    "spec.rules[0].matches[0].path: must not contain '%2F' when type one of ['Exact', 'PathPrefix']",
  )
  route(
    path('PathPrefix', 'a'),
    "spec.rules[0].matches[0].path: value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
  )
  route({ timeouts: { request: '10s', backendRequest: '5s' } })
  route(
    { timeouts: { request: '1s', backendRequest: '5s' } },
    'spec.rules[0].timeouts: backendRequest timeout cannot be longer than request timeout',
  )
  route({ timeouts: { request: '0s', backendRequest: '5s' } })
  route(
    { filters: [{ type: 'RequestRedirect' }] },
    'spec.rules[0].filters[0]: filter.requestRedirect must be specified for RequestRedirect filter.type',
  )
  const rewrite = {
    type: 'URLRewrite',
    urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/' } },
  }
  route({ ...path('PathPrefix', '/a'), filters: [rewrite] })
  assert.match(
    complaints(gateway, 'HTTPRoute', {
      rules: [{ ...path('Exact', '/a'), filters: [rewrite] }],
    })[0] ?? '',
    /^spec\.rules\[0\]: When using URLRewrite filter with path\.replacePrefixMatch/,
  )
  const backend = { name: 'a' }
  assert.match(
    complaints(gateway, 'HTTPRoute', { rules: [{ backendRefs: [backend] }] })[0] ?? '',
    /^spec\.rules\[0\]\.backendRefs\[0\]: Must have port for Service reference$/,
  )
  const parents = (...parentRefs: Json[]) => complaints(gateway, 'HTTPRoute', { parentRefs })
  const parent = { kind: 'Gateway', name: 'g' }
  assert.deepEqual(parents({ ...parent, sectionName: 'a' }, { ...parent, sectionName: 'b' }), [])
  assert.match(
    parents(parent, parent)[0] ?? '',
    /^spec\.parentRefs: sectionName or port must be unique/,
  )
  const gatewayOf = (...listeners: Json[]) =>
    complaints(gateway, 'Gateway', { gatewayClassName: 'istio', listeners })
  const listener = { name: 'a', port: 80, protocol: 'HTTP' }
  assert.deepEqual(gatewayOf(listener, { ...listener, name: 'b', hostname: 'a.example' }), [])
  assert.match(
    gatewayOf(listener, { ...listener, name: 'b' })[0] ?? '',
    /^spec\.listeners: Combination of port, protocol and hostname must be unique/,
  )
  assert.match(
    gatewayOf({ ...listener, tls: {} })[0] ?? '',
    /^spec\.listeners: tls must not be specified for protocols/,
  )
  assert.match(
    gatewayOf({ ...listener, protocol: 'UDP', hostname: 'a.example' })[0] ?? '',
    /^spec\.listeners: hostname must not be specified/,
  )
})

test('the controller of a GatewayClass never changes', () => {
  const spec = { controllerName: 'example.com/a' }
  assert.deepEqual(complaints(gateway, 'GatewayClass', spec, spec), [])
  assert.deepEqual(complaints(gateway, 'GatewayClass', spec, { controllerName: 'example.com/b' }), [
    'spec.controllerName: field is immutable',
  ])
})

test('no object makes a rule throw, whatever is in it', () => {
  for (const [apiVersion, kind] of [
    [gateway, 'HTTPRoute'],
    [gateway, 'Gateway'],
    [istio.AuthorizationPolicy, 'AuthorizationPolicy'],
    [istio.ServiceEntry, 'ServiceEntry'],
    [istio.Telemetry, 'Telemetry'],
  ] as const) {
    const schema = kindOf(apiVersion, kind)
    const spec = schema.node.properties?.['spec'] ?? {}
    const object = arbitraryOf(spec, 5).map((value) => ({ apiVersion, kind, spec: value }))
    fc.assert(
      fc.property(object, object, (one, other) => {
        const found = validateRules(schema, one, other)
        validateCustomResource(schema, one, other)
        return found.every(({ field, message }) => field !== '' && message !== '')
      }),
      { numRuns: 200 },
    )
  }
})
