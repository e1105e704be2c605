/** TLS as a listener offers it, whatever kind of object asks for it. */
import type { MeshTls, ServerTlsSettings } from '../../../model/index.ts'
import { core, tls, tlsCommon } from '../../../proto/envoy.ts'
import { create } from '../../../proto/index.ts'
import { agentSecret, meshSecret, rootsSecret, tlsParams, workloadSecret } from '../clusters/tls.ts'
import { type Fields, pack, stringMatch } from '../values.ts'
import type { Needs } from './build.ts'

/** Where a certificate, or the roots to check clients with, come from. */
export type CertificateSource =
  | { readonly kind: 'secret'; readonly name: string }
  | { readonly kind: 'files'; readonly chain: string; readonly key: string }
  /** The workload's own, which its agent has. */
  | { readonly kind: 'workload' }

export type RootsSource =
  | { readonly kind: 'secret'; readonly name: string }
  | { readonly kind: 'file'; readonly path: string; readonly crl: string }
  | { readonly kind: 'mesh' }

export interface ServerTls {
  readonly certificates: readonly CertificateSource[]
  /** Undefined: clients need no certificate and none is looked at. */
  readonly roots: RootsSource | undefined
  /** With roots: whether a client without a certificate is turned away. */
  readonly requiresCertificate: boolean
  /** Whether a client's certificate is checked at all; Istio's `insecureSkipVerify`. */
  readonly skipsVerification: boolean
  readonly subjectAltNames: readonly string[]
  readonly spki: readonly string[]
  readonly hashes: readonly string[]
  readonly minVersion: ServerTlsSettings['minProtocolVersion']
  readonly maxVersion: ServerTlsSettings['maxProtocolVersion']
  readonly cipherSuites: readonly string[]
}

const versions = tlsCommon.TlsParameters_TlsProtocol

const byName: Readonly<Record<string, tlsCommon.TlsParameters_TlsProtocol>> = {
  TLSV1_0: versions.TLSv1_0,
  TLSV1_1: versions.TLSv1_1,
  TLSV1_2: versions.TLSv1_2,
  TLSV1_3: versions.TLSv1_3,
}

/** Suites that BoringSSL can offer below TLS 1.3; Envoy refuses a listener that names any other. */
const cipherSuites: ReadonlySet<string> = new Set([
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-PSK-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-SHA',
  'ECDHE-RSA-AES128-SHA',
  'ECDHE-PSK-AES128-CBC-SHA',
  'AES128-GCM-SHA256',
  'AES128-SHA',
  'PSK-AES128-CBC-SHA',
  'ECDHE-ECDSA-AES256-SHA',
  'ECDHE-RSA-AES256-SHA',
  'ECDHE-PSK-AES256-CBC-SHA',
  'AES256-GCM-SHA384',
  'AES256-SHA',
  'PSK-AES256-CBC-SHA',
  'DES-CBC3-SHA',
])

export function knownCipherSuites(names: readonly string[]): string[] {
  return [...new Set(names)].filter((name) => cipherSuites.has(name))
}

export interface DownstreamOptions {
  readonly alpn: readonly string[]
  readonly defaults: MeshTls | undefined
}

export function downstreamSocket(
  needs: Needs,
  server: ServerTls,
  { alpn, defaults }: DownstreamOptions,
): core.TransportSocket {
  const context = create(tls.DownstreamTlsContextSchema, {
    requireClientCertificate: server.roots !== undefined && server.requiresCertificate,
    commonTlsContext: create(tls.CommonTlsContextSchema, {
      tlsParams: parameters(server, defaults),
      alpnProtocols: [...alpn],
      ...certificates(needs, server),
      ...validation(needs, server),
    }),
  })
  return transportSocket(context)
}

export function transportSocket(context: tls.DownstreamTlsContext): core.TransportSocket {
  return create(core.TransportSocketSchema, {
    name: 'envoy.transport_sockets.tls',
    configType: { case: 'typedConfig', value: pack(tls.DownstreamTlsContextSchema, context) },
  })
}

/** The listener's own before the mesh's; without either nothing below TLS 1.2. */
function parameters(server: ServerTls, defaults: MeshTls | undefined): tlsCommon.TlsParameters {
  const base = tlsParams(defaults).tlsParams
  const minimum = byName[server.minVersion ?? ''] ?? base?.tlsMinimumProtocolVersion
  const own = knownCipherSuites(server.cipherSuites)
  return create(tlsCommon.TlsParametersSchema, {
    tlsMinimumProtocolVersion: minimum === undefined || minimum === 0 ? versions.TLSv1_2 : minimum,
    tlsMaximumProtocolVersion: byName[server.maxVersion ?? ''] ?? versions.TLS_AUTO,
    cipherSuites: own.length > 0 ? own : (base?.cipherSuites ?? []),
    ecdhCurves: base?.ecdhCurves ?? [],
  })
}

function certificates(
  needs: Needs,
  { certificates: sources }: ServerTls,
): Fields<tls.CommonTlsContext> {
  const discovered: ReturnType<typeof meshSecret>[] = []
  const fixed: tlsCommon.TlsCertificate[] = []
  for (const source of sources) {
    if (source.kind === 'secret') {
      needs.secrets.add(source.name)
      discovered.push(meshSecret(source.name))
    } else if (source.kind === 'workload') discovered.push(agentSecret(workloadSecret))
    else {
      fixed.push(
        create(tlsCommon.TlsCertificateSchema, {
          certificateChain: file(source.chain),
          privateKey: file(source.key),
        }),
      )
    }
  }
  return {
    ...(discovered.length === 0 ? {} : { tlsCertificateSdsSecretConfigs: discovered }),
    ...(fixed.length === 0 ? {} : { tlsCertificates: fixed }),
  }
}

function validation(needs: Needs, server: ServerTls): Fields<tls.CommonTlsContext> {
  const { roots, subjectAltNames, spki, hashes, skipsVerification } = server
  if (roots === undefined) return {}
  const verifications = tlsCommon.CertificateValidationContext_TrustChainVerification
  const context = create(tlsCommon.CertificateValidationContextSchema, {
    trustChainVerification: skipsVerification
      ? verifications.ACCEPT_UNTRUSTED
      : verifications.VERIFY_TRUST_CHAIN,
    matchTypedSubjectAltNames: subjectAltNames.map((value) =>
      create(tlsCommon.SubjectAltNameMatcherSchema, {
        sanType: value.includes('://')
          ? tlsCommon.SubjectAltNameMatcher_SanType.URI
          : tlsCommon.SubjectAltNameMatcher_SanType.DNS,
        matcher: stringMatch({ kind: 'exact', value }),
      }),
    ),
    verifyCertificateSpki: [...spki],
    verifyCertificateHash: [...hashes],
  })
  if (roots.kind === 'file') {
    const value = {
      ...context,
      trustedCa: file(roots.path),
      ...(roots.crl === '' ? {} : { crl: file(roots.crl) }),
    }
    return { validationContextType: { case: 'validationContext', value } }
  }
  if (roots.kind === 'secret') needs.secrets.add(roots.name)
  const secret = roots.kind === 'mesh' ? agentSecret(rootsSecret) : meshSecret(roots.name)
  return {
    validationContextType: {
      case: 'combinedValidationContext',
      value: create(tls.CommonTlsContext_CombinedCertificateValidationContextSchema, {
        defaultValidationContext: context,
        validationContextSdsSecretConfig: secret,
      }),
    },
  }
}

function file(filename: string): core.DataSource {
  return create(core.DataSourceSchema, { specifier: { case: 'filename', value: filename } })
}

/** Mutual TLS of the mesh, with the workload's own certificate. */
export function meshServerTls(requiresCertificate: boolean): ServerTls {
  return {
    certificates: [{ kind: 'workload' }],
    roots: { kind: 'mesh' },
    requiresCertificate,
    skipsVerification: false,
    subjectAltNames: [],
    spki: [],
    hashes: [],
    minVersion: undefined,
    maxVersion: undefined,
    cipherSuites: [],
  }
}

/** The parts of Istio's settings that do not depend on where certificates are. */
export function writtenLimits(
  settings: ServerTlsSettings,
): Pick<
  ServerTls,
  | 'skipsVerification'
  | 'subjectAltNames'
  | 'spki'
  | 'hashes'
  | 'minVersion'
  | 'maxVersion'
  | 'cipherSuites'
> {
  return {
    skipsVerification: settings.insecureSkipVerify === true,
    subjectAltNames: settings.subjectAltNames ?? [],
    spki: pins(settings.verifyCertificateSpki, /^[A-Za-z0-9+/]{43}=$/, nobodysKey),
    hashes: pins(
      settings.verifyCertificateHash,
      /^([0-9A-Fa-f]{64}|([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2})$/,
      nobodysHash,
    ),
    minVersion: settings.minProtocolVersion,
    maxVersion: settings.maxProtocolVersion,
    cipherSuites: settings.cipherSuites ?? [],
  }
}

/** Digests that no certificate has. */
const nobodysKey = `${'A'.repeat(43)}=`
const nobodysHash = '0'.repeat(64)

/** Of values that are none nothing would be left, which means no check at all: then nobody passes. */
function pins(
  written: readonly string[] | undefined,
  form: RegExp,
  nobody: string,
): readonly string[] {
  if (written === undefined || written.length === 0) return []
  const usable = written.filter((value) => form.test(value))
  return usable.length === 0 ? [nobody] : usable
}
