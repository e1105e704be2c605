/** For the differential tests of `decide`: JSON to messages, a stock Envoy with one listener, and requests. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Agent, createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  createRegistry,
  type DescMessage,
  fromJson,
  type JsonObject,
  type MessageShape,
} from '@bufbuild/protobuf'
import {
  type CompiledListener,
  type ConnectionFacts,
  decideHttp,
  type HeaderOperation,
  type HttpConfig,
  type HttpDecision,
} from '../../src/decide/l7.ts'
import {
  cors,
  fault,
  hcm,
  headerToMetadata,
  httpRbac,
  jwtAuthn,
  networkRbac,
  route,
  router,
  setFilterState,
  tcpProxy,
  uriTemplate,
  uriTemplateRewrite,
} from '../../src/proto/envoy.ts'

export const registry = createRegistry(
  hcm.HttpConnectionManagerSchema,
  tcpProxy.TcpProxySchema,
  networkRbac.RBACSchema,
  router.RouterSchema,
  cors.CorsSchema,
  cors.CorsPolicySchema,
  fault.HTTPFaultSchema,
  httpRbac.RBACSchema,
  httpRbac.RBACPerRouteSchema,
  jwtAuthn.JwtAuthenticationSchema,
  jwtAuthn.PerRouteConfigSchema,
  headerToMetadata.ConfigSchema,
  setFilterState.ConfigSchema,
  uriTemplate.UriTemplateMatchConfigSchema,
  uriTemplateRewrite.UriTemplateRewriteConfigSchema,
)

export function message<S extends DescMessage>(schema: S, json: JsonObject): MessageShape<S> {
  return fromJson(schema, json, { registry })
}

export function routeConfig(json: JsonObject): route.RouteConfiguration {
  return message(route.RouteConfigurationSchema, json)
}

export const type = (name: string): { '@type': string } => ({
  '@type': `type.googleapis.com/envoy.${name}`,
})

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface Question {
  readonly method: string
  readonly path: string
  readonly authority: string
  readonly headers: Readonly<Record<string, string>>
}

/** One request, by a connection that is kept. */
export function ask(port: number, agent: Agent, question: Question): Promise<Answer> {
  const { method, path, authority, headers } = question
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      { host: '127.0.0.1', port, agent, method, path, headers: { ...headers, host: authority } },
      (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
        response.on('error', reject)
        response.on('end', () => {
          const flat = Object.entries(response.headers).map(([name, value]) => [
            name,
            String(value),
          ])
          resolve({
            status: response.statusCode ?? 0,
            headers: Object.fromEntries(flat) as Record<string, string>,
            body,
          })
        })
      },
    )
    outgoing.on('error', reject)
    outgoing.end()
  })
}

/** Tells what it got, as the body, and with one header of its own. */
export async function echo() {
  const server = createServer((request, response) => {
    const { url, headers, method } = request
    response.writeHead(200, { 'x-up': 'yes', 'x-list': 'upstream' })
    response.end(JSON.stringify({ url, method, headers }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // A server on TCP has an address with a port.
  return { server, port: (server.address() as AddressInfo).port }
}

export function apply(
  headers: Readonly<Record<string, string>>,
  operations: readonly HeaderOperation[],
): Record<string, string> {
  const result = new Map(Object.entries(headers))
  for (const operation of operations) {
    const { name } = operation
    const before = result.get(name)
    if (operation.kind === 'remove') result.delete(name)
    else if (operation.kind === 'set' || before === undefined) result.set(name, operation.value)
    else result.set(name, `${before}, ${operation.value}`)
  }
  return Object.fromEntries(result)
}

export function httpConfigOf(listener: CompiledListener): HttpConfig {
  const terminal = listener.chains[0]?.terminal
  assert(terminal?.kind === 'http')
  const { chain, routes } = terminal.manager
  return { chain, routes: routes.kind === 'inline' ? routes.table : undefined }
}

const connection: ConnectionFacts = {
  sourceIp: '127.0.0.1',
  sourcePort: 1,
  destinationIp: '127.0.0.1',
  destinationPort: 1,
}

const known = new Set(['echo', 'none'])

export function decide(
  config: HttpConfig,
  question: Question,
  hasCluster = (name: string): boolean => known.has(name),
): HttpDecision {
  const { method, path, authority, headers } = question
  const request = {
    method,
    scheme: 'http',
    authority,
    path,
    headers: new Map(Object.entries(headers)),
    connection,
    protocol: 'HTTP/1.1',
  }
  return decideHttp(config, request, {
    random: () => 0.5,
    now: () => Date.now(),
    hasCluster,
  })
}
