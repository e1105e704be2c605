/**
 * The certificate authority: keeps its root in a Secret, so that every replica and every restart has
 * the same one, and signs workload certificates. Who may have which identity is decided elsewhere.
 */
import { type Clock, type Component, type Logger, type Timer, toError } from '../base/index.ts'
import type { KubeClient } from '../client/index.ts'
import { isApiError, resources } from '../kube/index.ts'
import {
  generateEcKeyPair,
  generateRsaKeyPair,
  issueCertificate,
  type KeyPair,
  parseCertificate,
  parseCsr,
  splitPem,
} from '../x509/index.ts'
import { notReady, ttlTooLong } from './errors.ts'
import { limits } from './limits.ts'
import {
  type CaMaterial,
  newRoot,
  pluggedInSecretName,
  readMaterial,
  type Secret,
  selfSignedSecret,
  selfSignedSecretName,
} from './material.ts'
import { type CaMetrics, noMetrics } from './metrics.ts'

export interface AuthorityOptions {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'update'>
  /** Where the Secrets are: `istio-system`. */
  readonly namespace: string
  readonly trustDomain: string
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics?: CaMetrics
  readonly defaultTtlMs?: number
  readonly maxTtlMs?: number
}

export interface KeyAndChain {
  readonly keyPem: string
  /** Leaf first, then intermediates. */
  readonly chainPem: string
  readonly notBefore: number
  readonly notAfter: number
}

export class CertificateAuthority implements Component {
  readonly #options: AuthorityOptions
  readonly #listeners = new Set<() => void>()
  #material: CaMaterial | undefined
  #timer: Timer | undefined

  constructor(options: AuthorityOptions) {
    this.#options = options
  }

  /** Loads the authority's material, or makes and stores a self-signed root. */
  async start(): Promise<void> {
    this.#adopt(await this.#load())
    await this.rotateIfNeeded()
    this.#schedule()
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
  }

  /** Everything that workloads must trust, as PEM. */
  get rootsPem(): string {
    return this.#ready().rootsPem
  }

  /** Calls back when `rootsPem` or the signing certificate changed; returns the remover. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Signs a certificate for the key in the request and for this identity; names in the request
   * count for nothing. The answer is as on the wire: leaf, intermediates, and last the root bundle.
   * Throws a MeshError: X509_*, CA_TTL.
   */
  async issue(csrPem: string, identity: string, ttlMs = 0): Promise<string[]> {
    const { defaultTtlMs = limits.defaultTtlMs, maxTtlMs = limits.maxTtlMs } = this.#options
    const lifeMs = ttlMs <= 0 ? defaultTtlMs : ttlMs
    if (lifeMs > maxTtlMs) throw ttlTooLong(lifeMs, maxTtlMs)
    const { publicKey } = parseCsr(csrPem)
    const leaf = await this.#sign({ publicKey, names: { uris: [identity] }, lifeMs })
    const { intermediates, rootsPem } = this.#ready()
    return [leaf, ...intermediates, rootsPem]
  }

  /** A key and certificate for a server of the control plane itself. */
  async issueServing(
    dnsNames: readonly string[],
    ttlMs: number = limits.servingTtlMs,
  ): Promise<KeyAndChain> {
    const keys = await generateEcKeyPair()
    const leaf = await this.#sign({
      publicKey: keys.publicKey,
      names: { dns: dnsNames },
      lifeMs: ttlMs,
    })
    const { notBefore, notAfter } = parseCertificate(leaf)
    const chainPem = [leaf, ...this.#ready().intermediates].join('')
    return { keyPem: keys.privatePem, chainPem, notBefore, notAfter }
  }

  /**
   * Adopts what other replicas or the operator changed, and replaces our own root when less than a
   * fifth of its life is left. The key stays: certificates under the old root verify with the new.
   */
  async rotateIfNeeded(): Promise<void> {
    const { clock, logger, trustDomain, client } = this.#options
    this.#adopt(await this.#load())
    const material = this.#ready()
    const now = clock.now()
    const graceMs = (material.notAfter - material.notBefore) * limits.rotationGracePart
    if (!material.selfSigned || material.notAfter - now > graceMs) return
    const rootPem = await newRoot(material.keys, trustDomain, now)
    try {
      await client.update<Secret>(
        resources.secrets,
        this.#secretOf(material.keys, rootPem, material.resourceVersion),
      )
      logger.info('the root certificate was renewed', {
        until: new Date(now + limits.rootTtlMs).toISOString(),
      })
    } catch (error) {
      // Another replica was first; its root is loaded below.
      if (!isApiError(error, 'Conflict')) throw error
    }
    this.#adopt(await this.#load())
  }

  async #sign(what: {
    readonly publicKey: KeyPair['publicKey']
    readonly names: { readonly uris?: readonly string[]; readonly dns?: readonly string[] }
    readonly lifeMs: number
  }): Promise<string> {
    const { keys, certificatePem, notAfter } = this.#ready()
    const now = this.#options.clock.now()
    return issueCertificate({
      issuer: { certificatePem, key: keys.privateKey },
      publicKey: what.publicKey,
      names: what.names,
      notBefore: now - limits.clockSkewMs,
      notAfter: Math.min(now + what.lifeMs, notAfter),
    })
  }

  async #load(): Promise<CaMaterial> {
    const { client, namespace, clock, logger, trustDomain } = this.#options
    const now = clock.now()
    const plugged = await client.get<Secret>(resources.secrets, namespace, pluggedInSecretName)
    if (plugged !== undefined) return readMaterial(plugged, now)
    const own = await client.get<Secret>(resources.secrets, namespace, selfSignedSecretName)
    if (own !== undefined) return readMaterial(own, now)
    const keys = await generateRsaKeyPair()
    const secret = this.#secretOf(keys, await newRoot(keys, trustDomain, now))
    try {
      const stored = await client.create<Secret>(resources.secrets, secret)
      logger.info('made a self-signed root certificate', {
        secret: `${namespace}/${selfSignedSecretName}`,
      })
      return readMaterial(stored, now)
    } catch (error) {
      if (!isApiError(error, 'AlreadyExists')) throw error
      const winner = await client.get<Secret>(resources.secrets, namespace, selfSignedSecretName)
      if (winner === undefined) throw error
      return readMaterial(winner, now)
    }
  }

  #secretOf(keys: KeyPair, rootPem: string, resourceVersion?: string): Secret {
    const { namespace } = this.#options
    return selfSignedSecret({
      namespace,
      keys,
      rootPem,
      ...(resourceVersion && { resourceVersion }),
    })
  }

  #adopt(material: CaMaterial): void {
    const { metrics = noMetrics } = this.#options
    const old = this.#material
    this.#material = material
    const roots = splitPem(material.rootsPem).map((pem) => parseCertificate(pem).notAfter)
    metrics.set('citadel_server_root_cert_expiry_timestamp', Math.min(...roots) / 1000)
    metrics.set('citadel_server_cert_chain_expiry_timestamp', material.notAfter / 1000)
    const same =
      old?.certificatePem === material.certificatePem && old.rootsPem === material.rootsPem
    if (old !== undefined && !same) for (const listener of this.#listeners) listener()
  }

  #schedule(): void {
    const { clock, logger } = this.#options
    const delayMs = limits.rotationCheckMs * (0.9 + 0.2 * Math.random())
    this.#timer = clock.after(
      delayMs,
      () => {
        this.#schedule()
        this.rotateIfNeeded().catch((error: unknown) => {
          logger.error('checking the root certificate failed; the present one stays', {
            error: toError(error).message,
          })
        })
      },
      { background: true },
    )
  }

  #ready(): CaMaterial {
    if (this.#material === undefined) throw notReady()
    return this.#material
  }
}
