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
import { brokenTrust, notReady, ttlTooLong } from './errors.ts'
import { limits } from './limits.ts'
import {
  type CaMaterial,
  isRevoked,
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
  /** Of a self-signed root; default ten years. */
  readonly rootTtlMs?: number
  /** Default an hour. */
  readonly rotationCheckMs?: number
  /** The part of its life which a self-signed root has left when it is replaced; default 0.2. */
  readonly rotationGracePart?: number
  readonly rsaBits?: number
  /** Where a self-signed root is kept; default `istio-ca-secret`. */
  readonly selfSignedName?: string
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
  #refreshing: Promise<void> = Promise.resolve()

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

  /** The operator's revocation lists; undefined without any. */
  get crlPem(): string | undefined {
    const { crlPem } = this.#ready()
    return crlPem === '' ? undefined : crlPem
  }

  /** Whether the operator revoked a certificate (DER) that one of our chain issued. */
  isRevoked(certificate: Uint8Array): boolean {
    const { revocations } = this.#ready()
    return revocations.length > 0 && isRevoked(revocations, parseCertificate(certificate))
  }

  /** Calls back when `rootsPem`, the signing certificate or the revocation lists changed; returns the remover. */
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
   * Adopts what other replicas or the operator stored since. One at a time; rejects with a MeshError
   * when it can't be used, and keeps what is there.
   */
  refresh(): Promise<void> {
    const next = this.#refreshing.then(() => this.#refresh())
    this.#refreshing = next.catch(() => {})
    return next
  }

  async #refresh(): Promise<void> {
    const { namespace, logger } = this.#options
    const present = this.#ready()
    const stored = await this.#read()
    if (stored === undefined) {
      // Trust must not end because somebody deleted a Secret.
      if (present.selfSigned) await this.#store(present, { fresh: true })
      else {
        logger.warn(
          'the Secret of the plugged-in authority is gone; it is used until the restart',
          {
            secret: `${namespace}/${present.secretName}`,
          },
        )
      }
      return
    }
    if (!haveCommonRoot(present, stored)) {
      throw brokenTrust(`${namespace}/${stored.secretName}`)
    }
    this.#adopt(stored)
  }

  /**
   * Refreshes, and replaces our own root when less than a fifth of its life is left. The key stays, so
   * that certificates under the old root verify with the new; the old one is trusted until it ends.
   */
  async rotateIfNeeded(): Promise<void> {
    const {
      clock,
      logger,
      trustDomain,
      rotationGracePart = limits.rotationGracePart,
    } = this.#options
    await this.refresh()
    const material = this.#ready()
    if (!material.selfSigned) return
    const now = clock.now()
    const graceMs = (material.notAfter - material.notBefore) * rotationGracePart
    const roots = splitPem(material.rootsPem)
    const alive = roots.filter((pem) => parseCertificate(pem).notAfter > now)
    if (material.notAfter - now <= graceMs) {
      const rootTtlMs = this.#options.rootTtlMs ?? limits.rootTtlMs
      const rootPem = await newRoot({ keys: material.keys, trustDomain, nowMs: now, rootTtlMs })
      await this.#store(material, { rootPem, earlierRoots: alive })
      logger.info('the root certificate was renewed', {
        until: new Date(now + rootTtlMs).toISOString(),
      })
    } else if (alive.length < roots.length) {
      const earlierRoots = alive.filter((pem) => pem !== material.certificatePem)
      await this.#store(material, { earlierRoots })
    }
  }

  /** Writes our own root; whoever was first wins. */
  async #store(
    material: CaMaterial,
    change: {
      readonly rootPem?: string
      readonly earlierRoots?: readonly string[]
      readonly fresh?: boolean
    },
  ): Promise<void> {
    const { client, namespace } = this.#options
    const others = splitPem(material.rootsPem).filter((pem) => pem !== material.certificatePem)
    const { resourceVersion } = material
    const secret = selfSignedSecret({
      namespace,
      name: material.secretName,
      keys: material.keys,
      rootPem: change.rootPem ?? material.certificatePem,
      earlierRoots: change.earlierRoots ?? others,
      ...(resourceVersion !== undefined && change.fresh !== true ? { resourceVersion } : {}),
    })
    try {
      if (change.fresh === true) await client.create<Secret>(resources.secrets, secret)
      else await client.update<Secret>(resources.secrets, secret)
    } catch (error) {
      // Another replica was first; its root is loaded below.
      if (!isApiError(error, 'Conflict') && !isApiError(error, 'AlreadyExists')) throw error
    }
    const stored = await this.#read()
    if (stored !== undefined) this.#adopt(stored)
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

  /** What is stored: the operator's, else our own. */
  async #read(): Promise<CaMaterial | undefined> {
    const { client, namespace, clock, selfSignedName = selfSignedSecretName } = this.#options
    for (const name of new Set([pluggedInSecretName, selfSignedName])) {
      const secret = await client.get<Secret>(resources.secrets, namespace, name)
      if (secret !== undefined) return readMaterial(secret, clock.now())
    }
    return undefined
  }

  async #load(): Promise<CaMaterial> {
    const { client, namespace, clock, logger, trustDomain } = this.#options
    const { selfSignedName: name = selfSignedSecretName, rsaBits = limits.rsaBits } = this.#options
    const stored = await this.#read()
    if (stored !== undefined) return stored
    const now = clock.now()
    const rootTtlMs = this.#options.rootTtlMs ?? limits.rootTtlMs
    const keys = await generateRsaKeyPair(rsaBits)
    const rootPem = await newRoot({ keys, trustDomain, nowMs: now, rootTtlMs })
    const secret = selfSignedSecret({ namespace, name, keys, rootPem })
    try {
      const created = await client.create<Secret>(resources.secrets, secret)
      logger.info('made a self-signed root certificate', { secret: `${namespace}/${name}` })
      return readMaterial(created, now)
    } catch (error) {
      const winner = isApiError(error, 'AlreadyExists') ? await this.#read() : undefined
      if (winner === undefined) throw error
      return winner
    }
  }

  #adopt(material: CaMaterial): void {
    const { metrics = noMetrics } = this.#options
    const old = this.#material
    this.#material = material
    const root = parseCertificate(material.rootsPem)
    metrics.set('citadel_server_root_cert_expiry_timestamp', root.notAfter / 1000)
    metrics.set('citadel_server_cert_chain_expiry_timestamp', material.notAfter / 1000)
    const same =
      old?.certificatePem === material.certificatePem &&
      old.rootsPem === material.rootsPem &&
      old.crlPem === material.crlPem
    this.#warnOfStaleLists(material)
    if (old !== undefined && !same) for (const listener of this.#listeners) listener()
  }

  #warnOfStaleLists({ revocations }: CaMaterial): void {
    const { clock, logger } = this.#options
    for (const { nextUpdate } of revocations) {
      if (nextUpdate === undefined || nextUpdate > clock.now()) continue
      logger.warn('a list in ca-crl.pem is out of date; what it revokes stays revoked', {
        due: new Date(nextUpdate).toISOString(),
      })
    }
  }

  #schedule(): void {
    const { clock, logger, rotationCheckMs = limits.rotationCheckMs } = this.#options
    const delayMs = rotationCheckMs * (0.9 + 0.2 * Math.random())
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

/** Whether proxies that know only one of them trust certificates of both. */
function haveCommonRoot(left: CaMaterial, right: CaMaterial): boolean {
  const roots = new Set(splitPem(left.rootsPem))
  return splitPem(right.rootsPem).some((pem) => roots.has(pem))
}
