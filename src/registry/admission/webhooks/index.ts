/**
 * Admission webhooks: the configurations that are stored, followed as they change, and the two stages that
 * call what they name. Where none is configured, a request pays for looking at an empty list.
 */
import { type Clock, type Logger, toError } from '../../../base/index.ts'
import type { KubeObject } from '../../../kube/index.ts'
import type { Authorizer } from '../../auth/rbac.ts'
import type { Catalogue } from '../../catalogue.ts'
import type { ResourceType } from '../../resource-type.ts'
import type { Bucket } from '../../store/bucket.ts'
import type { ObjectStore } from '../../store/objects.ts'
import type { AdmissionRequest, MutatingPass, Subject, WebhookStage } from '../admission.ts'
import { call, invocationOf } from './calls.ts'
import { WebhookClient } from './client.ts'
import { type Webhook, webhooksOf } from './configuration.ts'
import type { WebhookDialer } from './dial.ts'
import { isExempt, WebhookMatcher } from './matching.ts'
import { type MutatingContext, MutatingWebhooks } from './mutating.ts'
import { ServiceEndpoints } from './services.ts'

export interface WebhooksOptions {
  readonly store: ObjectStore
  readonly catalogue: Catalogue
  readonly authorizer: Authorizer
  readonly normalise: (type: ResourceType, object: KubeObject) => void
  readonly dial: WebhookDialer
  readonly clock: Clock
  readonly logger: Logger
  readonly random: () => number
}

const group = 'admissionregistration.k8s.io'
const mutatingId = `${group}/mutatingwebhookconfigurations`
const validatingId = `${group}/validatingwebhookconfigurations`

export class Webhooks implements WebhookStage {
  readonly #options: WebhooksOptions
  readonly #context: MutatingContext
  readonly #endpoints: ServiceEndpoints
  /** By what they connect to, so that a change of rules keeps connections. */
  #clients = new Map<string, WebhookClient>()
  #mutating: readonly Webhook[] = []
  #validating: readonly Webhook[] = []

  constructor(options: WebhooksOptions) {
    const { store, catalogue, authorizer, normalise, random } = options
    this.#options = options
    this.#endpoints = new ServiceEndpoints(store, random)
    this.#context = {
      matcher: new WebhookMatcher(store, catalogue),
      authorizer,
      normalise,
      clientOf: (webhook) => this.#client(webhook),
    }
  }

  start(): void {
    const { store } = this.#options
    const mutating = store.bucket(mutatingId)
    const validating = store.bucket(validatingId)
    const read = (): void => {
      this.#mutating = this.#read(mutating)
      this.#validating = this.#read(validating)
      this.#forgetClients()
    }
    for (const bucket of [mutating, validating]) bucket.listen(read)
    read()
  }

  stop(): void {
    for (const client of this.#clients.values()) client.close(true)
    this.#clients.clear()
  }

  begin(request: AdmissionRequest): MutatingPass | undefined {
    if (this.#mutating.length === 0 || isExempt(request.type)) return undefined
    return new MutatingWebhooks(this.#context, this.#mutating, request)
  }

  /** All at once; when several refuse, the first in order is heard. */
  async validate(request: AdmissionRequest, subject: Subject): Promise<void> {
    if (this.#validating.length === 0 || isExempt(request.type)) return
    const calls = this.#validating.map(async (webhook) => {
      const invocation = invocationOf(this.#context, webhook, request, subject)
      if (invocation !== undefined) await call(this.#context, invocation, request, false)
    })
    for (const outcome of await Promise.allSettled(calls)) {
      if (outcome.status === 'rejected') throw outcome.reason
    }
  }

  /** Configurations in the order of their names, as the bucket lists them. */
  #read(bucket: Bucket): Webhook[] {
    return bucket.list().flatMap((entry) => {
      try {
        return webhooksOf(entry.parse())
      } catch (error) {
        // It was checked when it was written; an older program may have checked less.
        const { message } = toError(error)
        this.#options.logger.error('a webhook configuration can not be used', {
          name: entry.name,
          error: message,
        })
        return []
      }
    })
  }

  #client(webhook: Webhook): WebhookClient {
    const key = JSON.stringify(webhook.client)
    let client = this.#clients.get(key)
    if (client === undefined) {
      const { dial, clock } = this.#options
      client = new WebhookClient({
        config: webhook.client,
        endpoints: this.#endpoints,
        dial,
        clock,
      })
      this.#clients.set(key, client)
    }
    return client
  }

  #forgetClients(): void {
    const used = new Set(
      [...this.#mutating, ...this.#validating].map(({ client }) => JSON.stringify(client)),
    )
    for (const [key, client] of this.#clients) {
      if (used.has(key)) continue
      client.close(false)
      this.#clients.delete(key)
    }
  }
}
