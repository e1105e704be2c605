/**
 * The registry's own keys and certificates, in files that only the owner can read: an authority, the serving
 * certificate, the administrator's client certificate, and the key that signs ServiceAccount tokens.
 * They are checked at every start and by the wall clock, because the machine may have slept or its clock jumped.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { type Clock, errnoOf, type Logger } from '../../base/index.ts'
import {
  createCaCertificate,
  type DistinguishedName,
  generateEcKeyPair,
  issueCertificate,
  parseCertificate,
  servesHost,
} from '../../x509/index.ts'
import { limits } from '../limits.ts'

export interface KeyPair {
  readonly certPem: string
  readonly keyPem: string
}

export interface PkiOptions {
  /** The folder of the files; made when it is missing. */
  readonly dir: string
  readonly clock: Clock
  readonly logger: Logger
  /** DNS names and addresses of the serving certificate. */
  readonly names: readonly string[]
  /** Of certificates other than the authority's; default a year. */
  readonly certificateLifeMs?: number
}

/** How far before "now" certificates begin, for clients whose clocks are behind. */
const backdateMs = 2 * 86_400_000

interface Request {
  readonly file: string
  readonly subject: DistinguishedName
  readonly use: 'server' | 'client'
}

export class Pki {
  readonly #options: PkiOptions
  readonly #lifeMs: number
  #authority: KeyPair | undefined
  #serving: KeyPair | undefined
  #admin: KeyPair | undefined
  #tokenKey: KeyObject | undefined

  constructor(options: PkiOptions) {
    this.#options = options
    this.#lifeMs = options.certificateLifeMs ?? limits.certificateLifeMs
  }

  /** Reads what is there and makes what is missing, expired or about to expire; true when something is new. */
  async ensure(): Promise<boolean> {
    await mkdir(this.#options.dir, { recursive: true, mode: 0o700 })
    const authority = await this.#read('registry-ca')
    const renewed = authority === undefined || !this.#lasts(authority, limits.authorityLifeMs)
    this.#authority = renewed ? await this.#makeAuthority() : authority
    const serving = await this.#issued(
      { file: 'registry', subject: { commonName: 'kube-apiserver' }, use: 'server' },
      (pair) => coversNames(pair, this.#options.names),
    )
    const admin = await this.#issued(
      {
        file: 'admin',
        subject: { organizations: ['system:masters'], commonName: 'kubernetes-admin' },
        use: 'client',
      },
      () => true,
    )
    const changed =
      serving.certPem !== this.#serving?.certPem || admin.certPem !== this.#admin?.certPem
    this.#serving = serving
    this.#admin = admin
    this.#tokenKey ??= createPrivateKey(await this.#tokenKeyPem())
    return changed
  }

  /** Whether `ensure` has something to do by now. */
  get due(): boolean {
    const authority = ready(this.#authority)
    return (
      !this.#lasts(authority, limits.authorityLifeMs) ||
      ![this.serving, this.admin].every((pair) => this.#lasts(pair, this.#lifeMs))
    )
  }

  get authorityPem(): string {
    return ready(this.#authority).certPem
  }

  get serving(): KeyPair {
    return ready(this.#serving)
  }

  get admin(): KeyPair {
    return ready(this.#admin)
  }

  /** P-256, for ES256. */
  get tokenKey(): KeyObject {
    return ready(this.#tokenKey)
  }

  async #issued(request: Request, fits: (pair: KeyPair) => boolean): Promise<KeyPair> {
    const present = await this.#read(request.file)
    if (
      present !== undefined &&
      this.#lasts(present, this.#lifeMs) &&
      this.#isOurs(present) &&
      fits(present)
    ) {
      return present
    }
    return this.#issue(request)
  }

  #lasts(pair: KeyPair, lifeMs: number): boolean {
    const { notBefore, notAfter } = parseCertificate(pair.certPem)
    const now = this.#options.clock.now()
    return notBefore <= now && now < notAfter - lifeMs * limits.renewPart
  }

  #isOurs(pair: KeyPair): boolean {
    const authority = new X509Certificate(this.authorityPem)
    const certificate = new X509Certificate(pair.certPem)
    return certificate.checkIssued(authority) && certificate.verify(authority.publicKey)
  }

  async #makeAuthority(): Promise<KeyPair> {
    const keys = await generateEcKeyPair()
    const now = this.#options.clock.now()
    const certPem = await createCaCertificate({
      keys,
      subject: { commonName: 'weft-registry-ca' },
      notBefore: now - backdateMs,
      notAfter: now + limits.authorityLifeMs,
    })
    this.#options.logger.info('made a new certificate authority for the registry')
    return this.#write('registry-ca', certPem, keys.privatePem)
  }

  async #issue(request: Request): Promise<KeyPair> {
    const authority = ready(this.#authority)
    const keys = await generateEcKeyPair()
    const now = this.#options.clock.now()
    const { names } = this.#options
    const server = request.use === 'server'
    const certPem = await issueCertificate({
      issuer: { certificatePem: authority.certPem, key: createPrivateKey(authority.keyPem) },
      publicKey: keys.publicKey,
      subject: request.subject,
      usages: [request.use],
      notBefore: now - backdateMs,
      notAfter: now + this.#lifeMs,
      ...(server
        ? { names: { dns: names.filter((name) => isIP(name) === 0), ips: names.filter(isIP) } }
        : {}),
    })
    this.#options.logger.info('issued a certificate', { file: `${request.file}.crt` })
    return this.#write(request.file, certPem, keys.privatePem)
  }

  async #tokenKeyPem(): Promise<string> {
    const file = 'service-accounts.key'
    const present = await this.#readFile(file)
    if (present !== undefined) return present
    const { privatePem: pem } = await generateEcKeyPair()
    await writePrivate(join(this.#options.dir, file), pem)
    return pem
  }

  async #read(file: string): Promise<KeyPair | undefined> {
    const certPem = await this.#readFile(`${file}.crt`)
    const keyPem = await this.#readFile(`${file}.key`)
    if (certPem === undefined || keyPem === undefined) return undefined
    try {
      // A pair torn by a crash between the two files is made anew.
      const matches = new X509Certificate(certPem).checkPrivateKey(createPrivateKey(keyPem))
      return matches ? { certPem, keyPem } : undefined
    } catch {
      return undefined
    }
  }

  async #readFile(file: string): Promise<string | undefined> {
    try {
      return await readFile(join(this.#options.dir, file), 'utf8')
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined
      throw error
    }
  }

  async #write(file: string, certPem: string, keyPem: string): Promise<KeyPair> {
    await writePrivate(join(this.#options.dir, `${file}.key`), keyPem)
    await writePrivate(join(this.#options.dir, `${file}.crt`), certPem)
    return { certPem, keyPem }
  }
}

function coversNames(pair: KeyPair, names: readonly string[]): boolean {
  const certificate = parseCertificate(pair.certPem)
  return names.every((name) => servesHost(certificate, name))
}

/** Writes a file of mode 0600 so that readers see the old or the new content, never a part. */
export async function writePrivate(path: string, content: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(content)
    await file.chmod(0o600)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}

function ready<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the certificates are not loaded yet')
  return value
}
