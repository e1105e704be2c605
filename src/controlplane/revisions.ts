/**
 * Tags of revisions: other names for a revision of the control plane, which people put into `istio.io/rev`.
 * They are kept as MutatingWebhookConfigurations, as `istioctl tag set` makes them; the tag `default`
 * says which revision cares for what names none.
 */
import type { Clock, Component, Logger } from '../base/index.ts'
import { createInformer, type Informer, type KubeClient } from '../client/index.ts'
import type { GroupVersionResource, KubeObject } from '../kube/index.ts'

const mutatingWebhooks: GroupVersionResource = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  resource: 'mutatingwebhookconfigurations',
}
const revisionLabel = 'istio.io/rev'
const tagLabel = 'istio.io/tag'

export interface RevisionTagsOptions {
  readonly client: KubeClient
  readonly clock: Clock
  readonly logger: Logger
}

export class RevisionTags implements Component {
  readonly #tags: Informer<KubeObject>

  constructor(options: RevisionTagsOptions) {
    this.#tags = createInformer({
      ...options,
      gvr: mutatingWebhooks,
      labelSelector: tagLabel,
      transform: ({ apiVersion, kind, metadata }) => ({ apiVersion, kind, metadata }),
    })
  }

  /** Doesn't wait: a tag that is not known yet stands for itself. */
  async start(signal?: AbortSignal): Promise<void> {
    this.#tags.start(signal).catch(() => {})
  }

  stop(): Promise<void> {
    return this.#tags.stop()
  }

  /** The revision that a tag stands for; any other name is one. */
  resolve(name: string): string {
    const tag = this.#tags.list().find(({ metadata }) => metadata.labels?.[tagLabel] === name)
    return tag?.metadata.labels?.[revisionLabel] ?? name
  }

  /** Calls back when tags change; returns the remover. */
  onChange(listener: () => void): () => void {
    return this.#tags.on({ added: listener, updated: listener, deleted: listener })
  }
}
