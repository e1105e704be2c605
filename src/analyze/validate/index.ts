/**
 * Whether an object of Istio's makes sense, beyond what its schema can say: what the validation webhook
 * tells whoever writes it. One table of kinds; versions share a schema, so that a kind needs no version.
 */
import { checkPeerAuthentication, checkRequestAuthentication } from './authentication.ts'
import { checkAuthorizationPolicy } from './authorization-policy.ts'
import { checkSelector } from './common.ts'
import { checkDestinationRule } from './destination-rule.ts'
import { checkEnvoyFilter } from './envoy-filter.ts'
import { checkTrafficExtension, checkWasmPlugin } from './extensions.ts'
import { type Finding, type Findings, Place } from './findings.ts'
import { checkGateway } from './gateway.ts'
import { checkServiceEntry } from './service-entry.ts'
import { checkSidecar } from './sidecar.ts'
import { checkTelemetry } from './telemetry.ts'
import { quote } from './values.ts'
import { checkVirtualService } from './virtual-service.ts'
import { checkWorkload, checkWorkloadGroup } from './workloads.ts'

export type { Finding } from './findings.ts'

/** An object as it comes out of JSON; everything in it may be wrong. */
export interface IstioObject {
  readonly apiVersion?: string
  readonly kind?: string
  readonly metadata?: {
    readonly name?: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec?: unknown
}

export interface Validation {
  readonly errors: readonly Finding[]
  readonly warnings: readonly Finding[]
}

interface Metadata {
  readonly name: string
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
}

type Check = (spec: Place, metadata: Metadata) => void

const networking = 'networking.istio.io'
const security = 'security.istio.io'
const extensions = 'extensions.istio.io'

const checks: Readonly<Record<string, Check>> = {
  [`${networking}/VirtualService`]: (spec, { namespace }) => checkVirtualService(spec, namespace),
  [`${networking}/DestinationRule`]: (spec, { namespace }) => checkDestinationRule(spec, namespace),
  [`${networking}/Gateway`]: (spec, { name }) => checkGateway(spec, name),
  [`${networking}/ServiceEntry`]: checkServiceEntry,
  [`${networking}/WorkloadEntry`]: (spec) => checkWorkload(spec, { namesAllowed: true }),
  [`${networking}/WorkloadGroup`]: checkWorkloadGroup,
  [`${networking}/Sidecar`]: (spec, { namespace }) => checkSidecar(spec, namespace),
  [`${networking}/EnvoyFilter`]: checkEnvoyFilter,
  [`${networking}/ProxyConfig`]: checkProxyConfig,
  [`${security}/AuthorizationPolicy`]: checkAuthorizationPolicy,
  [`${security}/PeerAuthentication`]: checkPeerAuthentication,
  [`${security}/RequestAuthentication`]: checkRequestAuthentication,
  'telemetry.istio.io/Telemetry': checkTelemetry,
  [`${extensions}/WasmPlugin`]: checkWasmPlugin,
  [`${extensions}/TrafficExtension`]: checkTrafficExtension,
}

function checkOf({ apiVersion = '', kind = '' }: IstioObject): Check | undefined {
  const key = `${apiVersion.split('/')[0] ?? ''}/${kind}`
  return Object.hasOwn(checks, key) ? checks[key] : undefined
}

/** Whether `validateObject` knows the kind, in whatever version. */
export function isValidatedKind(object: IstioObject): boolean {
  return checkOf(object) !== undefined
}

/** Checks an object of any kind of Istio's; of a kind that is none of these nothing is found. */
export function validateObject(object: IstioObject): Validation {
  const findings: Findings = { errors: [], warnings: [] }
  const check = checkOf(object)
  if (check === undefined) return findings
  const { name = '', namespace = '', labels = {} } = object.metadata ?? {}
  checkAnnotations(object, findings)
  if (findings.errors.length === 0) {
    check(Place.root(object.spec ?? undefined, 'spec', findings), { name, namespace, labels })
  }
  return findings
}

/** By this annotation a control plane can ask whether its webhook is at work. */
export const alwaysRejectAnnotation = 'internal.istio.io/webhook-always-reject'
const internalPrefix = 'internal.istio.io/'
const dryRunAnnotation = 'istio.io/dry-run'

function checkAnnotations(object: IstioObject, findings: Findings): void {
  const { name = '', namespace = '', annotations = {} } = object.metadata ?? {}
  const at = (key: string): Place => Place.root(undefined, `metadata.annotations[${key}]`, findings)
  const key = `${namespace}/${name}`
  const dryRun = annotations[dryRunAnnotation]
  if (dryRun !== undefined) {
    const { action = 'ALLOW' } = (object.spec ?? {}) as { action?: unknown } // any JSON
    if (object.kind !== 'AuthorizationPolicy') {
      at(dryRunAnnotation).error(
        `${key} has unsupported annotation ${dryRunAnnotation}, please remove the annotation`,
      )
    } else if (action !== 'ALLOW' && action !== 'DENY') {
      at(dryRunAnnotation).error(
        `the annotation ${dryRunAnnotation} currently only supports action ALLOW/DENY, found action ${String(action)} in ${key}`,
      )
    } else if (!/^(?:1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$/.test(dryRun)) {
      at(dryRunAnnotation).error(
        `${key} has annotation ${dryRunAnnotation} with invalid value (${dryRun}): it is neither true nor false`,
      )
    }
  }
  if (annotations[alwaysRejectAnnotation] !== undefined) {
    at(alwaysRejectAnnotation).error(`${quote(alwaysRejectAnnotation)} annotation found, rejecting`)
  } else {
    const internal = Object.keys(annotations).find((one) => one.startsWith(internalPrefix))
    if (internal !== undefined) {
      at(internal).error(`${quote(internal)} annotation is for internal use and cannot be set`)
    }
  }
}

function checkProxyConfig(spec: Place): void {
  checkSelector(spec.at('selector'), 'matchLabels')
  if (spec.at('concurrency').number < 0) {
    spec.at('concurrency').error('concurrency must be greater than or equal to 0')
  }
}

/** The errors as one text, as Istio words it: each of a policy with the name of the policy. */
export function errorText(object: IstioObject, { errors }: Validation): string {
  const { name = '', namespace = '' } = object.metadata ?? {}
  const annotated = errors.some(({ path }) => path.startsWith('metadata.'))
  const isPolicy = object.kind === 'AuthorizationPolicy' && !annotated
  const prefix = isPolicy ? `invalid policy ${name}.${namespace}: ` : ''
  const messages = errors.map(({ message }) => `${prefix}${message}`)
  if (messages.length === 1 && !isPolicy) return messages[0] ?? ''
  const list = messages.map((message) => `\t* ${message}`).join('\n')
  return `${messages.length} error${messages.length === 1 ? '' : 's'} occurred:\n${list}\n\n`
}
