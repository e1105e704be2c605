/**
 * Who calls the control plane: by the verified client certificate when there is one, else by the
 * bearer token, which the API server judges (TokenReview). Why a caller is refused stands in our log
 * only; the caller learns that it is refused.
 */
import { type Logger, toError } from '../base/index.ts'
import type { KubeClient } from '../client/index.ts'
import { bearerToken, type CallContext, GrpcError, grpcStatus } from '../grpc/index.ts'
import { type KubeObject, resources } from '../kube/index.ts'
import { formatSpiffeId, parseSpiffeId } from '../x509/index.ts'

export interface Caller {
  /** SPIFFE id. */
  readonly identity: string
  readonly namespace: string
  readonly serviceAccount: string
  /** The pod which the token is bound to. */
  readonly pod?: { readonly name: string; readonly uid: string }
  readonly via: 'certificate' | 'token'
}

/** Rejects with a GrpcError UNAUTHENTICATED. */
export type Authenticate = (context: CallContext) => Promise<Caller>

export interface AuthenticatorOptions {
  readonly client: Pick<KubeClient, 'create'>
  readonly trustDomain: string
  /** TOKEN_AUDIENCES; default `istio-ca`. */
  readonly audiences?: readonly string[]
  /** Whether a client certificate (DER) is on a revocation list. */
  readonly isRevoked?: (certificate: Uint8Array) => boolean
  readonly logger: Logger
}

interface TokenReview extends KubeObject {
  spec: { token: string; audiences: readonly string[] }
  status?: {
    authenticated?: boolean
    error?: string
    audiences?: string[]
    user?: { username?: string; extra?: Record<string, string[]> }
  }
}

export function createAuthenticator(options: AuthenticatorOptions): Authenticate {
  return async (context) => {
    const { identity, certificateDer } = context.peer
    const revoked = certificateDer !== undefined && options.isRevoked?.(certificateDer) === true
    if (revoked) {
      options.logger.warn('a caller was refused', {
        from: context.peer.address,
        reason: `its certificate of ${identity ?? 'nobody'} is revoked`,
      })
      throw unauthenticated()
    }
    if (identity !== undefined) {
      const id = parseSpiffeId(identity)
      if (id !== undefined && id.trustDomain === options.trustDomain) {
        return {
          identity,
          namespace: id.namespace,
          serviceAccount: id.serviceAccount,
          via: 'certificate',
        }
      }
    }
    try {
      return await reviewToken(bearerToken(context.header('authorization')), options)
    } catch (error) {
      options.logger.warn('a caller was refused', {
        from: context.peer.address,
        reason: toError(error).message,
      })
      throw unauthenticated()
    }
  }
}

/** What a refused caller is told. */
export function unauthenticated(): GrpcError {
  return new GrpcError(grpcStatus.unauthenticated, 'authentication failure')
}

async function reviewToken(
  token: string | undefined,
  options: AuthenticatorOptions,
): Promise<Caller> {
  const { client, trustDomain, audiences = ['istio-ca'] } = options
  if (token === undefined) throw new Error('it has neither a client certificate nor a bearer token')
  const review = await client.create<TokenReview>(resources.tokenreviews, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    metadata: { name: '' },
    spec: { token, audiences },
  })
  const { status } = review
  if (status?.authenticated !== true)
    throw new Error(`its token is not valid: ${status?.error ?? 'no reason given'}`)
  // A server that ignores audiences answers without any; it would accept any token.
  if (!(status.audiences ?? []).some((audience) => audiences.includes(audience))) {
    throw new Error(`its token is not meant for ${audiences.join(' or ')}`)
  }
  const username = status.user?.username ?? ''
  const [, namespace, serviceAccount] =
    /^system:serviceaccount:([^:]+):([^:]+)$/.exec(username) ?? []
  if (namespace === undefined || serviceAccount === undefined) {
    throw new Error(`its token is for "${username}", not for a service account`)
  }
  const extra = status.user?.extra ?? {}
  const name = extra['authentication.kubernetes.io/pod-name']?.[0]
  const uid = extra['authentication.kubernetes.io/pod-uid']?.[0]
  return {
    identity: formatSpiffeId({ trustDomain, namespace, serviceAccount }),
    namespace,
    serviceAccount,
    ...(name === undefined || uid === undefined ? {} : { pod: { name, uid } }),
    via: 'token',
  }
}
