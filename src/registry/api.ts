/** The front desk: authentication, authorization, and which verb answers a request. */
import { type Logger, toError } from '../base/index.ts'
import {
  badRequest,
  forbidden,
  methodNotAllowed,
  resourceNotFound,
  type Status,
  unauthorized,
} from '../kube/index.ts'
import type { ApiMetrics } from './api-metrics.ts'
import type { Authenticator } from './auth/authenticate.ts'
import { impersonated } from './auth/impersonation.ts'
import type { Reviews } from './auth/reviews.ts'
import { requestToken } from './auth/token-request.ts'
import { issuer, type Tokens } from './auth/tokens.ts'
import { isAnonymous, type User } from './auth/user.ts'
import type { VerbContext } from './context.ts'
import type { Discovery } from './discovery.ts'
import { statusOf } from './errors.ts'
import { type Backups, backupPath } from './http/backup.ts'
import { Exchange, type Request, type Response } from './http/exchange.ts'
import { negotiate } from './http/negotiate.ts'
import { parseResourcePath, type RequestInfo } from './http/request-info.ts'
import { type MetricsApi, metricsGroup } from './metrics-api.ts'
import type { OpenApi } from './openapi.ts'
import { type PodStreams, upgradable } from './pod-streams.ts'
import { refuseUpgrade, type UpgradeRequest } from './pod-upgrade.ts'
import type { PodProxy } from './proxy.ts'
import { refusedSubresource } from './refusals.ts'
import { bucketIdOf } from './resource-type.ts'
import { answerResource, verbOf } from './route.ts'
import { consultAboutConnection } from './verbs/admission-request.ts'
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
  readonly proxy: PodProxy
  readonly podMetrics: MetricsApi
  readonly metrics: ApiMetrics
  readonly backups: Backups
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
    this.#options.metrics.begin(exchange)
    try {
      await this.#answer(exchange)
    } catch (error) {
      this.#fail(exchange, error)
    }
  }

  /** Upgrades to WebSocket and SPDY: exec, attach, port-forward. */
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
      if (!upgradable.has(subresource)) throw resourceNotFound()
      this.#authorize(user, info, 'create')
      await this.#consultAboutUpgrade(user, info, query)
      await this.#options.pods.upgrade({ ...upgrade, query }, { namespace, name, subresource })
    } catch (error) {
      refuseUpgrade(upgrade.socket, error, this.#options.context.clock)
    }
  }

  /** Webhooks may refuse exec, attach and port-forward like anything else. */
  async #consultAboutUpgrade(user: User, info: RequestInfo, query: URLSearchParams): Promise<void> {
    const { context } = this.#options
    const { namespace, name, subresource = '' } = info
    const type = context.catalogue.find('v1', 'pods')
    const connection = upgradeOptions(subresource, query)
    if (type === undefined || connection === undefined) return
    const bucket = context.store.bucket(bucketIdOf(type))
    const target = { type, bucket, namespace, name, subresource }
    await consultAboutConnection(context, target, { user, ...connection })
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
    else if (path === '/metrics') this.#options.metrics.answer(exchange)
    else if (path === backupPath) await this.#options.backups.answer(exchange)
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
      '/metrics',
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
      throw refusedSubresource(type, subresource) ?? resourceNotFound()
    if (namespace !== undefined && !type.namespaced) throw resourceNotFound()
    if (namespace === undefined && type.namespaced && name !== undefined) throw resourceNotFound()
    // Whoever asks in a version that goes away should hear of it, readers too.
    if (type.custom !== undefined && type.warning !== undefined) exchange.warn(type.warning)
    const target: Target = {
      type,
      bucket: store.bucket(bucketIdOf(type)),
      namespace,
      name,
      subresource,
    }
    if (subresource === 'log') return pods.log(exchange, namespace ?? '', name ?? '')
    if (upgradable.has(subresource ?? '')) throw badRequest('Upgrade request required')
    if (subresource === 'proxy') {
      const place = { resource: type.resource, namespace: namespace ?? '', name: name ?? '' }
      return this.#options.proxy.answer(exchange, place, pods.backend)
    }
    exchange.representation = negotiate(exchange.header('accept'))
    if (type.group === metricsGroup) {
      return this.#options.podMetrics.answer(exchange, target, pods.backend)
    }
    if (subresource === 'token') return requestToken(context, tokens, exchange, target)
    if (exchange.method === 'POST' && (await reviews.answer(exchange, target))) return
    await answerResource(context, exchange, target, verb)
  }

  async #userOf(request: Request, path: string): Promise<User> {
    const user = await this.#options.authenticator.authenticate(request)
    if (isAnonymous(user) && !publicPaths.has(path)) throw unauthorized()
    return impersonated(user, request.headers, this.#options.context.authorizer)
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

const optionsKinds: Readonly<Record<string, string>> = {
  exec: 'PodExecOptions',
  attach: 'PodAttachOptions',
  portforward: 'PodPortForwardOptions',
}

/** What an upgrade asks for, as the object that webhooks see. */
function upgradeOptions(
  subresource: string,
  query: URLSearchParams,
): { readonly kind: string; readonly options: Record<string, unknown> } | undefined {
  const kind = optionsKinds[subresource]
  if (kind === undefined) return undefined
  if (subresource === 'portforward') {
    return { kind, options: { ports: query.getAll('ports').map(Number) } }
  }
  const flags = ['stdin', 'stdout', 'stderr', 'tty'].map(
    (name) => [name, ['true', '1'].includes(query.get(name) ?? '')] as const,
  )
  const container = query.get('container')
  const command = query.getAll('command')
  return {
    kind,
    options: {
      ...Object.fromEntries(flags.filter(([, set]) => set)),
      ...(container === null ? {} : { container }),
      ...(command.length === 0 ? {} : { command }),
    },
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
