/** MeshConfig with its defaults, and how the shared one and the revision's own lie over each other. */
import type {
  ExtensionProvider,
  MeshConfig,
  MeshConfigSpec,
  ProxyConfig,
  SelectorSpec,
} from './istio/index.ts'
import type { Labels, MeshSettings } from './types.ts'

export function defaultMeshConfig(settings: MeshSettings): MeshConfig {
  return {
    proxyListenPort: 15001,
    proxyInboundListenPort: 15006,
    connectTimeout: '10s',
    protocolDetectionTimeout: '0s',
    ingressClass: 'istio',
    ingressService: 'istio-ingressgateway',
    ingressSelector: 'ingressgateway',
    ingressControllerMode: 'STRICT',
    enableTracing: true,
    accessLogFile: '',
    accessLogFormat: '',
    accessLogEncoding: 'TEXT',
    outboundTrafficPolicy: { mode: 'ALLOW_ANY' },
    inboundTrafficPolicy: { mode: 'PASSTHROUGH' },
    enableAutoMtls: true,
    trustDomain: settings.trustDomain,
    trustDomainAliases: [],
    defaultServiceExportTo: ['*'],
    defaultVirtualServiceExportTo: ['*'],
    defaultDestinationRuleExportTo: ['*'],
    rootNamespace: settings.rootNamespace,
    localityLbSetting: { enabled: true },
    dnsRefreshRate: '60s',
    h2UpgradePolicy: 'DO_NOT_UPGRADE',
    enablePrometheusMerge: true,
    verifyCertificateAtClient: true,
    // Providers that exist without being written down.
    extensionProviders: [
      { name: 'prometheus', prometheus: {} },
      { name: 'stackdriver', stackdriver: {} },
      { name: 'envoy', envoyFileAccessLog: { path: '/dev/stdout' } },
    ],
    defaultProviders: {},
    discoverySelectors: [],
    pathNormalization: { normalization: 'BASE' },
    serviceSettings: [],
    serviceScopeConfigs: [],
    hboneIdleTimeout: '3600s',
    defaultConfig: defaultProxyConfig(settings),
  }
}

function defaultProxyConfig(settings: MeshSettings): ProxyConfig {
  return {
    configPath: './etc/istio/proxy',
    binaryPath: '/usr/local/bin/envoy',
    serviceCluster: 'istio-proxy',
    drainDuration: '45s',
    terminationDrainDuration: '5s',
    discoveryAddress: `istiod.${settings.systemNamespace}.svc:15012`,
    proxyAdminPort: 15000,
    statusPort: 15020,
    statNameLength: 189,
    controlPlaneAuthPolicy: 'MUTUAL_TLS',
  }
}

/** What every snapshot holds: layers of MeshConfig, lowest first, over the defaults. */
export function effectiveMesh(
  settings: MeshSettings,
  layers: readonly MeshConfigSpec[],
): { readonly settings: MeshSettings; readonly mesh: MeshConfig } {
  let mesh = defaultMeshConfig(settings)
  for (const layer of layers) mesh = overlay(mesh, layer)
  const { trustDomain, rootNamespace } = mesh
  return { settings: { ...settings, trustDomain, rootNamespace }, mesh }
}

/** Fields replace; what people think of as sets (providers, aliases, proxy metadata) is merged. */
function overlay(below: MeshConfig, above: MeshConfigSpec): MeshConfig {
  const merged = { ...below, ...above }
  return {
    ...merged,
    trustDomain: above.trustDomain || below.trustDomain,
    rootNamespace: above.rootNamespace || below.rootNamespace,
    defaultConfig: mergeProxyConfig(below.defaultConfig, above.defaultConfig),
    defaultProviders: { ...below.defaultProviders, ...above.defaultProviders },
    extensionProviders: mergeProviders(below.extensionProviders, above.extensionProviders),
    trustDomainAliases: [
      ...new Set([...below.trustDomainAliases, ...(above.trustDomainAliases ?? [])]),
    ],
    defaultServiceExportTo: filled(above.defaultServiceExportTo, below.defaultServiceExportTo),
    defaultVirtualServiceExportTo: filled(
      above.defaultVirtualServiceExportTo,
      below.defaultVirtualServiceExportTo,
    ),
    defaultDestinationRuleExportTo: filled(
      above.defaultDestinationRuleExportTo,
      below.defaultDestinationRuleExportTo,
    ),
  }
}

function filled(above: readonly string[] | undefined, below: readonly string[]): readonly string[] {
  return above === undefined || above.length === 0 ? below : above
}

/** The block of a pod or a mesh over one below it: metadata and header settings merge by key. */
export function mergeProxyConfig(below: ProxyConfig, above: ProxyConfig | undefined): ProxyConfig {
  if (above === undefined) return below
  return {
    ...below,
    ...above,
    ...(below.proxyMetadata === undefined && above.proxyMetadata === undefined
      ? {}
      : { proxyMetadata: { ...below.proxyMetadata, ...above.proxyMetadata } }),
    ...(below.proxyHeaders === undefined && above.proxyHeaders === undefined
      ? {}
      : { proxyHeaders: { ...below.proxyHeaders, ...above.proxyHeaders } }),
  }
}

function mergeProviders(
  below: readonly ExtensionProvider[],
  above: readonly ExtensionProvider[] | undefined,
): readonly ExtensionProvider[] {
  const byName = new Map(below.map((provider) => [provider.name, provider]))
  for (const provider of above ?? []) byName.set(provider.name, provider)
  return [...byName.values()]
}

/** Whether any of the discovery selectors selects a namespace; none at all select every one. */
export function selectsNamespace(selectors: readonly SelectorSpec[], labels: Labels): boolean {
  return selectors.length === 0 || selectors.some((selector) => matchesSelector(selector, labels))
}

/** A Kubernetes label selector: all pairs and all expressions. An unknown operator selects nothing. */
export function matchesSelector(selector: SelectorSpec, labels: Labels): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels[key] !== value) return false
  }
  return (selector.matchExpressions ?? []).every(({ key = '', operator, values = [] }) => {
    const value = labels[key]
    if (operator === 'Exists') return value !== undefined
    if (operator === 'DoesNotExist') return value === undefined
    if (operator === 'In') return value !== undefined && values.includes(value)
    return operator === 'NotIn' && (value === undefined || !values.includes(value))
  })
}
