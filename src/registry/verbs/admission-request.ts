/** What admission is told about a request: who does what to which object, with which options. */
import type { GroupVersionKind, KubeObject } from '../../kube/index.ts'
import type { AdmissionRequest, AdmissionShape } from '../admission/admission.ts'
import type { User } from '../auth/user.ts'
import type { VerbContext } from '../context.ts'
import type { Exchange } from '../http/exchange.ts'
import { apiVersionOfType } from '../resource-type.ts'
import { type JsonMap, mapOf } from '../values.ts'
import { scaleShape } from './scale-shape.ts'
import type { Target } from './target.ts'

const optionsKinds = {
  CREATE: 'CreateOptions',
  UPDATE: 'UpdateOptions',
  DELETE: 'DeleteOptions',
  CONNECT: undefined,
} as const

export interface AdmissionQuestion {
  readonly operation: AdmissionRequest['operation']
  readonly dryRun: boolean
  /** When the path doesn't say it. */
  readonly name?: string
  /** Of a deletion: its body. */
  readonly options?: JsonMap
  readonly shape?: AdmissionRequest['shape']
}

export function admissionRequest(
  exchange: Exchange,
  target: Target,
  question: AdmissionQuestion,
): AdmissionRequest {
  const { type, subresource, namespace = '' } = target
  const { operation, dryRun } = question
  const shape = question.shape ?? (subresource === 'scale' ? scaleShape(type) : undefined)
  return {
    operation,
    dryRun,
    type,
    subresource,
    namespace,
    name: question.name ?? target.name ?? '',
    user: exchange.user,
    options: () => question.options ?? optionsOf(exchange, operation),
    ...(shape === undefined ? {} : { shape }),
    warn: (text) => exchange.warn(text),
  }
}

/** Asks the webhooks about an action on an object: a POST of something that has a kind but isn't stored. */
export async function consultAbout(
  context: VerbContext,
  exchange: Exchange,
  target: Target,
  action: { readonly kind: GroupVersionKind; readonly body: JsonMap; readonly dryRun: boolean },
): Promise<void> {
  const { kind, body, dryRun } = action
  const request = admissionRequest(exchange, target, {
    operation: 'CREATE',
    dryRun,
    shape: shapeOf(kind),
  })
  await context.admission.consult(request, {
    object: actionObject(kind, body, target),
    old: undefined,
  })
}

/** The same for a connection to a pod: exec, attach, port-forward. */
export async function consultAboutConnection(
  context: VerbContext,
  target: Target,
  connection: { readonly user: User; readonly kind: string; readonly options: JsonMap },
): Promise<void> {
  const { type, subresource, namespace = '', name = '' } = target
  const kind = { group: '', version: 'v1', kind: connection.kind }
  const request: AdmissionRequest = {
    operation: 'CONNECT',
    dryRun: false,
    type,
    subresource,
    namespace,
    name,
    user: connection.user,
    options: () => ({}),
    shape: shapeOf(kind),
    // An upgraded connection has no headers of ours that a client would show.
    warn: (text) => context.logger.info('an admission webhook warns', { pod: name, text }),
  }
  const object = { kind: kind.kind, apiVersion: 'v1', ...connection.options }
  await context.admission.consult(request, {
    object: object as unknown as KubeObject,
    old: undefined,
  })
}

function actionObject(kind: GroupVersionKind, body: JsonMap, target: Target): KubeObject {
  const { name = '', namespace = '' } = target
  const metadata = { ...mapOf(body.metadata), name, namespace }
  return { ...body, kind: kind.kind, apiVersion: apiVersionOfType(kind), metadata } as KubeObject
}

/** What webhooks change in it has no effect on what is done. */
function shapeOf(kind: GroupVersionKind): AdmissionShape {
  return { kind, view: (object) => object, take: () => {} }
}

function optionsOf(exchange: Exchange, operation: AdmissionRequest['operation']): JsonMap {
  const kind = exchange.method === 'PATCH' ? 'PatchOptions' : optionsKinds[operation]
  if (kind === undefined) return {}
  const { query } = exchange
  const dryRun = query.getAll('dryRun').filter((value) => value !== '')
  const given = (name: string): JsonMap => {
    const value = query.get(name)
    return value === null || value === '' ? {} : { [name]: value }
  }
  return {
    kind,
    apiVersion: 'meta.k8s.io/v1',
    ...(dryRun.length === 0 ? {} : { dryRun }),
    ...(kind === 'PatchOptions' && query.has('force') ? { force: exchange.flag('force') } : {}),
    ...given('fieldManager'),
    ...given('fieldValidation'),
  }
}
