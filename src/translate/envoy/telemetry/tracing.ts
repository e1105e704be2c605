/**
 * The `tracing` block of HTTP connection managers. Without a provider there are no spans. Sampling, from
 * strongest to weakest: the provider's own sampler, Telemetry, the proxy configuration, 1 per cent.
 */
import type { ExtensionProvider, ProxyTracing, TelemetryTag } from '../../../model/index.ts'
import { customTag, hcm, metadataKind, percent, requestId } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import type { Reader } from '../../reader.ts'
import { meshProblem, type Problem, problemOf } from '../policies/problem.ts'
import { findProvider, type ProviderCluster } from '../policies/providers.ts'
import type { ProxyView } from '../proxy.ts'
import { compareText, pack } from '../values.ts'
import { ownNames, type PeerField, peerFields, peerNamespace, peerStateKey } from './peer.ts'
import { isForSide, providerNames, type TelemetryTarget, telemetriesFor } from './scope.ts'
import { type Tracer, tracerOf } from './tracing-providers.ts'

export interface Tracing {
  /** Undefined: no spans. */
  readonly block: hcm.HttpConnectionManager_Tracing | undefined
  /** How requests get their ids; undefined: as Envoy does by itself. */
  readonly requestId: hcm.RequestIDExtension | undefined
  readonly clusters: readonly ProviderCluster[]
  readonly problems: readonly Problem[]
}

const defaultSampling = 1

/** What the Telemetries say together. */
interface Wanted {
  provider: ExtensionProvider | undefined
  disabled: boolean
  sampling: number | undefined
  customTags: Readonly<Record<string, TelemetryTag>> | undefined
  useRequestId: boolean
  istioTags: boolean
  noPropagation: boolean
}

export function tracing(reader: Reader, target: TelemetryTarget): Tracing {
  const problems: Problem[] = []
  const none: Tracing = { block: undefined, requestId: undefined, clusters: [], problems }
  const mesh = reader.mesh()
  const own = mesh.defaultConfig.tracing ?? {}
  const wanted = collect(reader, target, problems)
  if (wanted.disabled || wanted.provider === undefined) return none
  const serviceName = serviceNameOf(target.proxy)
  const tracer = tracerOf({ reader, serviceName }, wanted.provider)
  if (typeof tracer === 'string') {
    problems.push(meshProblem(`/extensionProviders/${wanted.provider.name ?? ''}`, tracer))
    return none
  }
  return {
    block: blockOf(target.proxy, wanted, tracer, own),
    requestId: requestIdOf(wanted),
    clusters: tracer.clusters,
    problems,
  }
}

function collect(reader: Reader, target: TelemetryTarget, problems: Problem[]): Wanted {
  const mesh = reader.mesh()
  const [byDefault] = mesh.defaultProviders.tracing ?? []
  const wanted: Wanted = {
    provider: byDefault === undefined ? undefined : findProvider(reader, byDefault),
    disabled: false,
    sampling: undefined,
    customTags: undefined,
    useRequestId: true,
    istioTags: mesh.defaultConfig.tracing?.enableIstioTags ?? true,
    noPropagation: false,
  }
  let configured = byDefault !== undefined
  for (const object of telemetriesFor(reader, target)) {
    for (const [index, block] of (object.spec.tracing ?? []).entries()) {
      configured = true
      if (!isForSide(block.match?.mode, target.side)) continue
      const path = `/spec/tracing/${index}`
      const [name, ...others] = providerNames(block.providers)
      if (name !== undefined) {
        wanted.provider = findProvider(reader, name)
        if (wanted.provider === undefined) {
          const message = `there is no extension provider '${name}' in MeshConfig; no spans are sent`
          problems.push(problemOf(object, `${path}/providers/0/name`, message))
        }
      }
      if (others.length > 0) {
        const message = `only the first provider, '${name ?? ''}', is used`
        problems.push(problemOf(object, `${path}/providers`, message))
      }
      wanted.disabled = block.disableSpanReporting ?? wanted.disabled
      wanted.sampling = block.randomSamplingPercentage ?? wanted.sampling
      wanted.customTags = block.customTags ?? wanted.customTags
      wanted.useRequestId = block.useRequestIdForTraceSampling ?? wanted.useRequestId
      wanted.istioTags = block.enableIstioTags ?? wanted.istioTags
      wanted.noPropagation = block.disableContextPropagation ?? wanted.noPropagation
    }
  }
  if (!configured && mesh.enableTracing) wanted.provider = legacyProvider(reader)
  return wanted
}

/** `defaultConfig.tracing.zipkin.address`, the older way: `host:port` of a service. */
function legacyProvider(reader: Reader): ExtensionProvider | undefined {
  const address = reader.mesh().defaultConfig.tracing?.zipkin?.address ?? ''
  const colon = address.lastIndexOf(':')
  if (colon <= 0) return undefined
  const { domain } = reader.settings
  const host = address.slice(0, colon)
  // `zipkin.istio-system` is how it is mostly written.
  const full = host.split('.').length === 2 ? `${host}.svc.${domain}` : host
  const zipkin = { service: full, port: Number(address.slice(colon + 1)) }
  return { name: 'defaultConfig.tracing.zipkin', zipkin }
}

function blockOf(
  proxy: ProxyView,
  wanted: Wanted,
  tracer: Tracer,
  own: ProxyTracing,
): hcm.HttpConnectionManager_Tracing {
  const maxLength = tracer.maxPathTagLength ?? own.maxPathTagLength
  const configured =
    own.sampling === undefined || own.sampling > 100 ? defaultSampling : own.sampling
  const sampling = tracer.ownSampler ? 100 : (wanted.sampling ?? configured)
  const tags = [
    ...(wanted.istioTags ? [...serviceTags(proxy), ...dryRunTags()] : []),
    ...(proxy.kind === 'waypoint' ? peerTags() : []),
    ...customTags(wanted.customTags ?? own.customTags ?? {}),
  ]
  return create(hcm.HttpConnectionManager_TracingSchema, {
    provider: tracer.config,
    clientSampling: percentage(100),
    overallSampling: percentage(100),
    randomSampling: percentage(sampling),
    customTags: tags.toSorted((left, right) => compareText(left.tag, right.tag)),
    ...(maxLength === undefined || maxLength === 0 ? {} : { maxPathTagLength: maxLength }),
    ...(tracer.upstreamSpan || proxy.kind === 'gateway' ? { spawnUpstreamSpan: true } : {}),
    noContextPropagation: wanted.noPropagation,
  })
}

function percentage(value: number): percent.Percent {
  return create(percent.PercentSchema, { value })
}

/** Envoy's own ids decide about sampling unless users say no. */
function requestIdOf({ useRequestId }: Wanted): hcm.RequestIDExtension | undefined {
  if (useRequestId) return undefined
  const config = create(requestId.UuidRequestIdConfigSchema, {
    useRequestIdForTraceSampling: false,
  })
  return create(hcm.RequestIDExtensionSchema, {
    typedConfig: pack(requestId.UuidRequestIdConfigSchema, config),
  })
}

/** `<app>.<namespace>`, as Istio names the services of traces. */
function serviceNameOf(proxy: ProxyView): string {
  const { app, canonical_service: canonical } = ownNames(proxy)
  return `${app || canonical || 'istio-proxy'}.${proxy.namespace}`
}

function serviceTags(proxy: ProxyView): customTag.CustomTag[] {
  const names = ownNames(proxy)
  return Object.entries({
    'istio.canonical_revision': names.canonical_revision,
    'istio.canonical_service': names.canonical_service || 'unknown',
    'istio.mesh_id': proxy.labels['topology.istio.io/mesh'] ?? 'cluster.local',
    'istio.namespace': proxy.namespace,
    'istio.cluster_id': proxy.clusterId,
  }).map(([tag, value]) => literalTag(tag, value))
}

function literalTag(tag: string, value: string): customTag.CustomTag {
  return create(customTag.CustomTagSchema, {
    tag,
    type: { case: 'literal', value: create(customTag.CustomTag_LiteralSchema, { value }) },
  })
}

/** A waypoint's spans name both ends, for it is neither. */
function peerTags(): customTag.CustomTag[] {
  const names: Readonly<Record<PeerField, string>> = {
    workload: 'workload',
    namespace: 'namespace',
    app: 'app',
    version: 'app_version',
    canonical_service: 'canonical_service',
    canonical_revision: 'canonical_revision',
    cluster: 'cluster_id',
  }
  const tag = (name: string, value: string): customTag.CustomTag =>
    create(customTag.CustomTagSchema, { tag: name, type: { case: 'value', value } })
  return peerFields.flatMap((field) => [
    tag(`istio.source_${names[field]}`, `%FILTER_STATE(${peerStateKey(field)}:PLAIN)%`),
    tag(`istio.destination_${names[field]}`, `%UPSTREAM_METADATA(${peerNamespace}:${field})%`),
  ])
}

/** What dry runs of policies would have decided; absent where there is none. */
function dryRunTags(): customTag.CustomTag[] {
  return ['allow', 'deny'].flatMap((action) => [
    dryRunTag(`${action}_policy.name`, `istio_dry_run_${action}_shadow_effective_policy_id`),
    dryRunTag(`${action}_policy.result`, `istio_dry_run_${action}_shadow_engine_result`),
  ])
}

function dryRunTag(tag: string, key: string): customTag.CustomTag {
  const segment = create(metadataKind.MetadataKey_PathSegmentSchema, {
    segment: { case: 'key', value: key },
  })
  return create(customTag.CustomTagSchema, {
    tag: `istio.authorization.dry_run.${tag}`,
    type: {
      case: 'metadata',
      value: create(customTag.CustomTag_MetadataSchema, {
        kind: create(metadataKind.MetadataKindSchema, {
          kind: { case: 'request', value: create(metadataKind.MetadataKind_RequestSchema) },
        }),
        metadataKey: create(metadataKind.MetadataKeySchema, {
          key: 'envoy.filters.http.rbac',
          path: [segment],
        }),
      }),
    },
  })
}

function customTags(tags: Readonly<Record<string, TelemetryTag>>): customTag.CustomTag[] {
  return Object.entries(tags).flatMap(([tag, { literal, environment, header, formatter }]) => {
    const type = tagType({ literal, environment, header, formatter })
    return type === undefined ? [] : [create(customTag.CustomTagSchema, { tag, type })]
  })
}

function tagType(
  tag: {
    [K in keyof TelemetryTag]: TelemetryTag[K] | undefined
  },
): customTag.CustomTag['type'] | undefined {
  const { literal, environment, header, formatter } = tag
  if (literal !== undefined) {
    const { value = '' } = literal
    return { case: 'literal', value: create(customTag.CustomTag_LiteralSchema, { value }) }
  }
  if (environment !== undefined) {
    const { name = '', defaultValue = '' } = environment
    const value = create(customTag.CustomTag_EnvironmentSchema, { name, defaultValue })
    return { case: 'environment', value }
  }
  if (header !== undefined) {
    const { name = '', defaultValue = '' } = header
    const value = create(customTag.CustomTag_HeaderSchema, { name, defaultValue })
    return { case: 'requestHeader', value }
  }
  return formatter === undefined ? undefined : { case: 'value', value: formatter.value ?? '' }
}
