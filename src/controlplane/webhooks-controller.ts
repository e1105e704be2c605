/**
 * Keeps the ValidatingWebhookConfigurations of our revision in shape: our root in their `caBundle`, also
 * after it changed, and failure policy `Fail` as soon as the API server is seen to reach us. Until then
 * they say `Ignore`: a webhook that is not up must not keep people from writing.
 */

import { alwaysRejectAnnotation } from '../analyze/index.ts'
import { type Clock, type Component, type Logger, toError } from '../base/index.ts'
import type { CertificateAuthority } from '../ca/index.ts'
import { createInformer, type Informer, type KubeClient, WorkQueue } from '../client/index.ts'
import {
  ApiError,
  type GroupVersionResource,
  isApiError,
  type KubeObject,
  resources,
} from '../kube/index.ts'
import type { WebhookMetrics } from './webhooks-metrics.ts'

const validatingWebhooks: GroupVersionResource = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  resource: 'validatingwebhookconfigurations',
}

export interface WebhookControllerOptions {
  readonly client: KubeClient
  readonly authority: Pick<CertificateAuthority, 'rootsPem' | 'onChange'>
  /** The system namespace. */
  readonly namespace: string
  readonly revision: string
  readonly metrics: WebhookMetrics
  readonly clock: Clock
  readonly logger: Logger
}

interface Webhook {
  readonly name: string
  readonly clientConfig?: { readonly caBundle?: string }
  readonly failurePolicy?: string
  readonly objectSelector?: {
    readonly matchExpressions?: readonly { readonly key: string; readonly operator: string }[]
  }
}

interface Configuration extends KubeObject {
  webhooks?: Webhook[]
}

const retryMs = 1_000
const revisionLabel = 'istio.io/rev'

export class WebhookController implements Component {
  readonly #options: WebhookControllerOptions
  readonly #queue: WorkQueue
  /** A fresh one with each start. */
  #configurations: Informer<Configuration> | undefined
  readonly #removers: (() => void)[] = []
  /** Webhooks through which the API server reached us. */
  readonly #proven = new Set<string>()

  constructor(options: WebhookControllerOptions) {
    this.#options = options
    const { clock, logger } = options
    this.#queue = new WorkQueue({
      name: 'webhook configurations',
      work: (name) => this.#reconcile(name),
      clock,
      logger,
    })
  }

  async start(signal?: AbortSignal): Promise<void> {
    const { authority, client, revision, clock, logger } = this.#options
    const configurations = createInformer<Configuration>({
      client,
      gvr: validatingWebhooks,
      labelSelector: `${revisionLabel}=${revision}`,
      clock,
      logger,
    })
    this.#configurations = configurations
    await configurations.start(signal)
    await this.#queue.start()
    const enqueue = ({ metadata }: KubeObject): void => this.#queue.add(metadata.name)
    this.#removers.push(
      configurations.on({ added: enqueue, updated: enqueue }),
      authority.onChange(() => configurations.list().forEach(enqueue)),
    )
  }

  async stop(): Promise<void> {
    for (const remove of this.#removers.splice(0)) remove()
    await this.#queue.stop()
    await this.#configurations?.stop()
  }

  /** The bundle first; then, when a test went through the API server to us, the policy. */
  async #reconcile(name: string): Promise<void> {
    const { client, authority, metrics, logger } = this.#options
    const present = this.#configurations?.get(name)
    if (present?.webhooks === undefined) return
    const caBundle = Buffer.from(authority.rootsPem).toString('base64')
    let untested = false
    const webhooks = await Promise.all(
      present.webhooks.map(async (webhook) => {
        const next = { ...webhook, clientConfig: { ...webhook.clientConfig, caBundle } }
        if (webhook.failurePolicy === 'Fail') return next
        // Nothing can come through before the API server trusts us.
        const trusted = webhook.clientConfig?.caBundle === caBundle
        const works = trusted && (await this.#works(webhook))
        if (!works) untested = true
        return works ? { ...next, failurePolicy: 'Fail' } : next
      }),
    )
    if (untested) this.#queue.addAfter(name, retryMs)
    const same = webhooks.every((webhook, index) => {
      const old = present.webhooks?.[index]
      return (
        old?.clientConfig?.caBundle === webhook.clientConfig.caBundle &&
        old.failurePolicy === webhook.failurePolicy
      )
    })
    if (same) return
    try {
      await client.update<Configuration>(validatingWebhooks, { ...present, webhooks })
      metrics.configUpdated()
      const policies = webhooks.map(({ failurePolicy }) => failurePolicy).join(' ')
      logger.info('updated a webhook configuration', { name, failurePolicy: policies })
    } catch (error) {
      metrics.configFailed(error instanceof ApiError ? (error.status.reason ?? '') : 'unknown')
      throw error
    }
  }

  /** Whether a dry run of an object that nobody may make is refused, and by us. */
  async #works(webhook: Webhook): Promise<boolean> {
    const { client, namespace, revision, logger } = this.#options
    if (this.#proven.has(webhook.name)) return true
    const expressions = webhook.objectSelector?.matchExpressions ?? []
    const labelled = expressions.some(
      ({ key, operator }) => key === revisionLabel && operator === 'In',
    )
    const invalid: KubeObject = {
      apiVersion: 'networking.istio.io/v1',
      kind: 'Gateway',
      metadata: {
        name: 'invalid-gateway',
        namespace,
        ...(labelled ? { labels: { [revisionLabel]: revision } } : {}),
        annotations: { [alwaysRejectAnnotation]: 'true' },
      },
      spec: {},
    }
    try {
      await client.create(resources.istiogateways, invalid, { dryRun: true })
      logger.debug('the API server does not ask the webhook yet', { webhook: webhook.name })
      return false
    } catch (error) {
      const text = toError(error).message
      const refused = text.includes(`admission webhook "${webhook.name}" denied the request`)
      // Without CRDs there is nothing to validate; nobody can be in its way then.
      const missing = isApiError(error, 'NotFound')
      if (!refused && !missing) logger.debug('the webhook can not be tested', { error: text })
      if (refused) this.#proven.add(webhook.name)
      return refused || missing
    }
  }
}
