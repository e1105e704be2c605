/** AdmissionReviews: an object in, the verdict of its validation out, in the version that was asked in. */
import { errorText, type IstioObject, isValidatedKind, validateObject } from '../analyze/index.ts'
import { toError } from '../base/index.ts'
import type { WebhookMetrics } from './webhooks-metrics.ts'

interface AdmissionRequest {
  readonly uid?: string
  readonly operation?: string
  readonly namespace?: string
  readonly object?: unknown
  readonly resource?: {
    readonly group?: string
    readonly version?: string
    readonly resource?: string
  }
}

interface Cause {
  readonly field: string
  readonly message: string
}

interface AdmissionResponse {
  readonly uid: string
  readonly allowed: boolean
  readonly status?: {
    readonly message: string
    readonly details?: { readonly causes: readonly Cause[] }
  }
  readonly warnings?: readonly string[]
}

export interface AdmissionReview {
  readonly kind: 'AdmissionReview'
  readonly apiVersion: string
  readonly response: AdmissionResponse
}

const topLevelFields = new Set(['apiVersion', 'kind', 'metadata', 'spec', 'status'])

/** The API server cuts warnings that are longer; all together it passes on 4096 characters. */
const warningLengthMax = 1000
const warningsMax = 50

export function review(body: string, metrics: WebhookMetrics): AdmissionReview {
  let apiVersion = 'admission.k8s.io/v1'
  let request: AdmissionRequest | undefined
  let verdict: Omit<AdmissionResponse, 'uid'>
  try {
    // Whatever comes is looked at field by field.
    const parsed = JSON.parse(body) as { apiVersion?: unknown; request?: AdmissionRequest } | null
    if (typeof parsed?.apiVersion === 'string') apiVersion = parsed.apiVersion
    if (typeof parsed?.request !== 'object' || parsed.request === null) {
      throw new Error('it has no request')
    }
    request = parsed.request
    verdict = judge(request, metrics)
  } catch (error) {
    verdict = denied(`could not decode body: ${toError(error).message}`)
  }
  const uid = typeof request?.uid === 'string' ? request.uid : ''
  return { kind: 'AdmissionReview', apiVersion, response: { uid, ...verdict } }
}

function denied(message: string, causes: readonly Cause[] = []): Omit<AdmissionResponse, 'uid'> {
  const details = causes.length === 0 ? {} : { details: { causes } }
  return { allowed: false, status: { message, ...details } }
}

function judge(request: AdmissionRequest, metrics: WebhookMetrics): Omit<AdmissionResponse, 'uid'> {
  const { operation = '', resource = {} } = request
  if (operation !== 'CREATE' && operation !== 'UPDATE') {
    metrics.failed(resource, 'unsupported_operation')
    return { allowed: true }
  }
  const { object: raw } = request
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    metrics.failed(resource, 'yaml_decode_error')
    return denied('cannot decode configuration: the request has no object')
  }
  const object = withNamespace(raw as IstioObject, request.namespace)
  if (!isValidatedKind(object)) {
    metrics.failed(resource, 'unknown_type')
    return denied(`unrecognized type ${String(object.kind)}`)
  }
  const validation = validateObject(object)
  if (validation.errors.length > 0) {
    metrics.failed(resource, 'invalid_resource')
    return denied(
      `configuration is invalid: ${errorText(object, validation)}`,
      validation.errors.map(({ path, message }) => ({ field: path, message })),
    )
  }
  const unknown = Object.keys(raw).find((key) => !topLevelFields.has(key))
  if (unknown !== undefined) {
    metrics.failed(resource, 'invalid_resource')
    const { name = '', namespace = '' } = object.metadata ?? {}
    return denied(
      `unknown field ${JSON.stringify(unknown)} on ${object.kind} resource ${namespace}/${name}`,
    )
  }
  metrics.passed(resource)
  const warnings = validation.warnings
    .slice(0, warningsMax)
    .map(({ message }) => message.slice(0, warningLengthMax))
  return warnings.length === 0 ? { allowed: true } : { allowed: true, warnings }
}

/** An object may leave the namespace to the path it is sent to. */
function withNamespace(object: IstioObject, namespace = ''): IstioObject {
  return { ...object, metadata: { namespace, ...object.metadata } }
}
