/** Service account tokens of pods: bound to the pod, renewed when 80 % of their life is over. */
import type { Clock } from '../../base/index.ts'
import type { KubeClient } from '../../client/index.ts'
import { resources } from '../../kube/index.ts'
import { volumeError } from './errors.ts'
import { namespaceOf, type Pod, specOf, type TokenProjection, uidOf } from './types.ts'

interface TokenAnswer {
  readonly status?: { readonly token?: string; readonly expirationTimestamp?: string }
}

interface HeldToken {
  readonly token: string
  readonly renewAtMs: number
  readonly expiresAtMs: number
}

const renewalPoint = 0.8
const defaultLifetimeSeconds = 3607

/** The tokens of one pod, by audience and lifetime. */
export class PodTokens {
  readonly #client: KubeClient
  readonly #clock: Clock
  readonly #held = new Map<string, HeldToken>()

  constructor(client: KubeClient, clock: Clock) {
    this.#client = client
    this.#clock = clock
  }

  /** A token with life left. A failed renewal keeps the old one as long as it is valid. */
  async get(pod: Pod, projection: TokenProjection): Promise<string> {
    const key = `${projection.audience ?? ''}\n${projection.expirationSeconds ?? ''}`
    const held = this.#held.get(key)
    const now = this.#clock.now()
    if (held !== undefined && now < held.renewAtMs) return held.token
    try {
      const fresh = await this.#request(pod, projection)
      this.#held.set(key, fresh)
      return fresh.token
    } catch (error) {
      if (held !== undefined && now < held.expiresAtMs) return held.token
      throw error
    }
  }

  async #request(pod: Pod, projection: TokenProjection): Promise<HeldToken> {
    const account = specOf(pod).serviceAccountName ?? 'default'
    const { audience, expirationSeconds = defaultLifetimeSeconds } = projection
    const now = this.#clock.now()
    const answer = await this.#client.createSubresource<TokenAnswer>(
      resources.serviceaccounts,
      namespaceOf(pod),
      account,
      'token',
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          audiences: audience === undefined || audience === '' ? [] : [audience],
          expirationSeconds,
          boundObjectRef: {
            apiVersion: 'v1',
            kind: 'Pod',
            name: pod.metadata.name,
            uid: uidOf(pod),
          },
        },
      },
    )
    const { token, expirationTimestamp } = answer.status ?? {}
    if (token === undefined) {
      throw volumeError(
        projection.path,
        `the API server gave no token for service account "${account}"`,
      )
    }
    const stated = expirationTimestamp === undefined ? Number.NaN : Date.parse(expirationTimestamp)
    const expiresAtMs = Number.isNaN(stated) ? now + expirationSeconds * 1000 : stated
    return { token, expiresAtMs, renewAtMs: now + (expiresAtMs - now) * renewalPoint }
  }
}
