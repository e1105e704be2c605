/** For the differential tests of `decide`: JSON to messages, a stock Envoy with one listener, and requests. */
import { type Agent, request as httpRequest } from 'node:http'
import {
  createRegistry,
  type DescMessage,
  fromJson,
  type JsonObject,
  type MessageShape,
} from '@bufbuild/protobuf'
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
