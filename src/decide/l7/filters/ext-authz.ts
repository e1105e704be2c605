/**
 * External authorization: what to ask, and what an answer means. Asking is the proxy's part: the decision
 * pauses with the question, and goes on with the answer.
 */
import type { extAuthz as api, grpcService } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { Test } from '../match/headers.ts'
import { compileMetadata } from '../match/metadata.ts'
import { durationMs, runtimeShare } from '../values.ts'
import { compileHttpAnswer, names } from './ext-authz-http.ts'
import type { HttpFilter } from './filter.ts'
import {
  type AuthorizeEffect,
  type BodyBuffer,
  type EffectResult,
  reply,
  type Stop,
} from './reply.ts'

export interface AuthorizeOverride {
  readonly disabled: boolean
  readonly contextExtensions: Readonly<Record<string, string>>
  /** Null: bodies are not sent; undefined: as the filter says. */
  readonly body: BodyBuffer | null | undefined
}

export function compileAuthorizeOverride(
  message: api.ExtAuthzPerRoute,
  place: Place,
): AuthorizeOverride {
  const { override } = message
  if (override.case === 'disabled') {
    return { disabled: override.value, contextExtensions: {}, body: undefined }
  }
  const settings = override.value
  if (settings?.serviceOverride.case !== undefined) {
    place.at('check_settings.service_override').refuse('is not supported')
  }
  return {
    disabled: false,
    contextExtensions: settings?.contextExtensions ?? {},
    body:
      settings?.disableRequestBodyBuffering === true ? null : bufferOf(settings?.withRequestBody),
  }
}

function bufferOf(message: api.BufferSettings | undefined): BodyBuffer | undefined {
  if (message === undefined) return undefined
  const { maxRequestBytes, allowPartialMessage, packAsBytes } = message
  return { maxBytes: maxRequestBytes, allowPartial: allowPartialMessage, asBytes: packAsBytes }
}

export function compileExtAuthz(name: string, message: api.ExtAuthz, place: Place): HttpFilter {
  const question = questionOf(message, place)
  const share = runtimeShare(message.filterEnabled, 1)
  const gate: Test =
    message.filterEnabledMetadata === undefined
      ? () => true
      : compileMetadata(message.filterEnabledMetadata, place.at('filter_enabled_metadata')).holds
  const denyDisabled = message.denyAtDisable?.defaultValue === true
  const statusOnError = message.statusOnError?.code || 403
  const settle = settler(name, message, statusOnError)
  return {
    name,
    run: (exchange) => {
      const config = exchange.override(name)?.config
      const override = config?.kind === 'authorize' ? config.override : undefined
      if (override?.disabled === true) return undefined
      if (!exchange.inShare(share) || !gate(exchange)) {
        return denyDisabled ? failed(name, statusOnError) : undefined
      }
      exchange.notes?.push({ by: name, verdict: 'asked', details: { ...question.service } })
      const body = override?.body === null ? undefined : (override?.body ?? question.body)
      const contextExtensions = override?.contextExtensions ?? {}
      return {
        kind: 'pause',
        effect: { ...question, kind: 'authorize', body, contextExtensions },
        resume: (result) => settle(exchange, result),
      }
    },
  }
}

function failed(by: string, status: number): Stop {
  return reply({ status, details: 'ext_authz_error', flag: 'UAEX', by })
}

function settler(name: string, message: api.ExtAuthz, statusOnError: number) {
  return (exchange: Exchange, result: EffectResult): Stop | undefined => {
    exchange.notes?.push({ by: name, verdict: result.kind })
    if (result.kind === 'allowed') {
      allow(exchange, result, message.clearRouteCache)
      return undefined
    }
    if (result.kind === 'denied') {
      const { status, headers, body } = result
      return reply({ status, headers, body, details: 'ext_authz_denied', flag: 'UAEX', by: name })
    }
    if (!message.failureModeAllow) return failed(name, statusOnError)
    if (message.failureModeAllowHeaderAdd) {
      exchange.change({ kind: 'set', name: 'x-envoy-auth-failure-mode-allowed', value: 'true' })
    }
    return undefined
  }
}

export const extAuthzName = 'envoy.filters.http.ext_authz'

function allow(
  exchange: Exchange,
  result: Extract<EffectResult, { kind: 'allowed' }>,
  clearRouteCache: boolean,
): void {
  const { requestHeaders, removeHeaders, responseHeaders, metadata = {} } = result
  for (const { name, value, append } of requestHeaders) {
    exchange.change({ kind: append ? 'add' : 'set', name: name.toLowerCase(), value })
  }
  for (const name of removeHeaders) {
    const lower = name.toLowerCase()
    // The request would lose what routing needs.
    if (!lower.startsWith(':') && lower !== 'host') exchange.change({ kind: 'remove', name: lower })
  }
  for (const [key, value] of Object.entries(metadata)) {
    exchange.setMetadata(extAuthzName, key, value)
  }
  if (responseHeaders.length > 0) {
    exchange.responseHooks.push(() =>
      responseHeaders.map(({ name, value, append }) => ({
        kind: append ? 'add' : 'set',
        name: name.toLowerCase(),
        value,
      })),
    )
  }
  if (clearRouteCache && requestHeaders.length + removeHeaders.length > 0) exchange.reroute()
}

type Question = Omit<AuthorizeEffect, 'contextExtensions'>

function questionOf(message: api.ExtAuthz, place: Place): Question {
  const { services } = message
  const isHttp = services.case === 'httpService'
  const legacy = isHttp ? services.value.authorizationRequest?.allowedHeaders : undefined
  const allowed = names(message.allowedHeaders ?? legacy, place.at('allowed_headers'))
  const refused = names(message.disallowedHeaders, place.at('disallowed_headers'))
  return {
    ...serviceOf(services, place),
    body: bufferOf(message.withRequestBody),
    includePeerCertificate: message.includePeerCertificate,
    metadataNamespaces: message.metadataContextNamespaces,
    sendsHeader: (name) => {
      if (refused?.(name) === true) return false
      if (allowed !== undefined) return allowed(name) || (isHttp && always.has(name))
      return !isHttp || always.has(name)
    },
  }
}

/** What an HTTP service always sees. */
const always: ReadonlySet<string> = new Set([
  'host',
  ':authority',
  ':method',
  ':path',
  'content-length',
  'authorization',
])

function serviceOf(
  services: api.ExtAuthz['services'],
  place: Place,
): Pick<Question, 'service' | 'timeoutMs'> {
  if (services.case === 'grpcService') return grpcTarget(services.value, place.at('grpc_service'))
  if (services.case !== 'httpService' || services.value.serverUri === undefined) {
    place.refuse('a filter without a service')
    return { service: { kind: 'grpc', cluster: '', authority: '' }, timeoutMs: 0 }
  }
  const { serverUri, pathPrefix, authorizationRequest } = services.value
  const cluster = serverUri.httpUpstreamType.value ?? ''
  return {
    service: {
      kind: 'http',
      cluster,
      authority: /^[a-z]+:\/\/([^/]+)/.exec(serverUri.uri)?.[1] ?? cluster,
      pathPrefix,
      addHeaders: (authorizationRequest?.headersToAdd ?? []).map(
        ({ key, value }) => [key.toLowerCase(), value] as const,
      ),
      read: compileHttpAnswer(services.value, place.at('http_service')),
    },
    timeoutMs: durationMs(serverUri.timeout) ?? 0,
  }
}

/** Without a timeout, Envoy waits 200 ms. */
const defaultTimeoutMs = 200

export function grpcTarget(
  service: grpcService.GrpcService,
  place: Place,
): Pick<Question, 'service' | 'timeoutMs'> {
  const { targetSpecifier: target } = service
  if (target.case !== 'envoyGrpc') place.refuse(`${target.case ?? 'no target'} is not supported`)
  const cluster = target.case === 'envoyGrpc' ? target.value.clusterName : ''
  const authority = target.case === 'envoyGrpc' ? target.value.authority || cluster : ''
  const timeoutMs = durationMs(service.timeout) ?? defaultTimeoutMs
  return { service: { kind: 'grpc', cluster, authority }, timeoutMs }
}
