/**
 * What a gateway listens for, in one form for both APIs: servers of Istio Gateways and listeners of Gateway
 * API. Servers that share a port are joined here; of two that can't share it the older one stays.
 */
import type { ConfigObject, DeclaredProtocol, StreamRouteRuleSpec } from '../../../model/index.ts'
import type { Problem } from '../policies/problem.ts'
import type { AttachedRules, HttpServer } from '../routes/gateway.ts'
import { compareText } from '../values.ts'
import type { ServerTls } from './downstream-tls.ts'

/** A TLSRoute or TCPRoute with the server names it got. */
export interface AttachedStream {
  readonly object: ConfigObject<{ readonly rules?: readonly StreamRouteRuleSpec[] }>
  readonly hostnames: readonly string[]
}

export type ServerRouting =
  | { readonly api: 'istio'; readonly server: HttpServer }
  | {
      readonly api: 'gateway'
      readonly http: readonly AttachedRules[]
      readonly streams: readonly AttachedStream[]
    }

/** `auto-passthrough`: the server name is the name of a cluster. */
export type ServerSecurity =
  | { readonly kind: 'none' }
  | { readonly kind: 'terminate'; readonly tls: ServerTls }
  | { readonly kind: 'passthrough' }
  | { readonly kind: 'auto-passthrough' }

export interface GatewayServer {
  /** API path of its object, and the field in it. */
  readonly config: string
  readonly path: string
  readonly createdAt: number
  /** `<namespace>/<name>` of its object, for the order among equals. */
  readonly owner: string
  readonly index: number
  /** Of the server's port, or of the listener. */
  readonly portName: string
  /** Where the proxy listens. */
  readonly port: number
  /** What clients see: the port of the Service in front. */
  readonly servicePort: number
  /** Empty: all addresses. */
  readonly bind: string
  readonly isHttp: boolean
  readonly declared: DeclaredProtocol
  /** Server names, without namespaces; `*` for all. */
  readonly hosts: readonly string[]
  readonly security: ServerSecurity
  /** Of the route table of HTTPS servers, which have one each. */
  readonly routeName: string
  readonly routing: ServerRouting
}

export interface PortServers {
  readonly port: number
  readonly bind: string
  /** `http`: one route table for all; `tls`: one chain each, by server name; `tcp`: a single one. */
  readonly kind: 'http' | 'tls' | 'tcp'
  readonly servers: readonly GatewayServer[]
}

export interface JoinedServers {
  readonly ports: readonly PortServers[]
  readonly problems: readonly Problem[]
}

export function listenerName({ bind, port }: { bind: string; port: number }, any: string): string {
  return `${bind === '' ? any : bind}_${port}`
}

export function plainRouteName({ bind, port }: { bind: string; port: number }): string {
  return bind === '' ? `http.${port}` : `http.${port}.${bind}`
}

export function joinServers(servers: readonly GatewayServer[]): JoinedServers {
  const problems: Problem[] = []
  const byPort = new Map<string, { kind: PortServers['kind']; servers: GatewayServer[] }>()
  for (const server of servers.toSorted(olderServer)) {
    const key = `${server.bind}|${server.port}`
    const kind = kindOf(server)
    const known = byPort.get(key)
    const conflict = known === undefined ? undefined : conflictOf(known, kind, server)
    if (conflict !== undefined) {
      problems.push({ config: server.config, path: server.path, message: conflict })
      continue
    }
    if (known === undefined) byPort.set(key, { kind, servers: [server] })
    else known.servers.push(server)
  }
  const ports = [...byPort.values()].flatMap(({ kind, servers: joined }): PortServers[] => {
    const [first] = joined
    return first === undefined
      ? []
      : [{ port: first.port, bind: first.bind, kind, servers: joined }]
  })
  return { ports: ports.toSorted(byPlace), problems }
}

function olderServer(left: GatewayServer, right: GatewayServer): number {
  if (left.createdAt !== right.createdAt) return left.createdAt - right.createdAt
  return compareText(left.owner, right.owner) || left.index - right.index
}

function byPlace(left: PortServers, right: PortServers): number {
  return left.port - right.port || compareText(left.bind, right.bind)
}

function kindOf({ isHttp, security }: GatewayServer): PortServers['kind'] {
  if (security.kind !== 'none') return 'tls'
  return isHttp ? 'http' : 'tcp'
}

/** A sentence about why a server can't have the port; undefined when it can. */
function conflictOf(
  known: { readonly kind: PortServers['kind']; readonly servers: readonly GatewayServer[] },
  kind: PortServers['kind'],
  server: GatewayServer,
): string | undefined {
  const [first] = known.servers
  const place = `port ${server.port}`
  if (known.kind !== kind) {
    return `${place} is ${known.kind} already, by ${first?.owner ?? ''}; this server is left out`
  }
  if (kind === 'http') return undefined
  if (kind === 'tcp') {
    // Routes of several Gateways on one TCP port are told apart by nothing.
    return sharesTcp(first, server)
      ? undefined
      : `${place} is taken by ${first?.owner ?? ''}; this server is left out`
  }
  const taken = new Set(known.servers.flatMap(({ hosts }) => hosts))
  const host = server.hosts.find((one) => taken.has(one))
  if (host === undefined) return undefined
  return `host ${host} on ${place} is taken by an older server; this server is left out`
}

function sharesTcp(first: GatewayServer | undefined, server: GatewayServer): boolean {
  return (
    first?.routing.api === 'istio' && server.routing.api === 'istio' && first.owner === server.owner
  )
}
