/** External authorization over HTTP: which headers of an answer go where. */
import type { extAuthz as api } from '../../../proto/envoy.ts'
import type { Place } from '../errors.ts'
import { compileString, type TextTest } from '../match/text.ts'
import type { EffectResult, HeaderChange, HttpAnswer } from './reply.ts'

/** Whether a list of matchers has a name; undefined for a list that is not set. */
export function names(list: api.ExtAuthz['allowedHeaders'], place: Place): TextTest | undefined {
  if (list === undefined) return undefined
  const tests = list.patterns.map((each, index) => compileString(each, place.at('patterns', index)))
  return (name) => tests.some((test) => test(name))
}

/** Always told to the client of a denied request, whatever the configuration lists. */
const toldAlways: ReadonlySet<string> = new Set([
  'location',
  'www-authenticate',
  'proxy-authenticate',
  'set-cookie',
])
const ownOfConnection: ReadonlySet<string> = new Set([
  'content-length',
  'transfer-encoding',
  'connection',
  'host',
])

/** Reads the answer of an HTTP service as the filter's configuration says. */
export function compileHttpAnswer(
  message: api.HttpService,
  place: Place,
): (answer: HttpAnswer) => EffectResult {
  const config = message.authorizationResponse
  const list = (field: api.ExtAuthz['allowedHeaders']): TextTest | undefined => names(field, place)
  const upstream = list(config?.allowedUpstreamHeaders)
  const appended = list(config?.allowedUpstreamHeadersToAppend)
  const client = list(config?.allowedClientHeaders)
  const success = list(config?.allowedClientHeadersOnSuccess)
  const metadata = list(config?.dynamicMetadataFromHeaders)
  const chosen = (answer: HttpAnswer, test: TextTest | undefined, append: boolean) =>
    test === undefined
      ? []
      : answer.headers
          .filter(([name]) => test(name))
          .map(([name, value]): HeaderChange => ({ name, value, append }))
  return (answer) => {
    const { status, headers, body } = answer
    if (status >= 500) return { kind: 'failed', reason: `status ${status}` }
    if (status !== 200) {
      const told = headers.filter(
        ([name]) =>
          !ownOfConnection.has(name) &&
          (client === undefined || client(name) || toldAlways.has(name)),
      )
      return { kind: 'denied', status, headers: told, body }
    }
    return {
      kind: 'allowed',
      requestHeaders: [...chosen(answer, upstream, false), ...chosen(answer, appended, true)],
      removeHeaders: [],
      responseHeaders: chosen(answer, success, true),
      metadata: Object.fromEntries(headers.filter(([name]) => metadata?.(name) === true)),
    }
  }
}
