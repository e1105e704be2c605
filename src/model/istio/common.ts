/**
 * Parts that several of Istio's kinds share, in the raw form users write: every field optional,
 * durations as text (`1.5s`). Whoever reads a field decides what its absence means; `ingest` has
 * only made sure that what stands there has the type written here.
 */
import type { Labels } from '../types.ts'

/** One of the three; an empty one matches everything that has the thing at all. */
export interface StringMatch {
  readonly exact?: string
  readonly prefix?: string
  /** RE2. */
  readonly regex?: string
}

/** Of networking kinds. */
export interface WorkloadSelector {
  readonly labels?: Labels
}

/** Of security, telemetry and extension kinds. */
export interface LabelSelector {
  readonly matchLabels?: Labels
}

/** What a policy is attached to: Gateway, GatewayClass, Service or ServiceEntry. */
export interface TargetReference {
  readonly group?: string
  readonly kind?: string
  readonly name?: string
  readonly namespace?: string
}

/** A percentage with fractions, 0 to 100. */
export interface Percent {
  readonly value?: number
}

export interface Destination {
  readonly host?: string
  readonly subset?: string
  readonly port?: { readonly number?: number }
}

export interface IstioPort {
  readonly number?: number
  readonly name?: string
  readonly protocol?: string
  readonly targetPort?: number
}

export type TlsProtocol = 'TLS_AUTO' | 'TLSV1_0' | 'TLSV1_1' | 'TLSV1_2' | 'TLSV1_3'

/** TLS as a server offers it, at Gateways and at the ingress of Sidecars. */
export interface ServerTlsSettings {
  readonly mode?:
    | 'PASSTHROUGH'
    | 'SIMPLE'
    | 'MUTUAL'
    | 'AUTO_PASSTHROUGH'
    | 'ISTIO_MUTUAL'
    | 'OPTIONAL_MUTUAL'
  readonly httpsRedirect?: boolean
  readonly credentialName?: string
  readonly credentialNames?: readonly string[]
  readonly caCertCredentialName?: string
  readonly serverCertificate?: string
  readonly privateKey?: string
  readonly caCertificates?: string
  readonly tlsCertificates?: readonly {
    readonly serverCertificate?: string
    readonly privateKey?: string
    readonly caCertificates?: string
  }[]
  readonly caCrl?: string
  readonly insecureSkipVerify?: boolean
  readonly subjectAltNames?: readonly string[]
  readonly verifyCertificateSpki?: readonly string[]
  readonly verifyCertificateHash?: readonly string[]
  readonly minProtocolVersion?: TlsProtocol
  readonly maxProtocolVersion?: TlsProtocol
  readonly cipherSuites?: readonly string[]
}
