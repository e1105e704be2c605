/** MeshConfig from the ConfigMaps that hold it. */
import { parse } from 'yaml'
import type { KubeObject } from '../kube/index.ts'
import { type MeshConfigSpec, type MeshSettings, meshConfigMap } from '../model/index.ts'
import { namespaceOf } from './metadata.ts'

/** Whether a ConfigMap is one of the mesh's own: the revision's, or the shared one. */
export function isMeshConfigMap(object: KubeObject, settings: MeshSettings): boolean {
  const { metadata } = object
  if (namespaceOf(metadata) !== settings.systemNamespace) return false
  return (
    metadata.name === meshConfigMap(settings.revision) ||
    (metadata.name === settings.sharedMeshConfig && metadata.name !== '')
  )
}

/** Fields whose values must have this form; the rest is used as it is found. */
const forms: Readonly<Record<string, 'string' | 'boolean' | 'number' | 'list' | 'map'>> = {
  trustDomain: 'string',
  rootNamespace: 'string',
  connectTimeout: 'string',
  protocolDetectionTimeout: 'string',
  dnsRefreshRate: 'string',
  hboneIdleTimeout: 'string',
  accessLogFile: 'string',
  accessLogFormat: 'string',
  accessLogEncoding: 'string',
  ingressClass: 'string',
  ingressService: 'string',
  ingressSelector: 'string',
  ingressControllerMode: 'string',
  h2UpgradePolicy: 'string',
  enableTracing: 'boolean',
  enableAutoMtls: 'boolean',
  enablePrometheusMerge: 'boolean',
  verifyCertificateAtClient: 'boolean',
  enableEnvoyAccessLogService: 'boolean',
  disableEnvoyListenerLog: 'boolean',
  proxyListenPort: 'number',
  proxyInboundListenPort: 'number',
  proxyHttpPort: 'number',
  trustDomainAliases: 'list',
  defaultServiceExportTo: 'list',
  defaultVirtualServiceExportTo: 'list',
  defaultDestinationRuleExportTo: 'list',
  extensionProviders: 'list',
  discoverySelectors: 'list',
  serviceSettings: 'list',
  serviceScopeConfigs: 'list',
  caCertificates: 'list',
  defaultConfig: 'map',
  defaultProviders: 'map',
  outboundTrafficPolicy: 'map',
  inboundTrafficPolicy: 'map',
  localityLbSetting: 'map',
  defaultHttpRetryPolicy: 'map',
  defaultTrafficPolicy: 'map',
  pathNormalization: 'map',
  meshMTLS: 'map',
  tlsDefaults: 'map',
}

const enums: Readonly<Record<string, readonly string[]>> = {
  'outboundTrafficPolicy.mode': ['REGISTRY_ONLY', 'ALLOW_ANY', 'ALLOW_ANY_DYNAMIC_DNS'],
  'inboundTrafficPolicy.mode': ['PASSTHROUGH', 'LOCALHOST'],
  accessLogEncoding: ['TEXT', 'JSON'],
}

/** @throws when the text is no YAML or a field has the wrong form: what was known before stays */
export function meshConfig(object: KubeObject): MeshConfigSpec {
  const text: unknown = (object as { data?: Record<string, unknown> }).data?.mesh
  if (text === undefined) return {}
  if (typeof text !== 'string') throw new TypeError('data.mesh is no text')
  const value: unknown = parse(text, { maxAliasCount: 100 })
  if (value === null || value === undefined) return {}
  if (formOf(value) !== 'map') throw new TypeError('data.mesh is no YAML map')
  // Checked below as far as a wrong form would break others.
  const spec = value as Record<string, unknown>
  for (const [field, form] of Object.entries(forms)) {
    // Empty in YAML is null, and means that nothing is said.
    if (spec[field] === null) delete spec[field]
    const found = spec[field]
    if (found !== undefined && formOf(found) !== form) {
      throw new TypeError(`data.mesh: ${field} must be a ${form}`)
    }
  }
  for (const [path, allowed] of Object.entries(enums)) {
    const [first = '', second] = path.split('.')
    const found = second === undefined ? spec[first] : at(spec[first], second)
    if (found !== undefined && !allowed.includes(String(found))) {
      throw new TypeError(`data.mesh: ${path} must be one of ${allowed.join(', ')}`)
    }
  }
  return spec as MeshConfigSpec
}

function at(value: unknown, field: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, field) : undefined
}

function formOf(value: unknown): string {
  if (Array.isArray(value)) return value.some((item) => item === null) ? 'broken list' : 'list'
  return typeof value === 'object' && value !== null ? 'map' : typeof value
}
