/**
 * The gRPC service that proxies ask for certificates. A caller gets its own identity; a node proxy
 * may ask for others, but only for identities of pods on its own node.
 */
import { type Clock, type Logger, MeshError, sleep, toError } from '../base/index.ts'
import { type CallContext, GrpcError, type GrpcServer, grpcStatus } from '../grpc/index.ts'
import { ca, create } from '../proto/index.ts'
import { parseSpiffeId } from '../x509/index.ts'
import type { Authenticate, Caller } from './authenticator.ts'
import type { CertificateAuthority } from './authority.ts'
import { limits } from './limits.ts'
import { type CaMetrics, noMetrics } from './metrics.ts'
import type { PodLookup } from './pods.ts'
import { RateLimit } from './rate-limit.ts'

export interface CertificateServiceOptions {
  readonly authority: Pick<CertificateAuthority, 'issue'>
  readonly authenticate: Authenticate
  readonly pods: PodLookup
  readonly trustDomain: string
  /** CA_TRUSTED_NODE_ACCOUNTS as `namespace/account`; default `istio-system/ztunnel`. */
  readonly trustedNodeAccounts?: readonly string[]
  /** Of one caller in the long run; default 500. */
  readonly requestsPerSecond?: number
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics?: CaMetrics
}

/** Adds IstioCertificateService to a server; before the server starts. */
export function registerCertificateService(
  server: GrpcServer,
  options: CertificateServiceOptions,
): void {
  const { metrics = noMetrics } = options
  const rate = new RateLimit(options.clock, options.requestsPerSecond)
  server.registerUnary(
    ca.IstioCertificateService.method.createCertificate,
    async (request, context) => {
      metrics.count('citadel_server_csr_count')
      const caller = await identify(context, options)
      if (!rate.take(`${caller.identity} ${caller.pod?.uid ?? ''}`)) throw tooMany(caller, options)
      const identity = await wantedIdentity(caller, request.metadata, options)
      try {
        const ttlMs = Number(request.validityDuration) * 1000
        const certChain = await options.authority.issue(request.csr, identity, ttlMs)
        metrics.count('citadel_server_success_cert_issuance_count')
        options.logger.debug('issued a certificate', { identity, to: context.peer.address })
        return create(ca.IstioCertificateResponseSchema, { certChain })
      } catch (error) {
        throw signError(error, identity, options)
      }
    },
  )
}

async function identify(context: CallContext, options: CertificateServiceOptions): Promise<Caller> {
  try {
    return await options.authenticate(context)
  } catch (error) {
    options.metrics?.count('citadel_server_authentication_failure_count')
    const refused = error instanceof GrpcError && error.status === grpcStatus.unauthenticated
    throw refused
      ? new GrpcError(grpcStatus.unauthenticated, 'request authenticate failure', { cause: error })
      : error
  }
}

function tooMany(caller: Caller, options: CertificateServiceOptions): GrpcError {
  options.logger.warn('a caller asks too often', { caller: caller.identity, pod: caller.pod?.name })
  return new GrpcError(grpcStatus.resourceExhausted, 'too many certificate requests')
}

/** The identity that the certificate gets. Rejects UNAUTHENTICATED, with the reason in the log. */
async function wantedIdentity(
  caller: Caller,
  metadata: Readonly<Record<string, unknown>> | undefined,
  options: CertificateServiceOptions,
): Promise<string> {
  const wanted = metadata?.ImpersonatedIdentity
  if (wanted === undefined || wanted === '') return caller.identity
  const reason =
    typeof wanted === 'string'
      ? await refusal(caller, wanted, options)
      : 'the wanted identity is no text'
  if (reason === undefined && typeof wanted === 'string') return wanted
  options.metrics?.count('citadel_server_authentication_failure_count')
  options.logger.warn('an impersonation was refused', {
    caller: caller.identity,
    pod: caller.pod?.name,
    wanted: String(wanted).slice(0, 300),
    reason,
  })
  throw new GrpcError(grpcStatus.unauthenticated, 'request impersonation authentication failure')
}

/** Why the caller may not have a certificate of this identity, or undefined when it may. */
async function refusal(
  caller: Caller,
  wanted: string,
  options: CertificateServiceOptions,
): Promise<string | undefined> {
  const { trustedNodeAccounts = ['istio-system/ztunnel'], pods, trustDomain } = options
  const account = `${caller.namespace}/${caller.serviceAccount}`
  if (!trustedNodeAccounts.includes(account)) {
    return `${account} is not in CA_TRUSTED_NODE_ACCOUNTS (${trustedNodeAccounts.join(', ')})`
  }
  if (caller.pod === undefined) return 'the caller has no token that is bound to a pod'
  const id = parseSpiffeId(wanted)
  if (id === undefined || id.trustDomain !== trustDomain) {
    return `the wanted identity is no SPIFFE id of ${trustDomain}`
  }
  const { name, uid } = caller.pod
  const pod = await soon(options, () => pods.find(caller.namespace, name))
  if (pod === undefined) return `the caller's pod ${caller.namespace}/${name} does not exist`
  if (pod.uid !== uid)
    return `the caller's pod ${caller.namespace}/${name} was replaced by another one`
  if (pod.serviceAccount !== caller.serviceAccount)
    return "the caller's pod has another service account"
  if (pod.node === '') return "the caller's pod is on no node"
  const found = await soon(options, () => {
    return pods.runsOnNode(pod.node, id.namespace, id.serviceAccount) || undefined
  })
  return found ? undefined : `no pod of ${id.namespace}/${id.serviceAccount} is on node ${pod.node}`
}

/**
 * Asks again for a moment: a node proxy hears of a pod from its node, and may be faster than the
 * watch that fills our cache. Only callers with a trusted account come this far.
 */
async function soon<T>(
  options: CertificateServiceOptions,
  ask: () => T | undefined,
): Promise<T | undefined> {
  const { clock } = options
  const deadline = clock.monotonic() + limits.podWaitMs
  for (;;) {
    const answer = ask()
    if (answer !== undefined || clock.monotonic() >= deadline) return answer
    await sleep(clock, limits.podPollMs)
  }
}

function signError(
  error: unknown,
  identity: string,
  options: CertificateServiceOptions,
): GrpcError {
  const code = error instanceof MeshError ? error.code : ''
  const parsing = code.startsWith('X509_')
  options.metrics?.count(
    parsing ? 'citadel_server_csr_parsing_err_count' : 'citadel_server_csr_sign_err_count',
  )
  options.logger.warn('no certificate was issued', { identity, error: toError(error).message })
  const text = `CSR signing error (${toError(error).message})`
  if (parsing || code === 'CA_TTL') {
    return new GrpcError(grpcStatus.invalidArgument, text, { cause: error })
  }
  if (code === 'CA_NOT_READY') {
    return new GrpcError(grpcStatus.unavailable, toError(error).message, { cause: error })
  }
  return new GrpcError(grpcStatus.internal, 'CSR signing error (internal error)', { cause: error })
}
