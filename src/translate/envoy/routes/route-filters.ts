/** Filters of HTTPRoute and GRPCRoute rules. */
import type {
  CorsPolicy,
  HeaderModifierSpec,
  HTTPRouteFilterSpec,
  PathModifierSpec,
} from '../../../model/index.ts'
import type { Reader } from '../../reader.ts'
import { type Referrer, resolveBackend } from './backends.ts'
import { type RouteContext, serviceRef } from './context.ts'
import type { HeaderChange, HeaderChanges, Mirror, PathRewrite } from './ir.ts'

type RedirectFilter = NonNullable<HTTPRouteFilterSpec['requestRedirect']>

export interface RuleFilters {
  readonly headers: HeaderChanges
  readonly redirect: RedirectFilter | undefined
  readonly rewrite: PathRewrite | undefined
  readonly authority: string | undefined
  readonly mirrors: readonly Mirror[]
  readonly cors: CorsPolicy | undefined
  /** A filter nobody here knows: then the rule must not forward at all. */
  readonly unsupported: string | undefined
}

export function ruleFilters(
  context: RouteContext,
  from: Referrer,
  filters: readonly HTTPRouteFilterSpec[],
): RuleFilters {
  const request: HeaderChange[] = []
  const response: HeaderChange[] = []
  const mirrors: Mirror[] = []
  let redirect: RedirectFilter | undefined
  let rewrite: HTTPRouteFilterSpec['urlRewrite']
  let cors: CorsPolicy | undefined
  let unsupported: string | undefined
  for (const filter of filters) {
    switch (filter.type) {
      case 'RequestHeaderModifier':
        request.push(...modifications(filter.requestHeaderModifier))
        break
      case 'ResponseHeaderModifier':
        response.push(...modifications(filter.responseHeaderModifier))
        break
      case 'RequestRedirect':
        redirect = filter.requestRedirect ?? {}
        break
      case 'URLRewrite':
        rewrite = filter.urlRewrite
        break
      case 'RequestMirror':
        mirrors.push(...mirrorOf(context, from, filter))
        break
      case 'CORS':
        cors = corsOf(filter.cors)
        break
      default:
        unsupported = filter.type ?? '(none)'
    }
  }
  return {
    headers: { request, response },
    redirect,
    rewrite: pathModifier(rewrite?.path),
    authority: rewrite?.hostname,
    mirrors,
    cors,
    unsupported,
  }
}

export function modifications(modifier: HeaderModifierSpec | undefined): HeaderChange[] {
  const entries = (kind: 'set' | 'add', values: HeaderModifierSpec['set'] = []): HeaderChange[] =>
    // Names are compared without case; of equal ones the first counts.
    [...new Map(values.toReversed().map((one) => [one.name?.toLowerCase() ?? '', one])).values()]
      .toReversed()
      .map(({ name = '', value = '' }) => ({ kind, name, value }))
  return [
    ...entries('set', modifier?.set),
    ...entries('add', modifier?.add),
    ...(modifier?.remove ?? []).map((name) => ({ kind: 'remove' as const, name, value: '' })),
  ]
}

export function pathModifier(modifier: PathModifierSpec | undefined): PathRewrite | undefined {
  if (modifier?.type === 'ReplaceFullPath') {
    return { kind: 'full', value: modifier.replaceFullPath ?? '/' }
  }
  if (modifier?.type !== 'ReplacePrefixMatch') return undefined
  return { kind: 'prefix', value: modifier.replacePrefixMatch ?? '/' }
}

const allRequests = 100

/** A mirror that can't be resolved mirrors nothing; the request itself goes on. */
function mirrorOf(
  context: RouteContext,
  from: Referrer,
  { requestMirror }: HTTPRouteFilterSpec,
): Mirror[] {
  if (requestMirror?.backendRef === undefined) return []
  const reader: Reader = context.scope.reader
  const backend = resolveBackend(reader, from, requestMirror.backendRef)
  const { percent, fraction } = requestMirror
  const share =
    fraction === undefined
      ? (percent ?? allRequests)
      : ((fraction.numerator ?? 0) * allRequests) / (fraction.denominator ?? allRequests)
  if (backend.problem !== undefined || share === 0) return []
  return [{ cluster: serviceRef(context, backend.service, backend.port.port), percent: share }]
}

const defaultMaxAgeSeconds = 5

/** `*` stands for any text: alone, or for the first labels of a host. */
function corsOf(filter: HTTPRouteFilterSpec['cors'] = {}): CorsPolicy {
  return {
    allowOrigins: (filter.allowOrigins ?? []).map((origin) => {
      if (!origin.includes('*')) return { exact: origin }
      const regex = origin
        .split('*')
        .map((part) => part.replaceAll(/[\\^$.+?()[\]{}|]/g, '\\$&'))
        .join('.*')
      return { regex }
    }),
    allowMethods: filter.allowMethods ?? [],
    allowHeaders: filter.allowHeaders ?? [],
    exposeHeaders: filter.exposeHeaders ?? [],
    maxAge: `${filter.maxAge ?? defaultMaxAgeSeconds}s`,
    allowCredentials: filter.allowCredentials ?? false,
  }
}
