/** What a rule does, as Envoy's route actions. */
import type { ConsistentHash } from '../../../model/index.ts'
import {
  routeComponents as api,
  core,
  previousHosts,
  previousPriorities,
} from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { unknownService } from '../clusters/names.ts'
import { duration, durationField, fractionalPercent, pack, regexOf } from '../values.ts'
import { headerOptions, removals } from './emit-headers.ts'
import type { HttpAction, PathMatch, PathRewrite, Retry, Target } from './ir.ts'

type Forward = Extract<HttpAction, { kind: 'forward' }>
type Redirect = Extract<HttpAction, { kind: 'redirect' }>

export function routeAction(action: HttpAction, path: PathMatch | undefined): api.Route['action'] {
  if (action.kind === 'forward') return { case: 'route', value: forward(action, path) }
  if (action.kind === 'redirect') return { case: 'redirect', value: redirect(action, path) }
  const { status, body } = action
  return {
    case: 'directResponse',
    value: create(api.DirectResponseActionSchema, {
      status,
      ...(body === undefined
        ? {}
        : {
            body: create(core.DataSourceSchema, {
              specifier:
                typeof body === 'string'
                  ? { case: 'inlineString', value: body }
                  : { case: 'inlineBytes', value: body },
            }),
          }),
    }),
  }
}

function forward(action: Forward, path: PathMatch | undefined): api.RouteAction {
  const hashes = action.targets.flatMap(({ hash }) => (hash === undefined ? [] : hashPolicy(hash)))
  const codes = api.RouteAction_ClusterNotFoundResponseCode
  return create(api.RouteActionSchema, {
    clusterSpecifier: clusterSpecifier(action.targets),
    clusterNotFoundResponseCode:
      action.missing === 500 ? codes.INTERNAL_SERVER_ERROR : codes.SERVICE_UNAVAILABLE,
    timeout: duration(action.timeoutMs),
    ...(action.retry === undefined
      ? {}
      : { retryPolicy: retryPolicy(action.retry, hashes.length > 0) }),
    ...pathRewrite(action.rewrite, path),
    ...(action.authority === undefined
      ? {}
      : { hostRewriteSpecifier: { case: 'hostRewriteLiteral', value: action.authority } }),
    requestMirrorPolicies: action.mirrors.map(({ cluster, percent }) =>
      create(api.RouteAction_RequestMirrorPolicySchema, {
        cluster: cluster.name,
        runtimeFraction: create(core.RuntimeFractionalPercentSchema, {
          defaultValue: fractionalPercent(percent),
        }),
        disableShadowHostSuffixAppend: true,
      }),
    ),
    hashPolicy: hashes,
  })
}

/** Shares of the total; a single destination needs no share. */
function clusterSpecifier(targets: readonly Target[]): api.RouteAction['clusterSpecifier'] {
  const [only] = targets
  if (only !== undefined && targets.length === 1) {
    return { case: 'cluster', value: only.cluster?.name ?? unknownService }
  }
  return {
    case: 'weightedClusters',
    value: create(api.WeightedClusterSchema, {
      clusters: targets.map(({ cluster, weight, headers }) =>
        create(api.WeightedCluster_ClusterWeightSchema, {
          name: cluster?.name ?? unknownService,
          weight,
          requestHeadersToAdd: headerOptions(headers.request),
          requestHeadersToRemove: removals(headers.request),
          responseHeadersToAdd: headerOptions(headers.response),
          responseHeadersToRemove: removals(headers.response),
        }),
      ),
    }),
  }
}

/** How often a retry may look for an endpoint that was not tried before. */
const hostSelectionAttempts = 5
/** Envoy lets the pause grow up to ten times its start unless told otherwise. */
const backoffGrowth = 10
/** Attempts before a retry turns to another locality. */
const localityUpdateFrequency = 2

function retryPolicy(retry: Retry, hashed: boolean): api.RetryPolicy {
  return create(api.RetryPolicySchema, {
    retryOn: retry.on,
    numRetries: retry.attempts,
    retriableStatusCodes: [...retry.codes],
    ...(retry.perTryMs === undefined ? {} : { perTryTimeout: duration(retry.perTryMs) }),
    // A hash names one endpoint: looking for another would contradict it.
    ...(retry.ignorePreviousHosts && !hashed
      ? {
          retryHostPredicate: [
            create(api.RetryPolicy_RetryHostPredicateSchema, {
              name: 'envoy.retry_host_predicates.previous_hosts',
              configType: {
                case: 'typedConfig',
                value: pack(
                  previousHosts.PreviousHostsPredicateSchema,
                  create(previousHosts.PreviousHostsPredicateSchema),
                ),
              },
            }),
          ],
          hostSelectionRetryMaxAttempts: BigInt(hostSelectionAttempts),
        }
      : {}),
    ...(retry.remoteLocalities
      ? {
          retryPriority: create(api.RetryPolicy_RetryPrioritySchema, {
            name: 'envoy.retry_priorities.previous_priorities',
            configType: {
              case: 'typedConfig',
              value: pack(
                previousPriorities.PreviousPrioritiesConfigSchema,
                create(previousPriorities.PreviousPrioritiesConfigSchema, {
                  updateFrequency: localityUpdateFrequency,
                }),
              ),
            },
          }),
        }
      : {}),
    ...(retry.backoffMs === undefined
      ? {}
      : {
          retryBackOff: create(api.RetryPolicy_RetryBackOffSchema, {
            baseInterval: duration(retry.backoffMs),
            maxInterval: duration(retry.backoffMs * backoffGrowth),
          }),
        }),
  })
}

function hashPolicy(hash: ConsistentHash): api.RouteAction_HashPolicy[] {
  const policy = (
    policySpecifier: api.RouteAction_HashPolicy['policySpecifier'],
  ): api.RouteAction_HashPolicy[] => [create(api.RouteAction_HashPolicySchema, { policySpecifier })]
  const { httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName } = hash
  if (httpHeaderName !== undefined) {
    return policy({
      case: 'header',
      value: create(api.RouteAction_HashPolicy_HeaderSchema, { headerName: httpHeaderName }),
    })
  }
  if (httpCookie !== undefined) {
    return policy({
      case: 'cookie',
      value: create(api.RouteAction_HashPolicy_CookieSchema, {
        name: httpCookie.name ?? '',
        path: httpCookie.path ?? '',
        ...durationField('ttl', httpCookie.ttl),
        attributes: (httpCookie.attributes ?? []).map(({ name = '', value = '' }) =>
          create(api.RouteAction_HashPolicy_CookieAttributeSchema, { name, value }),
        ),
      }),
    })
  }
  if (useSourceIp === true) {
    return policy({
      case: 'connectionProperties',
      value: create(api.RouteAction_HashPolicy_ConnectionPropertiesSchema, { sourceIp: true }),
    })
  }
  if (httpQueryParameterName === undefined) return []
  return policy({
    case: 'queryParameter',
    value: create(api.RouteAction_HashPolicy_QueryParameterSchema, {
      name: httpQueryParameterName,
    }),
  })
}

type Rewritten = Pick<api.RouteAction, 'prefixRewrite' | 'regexRewrite'>

function pathRewrite(
  rewrite: PathRewrite | undefined,
  path: PathMatch | undefined,
): Partial<Rewritten> {
  if (rewrite === undefined) return {}
  if (rewrite.kind === 'regex') return regexRewrite(rewrite.pattern, rewrite.substitution)
  if (rewrite.kind === 'full') return regexRewrite('/.*', escaped(rewrite.value))
  if (path?.kind !== 'segments') return { prefixRewrite: rewrite.value }
  return segmentRewrite(path.value, rewrite.value)
}

/**
 * Whole segments are exchanged for whole segments, so the slash between them and the rest must come
 * out once, whether prefix and replacement end with one or not.
 */
function segmentRewrite(prefix: string, replacement: string): Partial<Rewritten> {
  const from = prefix.replace(/\/+$/, '')
  const to = replacement.replace(/\/+$/, '')
  if (from === '') {
    return to === '' ? {} : regexRewrite('^/(.*)$', `${escaped(to)}/\\1`)
  }
  if (to === '') return regexRewrite(`^${quoted(from)}(/?)(.*)`, '/\\2')
  return { prefixRewrite: to }
}

function regexRewrite(regex: string, substitution: string): Partial<Rewritten> {
  return {
    regexRewrite: {
      $typeName: 'envoy.type.matcher.v3.RegexMatchAndSubstitute',
      pattern: regexOf(regex),
      substitution,
    },
  }
}

/** A text in which nothing is a reference to a group. */
function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\')
}

/** A text as an RE2 expression for exactly itself. */
function quoted(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}

function redirect(action: Redirect, path: PathMatch | undefined): api.RedirectAction {
  const { authority, port, scheme, code } = action
  return create(api.RedirectActionSchema, {
    ...(authority === undefined ? {} : { hostRedirect: authority }),
    ...(port === undefined ? {} : { portRedirect: port }),
    ...(scheme === undefined
      ? {}
      : { schemeRewriteSpecifier: { case: 'schemeRedirect', value: scheme } }),
    pathRewriteSpecifier: pathRedirect(action.path, path),
    responseCode: responseCode(code),
  })
}

function pathRedirect(
  rewrite: PathRewrite | undefined,
  path: PathMatch | undefined,
): api.RedirectAction['pathRewriteSpecifier'] {
  if (rewrite === undefined) return { case: undefined }
  if (rewrite.kind === 'full') return { case: 'pathRedirect', value: rewrite.value }
  const { prefixRewrite, regexRewrite: regex } = pathRewrite(rewrite, path)
  if (regex !== undefined) return { case: 'regexRewrite', value: regex }
  return prefixRewrite === undefined
    ? { case: undefined }
    : { case: 'prefixRewrite', value: prefixRewrite }
}

function responseCode(code: number): api.RedirectAction_RedirectResponseCode {
  const codes = api.RedirectAction_RedirectResponseCode
  if (code === 302) return codes.FOUND
  if (code === 303) return codes.SEE_OTHER
  if (code === 307) return codes.TEMPORARY_REDIRECT
  return code === 308 ? codes.PERMANENT_REDIRECT : codes.MOVED_PERMANENTLY
}
