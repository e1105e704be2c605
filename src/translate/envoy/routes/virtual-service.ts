/** HTTP rules of VirtualServices. */
import {
  type HeaderOperations,
  selects,
  type VirtualDirectResponse,
  type VirtualHttpFault,
  type VirtualHttpMatch,
  type VirtualHttpRedirect,
  type VirtualHttpRoute,
} from '../../../model/index.ts'
import { gatewaysOf, type Placed, type VirtualService } from '../lookup/virtual-services.ts'
import { durationMs } from '../values.ts'
import { destinationRef, hashOf, type RouteContext } from './context.ts'
import { grpcStatusCode } from './grpc-status.ts'
import {
  anyRequest,
  type Fault,
  type HeaderChange,
  type HttpAction,
  type HttpRule,
  type Mirror,
  type PathRewrite,
  retryOf,
} from './ir.ts'
import { virtualMatch } from './match.ts'

/** The rules of a VirtualService that can apply where the context is. */
export function virtualServiceRules(context: RouteContext, virtual: VirtualService): HttpRule[] {
  return virtual.http.flatMap((placed) => {
    const matches = placed.route.match ?? []
    if (matches.length === 0) return [ruleOf(context, placed, undefined)]
    return matches
      .filter((match) => appliesHere(context, match, placed.namespace))
      .map((match) => ruleOf(context, placed, match))
  })
}

/** What is known when configuration is made: the port, the client's labels and namespace, the gateway. */
function appliesHere(context: RouteContext, match: VirtualHttpMatch, namespace: string): boolean {
  const { scope, port, gateway } = context
  if (match.port !== undefined && match.port !== 0 && match.port !== port) return false
  // A waypoint speaks for every client, so what depends on the client's proxy is not asked.
  if (scope.view.kind === 'waypoint') return true
  if (!selects(match.sourceLabels ?? {}, scope.view.labels)) return false
  const { sourceNamespace = '' } = match
  if (sourceNamespace !== '' && sourceNamespace !== scope.view.namespace) return false
  const { gateways = [] } = match
  return gateways.length === 0 || gatewaysOf(gateways, namespace).includes(gateway)
}

function ruleOf(
  context: RouteContext,
  placed: Placed<VirtualHttpRoute>,
  match: VirtualHttpMatch | undefined,
): HttpRule {
  const { route, config, path } = placed
  const names = [route.name, match?.name].filter((name) => name !== undefined && name !== '')
  const request = headerChanges(route.headers?.request)
  return {
    name: names.join('.'),
    config,
    path,
    match: match === undefined ? anyRequest : virtualMatch(match),
    action: actionOf(context, placed),
    headers: { request, response: headerChanges(route.headers?.response) },
    cors: route.corsPolicy,
    fault: route.fault === undefined ? undefined : faultOf(route.fault),
    statPrefix: match?.statPrefix ?? '',
  }
}

function actionOf(context: RouteContext, placed: Placed<VirtualHttpRoute>): HttpAction {
  const { route } = placed
  if (route.redirect !== undefined) return redirectOf(route.redirect, context.port)
  if (route.directResponse !== undefined) return answerOf(route.directResponse)
  const { scope } = context
  const targets = (route.route ?? [])
    .filter(({ weight }, _, all) => all.length === 1 || (weight ?? 0) > 0)
    .map(({ destination, weight, headers }) => {
      const cluster = destinationRef(context, destination, placed.namespace)
      return {
        cluster,
        weight: weight ?? 0,
        headers: {
          request: headerChanges(headers?.request),
          response: headerChanges(headers?.response),
        },
        hash: hashOf(scope, cluster),
      }
    })
  const rewriteTo = route.rewrite
  return {
    kind: 'forward',
    targets,
    mirrors: mirrorsOf(context, placed),
    rewrite: rewriteOf(rewriteTo?.uri, rewriteTo?.uriRegexRewrite),
    authority: rewriteTo?.authority || hostHeader(route.headers?.request),
    timeoutMs: durationMs(route.timeout) ?? 0,
    retry: retryOf(route.retries, scope.reader.mesh().defaultHttpRetryPolicy, durationMs),
    missing: 503,
  }
}

function rewriteOf(
  uri: string | undefined,
  regex: { readonly match?: string; readonly rewrite?: string } | undefined,
): PathRewrite | undefined {
  if (regex?.match !== undefined && regex.match !== '') {
    return { kind: 'regex', pattern: regex.match, substitution: regex.rewrite ?? '' }
  }
  return uri === undefined || uri === '' ? undefined : { kind: 'prefix', value: uri }
}

const everyRequest = 100

function mirrorsOf(context: RouteContext, placed: Placed<VirtualHttpRoute>): Mirror[] {
  const { route, namespace } = placed
  const single = route.mirrorPercentage?.value ?? route.mirrorPercent ?? route.mirror_percent
  const listed =
    route.mirrors?.map(({ destination, percentage }) => ({
      destination,
      value: percentage?.value,
    })) ?? []
  const old = route.mirror === undefined ? [] : [{ destination: route.mirror, value: single }]
  return [...old, ...listed]
    .filter(({ value }) => value !== 0)
    .map(({ destination, value }) => ({
      cluster: destinationRef(context, destination, namespace),
      percent: value ?? everyRequest,
    }))
}

function redirectOf(redirect: VirtualHttpRedirect, port: number): HttpAction {
  const { uri, prefixRewrite, authority, scheme, redirectCode, derivePort } = redirect
  const path: PathRewrite | undefined =
    prefixRewrite !== undefined && prefixRewrite !== ''
      ? { kind: 'prefix', value: prefixRewrite }
      : uri !== undefined && uri !== ''
        ? { kind: 'full', value: uri }
        : undefined
  return {
    kind: 'redirect',
    path,
    authority: authority || undefined,
    port: derivePort === 'FROM_REQUEST_PORT' ? port : redirect.port || undefined,
    scheme: scheme || undefined,
    code: redirectCode || 301,
  }
}

function answerOf({ status = 200, body }: VirtualDirectResponse): HttpAction {
  if (body?.bytes !== undefined) {
    return { kind: 'answer', status, body: Uint8Array.from(Buffer.from(body.bytes, 'base64')) }
  }
  return { kind: 'answer', status, body: body?.string }
}

/** The authority is no header to Envoy's header changes; it has a rewrite of its own. */
function isHost(name: string): boolean {
  const lower = name.toLowerCase()
  return lower === 'host' || lower === ':authority'
}

function hostHeader(operations: HeaderOperations | undefined): string | undefined {
  const found = Object.entries(operations?.set ?? {}).find(([name]) => isHost(name))
  return found?.[1] || undefined
}

export function headerChanges(operations: HeaderOperations | undefined): HeaderChange[] {
  if (operations === undefined) return []
  const entries = (
    kind: 'set' | 'add',
    values: Readonly<Record<string, string>> = {},
  ): HeaderChange[] =>
    Object.entries(values)
      .filter(([name]) => !isHost(name))
      .toSorted(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, value]) => ({ kind, name, value }))
  return [
    ...entries('set', operations.set),
    ...entries('add', operations.add),
    ...(operations.remove ?? []).map((name) => ({ kind: 'remove' as const, name, value: '' })),
  ]
}

function faultOf({ delay, abort }: VirtualHttpFault): Fault | undefined {
  const delayMs = durationMs(delay?.fixedDelay)
  const grpc = abort?.grpcStatus === undefined ? undefined : grpcStatusCode(abort.grpcStatus)
  const status = grpc ?? abort?.httpStatus
  if (delayMs === undefined && status === undefined) return undefined
  return {
    delay:
      delayMs === undefined
        ? undefined
        : { ms: delayMs, percent: delay?.percentage?.value ?? delay?.percent ?? everyRequest },
    abort:
      status === undefined
        ? undefined
        : {
            status,
            grpc: grpc !== undefined,
            percent: abort?.percentage?.value ?? everyRequest,
          },
  }
}
