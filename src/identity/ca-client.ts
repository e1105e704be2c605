/** Certificates over gRPC from the control plane (IstioCertificateService). */
import { callHeaders, GrpcChannel, type TextSource } from '../grpc/index.ts'
import { ca, create } from '../proto/index.ts'
import { limits } from './limits.ts'
import type { CertificateSource } from './types.ts'

export interface CaClientOptions {
  /** `host:port` */
  readonly address: string
  /** The name that the server's certificate must have; default the host of the address. */
  readonly serverName?: string
  /** Root certificate: path, or a function that gives PEM. Read at each connection. */
  readonly rootCa: TextSource
  /** Service account token: path, or a function. Read at each request. */
  readonly token: TextSource
  readonly clusterId: string
  readonly headers?: Readonly<Record<string, string>>
  /** Default true: ask for the identities of pods, as a shared proxy does. */
  readonly impersonate?: boolean
}

export interface CaClient extends CertificateSource {
  close(): void
}

export function createCaClient(options: CaClientOptions): CaClient {
  const { impersonate = true } = options
  const channel = new GrpcChannel({
    address: options.address,
    ...(options.serverName !== undefined && { serverName: options.serverName }),
    roots: options.rootCa,
    headers: () =>
      callHeaders({
        token: options.token,
        clusterId: options.clusterId,
        ...(options.headers && { extra: options.headers }),
      }),
  })
  return {
    async request(csrPem, identity, ttlMs) {
      const request = create(ca.IstioCertificateRequestSchema, {
        csr: csrPem,
        validityDuration: BigInt(Math.floor(ttlMs / 1000)),
        ...(impersonate && { metadata: { ImpersonatedIdentity: identity } }),
      })
      const method = ca.IstioCertificateService.method.createCertificate
      return (await channel.unary(method, request, limits.requestTimeoutMs)).certChain
    },
    close: () => channel.close(),
  }
}
