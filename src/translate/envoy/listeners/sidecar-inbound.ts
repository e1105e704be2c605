/**
 * What a sidecar takes for its workload: mutual TLS, plaintext or both at each port, HTTP told from other
 * bytes, then policies, then the application. Ports that no service has get the same treatment.
 */
import type { MutualTlsMode, ServicePort, SidecarIngress } from '../../../model/index.ts'
import { selects } from '../../../model/index.ts'
import { listener as api, type core, listenerComponents } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { configPath, servicePath } from '../../provenance.ts'
import { inboundClusterName, inboundPassthroughCluster } from '../clusters/names.ts'
import { inboundCluster } from '../clusters/static.ts'
import type { Scope } from '../lookup/scope.ts'
import { sidecarOf } from '../lookup/sidecar-scope.ts'
import { istioMetadata } from '../metadata.ts'
import { inboundMutualTls } from '../policies/peer-authentication.ts'
import { type Problem, problemOf } from '../policies/problem.ts'
import type { IpFamily } from '../proxy.ts'
import { encodeRoutes } from '../routes/emit.ts'
import { listenerAccessLogs } from '../telemetry/access-log.ts'
import type { TelemetryTarget } from '../telemetry/scope.ts'
import { neededUnits, resourceUnit, type Unit } from '../unit.ts'
import { duration, durationMs, socketAddress } from '../values.ts'
import {
  encodeListener,
  exceptPorts,
  type FilterChain,
  httpInspectorFilter,
  inbound,
  type ListenerContext,
  meshHttpProtocols,
  meshStreamProtocols,
  Needs,
  originalDestinationFilter,
  plainHttpProtocols,
  tlsInspectorFilter,
  wildcardAddress,
} from './build.ts'
import { downstreamSocket, meshServerTls } from './downstream-tls.ts'
import { httpManager } from './http-manager.ts'
import { RecordedKeySets } from './key-sets.ts'
import { inboundRetry, passHost } from './pass-host.ts'
import { declaredOf, isServerFirst, serverKind, sniffs, speaksHttp } from './protocols.ts'
import { ownPort, rangesOf } from './sidecar-outbound.ts'
import { clusterProxy } from './tcp.ts'

type EffectiveMode = Exclude<MutualTlsMode, 'UNSET'>

export interface InboundPort {
  /** The workload's own. */
  readonly port: number
  readonly servicePort: ServicePort
  readonly config: string
  readonly path: string
  /** From a Sidecar's ingress. */
  readonly ingress: SidecarIngress | undefined
}

/** From the Sidecar's ingress if it has one, else from the services that select the workload. */
export function inboundPorts(scope: Scope): readonly InboundPort[] {
  const { reader, view } = scope
  const sidecar = sidecarOf(reader, view)
  const ingress = sidecar?.spec.ingress ?? []
  if (sidecar !== undefined && ingress.length > 0) {
    return ingress.flatMap((one, index): InboundPort[] => {
      const { number = 0, name = '', protocol } = one.port ?? {}
      const kind = serverKind(protocol)
      if (number === 0) return []
      const appProtocol = kind === 'http' ? 'http' : kind === undefined ? 'unknown' : 'tcp'
      const servicePort: ServicePort = {
        name,
        port: number,
        targetPort: number,
        protocol: 'TCP',
        appProtocol,
        declared: declaredOf(protocol),
      }
      const path = `/spec/ingress/${index}`
      return [{ port: number, servicePort, config: configPath(sidecar), path, ingress: one }]
    })
  }
  const found = new Map<number, InboundPort>()
  for (const service of reader.servicesOf(view.namespace)) {
    if (service.selector === undefined || !selects(service.selector, view.labels)) continue
    for (const [index, servicePort] of service.ports.entries()) {
      if (servicePort.protocol !== 'TCP') continue
      const config = servicePath(service)
      const path = `/spec/ports/${index}`
      for (const port of targetsOf(scope, service, servicePort)) {
        // Of several services with one target port the first decides.
        if (found.has(port)) continue
        found.set(port, { port, servicePort, config, path, ingress: undefined })
      }
    }
  }
  return [...found.values()].toSorted((left, right) => left.port - right.port)
}

/** A named port is a different number in every pod that says so: all of them are listened for. */
function targetsOf(
  { reader }: Scope,
  service: Parameters<typeof servicePath>[0],
  port: ServicePort,
): readonly number[] {
  if (typeof port.targetPort === 'number') return [port.targetPort]
  const named = reader
    .slices(service)
    .flatMap(({ ports }) => ports.filter(({ name }) => name === port.name))
  return [...new Set(named.map((one) => one.port))]
}

export function inboundClusterUnit({ port }: InboundPort): Unit {
  return resourceUnit(`inbound-cluster|${port}`, ({ scope }) => {
    const found = inboundPorts(scope).find((one) => one.port === port)
    if (found === undefined) return []
    const { reader, view } = scope
    const { config, path, servicePort, ingress } = found
    const pool = ingress?.connectionPool ?? sidecarOf(reader, view)?.spec.inboundConnectionPool
    const cluster = inboundCluster(scope, {
      port,
      servicePort,
      pool,
      defaultEndpoint: ingress?.defaultEndpoint,
      metadata: istioMetadata(config, path),
    })
    return [cluster]
  })
}

export function inboundRouteUnit(port: InboundPort): Unit {
  const name = inboundClusterName(port.port)
  return resourceUnit(`route|${name}`, ({ scope }) => {
    const found = inboundPorts(scope).find((one) => one.port === port.port)
    if (found === undefined || !(speaksHttp(found.servicePort) || sniffs(found.servicePort)))
      return []
    const { config, path, servicePort } = found
    const isGrpc = servicePort.appProtocol === 'grpc'
    const policy = scope.reader.mesh().defaultInboundHttpRetryPolicy
    const retry = isGrpc ? undefined : inboundRetry(policy)
    return [
      encodeRoutes(name, [
        passHost(`inbound|http|${servicePort.port}`, name, { config, path, retry }),
      ]),
    ]
  })
}

export const passthroughRouteUnit: Unit = resourceUnit(
  'inbound-passthrough-routes',
  ({ scope }) => {
    const retry = inboundRetry(scope.reader.mesh().defaultInboundHttpRetryPolicy)
    return scope.view.ipFamilies.map((family) => {
      const name = passthroughClusterOf(family)
      return encodeRoutes(name, [passHost('inbound|http|0', name, { retry })])
    })
  },
)

export const virtualInboundUnit: Unit = {
  key: 'listener|virtualInbound',
  make: ({ scope, keySets }) => {
    const { reader, view } = scope
    if (view.interception === 'NONE') return { resources: [], units: [], problems: [] }
    const needs = new Needs()
    const context = { needs, keySets: new RecordedKeySets(reader, keySets) }
    const listenPort = reader.mesh().proxyInboundListenPort
    const { mode, ports: modes } = inboundMutualTls(reader, view)
    const ports = inboundPorts(scope)
    const problems: Problem[] = []
    const known = new Set(ports.map(({ port }) => port))
    const chains = [ownPort(context, scope, 'virtualInbound-blackhole', listenPort)]
    for (const port of ports) {
      problems.push(...ingressProblems(scope, port))
      chains.push(...portChains(context, scope, port, modes.get(port.port) ?? mode))
    }
    // A mode of its own does not need a service.
    for (const [port, own] of modes) {
      if (known.has(port)) continue
      chains.push(...catchAll(context, scope, own, port))
    }
    chains.push(...catchAll(context, scope, mode, undefined))
    const logs = listenerAccessLogs(reader, targetOf(scope))
    needs.add(logs)
    const quiet = ports
      .filter(({ servicePort }) => servicePort.appProtocol === 'tcp' || isServerFirst(servicePort))
      .map(({ port }) => port)
    const encrypted = ports.filter(({ port }) => (modes.get(port) ?? mode) === 'DISABLE')
    const [family = 'ipv4', ...others] = view.ipFamilies
    const timeoutMs = durationMs(reader.mesh().protocolDetectionTimeout) ?? 0
    const listener = encodeListener(
      create(api.ListenerSchema, {
        name: 'virtualInbound',
        address: socketAddress(wildcardAddress(family), listenPort),
        additionalAddresses: others.map((other) =>
          create(api.AdditionalAddressSchema, {
            address: socketAddress(wildcardAddress(other), listenPort),
          }),
        ),
        trafficDirection: inbound,
        transparent: view.interception === 'TPROXY',
        listenerFilters: [
          originalDestinationFilter(),
          // Where the server speaks first in the clear nobody may wait for the client.
          exceptPorts(
            tlsInspectorFilter(),
            quiet.filter((port) => encrypted.some((one) => one.port === port)),
          ),
          exceptPorts(httpInspectorFilter(), quiet),
        ],
        listenerFiltersTimeout: duration(timeoutMs),
        continueOnListenerFiltersTimeout: true,
        accessLog: [...logs.logs],
        filterChains: chains,
      }),
    )
    return {
      resources: [listener, ...needs.extensions.values()],
      units: neededUnits(needs),
      problems: [...needs.problems, ...problems],
    }
  },
}

function ingressProblems({ reader, view }: Scope, { ingress, path }: InboundPort): Problem[] {
  const sidecar = sidecarOf(reader, view)
  if (ingress?.tls === undefined || sidecar === undefined) return []
  const message = 'TLS of its own at a sidecar is not supported; PeerAuthentication decides'
  return [problemOf(sidecar, `${path}/tls`, message)]
}

function targetOf({ view }: Scope): TelemetryTarget {
  return { proxy: view, side: 'SERVER' }
}

/** One way of coming in: how it is recognised, and what it is then. */
interface Entrance {
  readonly name: string
  readonly isHttp: boolean
  readonly isMutual: boolean
  readonly transportProtocol: string
  readonly applicationProtocols: readonly string[]
}

const anyProtocol: readonly string[] = []

/** The entrances that a mode has for a port of a protocol; the most specific match counts in Envoy. */
export function entrances(mode: EffectiveMode, protocol: 'http' | 'tcp' | 'auto'): Entrance[] {
  const entrance = (
    name: string,
    kind: { readonly isHttp: boolean; readonly isMutual: boolean },
    transportProtocol: string,
    applicationProtocols: readonly string[],
  ): Entrance => ({ name, ...kind, transportProtocol, applicationProtocols })
  const http = {
    mutual: { isHttp: true, isMutual: true },
    plain: { isHttp: true, isMutual: false },
  }
  const tcp = {
    mutual: { isHttp: false, isMutual: true },
    plain: { isHttp: false, isMutual: false },
  }
  const found: Entrance[] = []
  if (mode !== 'DISABLE') {
    const isStrict = mode === 'STRICT'
    // In permissive mode TLS that is not the mesh's belongs to the application.
    const mesh = [...meshHttpProtocols, ...meshStreamProtocols]
    if (protocol === 'http') {
      found.push(entrance('mtls-http', http.mutual, 'tls', isStrict ? anyProtocol : mesh))
    }
    if (protocol === 'auto') {
      found.push(entrance('mtls-http', http.mutual, 'tls', meshHttpProtocols))
    }
    if (protocol !== 'http') {
      const names = isStrict ? anyProtocol : protocol === 'tcp' ? mesh : meshStreamProtocols
      found.push(entrance('mtls-tcp', tcp.mutual, 'tls', names))
    }
  }
  if (mode !== 'STRICT') {
    if (protocol === 'http') found.push(entrance('http', http.plain, 'raw_buffer', anyProtocol))
    if (protocol === 'auto')
      found.push(entrance('http', http.plain, 'raw_buffer', plainHttpProtocols))
    if (protocol !== 'http') {
      found.push(entrance('tcp', tcp.plain, 'raw_buffer', anyProtocol))
      found.push(entrance('tls', tcp.plain, 'tls', anyProtocol))
    }
  }
  return found
}

interface EntranceTarget {
  readonly port: number | undefined
  readonly name: string
  readonly cluster: string
  readonly servicePort: ServicePort | undefined
  readonly metadata: core.Metadata | undefined
  /** Addresses it is for; absent: all. */
  readonly range?: string
}

function portChains(
  context: ListenerContext,
  scope: Scope,
  { port, servicePort, config, path }: InboundPort,
  mode: EffectiveMode,
): FilterChain[] {
  const protocol = speaksHttp(servicePort) ? 'http' : sniffs(servicePort) ? 'auto' : 'tcp'
  const target: EntranceTarget = {
    port,
    name: `${wildcardAddress(scope.view.ipFamilies[0] ?? 'ipv4')}_${port}`,
    cluster: inboundClusterName(port),
    servicePort,
    metadata: istioMetadata(config, path),
  }
  return entrances(mode, protocol).map((one) => entranceChain(context, scope, one, target))
}

/** Ports that no service has, for each family: from where the application is called depends on it. */
function catchAll(
  context: ListenerContext,
  scope: Scope,
  mode: EffectiveMode,
  port: number | undefined,
): FilterChain[] {
  const { ipFamilies } = scope.view
  return ipFamilies.flatMap((family) => {
    const suffix = ipFamilies.length > 1 && family === 'ipv6' ? '-ipv6' : ''
    const base = port === undefined ? 'virtualInbound-catchall' : `virtualInbound-${port}`
    const target: EntranceTarget = {
      port,
      name: `${base}${suffix}`,
      cluster: passthroughClusterOf(family),
      servicePort: undefined,
      metadata: undefined,
      ...(ipFamilies.length > 1 ? { range: family === 'ipv4' ? '0.0.0.0/0' : '::/0' } : {}),
    }
    return entrances(mode, 'auto').map((one) => entranceChain(context, scope, one, target))
  })
}

function passthroughClusterOf(family: IpFamily): string {
  return family === 'ipv4' ? inboundPassthroughCluster : `${inboundPassthroughCluster}Ipv6`
}

function entranceChain(
  context: ListenerContext,
  scope: Scope,
  entrance: Entrance,
  target: EntranceTarget,
): FilterChain {
  const { port, name, cluster, servicePort, metadata, range } = target
  const policyTarget = targetOf(scope)
  const ports = port === undefined ? {} : { port }
  const filters = entrance.isHttp
    ? [
        httpManager(context, {
          role: 'inbound',
          scope,
          target: policyTarget,
          ...ports,
          statPrefix: `inbound_${name}`,
          routeName: cluster,
          ...(servicePort === undefined ? {} : { declared: servicePort.declared }),
        }),
      ]
    : clusterProxy(context, { scope, target: policyTarget, ...ports, authorizes: true, cluster })
  const transportSocket = entrance.isMutual
    ? downstreamSocket(context.needs, meshServerTls(true), {
        alpn: entrance.isHttp ? ['h2', 'http/1.1'] : ['istio-peer-exchange', 'istio'],
        defaults: scope.reader.mesh().meshMTLS,
      })
    : undefined
  return create(listenerComponents.FilterChainSchema, {
    name: `${name}-${entrance.name}`,
    filterChainMatch: create(listenerComponents.FilterChainMatchSchema, {
      ...(port === undefined ? {} : { destinationPort: port }),
      ...(range === undefined ? {} : { prefixRanges: rangesOf([range]) }),
      transportProtocol: entrance.transportProtocol,
      applicationProtocols: [...entrance.applicationProtocols],
    }),
    filters,
    ...(transportSocket === undefined ? {} : { transportSocket }),
    ...(metadata === undefined ? {} : { metadata }),
  })
}
