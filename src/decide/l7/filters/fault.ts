/** Injected faults: a pause, an answer instead of the upstream's, or both in that order. */
import type { fault } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { allOf, compileHeader, type Test } from '../match/headers.ts'
import { durationMs, shareOf } from '../values.ts'
import type { HttpFilter } from './filter.ts'
import { type Reply, reply, type Stop } from './reply.ts'

interface Delay {
  readonly share: number
  /** Undefined: a header of the request says. */
  readonly ms: number | undefined
}

interface Abort {
  readonly share: number
  /** Undefined: headers of the request say. */
  readonly status: { readonly http?: number; readonly grpc?: number } | undefined
}

export interface Fault {
  readonly applies: Test
  readonly delay: Delay | undefined
  readonly abort: Abort | undefined
}

export function compileFault(message: fault.HTTPFault, place: Place): Fault {
  if (message.responseRateLimit !== undefined) {
    place.at('response_rate_limit').refuse('is not supported')
  }
  if (message.maxActiveFaults !== undefined)
    place.at('max_active_faults').refuse('is not supported')
  const { upstreamCluster, downstreamNodes } = message
  const headers = message.headers.map((matcher, index) =>
    compileHeader(matcher, place.at('headers', index)),
  )
  const tests: Test[] = headers.map(({ holds }) => holds)
  if (upstreamCluster !== '') tests.push(({ route }) => route?.cluster === upstreamCluster)
  if (downstreamNodes.length > 0) {
    const nodes = new Set(downstreamNodes)
    tests.push((exchange) => nodes.has(exchange.header('x-envoy-downstream-service-node') ?? ''))
  }
  return {
    applies: allOf(tests),
    delay: delayOf(message.delay),
    abort: abortOf(message.abort),
  }
}

function delayOf(delay: fault.HTTPFault['delay']): Delay | undefined {
  if (delay === undefined) return undefined
  const { faultDelaySecifier: specifier, percentage } = delay
  const ms = specifier.case === 'fixedDelay' ? durationMs(specifier.value) : undefined
  return { share: shareOf(percentage), ms }
}

function abortOf(abort: fault.FaultAbort | undefined): Abort | undefined {
  if (abort === undefined) return undefined
  const { errorType, percentage } = abort
  const share = shareOf(percentage)
  if (errorType.case === 'httpStatus') return { share, status: { http: errorType.value } }
  if (errorType.case === 'grpcStatus') return { share, status: { grpc: errorType.value } }
  return { share, status: undefined }
}

export function compileFaultFilter(
  name: string,
  message: fault.HTTPFault,
  place: Place,
): HttpFilter {
  const configured = compileFault(message, place)
  return {
    name,
    run: (exchange) => {
      const override = exchange.override(name)?.config
      const found = override?.kind === 'fault' ? override.fault : configured
      if ((found.delay ?? found.abort) === undefined || !found.applies(exchange)) return undefined
      const ms = delayMs(found.delay, exchange)
      if (ms === undefined) return aborted(found.abort, exchange, name)
      exchange.notes?.push({ by: name, verdict: `delayed by ${ms} ms` })
      return {
        kind: 'pause',
        effect: { kind: 'delay', ms, flag: 'DI' },
        resume: (): Stop | undefined => aborted(found.abort, exchange, name),
      }
    },
  }
}

/** Each fault draws for itself. */
function hits(exchange: Exchange, share: number): boolean {
  return share >= 1 || (share > 0 && exchange.context.random() < share)
}

/** A header may lower the share of the configuration, never raise it. */
function shareWith(exchange: Exchange, share: number, header: string): number {
  const text = exchange.header(header)
  const asked = text === undefined || !/^\d+$/.test(text) ? undefined : Number(text) / 100
  return asked === undefined ? share : Math.min(asked, share)
}

function delayMs(delay: Delay | undefined, exchange: Exchange): number | undefined {
  if (delay === undefined) return undefined
  if (delay.ms !== undefined) {
    return delay.ms > 0 && hits(exchange, delay.share) ? delay.ms : undefined
  }
  const asked = Number(exchange.header('x-envoy-fault-delay-request') ?? Number.NaN)
  if (!Number.isInteger(asked) || asked <= 0) return undefined
  const share = shareWith(exchange, delay.share, 'x-envoy-fault-delay-request-percentage')
  return hits(exchange, share) ? asked : undefined
}

function aborted(abort: Abort | undefined, exchange: Exchange, by: string): Reply | undefined {
  if (abort === undefined) return undefined
  const status = abort.status ?? askedStatus(exchange)
  if (status === undefined) return undefined
  const share =
    abort.status === undefined
      ? shareWith(exchange, abort.share, 'x-envoy-fault-abort-request-percentage')
      : abort.share
  if (!hits(exchange, share)) return undefined
  exchange.notes?.push({ by, verdict: 'aborted', details: status })
  return reply({
    status: status.http ?? httpOfGrpc(status.grpc ?? 2),
    grpcStatus: status.grpc,
    body: 'fault filter abort',
    details: 'fault_filter_abort',
    flag: 'FI',
    by,
  })
}

function askedStatus(exchange: Exchange): Abort['status'] {
  const http = Number(exchange.header('x-envoy-fault-abort-request') ?? Number.NaN)
  if (Number.isInteger(http) && http >= 200 && http < 600) return { http }
  const grpc = Number(exchange.header('x-envoy-fault-abort-grpc-request') ?? Number.NaN)
  return Number.isInteger(grpc) && grpc >= 0 ? { grpc } : undefined
}

const grpcStatuses: Readonly<Record<number, number>> = {
  0: 200,
  1: 499,
  3: 400,
  4: 504,
  5: 404,
  6: 409,
  7: 403,
  8: 429,
  9: 400,
  10: 409,
  11: 400,
  12: 501,
  14: 503,
  16: 401,
}

/** The HTTP status for clients that don't speak gRPC. */
export function httpOfGrpc(status: number): number {
  return grpcStatuses[status] ?? 500
}
