/** What a rule of `spec.http` does with a request: redirect, answer, rewrite, retry, fail, mirror, CORS. */
import { checkStringMatch, httpHeaderName } from './common.ts'
import { checkDestination } from './destinations.ts'
import type { Complaint, Place } from './findings.ts'
import { limits } from './limits.ts'
import { duration, percentage, port, quote, regex } from './values.ts'

const methods = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
])

/** Envoy's and gRPC's conditions; besides these, status codes. */
const retryConditions = new Set([
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'retriable-headers',
  'envoy-ratelimited',
  'http3-post-connect-failure',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
])

const grpcStatuses = new Set([
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
])

/** The codes of HTTP that are registered, as ranges. */
const statusRanges = [
  [100, 103],
  [200, 208],
  [226, 226],
  [300, 305],
  [307, 308],
  [400, 418],
  [421, 426],
  [428, 429],
  [431, 431],
  [451, 451],
  [500, 508],
  [510, 511],
] as const

function isStatusCode(text: string): boolean {
  const code = Number(text)
  return statusRanges.some(([first, last]) => code >= first && code <= last)
}

export function checkRedirect(redirect: Place): void {
  const redirectPort = redirect.at('port')
  const says = ['uri', 'authority', 'scheme'].some((name) => redirect.at(name).text !== '')
  if (!says && !redirectPort.present && !redirect.at('derivePort').present) {
    redirect.error('redirect must specify URI, authority, scheme, or port')
    return
  }
  const code = redirect.at('redirectCode')
  if (code.number !== 0 && (code.number < 300 || code.number > 399)) {
    code.error(`${code.number} is not a valid redirect code, must be 3xx`)
  }
  const scheme = redirect.at('scheme')
  if (!['', 'http', 'https'].includes(scheme.text)) {
    scheme.error('invalid redirect scheme, must be "http" or "https"')
  }
  if (redirectPort.number > 0) redirectPort.check(port(redirectPort.number))
}

export function checkDirectResponse(response: Place): void {
  const body = response.at('body')
  const bytes = body.at('bytes').text
  const size = bytes === '' ? Buffer.byteLength(body.at('string').text) : (bytes.length * 3) / 4
  if (size > limits.directResponseErrorBytes) {
    body.error('large direct_responses may impact control plane performance, must be less than 1MB')
  } else if (size > limits.directResponseWarnBytes) {
    body.warn('large direct_responses may impact control plane performance')
  }
  const status = response.at('status')
  status.check(httpStatus(status.number))
}

/** 600 is let through, as it always was. */
function httpStatus(status: number): Complaint {
  return status >= 200 && status <= 600
    ? undefined
    : `HTTP status ${status} is not in range 200-599`
}

export function checkRewrite(rewrite: Place): void {
  const [uri, expression] = [rewrite.at('uri'), rewrite.at('uriRegexRewrite')]
  if (uri.text !== '' && expression.present) {
    rewrite.error('rewrite may only contain one of URI or UriRegexRewrite')
    return
  }
  if (uri.text === '' && !expression.present && rewrite.at('authority').text === '') {
    rewrite.error(
      'rewrite must specify at least one of URI, UriRegexRewrite, or authority. Only one of URI or UriRegexRewrite may be specified',
    )
    return
  }
  if (!expression.present) return
  const match = expression.at('match')
  if (match.text === '' || expression.at('rewrite').text === '') {
    expression.error('UriRegexRewrite requires both Rewrite and Match fields to be specified')
  } else match.check(regex(match.text, 'HTTPRewrite.UriRegexRewrite.Match'))
}

export function checkRetries(retries: Place): void {
  const attempts = retries.at('attempts')
  if (attempts.number < 0) attempts.error('attempts cannot be negative')
  const others = ['perTryTimeout', 'retryRemoteLocalities', 'retryIgnorePreviousHosts', 'backoff']
  const retryOn = retries.at('retryOn')
  if (
    attempts.number === 0 &&
    (retryOn.text !== '' || others.some((name) => retries.at(name).present))
  ) {
    retries.error('http retry policy configured when attempts are set to 0 (disabled)')
  }
  for (const name of ['perTryTimeout', 'backoff']) {
    const place = retries.at(name)
    if (place.present) place.check(duration(place.text))
  }
  if (retryOn.text === '') return
  for (const condition of retryOn.text.split(',')) {
    if (!retryConditions.has(condition) && !isStatusCode(condition)) {
      retryOn.error(`${quote(condition)} is not a valid retryOn policy`)
    }
  }
}

export function checkFault(fault: Place): void {
  const [abort, delay] = [fault.at('abort'), fault.at('delay')]
  if (!abort.present && !delay.present) {
    fault.error('HTTP fault injection must have an abort and/or a delay')
  }
  if (abort.present) checkAbort(abort)
  if (delay.present) checkDelay(delay)
}

function checkPercentage(holder: Place): void {
  const value = holder.at('percentage').at('value')
  value.check(percentage(value.number))
}

function checkAbort(abort: Place): void {
  checkPercentage(abort)
  const [http, grpc] = [abort.at('httpStatus'), abort.at('grpcStatus')]
  if (http.present) http.check(httpStatus(http.number))
  else if (grpc.present) {
    if (!grpcStatuses.has(grpc.text)) {
      grpc.error(
        `gRPC status ${quote(grpc.text)} is not supported. See https://github.com/grpc/grpc/blob/master/doc/statuscodes.md for a list of supported codes, for example 'NOT_FOUND'`,
      )
    }
  } else if (abort.at('http2Error').present) {
    abort.error('HTTP/2 abort fault injection not supported yet')
  } else abort.warn('abort configured, but error type not set')
}

function checkDelay(delay: Place): void {
  checkPercentage(delay)
  const [fixed, exponential] = [delay.at('fixedDelay'), delay.at('exponentialDelay')]
  if (fixed.present) fixed.check(duration(fixed.text))
  if (exponential.present) {
    exponential.check(duration(exponential.text))
    exponential.error('exponentialDelay not supported yet')
  }
}

/** `mirror` with its percentage, and `mirrors`, each with its own. */
export function checkMirrors(route: Place): void {
  const old = route.at('mirrorPercent')
  if (old.present) {
    if (old.number > 100) {
      old.error(`mirror_percent must have a max value of 100 (it has ${old.number})`)
    }
    old.warn('using deprecated setting "mirrorPercent", use "mirrorPercentage" instead')
  }
  checkMirrorShare(route.at('mirrorPercentage'), 'mirror_percentage')
  for (const mirror of route.at('mirrors').items) {
    const destination = mirror.at('destination')
    if (!destination.present) {
      mirror.error('destination is required for mirrors')
      continue
    }
    checkDestination(destination)
    checkMirrorShare(mirror.at('percentage'), 'mirror percentage')
  }
}

function checkMirrorShare(share: Place, name: string): void {
  if (!share.present) return
  const { number } = share.at('value')
  const shown = number.toFixed(6)
  if (number > 100) share.error(`${name} must have a max value of 100 (it has ${shown})`)
  if (number < 0) share.error(`${name} must have a min value of 0 (it has ${shown})`)
}

export function checkCors(policy: Place): void {
  for (const origin of policy.at('allowOrigins').items) {
    const given = ['exact', 'prefix', 'regex'].find((name) => origin.at(name).present)
    if (given === undefined || origin.at(given).text === '') {
      origin.error("'' is not a valid match type for CORS allow origins")
    } else if (given === 'regex') checkStringMatch(origin, 'corsPolicy.allowOrigins')
  }
  for (const method of policy.at('allowMethods').items) {
    if (!methods.has(method.text))
      method.error(`${quote(method.text)} is not a supported HTTP method`)
  }
  for (const list of ['allowHeaders', 'exposeHeaders']) {
    for (const name of policy.at(list).items) {
      if (name.text !== '*') name.check(httpHeaderName(name.text))
    }
  }
  const maxAge = policy.at('maxAge')
  if (!maxAge.present) return
  if (maxAge.check(duration(maxAge.text)) && !/^\d+(?:s|m|h)/.test(maxAge.text)) {
    maxAge.error('max_age duration is accurate only to seconds precision')
  }
}
