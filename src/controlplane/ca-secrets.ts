/** Tells the authority when its Secrets change, so that an operator's new certificate is used at once. */
import { type Component, type Logger, MeshError, toError } from '../base/index.ts'
import type { CertificateAuthority } from '../ca/index.ts'
import type { Informer } from '../client/index.ts'
import type { KubeObject } from '../kube/index.ts'

export interface SecretFollowerOptions {
  readonly secrets: Informer<KubeObject>
  /** The system namespace. */
  readonly namespace: string
  readonly authority: Pick<CertificateAuthority, 'refresh'>
  readonly logger: Logger
}

const names = new Set(['cacerts', 'istio-ca-secret'])

export class SecretFollower implements Component {
  readonly #options: SecretFollowerOptions
  #remove: (() => void) | undefined

  constructor(options: SecretFollowerOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { secrets, namespace, authority, logger } = this.#options
    const follow = ({ metadata }: KubeObject): void => {
      if (metadata.namespace !== namespace || !names.has(metadata.name)) return
      authority.refresh().catch((error: unknown) => {
        logger.error('the changed certificate authority is not used; the present one stays', {
          secret: `${namespace}/${metadata.name}`,
          error: toError(error).message,
          hint: error instanceof MeshError ? error.hint : undefined,
        })
      })
    }
    this.#remove = secrets.on({ added: follow, updated: follow, deleted: follow })
  }

  async stop(): Promise<void> {
    this.#remove?.()
  }
}
