/** The front desk: authentication, authorization, and which verb answers a request. */
import { type Logger, toError } from '../base/index.ts'
import {
  forbidden,
  methodNotAllowed,
  resourceNotFound,
  type Status,
  unauthorized,
} from '../kube/index.ts'
import type { Authenticator } from './auth/authenticate.ts'
import type { Reviews } from './auth/reviews.ts'
import { requestToken } from './auth/token-request.ts'
import { issuer, type Tokens } from './auth/tokens.ts'
import { authenticatedGroup, isAnonymous, serviceAccountPrefix, type User } from './auth/user.ts'
import type { VerbContext } from './context.ts'
import type { Discovery } from './discovery.ts'
import { statusOf } from './errors.ts'
import { Exchange, type Request, type Response } from './http/exchange.ts'
import { negotiate } from './http/negotiate.ts'
import { parseResourcePath, type RequestInfo } from './http/request-info.ts'
import type { OpenApi } from './openapi.ts'
import { type PodStreams, refuseUpgrade, type UpgradeRequest } from './pod-streams.ts'
import { bucketIdOf } from './resource-type.ts'
import { answerResource, verbOf } from './route.ts'
import type { Target } from './verbs/target.ts'

/**
 * kubectl asks for v2 when v3 lacks a kind, and needs an answer to go on to the discovery, which then says what is
 * wrong ("no matches for kind"). This is a document without paths: swagger "2.0", a title, a version.
 */
const openApiV2Type = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf'
const emptyOpenApiV2 = Buffer.from('\n\x032.0\x12\x0e\n\nKubernetes\x12\x00B\x00', 'latin1')

export interface ApiOptions {
  readonly context: VerbContext
  readonly authenticator: Authenticator
  readonly tokens: Tokens
  readonly reviews: Reviews
  readonly discovery: Discovery
  readonly openApi: OpenApi
  readonly pods: PodStreams
  readonly logger: Logger
  /** What `/version` says. */
  readonly version: Record<string, string>
  readonly ready: () => boolean
}

/** Open to anyone who can connect. */
const publicPaths = new Set([
  '/healthz',
  '/livez',
  '/readyz',
  '/version',
  '/.well-known/openid-configuration',
  '/openid/v1/jwks',
])

export class Api {
  readonly #options: ApiOptions

  constructor(options: ApiOptions) {
    this.#options = options
  }

  async handle(request: Request, response: Response): Promise<void> {
    const exchange = new Exchange(request, response)
    request.on('error', () => {})
    response.on('error', () => {})
    try {
      await this.#answer(exchange)
    } catch (error) {
      this.#fail(exchange, error)
    }
  }

  /** Upgrades to WebSocket: exec, attach, port-forward. */
  async upgrade(request: Request, upgrade: Omit<UpgradeRequest, 'query'>): Promise<void> {
    upgrade.socket.on('error', () => upgrade.socket.destroy())
    try {
      const mark = (request.url ?? '').indexOf('?')
      const path = mark < 0 ? (request.url ?? '') : (request.url ?? '').slice(0, mark)
      const query = new URLSearchParams(mark < 0 ? '' : (request.url ?? '').slice(mark + 1))
      const user = await this.#userOf(request, path)
      const info = parseResourcePath(path)
      if (info === undefined || info.resource !== 'pods') throw resourceNotFound()
      const { namespace = '', name = '', subresource = '' } = info
      if (!['exec', 'attach', 'portforward'].includes(subresource)) throw resourceNotFound()
      this.#authorize(user, info, 'create')
      await this.#options.pods.upgrade({ ...upgrade, query }, { namespace, name, subresource })
    } catch (error) {
      refuseUpgrade(upgrade.socket, error)
    }
  }

  #fail(exchange: Exchange, thrown: unknown): void {
    const status: Status = statusOf(thrown)
    if (status.code >= 500) {
      const { method, path } = exchange
      this.#options.logger.warn('a request failed', {
        method,
        path,
        error: toError(thrown).message,
      })
      const { stack } = toError(thrown)
      if (status.code === 500 && stack !== undefined) this.#options.logger.debug(stack)
    }
    if (exchange.response.headersSent) return exchange.destroy()
    if (!exchange.response.destroyed) exchange.status(status)
  }

  async #answer(exchange: Exchange): Promise<void> {
    const { path } = exchange
    exchange.user = await this.#userOf(exchange.request, path)
    const info = parseResourcePath(path)
    if (info !== undefined) return this.#resource(exchange, info)
    if (!publicPaths.has(path) && !path.startsWith('/livez/') && !path.startsWith('/readyz/')) {
      this.#authorizePath(exchange)
    }
    if (path === '/openapi/v2' && exchange.header('accept')?.includes(openApiV2Type) === true) {
      // Clients parse this header, and `@` is no character of a media type.
      return exchange.send(200, openApiV2Type.replace('@', '.'), emptyOpenApiV2, {})
    }
    exchange.representation = negotiate(exchange.header('accept'))
    if (!(await this.#plain(exchange))) exchange.text(404, '404 page not found\n')
  }

  async #plain(exchange: Exchange): Promise<boolean> {
    const { discovery, openApi, version } = this.#options
    const { path } = exchange
    if (exchange.method !== 'GET' && exchange.method !== 'HEAD') throw methodNotAllowed()
    if (path === '/version' || path === '/version/') exchange.json(200, version)
    else if (/^\/(healthz|livez|readyz)(\/|$)/.test(path)) this.#health(exchange)
    else if (path === '/.well-known/openid-configuration') exchange.json(200, openIdConfiguration())
    else if (path === '/openid/v1/jwks') await this.#keys(exchange)
    else if (path === '/') exchange.json(200, { paths: this.#paths() })
    else if (path.startsWith('/openapi/v3')) return openApi.answer(exchange)
    else if (path.startsWith('/openapi/v2')) {
      exchange.text(
        404,
        'OpenAPI v2 is not served: use kubectl 1.29 or newer, which reads /openapi/v3\n',
      )
    } else return discovery.answer(exchange)
    return true
  }

  #health(exchange: Exchange): void {
    if (!this.#options.ready()) return exchange.text(503, 'starting\n')
    const verbose = exchange.query.has('verbose')
    exchange.text(
      200,
      verbose ? `[+]ping ok\n[+]store ok\n${exchange.path.slice(1)} check passed\n` : 'ok',
    )
  }

  async #keys(exchange: Exchange): Promise<void> {
    const body = JSON.stringify({ keys: [await this.#options.tokens.publicKey()] })
    exchange.send(200, 'application/jwk-set+json', body, {
      'cache-control': 'public, max-age=3600',
    })
  }

  #paths(): string[] {
    const groupVersions = this.#options.context.catalogue.groupVersions()
    return [
      '/.well-known/openid-configuration',
      '/api',
      ...groupVersions.map((each) => (each.includes('/') ? `/apis/${each}` : `/api/${each}`)),
      '/apis',
      '/healthz',
      '/livez',
      '/openapi/v3',
      '/openid/v1/jwks',
      '/readyz',
      '/version',
    ].toSorted()
  }

  async #resource(exchange: Exchange, info: RequestInfo): Promise<void> {
    const { context, tokens, reviews, pods } = this.#options
    const { catalogue, store } = context
    const verb = verbOf(exchange, info)
    const type = catalogue.find(info.groupVersion, info.resource)
    if (!catalogue.has(info.groupVersion)) {
      this.#authorize(exchange.user, info, verb)
      return exchange.text(404, '404 page not found\n')
    }
    this.#authorize(exchange.user, info, verb)
    if (type === undefined) throw resourceNotFound()
    const { namespace, name, subresource } = info
    if (subresource !== undefined && !type.subresources.includes(subresource))
      throw resourceNotFound()
    if (namespace !== undefined && !type.namespaced) throw resourceNotFound()
    if (namespace === undefined && type.namespaced && name !== undefined) throw resourceNotFound()
    const target: Target = {
      type,
      bucket: store.bucket(bucketIdOf(type)),
      namespace,
      name,
      subresource,
    }
    if (subresource === 'log') return pods.log(exchange, namespace ?? '', name ?? '')
    exchange.representation = negotiate(exchange.header('accept'))
    if (subresource === 'token') return requestToken(context, tokens, exchange, target)
    if (exchange.method === 'POST' && (await reviews.answer(exchange, target))) return
    await answerResource(context, exchange, target, verb)
  }

  async #userOf(request: Request, path: string): Promise<User> {
    const user = await this.#options.authenticator.authenticate(request)
    if (isAnonymous(user) && !publicPaths.has(path)) throw unauthorized()
    return this.#impersonated(user, request)
  }

  /** `kubectl --as`: those who may impersonate act with the other's permissions. */
  #impersonated(user: User, request: Request): User {
    const as = request.headers['impersonate-user']
    if (typeof as !== 'string' || as === '') return user
    const header = request.headers['impersonate-group']
    const groups = typeof header === 'string' ? header.split(/,\s*/) : (header ?? [])
    const account = as.startsWith(serviceAccountPrefix)
      ? as.slice(serviceAccountPrefix.length).split(':')
      : undefined
    const { authorizer } = this.#options.context
    const wanted = [
      account === undefined
        ? { resource: 'users', namespace: undefined, name: as }
        : { resource: 'serviceaccounts', namespace: account[0], name: account[1] },
      ...groups.map((name) => ({ resource: 'groups', namespace: undefined, name })),
    ]
    for (const each of wanted) {
      const attributes = { verb: 'impersonate', group: '', subresource: undefined, ...each }
      if (authorizer.allows(user, attributes)) continue
      const why = `User "${user.username}" cannot impersonate resource "${each.resource}" in API group ""`
      throw forbidden({ group: '', kind: each.resource, name: each.name ?? '' }, why)
    }
    const implied =
      account === undefined
        ? []
        : ['system:serviceaccounts', `system:serviceaccounts:${account[0]}`]
    return { username: as, groups: [...groups, ...implied, authenticatedGroup], extra: {} }
  }

  #authorize(user: User, info: RequestInfo, verb: string): void {
    const slash = info.groupVersion.indexOf('/')
    const group = slash < 0 ? '' : info.groupVersion.slice(0, slash)
    const { resource, subresource, name } = info
    // A namespace itself is asked about inside itself, as in Kubernetes.
    const namespace = info.namespace ?? (resource === 'namespaces' ? name : undefined)
    const attributes = { verb, group, resource, subresource, namespace, name }
    if (this.#options.context.authorizer.allows(user, attributes)) return
    const full = subresource === undefined ? resource : `${resource}/${subresource}`
    const where =
      namespace === undefined ? ' at the cluster scope' : ` in the namespace "${namespace}"`
    const why = `User "${user.username}" cannot ${verb} resource "${full}" in API group "${group}"${where}`
    throw forbidden({ group, kind: resource, name: name ?? '' }, why)
  }

  #authorizePath(exchange: Exchange): void {
    const { user, path } = exchange
    const verb = exchange.method.toLowerCase()
    if (this.#options.context.authorizer.allowsPath(user, { verb, path })) return
    throw forbidden(
      { group: '', kind: '', name: '' },
      `User "${user.username}" cannot ${verb} path "${path}"`,
    )
  }
}

function openIdConfiguration(): object {
  return {
    issuer,
    jwks_uri: `${issuer}/openid/v1/jwks`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256'],
  }
}
