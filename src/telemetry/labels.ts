/**
 * The labels of Istio's TCP metrics as the node proxy writes them: same names, same order, same word
 * for what is not known. Dashboards and Kiali depend on all three.
 */

/** What telemetry says of one end of a connection. */
export interface TelemetryWorkload {
  /** Of the owner (Deployment), not of the pod. */
  readonly workloadName?: string | undefined
  readonly namespace?: string | undefined
  readonly canonicalName?: string | undefined
  readonly canonicalRevision?: string | undefined
  readonly clusterId?: string | undefined
  readonly region?: string | undefined
  readonly zone?: string | undefined
}

export interface TelemetryService {
  readonly hostname: string
  readonly namespace: string
  readonly name: string
}

export type Reporter = 'source' | 'destination'

/** Why a connection failed, in the metric's words. */
export type ResponseFlag =
  | '-'
  | 'DENY'
  | 'CONNECT'
  | 'TLS_FAILURE'
  | 'H2_HANDSHAKE_FAILURE'
  | 'NETWORK_POLICY'
  | 'IDENTITY_ERROR'
  | 'CERT_REVOKED'

export interface Traffic {
  readonly reporter: Reporter
  readonly source?: TelemetryWorkload | undefined
  readonly destination?: TelemetryWorkload | undefined
  readonly service?: TelemetryService | undefined
  /** With `spiffe://`; only what mutual TLS has proven. */
  readonly sourceIdentity?: string | undefined
  readonly destinationIdentity?: string | undefined
  readonly mutualTls: boolean
}

/** Names of the labels, in the order in which `trafficLabels` gives their values. */
export const trafficLabelNames: readonly string[] = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_service',
  'destination_service_namespace',
  'destination_service_name',
  'destination_workload',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_cluster',
  'request_protocol',
  'response_flags',
  'connection_security_policy',
  'source_region',
  'source_zone',
  'destination_region',
  'destination_zone',
]

/** The values for `trafficLabelNames`. */
export function trafficLabels(traffic: Traffic, flag: ResponseFlag = '-'): string[] {
  const { source, destination, service } = traffic
  return [
    traffic.reporter,
    known(source?.workloadName),
    known(source?.canonicalName),
    known(source?.canonicalRevision),
    known(source?.namespace),
    known(traffic.sourceIdentity),
    known(source?.canonicalName),
    known(source?.canonicalRevision),
    known(source?.clusterId),
    known(service?.hostname),
    known(service?.namespace),
    known(service?.name),
    known(destination?.workloadName),
    known(destination?.canonicalName),
    known(destination?.canonicalRevision),
    known(destination?.namespace),
    known(traffic.destinationIdentity),
    known(destination?.canonicalName),
    known(destination?.canonicalRevision),
    known(destination?.clusterId),
    'tcp',
    flag,
    traffic.mutualTls ? 'mutual_tls' : 'unknown',
    known(source?.region),
    known(source?.zone),
    known(destination?.region),
    known(destination?.zone),
  ]
}

function known(value: string | undefined): string {
  return value === undefined || value === '' ? 'unknown' : value
}
