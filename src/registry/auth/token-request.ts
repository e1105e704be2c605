/** POST `serviceaccounts/x/token`: tokens on request, with audiences, a lifetime, and a pod to die with. */
import {
  badRequest,
  conflict,
  formatTime,
  invalid,
  type KubeObject,
  methodNotAllowed,
  notFound,
} from '../../kube/index.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { decodeBody } from '../http/negotiate.ts'
import { limits } from '../limits.ts'
import { isMap, type JsonMap, mapOf, stringsOf, textOf } from '../values.ts'
import { consultAbout } from '../verbs/admission-request.ts'
import type { Target } from '../verbs/target.ts'
import { writeOptions } from '../verbs/write-options.ts'
import { type BoundPod, issuer, type Tokens } from './tokens.ts'

const requestKind = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' }

export async function requestToken(
  context: VerbContext,
  tokens: Tokens,
  exchange: Exchange,
  target: Target,
): Promise<void> {
  if (exchange.method !== 'POST') throw methodNotAllowed()
  const { namespace = '', name = '' } = target
  const account = context.store.bucket('/serviceaccounts').get(namespace, name)
  if (account === undefined) throw notFound({ group: '', kind: 'serviceaccounts', name })
  const body = decodeBody(await exchange.body(), exchange.header('content-type'))
  if (!isMap(body)) throw badRequest('the body must be a TokenRequest')
  const spec = mapOf(body.spec)
  const given = stringsOf(spec.audiences)
  const audiences = given.length === 0 ? [issuer] : given
  const seconds = secondsOf(spec)
  const pod = boundPod(tokens, namespace, spec)
  const { dryRun } = writeOptions(exchange)
  await consultAbout(context, exchange, target, { kind: requestKind, body, dryRun })
  const { uid } = account.index
  const { token, expiresAtMs } = await tokens.issue({
    namespace,
    name,
    uid,
    audiences,
    seconds,
    pod,
  })
  const answer: KubeObject = {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name, namespace, creationTimestamp: formatTime(context.clock.now()) },
    spec: {
      ...spec,
      audiences,
      expirationSeconds: seconds,
      boundObjectRef: spec.boundObjectRef ?? null,
    },
    status: { token, expirationTimestamp: formatTime(expiresAtMs) },
  }
  exchange.json(201, answer)
}

function secondsOf(spec: JsonMap): number {
  const seconds = spec.expirationSeconds ?? limits.tokenSecondsDefault
  if (typeof seconds !== 'number' || seconds < limits.tokenSecondsMin) {
    throw invalid({ group: 'authentication.k8s.io', kind: 'TokenRequest', name: '' }, [
      {
        reason: 'FieldValueInvalid',
        field: 'spec.expirationSeconds',
        message:
          `Invalid value: ${String(seconds)}: may not specify a duration ` +
          `less than ${limits.tokenSecondsMin / 60} minutes`,
      },
    ])
  }
  return Math.min(seconds, limits.tokenSecondsMax)
}

function boundPod(tokens: Tokens, namespace: string, spec: JsonMap): BoundPod | undefined {
  if (!isMap(spec.boundObjectRef)) return undefined
  const { kind, name, uid } = spec.boundObjectRef
  if (kind !== 'Pod') {
    throw badRequest(
      `spec.boundObjectRef.kind: tokens can be bound to a Pod, not to "${textOf(kind)}"`,
    )
  }
  const pod = tokens.boundPod(namespace, textOf(name))
  const subject = { group: '', kind: 'pods', name: textOf(name) }
  if (pod === undefined) throw notFound(subject)
  if (textOf(uid) !== '' && uid !== pod.uid) {
    throw conflict(
      subject,
      `the UID in the bound object reference (${textOf(uid)}) does not match the UID in record`,
    )
  }
  return pod
}
