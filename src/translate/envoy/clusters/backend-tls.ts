/** BackendTLSPolicy of Gateway API: which TLS a gateway or client speaks to a Service. */
import type { BackendTLSPolicySpec, ClientTlsSettings, ConfigObject } from '../../../model/index.ts'
import { olderFirst } from '../../reader.ts'
import type { Scope } from '../lookup/scope.ts'
import type { ClusterPlan } from './policy.ts'

export interface BackendTls {
  readonly settings: ClientTlsSettings
  /** The secret with the roots; one that nobody serves keeps all traffic away, as a bad CA must. */
  readonly caSecret: string | undefined
  readonly config: ConfigObject<BackendTLSPolicySpec>
}

/** The oldest policy for the port, else the oldest for all ports of the service. */
export function backendTls(scope: Scope, plan: ClusterPlan): BackendTls | undefined {
  const { reader } = scope
  const { source, namespace, name } = plan.service
  const found = reader
    .policiesOfTarget(`${source}|${namespace}/${name}`, 'BackendTLSPolicy')
    .flatMap((policy) => {
      const object = reader.config('BackendTLSPolicy', namespace, policy.split('/')[2] ?? '')
      return object === undefined ? [] : [object]
    })
    .toSorted(olderFirst)
  const aimed = (section: string | undefined): ConfigObject<BackendTLSPolicySpec> | undefined =>
    found.find(({ spec }) =>
      spec.targetRefs?.some(
        (target) =>
          target.kind === source &&
          target.name === name &&
          (target.sectionName || undefined) === section,
      ),
    )
  const policy = aimed(plan.port.name === '' ? undefined : plan.port.name) ?? aimed(undefined)
  return policy === undefined ? undefined : settingsOf(policy)
}

function settingsOf(config: ConfigObject<BackendTLSPolicySpec>): BackendTls {
  const {
    hostname,
    subjectAltNames = [],
    caCertificateRefs = [],
    wellKnownCACertificates,
  } = config.spec.validation ?? {}
  const names = subjectAltNames.flatMap(({ type, hostname: dns, uri }) =>
    type === 'URI' ? (uri ?? []) : (dns ?? []),
  )
  const sni = hostname ?? ''
  const settings: ClientTlsSettings = {
    mode: 'SIMPLE',
    sni,
    subjectAltNames: names.length > 0 ? names : [sni],
  }
  const [reference] = caCertificateRefs
  if (wellKnownCACertificates === 'System' && reference === undefined) {
    return { settings, caSecret: undefined, config }
  }
  const caSecret = `configmap://${config.namespace}/${reference?.name ?? ''}-cacert`
  return { settings, caSecret, config }
}
