/** How a cluster's connections are secured: upstream TLS contexts for every mode of a DestinationRule. */
import type { ClientTlsSettings, MeshTls } from '../../../model/index.ts'
import {
  configSource,
  core,
  grpcService,
  stringMatcher,
  tls,
  tlsCommon,
  tlsSecret,
} from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { adsSource, duration, type Fields, stringMatch, type TextMatch } from '../values.ts'

/** The agent beside the proxy serves the workload's own certificate and the mesh's roots. */
const agentSdsCluster = 'sds-grpc'
export const workloadSecret = 'default'
export const rootsSecret = 'ROOTCA'
/** Where Debian's and most images keep the roots of the public web. */
const systemRoots = '/etc/ssl/certs/ca-certificates.crt'

/** ALPN by which the server's sidecar knows a mesh connection and what it carries. */
export const meshAlpn = {
  http1: ['istio-http/1.1', 'istio', 'http/1.1'],
  http2: ['istio-h2', 'istio', 'h2'],
  tcp: ['istio'],
} as const

export type AlpnKind = keyof typeof meshAlpn

/** A secret that the proxy's agent has. */
export function agentSecret(name: string): tlsSecret.SdsSecretConfig {
  return create(tlsSecret.SdsSecretConfigSchema, {
    name,
    sdsConfig: create(configSource.ConfigSourceSchema, {
      configSourceSpecifier: {
        case: 'apiConfigSource',
        value: create(configSource.ApiConfigSourceSchema, {
          apiType: configSource.ApiConfigSource_ApiType.GRPC,
          transportApiVersion: configSource.ApiVersion.V3,
          setNodeOnFirstMessageOnly: true,
          grpcServices: [
            create(grpcService.GrpcServiceSchema, {
              targetSpecifier: {
                case: 'envoyGrpc',
                value: create(grpcService.GrpcService_EnvoyGrpcSchema, {
                  clusterName: agentSdsCluster,
                }),
              },
            }),
          ],
        }),
      },
      // No certificate yet is a state to wait in, not an empty answer.
      initialFetchTimeout: duration(0),
      resourceApiVersion: configSource.ApiVersion.V3,
    }),
  })
}

/** A secret that the control plane serves. */
export function meshSecret(name: string): tlsSecret.SdsSecretConfig {
  return create(tlsSecret.SdsSecretConfigSchema, { name, sdsConfig: adsSource() })
}

/** `kubernetes://name` or, as written, `configmap://name`. */
export function credentialSecret(name: string): string {
  return name.includes('://') ? name : `kubernetes://${name}`
}

export function uriSans(identities: readonly TextMatch[]): tlsCommon.SubjectAltNameMatcher[] {
  return identities.map((match) =>
    create(tlsCommon.SubjectAltNameMatcherSchema, {
      sanType: tlsCommon.SubjectAltNameMatcher_SanType.URI,
      matcher: stringMatch(match),
    }),
  )
}

/** Written SANs may be URIs or DNS names; the form tells which. */
function writtenSans(names: readonly string[]): tlsCommon.SubjectAltNameMatcher[] {
  return names.map((value) =>
    create(tlsCommon.SubjectAltNameMatcherSchema, {
      sanType: value.includes('://')
        ? tlsCommon.SubjectAltNameMatcher_SanType.URI
        : tlsCommon.SubjectAltNameMatcher_SanType.DNS,
      matcher: sanMatcher(value),
    }),
  )
}

/** A leading or trailing `*` stands for any text. */
function sanMatcher(value: string): stringMatcher.StringMatcher {
  if (value.endsWith('*')) return stringMatch({ kind: 'prefix', value: value.slice(0, -1) })
  if (value.startsWith('*')) return stringMatch({ kind: 'suffix', value: value.slice(1) })
  return stringMatch({ kind: 'exact', value })
}

/**
 * TLS between workloads of the mesh.
 * @param identities accepted server identities; none: any of the mesh's roots
 */
export function mutualTlsContext(
  sni: string,
  identities: readonly string[],
  alpn: AlpnKind,
  params?: MeshTls,
): tls.UpstreamTlsContext {
  return create(tls.UpstreamTlsContextSchema, {
    sni,
    commonTlsContext: create(tls.CommonTlsContextSchema, {
      ...tlsParams(params),
      alpnProtocols: [...meshAlpn[alpn]],
      tlsCertificateSdsSecretConfigs: [agentSecret(workloadSecret)],
      validationContextType: {
        case: 'combinedValidationContext',
        value: create(tls.CommonTlsContext_CombinedCertificateValidationContextSchema, {
          defaultValidationContext: create(tlsCommon.CertificateValidationContextSchema, {
            matchTypedSubjectAltNames: writtenSans(identities),
          }),
          validationContextSdsSecretConfig: agentSecret(rootsSecret),
        }),
      },
    }),
  })
}

export function tlsParams(mesh: MeshTls | undefined): { tlsParams?: tlsCommon.TlsParameters } {
  if (mesh === undefined) return {}
  const { minProtocolVersion, cipherSuites = [], ecdhCurves = [] } = mesh
  const versions = tlsCommon.TlsParameters_TlsProtocol
  const minimum =
    minProtocolVersion === 'TLSV1_3'
      ? versions.TLSv1_3
      : minProtocolVersion === 'TLSV1_2'
        ? versions.TLSv1_2
        : versions.TLS_AUTO
  return {
    tlsParams: create(tlsCommon.TlsParametersSchema, {
      tlsMinimumProtocolVersion: minimum,
      cipherSuites: [...cipherSuites],
      ecdhCurves: [...ecdhCurves],
    }),
  }
}

/** Where the parts of SIMPLE and MUTUAL come from, besides the settings themselves. */
export interface OriginationOptions {
  /** The service's name; sent when the settings name no other. */
  readonly sni: string
  /** Names from the ServiceEntry, when the settings give none. */
  readonly subjectAltNames: readonly string[]
  readonly verify: boolean
  readonly http2: boolean
  readonly params: MeshTls | undefined
  /** A CA that the control plane serves, by its secret's name. */
  readonly caSecret?: string
}

/** TLS to a server that is no part of the mesh. */
export function originationContext(
  settings: ClientTlsSettings,
  options: OriginationOptions,
): tls.UpstreamTlsContext {
  const own = settings.subjectAltNames ?? []
  const sans = own.length > 0 ? own : options.subjectAltNames
  return create(tls.UpstreamTlsContextSchema, {
    sni: settings.sni || options.sni,
    commonTlsContext: create(tls.CommonTlsContextSchema, {
      ...tlsParams(options.params),
      ...(options.http2 ? { alpnProtocols: ['h2', 'http/1.1'] } : {}),
      ...clientCertificate(settings),
      ...validation(settings, sans, options),
    }),
  })
}

function clientCertificate(settings: ClientTlsSettings): Fields<tls.CommonTlsContext> {
  const { mode, credentialName, clientCertificate: chain, privateKey } = settings
  if (mode !== 'MUTUAL') return {}
  if (credentialName !== undefined && credentialName !== '') {
    return { tlsCertificateSdsSecretConfigs: [meshSecret(credentialSecret(credentialName))] }
  }
  return {
    tlsCertificates: [
      create(tlsCommon.TlsCertificateSchema, {
        certificateChain: file(chain ?? ''),
        privateKey: file(privateKey ?? ''),
      }),
    ],
  }
}

function validation(
  settings: ClientTlsSettings,
  sans: readonly string[],
  options: OriginationOptions,
): Fields<tls.CommonTlsContext> {
  const { credentialName = '', caCertificates = '', caCrl = '' } = settings
  if (settings.insecureSkipVerify === true) return {}
  const context = create(tlsCommon.CertificateValidationContextSchema, {
    matchTypedSubjectAltNames: writtenSans(sans),
    ...(caCrl === '' ? {} : { crl: file(caCrl) }),
  })
  const caSecret =
    options.caSecret ??
    (credentialName === '' ? undefined : `${credentialSecret(credentialName)}-cacert`)
  if (caSecret !== undefined) {
    return {
      validationContextType: {
        case: 'combinedValidationContext',
        value: create(tls.CommonTlsContext_CombinedCertificateValidationContextSchema, {
          defaultValidationContext: context,
          validationContextSdsSecretConfig: meshSecret(caSecret),
        }),
      },
    }
  }
  if (caCertificates === '' && !options.verify) return {}
  const roots = caCertificates === '' || caCertificates === 'system' ? systemRoots : caCertificates
  return {
    validationContextType: {
      case: 'validationContext',
      value: { ...context, trustedCa: file(roots) },
    },
  }
}

function file(filename: string): core.DataSource {
  return create(core.DataSourceSchema, { specifier: { case: 'filename', value: filename } })
}
