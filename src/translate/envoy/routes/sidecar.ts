/** Route tables of sidecars: what a client's HTTP request to each port of the mesh does. */
import { formatIp, parseIp } from '../../../base/index.ts'
import type { Service, ServicePort } from '../../../model/index.ts'
import { route as routeApi } from '../../../proto/envoy.ts'
import { toBinary, typeUrl } from '../../../proto/index.ts'
import { contentVersion } from '../../hash.ts'
import { servicePath } from '../../provenance.ts'
import type { TranslatedResource } from '../../types.ts'
import { type ClusterRef, outboundRef, passthroughCluster } from '../clusters/names.ts'
import { compareSpecificity, covers, isWildcard, mostSpecific } from '../lookup/hosts.ts'
import type { Scope } from '../lookup/scope.ts'
import type { VirtualService } from '../lookup/virtual-services.ts'
import { durationMs } from '../values.ts'
import { concrete, hashOf, type RouteContext } from './context.ts'
import { routesOf } from './emit.ts'
import { type EncodedHost, encodedHost, joinHosts, type Share } from './host-units.ts'
import { anyRequest, type HttpRule, noChanges, retryOf, type VirtualHost } from './ir.ts'
import { parentRules } from './mesh-routes.ts'
import { withPeerHeader } from './peer-headers.ts'
import { virtualServiceRules } from './virtual-service.ts'

/** What to do with hosts nobody knows. */
export type UnknownHosts = 'allow' | 'block'

export interface SidecarRouteOptions {
  readonly scope: Scope
  /** Name of the resource: the port, or `host:port` for one service of undeclared protocol. */
  readonly name: string
  readonly port: number
  /** Only this service; undefined: all with an HTTP port of that number. */
  readonly service?: Service
  readonly unknown: UnknownHosts
  /** How hosts are shared with other views; absent: the scope is not that of the whole proxy. */
  readonly share?: Share | undefined
  /** With `unknown: allow`, where to send them instead of where they meant to go. */
  readonly egressProxy?: ClusterRef
}

export function sidecarRoutes(options: SidecarRouteOptions): TranslatedResource {
  const { name, scope } = options
  const { encoded, hosts } = sidecarHosts(options)
  const rest = routesOf(name, withPeerHeader(scope, hosts))
  const schema = routeApi.RouteConfigurationSchema
  const bytes = joinHosts(scope, encoded, toBinary(schema, rest))
  return { name, typeUrl: typeUrl.route, version: contentVersion(bytes), bytes }
}

interface SidecarHosts {
  /** Shared with others, as far as that can be. */
  readonly encoded: readonly EncodedHost[]
  readonly hosts: readonly VirtualHost[]
}

function sidecarHosts(options: SidecarRouteOptions): SidecarHosts {
  const { scope, port, service } = options
  const share = options.share ?? ((unit) => unit.make({ scope, keySets: new Map() }))
  const context: RouteContext = { scope, port, gateway: 'mesh' }
  const services = service === undefined ? httpServices(scope, port) : [service]
  const virtuals = virtualsOf(scope)
  const encoded: EncodedHost[] = []
  const hosts: VirtualHost[] = []
  const domains = new Set<string>()
  const push = (host: VirtualHost): void => {
    const free = host.domains.filter((domain) => !domains.has(domain))
    for (const domain of free) domains.add(domain)
    if (free.length > 0) hosts.push({ ...host, domains: free })
  }
  for (const one of services) {
    const virtual = virtualFor(virtuals, one.hostname)
    const key = `${one.namespace}/${one.hostname}:${port}`
    const shared = encodedHost(key, virtual, share, (own) =>
      serviceHost({ scope: own, port, gateway: 'mesh' }, one, virtual),
    )
    if (shared.domains.some((domain) => domains.has(domain))) {
      push(serviceHost(context, one, virtual))
      continue
    }
    for (const domain of shared.domains) domains.add(domain)
    encoded.push(shared)
  }
  if (service === undefined) for (const host of bareHosts(context, virtuals.byHost)) push(host)
  if (!domains.has('*')) hosts.push(unknownHost(options))
  return { encoded, hosts }
}

interface Virtuals {
  readonly byHost: ReadonlyMap<string, VirtualService>
  /** The few among them that stand for many names. */
  readonly patterns: readonly string[]
}

function virtualsOf(scope: Scope): Virtuals {
  const byHost = firstForHost(scope.virtualServices('mesh'))
  return { byHost, patterns: [...byHost.keys()].filter(isWildcard) }
}

function virtualFor({ byHost, patterns }: Virtuals, hostname: string): VirtualService | undefined {
  const exact = byHost.get(hostname)
  if (exact !== undefined) return exact
  const pattern = mostSpecific(patterns, hostname)
  return pattern === undefined ? undefined : byHost.get(pattern)
}

/** Services whose port speaks HTTP, or may. */
function httpServices(scope: Scope, port: number): Service[] {
  return scope
    .servicesWithPort(port)
    .filter((service) => service.ports.some((one) => one.port === port && mayBeHttp(one)))
}

export function mayBeHttp({ protocol, appProtocol }: ServicePort): boolean {
  return protocol === 'TCP' && appProtocol !== 'tcp' && appProtocol !== 'tls'
}

/** For each host the oldest VirtualService that has it: later ones are in conflict and unused. */
function firstForHost(virtuals: readonly VirtualService[]): ReadonlyMap<string, VirtualService> {
  const found = new Map<string, VirtualService>()
  for (const virtual of virtuals) {
    for (const host of virtual.hosts) if (!found.has(host)) found.set(host, virtual)
  }
  return found
}

function serviceHost(
  context: RouteContext,
  service: Service,
  virtual: VirtualService | undefined,
): VirtualHost {
  const { hostname } = service
  const written = virtual === undefined ? [] : virtualServiceRules(context, virtual)
  const attached = parentRules(context, service)
  const fallback = defaultRule(context, service)
  const isVirtual = virtual !== undefined && written.length > 0
  // Never both: a client namespace's own routes, else whichever object is older.
  const usesRoutes =
    attached.rules.length > 0 &&
    (!isVirtual || attached.isConsumer || attached.createdAt < virtual.createdAt)
  // Rules that somebody wrote replace the way to the service itself; they do not add to it.
  const rules = usesRoutes ? attached.rules : isVirtual ? written : [fallback]
  return {
    name: `${hostname}:${context.port}`,
    domains: domainsOf(context.scope, service),
    rules,
    config: isVirtual && !usesRoutes ? virtual.config : rules[0]?.config,
    requireTls: false,
  }
}

/** To the service itself, with the mesh's default retries. */
export function defaultRule(context: RouteContext, service: Service): HttpRule {
  const { scope, port } = context
  const target = concrete(scope, service) ?? service
  const cluster = context.refOf?.(target, port, '') ?? outboundRef(target, port)
  return {
    name: 'default',
    config: servicePath(service),
    path: `/spec/ports/${service.ports.findIndex((one) => one.port === port)}`,
    match: anyRequest,
    action: {
      kind: 'forward',
      targets: [{ cluster, weight: 0, headers: noChanges, hash: hashOf(scope, cluster) }],
      mirrors: [],
      rewrite: undefined,
      authority: undefined,
      timeoutMs: 0,
      retry: retryOf(undefined, scope.reader.mesh().defaultHttpRetryPolicy, durationMs),
      missing: 503,
    },
    headers: noChanges,
    cors: undefined,
    fault: undefined,
    statPrefix: '',
  }
}

/** The port on which hosts that are no service are routed. */
const barePort = 80

/** VirtualServices for names that no service has. */
function bareHosts(
  context: RouteContext,
  virtuals: ReadonlyMap<string, VirtualService>,
): VirtualHost[] {
  if (context.port !== barePort) return []
  const services = context.scope.services()
  const known = new Set(services.map(({ hostname }) => hostname))
  return [...virtuals]
    .filter(([host]) => !known.has(host))
    .filter(([host]) => !isWildcard(host) || !services.some((one) => covers(host, one.hostname)))
    .toSorted(([left], [right]) => compareSpecificity(left, right))
    .map(([host, virtual]) => ({
      name: `${host}:${context.port}`,
      domains: [host],
      rules: virtualServiceRules(context, virtual),
      config: virtual.config,
      requireTls: false,
    }))
    .filter(({ rules }) => rules.length > 0)
}

/** Every name a client in the view's namespace may use for a service: in full, shortened, its VIPs. */
export function domainsOf(scope: Scope, service: Service): string[] {
  const { hostname, namespace, source } = service
  const domains = [hostname]
  const suffix = `.svc.${scope.reader.settings.domain}`
  if (source === 'Service' && hostname.endsWith(suffix)) {
    const short = hostname.slice(0, -suffix.length)
    const name = short.slice(0, -namespace.length - 1)
    domains.push(`${short}.svc`, short)
    if (namespace === scope.view.namespace) domains.push(name)
    // Pods of a StatefulSet are called by names below the headless Service's.
    if (service.headless && service.resolution !== 'alias') domains.push(`*.${hostname}`)
  }
  for (const address of service.addresses) {
    const bytes = address.includes('/') ? undefined : parseIp(address)
    if (bytes === undefined) continue
    const text = formatIp(bytes)
    domains.push(bytes.length === 4 ? text : `[${text}]`)
  }
  return domains
}

/** Requests to hosts that nothing else matches. */
function unknownHost({ unknown, egressProxy }: SidecarRouteOptions): VirtualHost {
  const base = { config: '', path: '', match: anyRequest, headers: noChanges }
  const rest = { cors: undefined, fault: undefined, statPrefix: '' }
  if (unknown === 'block') {
    return {
      name: 'block_all',
      domains: ['*'],
      config: undefined,
      requireTls: false,
      rules: [
        {
          ...base,
          ...rest,
          name: 'block_all',
          action: { kind: 'answer', status: 502, body: undefined },
        },
      ],
    }
  }
  const cluster = egressProxy ?? {
    name: passthroughCluster,
    service: '',
    port: 0,
    subset: '',
  }
  return {
    name: 'allow_any',
    domains: ['*'],
    config: undefined,
    requireTls: false,
    rules: [
      {
        ...base,
        ...rest,
        name: 'allow_any',
        action: {
          kind: 'forward',
          targets: [{ cluster, weight: 0, headers: noChanges, hash: undefined }],
          mirrors: [],
          rewrite: undefined,
          authority: undefined,
          timeoutMs: 0,
          retry: undefined,
          missing: 503,
        },
      },
    ],
  }
}
