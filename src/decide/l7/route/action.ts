/** What a route does with a request: forward it, redirect it, or answer it. */
import { routeComponents as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { durationMs, inlineBytes, subsetCriteria } from '../values.ts'
import { compileHash, type HashFunction } from './hash.ts'
import type { CompiledMatch } from './match.ts'
import { compileMirrors, type Mirror } from './mirror.ts'
import { compileRedirect, type RedirectAction } from './redirect.ts'
import { compileHedge, compileRetry, type HedgePolicy, type RetryPolicy } from './retry.ts'
import {
  compileHostRewrite,
  compilePathRewrite,
  type HostRewrite,
  type PathRewrite,
} from './rewrite.ts'
import { compileTargets, type Target, type TargetChoice } from './targets.ts'

export interface DirectAction {
  readonly kind: 'direct'
  readonly status: number
  readonly body: string | Uint8Array
}

export interface UpgradeSetting {
  readonly enabled: boolean
  /** For CONNECT: the payload is forwarded as TCP, not the request. */
  readonly terminate: boolean
  readonly allowPost: boolean
}

export interface ForwardAction {
  readonly kind: 'forward'
  readonly targets: readonly Target[]
  readonly choose: TargetChoice
  /** Status when the cluster is not there. */
  readonly notFoundStatus: number
  /** Of the whole request; zero: none. */
  readonly timeoutMs: number
  /** Undefined: the listener's; zero: none. */
  readonly idleTimeoutMs: number | undefined
  readonly maxStreamMs: number | undefined
  /** Undefined: a client's `grpc-timeout` is not looked at. Zero: whatever it says. */
  readonly maxGrpcTimeoutMs: number | undefined
  readonly grpcTimeoutOffsetMs: number
  readonly retry: RetryPolicy | undefined
  readonly hedge: HedgePolicy | undefined
  readonly mirrors: readonly Mirror[]
  readonly hash: HashFunction | undefined
  readonly rewritePath: PathRewrite | undefined
  readonly rewriteHost: HostRewrite | undefined
  /** The authority becomes the name of the endpoint that is chosen. */
  readonly autoHostRewrite: boolean
  readonly appendForwardedHost: boolean
  readonly highPriority: boolean
  readonly upgrades: ReadonlyMap<string, UpgradeSetting>
  /** Criteria of subsets, `envoy.lb`. */
  readonly metadataMatch: Readonly<Record<string, unknown>> | undefined
}

export type Action = ForwardAction | RedirectAction | DirectAction

/** What a virtual host or the whole table says for routes that say nothing. */
export interface ActionDefaults {
  readonly retry: RetryPolicy | undefined
  readonly hedge: HedgePolicy | undefined
  readonly mirrors: readonly Mirror[]
  readonly directBodyMaxBytes: number
}

export function compileAction(
  action: api.Route['action'],
  match: CompiledMatch,
  context: { readonly defaults: ActionDefaults; readonly place: Place },
): Action {
  const { place, defaults } = context
  switch (action.case) {
    case 'route':
      return compileForward(action.value, match, { defaults, place: place.at('route') })
    case 'redirect':
      return compileRedirect(action.value, match, place.at('redirect'))
    case 'directResponse':
      return compileDirect(action.value, defaults, place.at('direct_response'))
    default:
      place.refuse(`the action ${action.case ?? 'none'} is not supported`)
      return { kind: 'direct', status: 500, body: '' }
  }
}

function compileDirect(
  action: api.DirectResponseAction,
  { directBodyMaxBytes }: ActionDefaults,
  place: Place,
): DirectAction {
  if (action.bodyFormat !== undefined) place.at('body_format').refuse('is not supported')
  if (action.status < 200 || action.status > 599) {
    place.at('status').refuse(`${action.status} is no status of an answer`)
  }
  const body = inlineBytes(action.body, place.at('body')) ?? ''
  const size = typeof body === 'string' ? Buffer.byteLength(body) : body.length
  if (size > directBodyMaxBytes) {
    place.at('body').refuse(`${size} bytes; at most ${directBodyMaxBytes} are allowed`)
  }
  return { kind: 'direct', status: action.status, body }
}

const defaultTimeoutMs = 15_000
const notFound = api.RouteAction_ClusterNotFoundResponseCode
const notFoundStatuses: Readonly<Record<number, number>> = {
  [notFound.SERVICE_UNAVAILABLE]: 503,
  [notFound.NOT_FOUND]: 404,
  [notFound.INTERNAL_SERVER_ERROR]: 500,
}

function compileForward(
  action: api.RouteAction,
  match: CompiledMatch,
  { defaults, place }: { readonly defaults: ActionDefaults; readonly place: Place },
): ForwardAction {
  refuseUnsupported(action, place)
  const hash = compileHash(action.hashPolicy, place)
  const stream = action.maxStreamDuration
  const mirrors = compileMirrors(action.requestMirrorPolicies, place)
  const { case: rewriteCase, value: rewriteValue } = action.hostRewriteSpecifier
  return {
    kind: 'forward',
    ...compileTargets(action.clusterSpecifier, { hash, place }),
    notFoundStatus: notFoundStatuses[action.clusterNotFoundResponseCode] ?? 503,
    timeoutMs: durationMs(action.timeout) ?? defaultTimeoutMs,
    idleTimeoutMs: durationMs(action.idleTimeout),
    maxStreamMs: durationMs(stream?.maxStreamDuration),
    maxGrpcTimeoutMs: durationMs(stream?.grpcTimeoutHeaderMax ?? action.maxGrpcTimeout),
    grpcTimeoutOffsetMs:
      durationMs(stream?.grpcTimeoutHeaderOffset ?? action.grpcTimeoutOffset) ?? 0,
    retry: compileRetry(action.retryPolicy, place.at('retry_policy')) ?? defaults.retry,
    hedge: compileHedge(action.hedgePolicy) ?? defaults.hedge,
    mirrors: mirrors.length > 0 ? mirrors : defaults.mirrors,
    hash,
    rewritePath: compilePathRewrite(action, match, place),
    rewriteHost: compileHostRewrite(action.hostRewriteSpecifier, place),
    autoHostRewrite: rewriteCase === 'autoHostRewrite' && rewriteValue.value,
    appendForwardedHost: action.appendXForwardedHost,
    highPriority: action.priority === 1,
    upgrades: compileUpgrades(action),
    metadataMatch: subsetCriteria(action.metadataMatch),
  }
}

function refuseUnsupported(action: api.RouteAction, place: Place): void {
  const internal = api.RouteAction_InternalRedirectAction
  const refused: readonly (readonly [field: string, used: boolean])[] = [
    ['retry_policy_typed_config', action.retryPolicyTypedConfig !== undefined],
    ['early_data_policy', action.earlyDataPolicy !== undefined],
    ['path_rewrite', action.pathRewrite !== ''],
    ['internal_redirect_policy', action.internalRedirectPolicy !== undefined],
    [
      'internal_redirect_action',
      action.internalRedirectAction === internal.HANDLE_INTERNAL_REDIRECT,
    ],
  ]
  for (const [field, used] of refused) if (used) place.at(field).refuse('is not supported')
}

function compileUpgrades(action: api.RouteAction): ReadonlyMap<string, UpgradeSetting> {
  return new Map(
    action.upgradeConfigs.map(({ upgradeType, enabled, connectConfig }) => [
      upgradeType.toLowerCase(),
      {
        enabled: enabled !== false,
        terminate: connectConfig !== undefined,
        allowPost: connectConfig?.allowPost === true,
      },
    ]),
  )
}

/** The time a request may take; zero: any. A client's `grpc-timeout` counts where the route says so. */
export function timeoutOf(action: ForwardAction, exchange: Exchange): number {
  const { maxGrpcTimeoutMs: most, timeoutMs } = action
  if (most === undefined) return timeoutMs
  const asked = grpcTimeoutMs(exchange.header('grpc-timeout'))
  if (asked === undefined) return timeoutMs
  const bounded = most > 0 && (asked === 0 || asked > most) ? most : asked
  return action.grpcTimeoutOffsetMs > 0 && bounded > action.grpcTimeoutOffsetMs
    ? bounded - action.grpcTimeoutOffsetMs
    : bounded
}

const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000001,
}

function grpcTimeoutMs(text: string | undefined): number | undefined {
  const match = text === undefined ? null : /^(\d{1,8})([HMSmun])$/.exec(text)
  return match === null ? undefined : Math.ceil(Number(match[1]) * (unitMs[match[2] ?? ''] ?? 0))
}
