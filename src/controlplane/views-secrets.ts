/**
 * Whose proxies may have secrets. Gateways get those which Gateways name, and the translation has checked that
 * these are in their own namespace or granted. A sidecar gets one only if its account could read it anyway:
 * else whoever may write a DestinationRule could read every Secret beside it.
 */
import { type Clock, type Logger, toError } from '../base/index.ts'
import type { KubeClient } from '../client/index.ts'
import { type KubeObject, resources } from '../kube/index.ts'
import type { ProxyView } from '../translate/index.ts'

/** Whether an account may list the Secrets of its namespace, as the API server sees it. */
export type ReviewSecrets = (namespace: string, account: string) => Promise<boolean>

export interface SecretAccessOptions {
  readonly review: ReviewSecrets
  readonly clock: Clock
  readonly logger: Logger
  /** An answer is new: what the account's proxies get may differ. */
  readonly changed: (namespace: string, account: string) => void
}

interface Answer {
  readonly allowed: boolean
  readonly until: number
}

/** Istio's: a permission that is taken away holds so much longer. */
const answerMs = 60_000
/** After a question that failed. */
const retryMs = 1_000

export class SecretAccess {
  readonly #options: SecretAccessOptions
  readonly #answers = new Map<string, Answer>()
  readonly #asking = new Set<string>()

  constructor(options: SecretAccessOptions) {
    this.#options = options
  }

  /** Until the API server has answered, no. */
  allows({ kind, namespace, serviceAccount }: ProxyView): boolean {
    if (kind !== 'sidecar') return true
    const key = `${namespace}/${serviceAccount}`
    const known = this.#answers.get(key)
    if (known === undefined || known.until <= this.#options.clock.monotonic()) {
      void this.#ask(key, namespace, serviceAccount)
    }
    return known?.allowed === true
  }

  async #ask(key: string, namespace: string, account: string): Promise<void> {
    if (this.#asking.has(key)) return
    this.#asking.add(key)
    const { review, clock, logger, changed } = this.#options
    const before = this.#answers.get(key)?.allowed === true
    let answer: Answer
    try {
      const allowed = await review(namespace, account)
      answer = { allowed, until: clock.monotonic() + answerMs }
      if (!allowed) {
        logger.warn('a sidecar gets no secrets: its account may not list those of its namespace', {
          namespace,
          account,
        })
      }
    } catch (error) {
      answer = { allowed: before, until: clock.monotonic() + retryMs }
      logger.warn('asking who may have secrets failed', { error: toError(error).message })
      // Nobody may ask again by himself.
      clock.after(retryMs, () => void this.#ask(key, namespace, account), { background: true })
    }
    this.#asking.delete(key)
    if (this.#answers.size >= answersMax) this.#answers.clear()
    this.#answers.set(key, answer)
    if (answer.allowed !== before) changed(namespace, account)
  }
}

/** Accounts remembered; beyond that they are asked about again. */
const answersMax = 10_000

/** Asks the API server, as its own users of Secrets are judged. */
export function secretReview(client: Pick<KubeClient, 'create'>): ReviewSecrets {
  return async (namespace, account) => {
    const answer = await client.create<KubeObject>(resources.subjectaccessreviews, {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      metadata: { name: '' },
      spec: {
        user: `system:serviceaccount:${namespace}:${account}`,
        resourceAttributes: { namespace, verb: 'list', resource: 'secrets' },
      },
    })
    const status: unknown = answer.status
    return typeof status === 'object' && status !== null && Reflect.get(status, 'allowed') === true
  }
}
