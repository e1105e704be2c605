/** ServiceAccount tokens: JWTs that die with the account, or with the pod they are bound to. */
import { createHash, createPublicKey, randomUUID } from 'node:crypto'
import { exportJWK, type JWK, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import type { Clock } from '../../base/index.ts'
import { limits } from '../limits.ts'
import type { ObjectStore } from '../store/objects.ts'
import { isMap, mapOf, stringsOf, textOf, valueAt } from '../values.ts'
import type { Pki } from './pki.ts'
import { serviceAccountUser, type User } from './user.ts'

export const issuer = 'https://kubernetes.default.svc.cluster.local'

export interface BoundPod {
  readonly name: string
  readonly uid: string
  readonly node: { readonly name: string; readonly uid: string } | undefined
}

export interface TokenRequest {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly audiences: readonly string[]
  readonly seconds: number
  readonly pod: BoundPod | undefined
}

export interface VerifiedToken {
  readonly user: User
  readonly audiences: readonly string[]
}

export class Tokens {
  readonly #pki: Pki
  readonly #store: ObjectStore
  readonly #clock: Clock
  /** Signatures that were verified; whether the account still lives is asked every time. */
  readonly #verified = new Map<string, JWTPayload>()
  #jwk: JWK | undefined

  constructor(pki: Pki, store: ObjectStore, clock: Clock) {
    this.#pki = pki
    this.#store = store
    this.#clock = clock
  }

  async issue(request: TokenRequest): Promise<{ token: string; expiresAtMs: number }> {
    const { namespace, name, uid, pod } = request
    const now = Math.floor(this.#clock.now() / 1000)
    const expires = now + request.seconds
    const { kid = '' } = await this.publicKey()
    const token = await new SignJWT({
      'kubernetes.io': {
        namespace,
        ...(pod?.node === undefined ? {} : { node: pod.node }),
        ...(pod === undefined ? {} : { pod: { name: pod.name, uid: pod.uid } }),
        serviceaccount: { name, uid },
      },
    })
      .setProtectedHeader({ alg: 'ES256', kid })
      .setIssuer(issuer)
      .setSubject(`system:serviceaccount:${namespace}:${name}`)
      .setAudience([...request.audiences])
      .setJti(randomUUID())
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(expires)
      .sign(this.#pki.tokenKey)
    return { token, expiresAtMs: expires * 1000 }
  }

  /** Who the token speaks for, or the reason why it is not accepted. */
  async verify(token: string): Promise<VerifiedToken | { readonly refused: string }> {
    const key = createHash('sha256').update(token).digest('base64')
    let claims = this.#verified.get(key)
    if (claims === undefined) {
      try {
        const options = { issuer, algorithms: ['ES256'], currentDate: new Date(this.#clock.now()) }
        claims = (await jwtVerify(token, createPublicKey(this.#pki.tokenKey), options)).payload
      } catch {
        return { refused: 'the token is malformed, expired, or not signed by this server' }
      }
      if (this.#verified.size >= limits.tokenCacheMax) this.#verified.clear()
      this.#verified.set(key, claims)
    }
    if ((claims.exp ?? 0) * 1000 <= this.#clock.now()) return { refused: 'the token has expired' }
    return this.#accept(claims)
  }

  #accept(claims: JWTPayload): VerifiedToken | { readonly refused: string } {
    const kubernetes = mapOf(claims['kubernetes.io'])
    const namespace = textOf(kubernetes.namespace)
    const account = mapOf(kubernetes.serviceaccount)
    const [name, uid] = [textOf(account.name), textOf(account.uid)]
    const present = this.#store.bucket('/serviceaccounts').get(namespace, name)
    if (present === undefined || present.index.uid !== uid) {
      return { refused: `the ServiceAccount ${namespace}/${name} of the token has been deleted` }
    }
    const extra: Record<string, string[]> = {}
    if (claims.jti !== undefined)
      extra['authentication.kubernetes.io/credential-id'] = [`JTI=${claims.jti}`]
    const { pod, node } = kubernetes
    if (isMap(pod)) {
      const bound = this.#store.bucket('/pods').get(namespace, textOf(pod.name))
      if (bound === undefined || bound.index.uid !== textOf(pod.uid)) {
        return { refused: `the Pod ${namespace}/${textOf(pod.name)} of the token has been deleted` }
      }
      extra['authentication.kubernetes.io/pod-name'] = [textOf(pod.name)]
      extra['authentication.kubernetes.io/pod-uid'] = [textOf(pod.uid)]
    }
    if (isMap(node)) {
      extra['authentication.kubernetes.io/node-name'] = [textOf(node.name)]
      extra['authentication.kubernetes.io/node-uid'] = [textOf(node.uid)]
    }
    const audiences = typeof claims.aud === 'string' ? [claims.aud] : stringsOf(claims.aud)
    return { user: serviceAccountUser(namespace, name, uid, extra), audiences }
  }

  /** The public key in the form of a JWK, with the id that tokens name. */
  async publicKey(): Promise<JWK> {
    if (this.#jwk === undefined) {
      const key = createPublicKey(this.#pki.tokenKey)
      const kid = createHash('sha256')
        .update(key.export({ type: 'spki', format: 'der' }))
        .digest('base64url')
      this.#jwk = { ...(await exportJWK(key)), use: 'sig', kid, alg: 'ES256' }
    }
    return this.#jwk
  }

  /** The pod that a token shall be bound to, with the node it runs on. */
  boundPod(namespace: string, name: string): BoundPod | undefined {
    const entry = this.#store.bucket('/pods').get(namespace, name)
    if (entry === undefined) return undefined
    const nodeName = textOf(valueAt(entry.parse(), 'spec.nodeName'))
    const node = this.#store.bucket('/nodes').get('', nodeName)
    return {
      name,
      uid: entry.index.uid,
      node: nodeName === '' ? undefined : { name: nodeName, uid: node?.index.uid ?? '' },
    }
  }
}
