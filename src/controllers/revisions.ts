/**
 * ControllerRevisions: the history of templates of DaemonSets and StatefulSets. `data` is the strategic patch
 * that brings the template back, which is how `kubectl rollout undo` uses it.
 */
import { isDeepStrictEqual } from 'node:util'
import {
  controllerReference,
  isApiError,
  type KubeObject,
  type LabelSelector,
  resources,
} from '../kube/index.ts'
import type { ControllerContext } from './context.ts'
import { ignoreMissing } from './namespace.ts'
import { Owned } from './owned.ts'
import { shortHash } from './pods.ts'
import type { PodTemplate } from './workload-types.ts'

export const revisionLabel = 'controller-revision-hash'
const hashLabel = 'controller.kubernetes.io/hash'

export type ControllerRevision = KubeObject & { data: unknown; revision: number }

export type RevisedOwner = KubeObject<{
  selector: LabelSelector
  template: PodTemplate
  revisionHistoryLimit?: number
}>

export interface History {
  /** Of the present template. */
  readonly update: ControllerRevision
  /** Oldest first, `update` included. */
  readonly all: readonly ControllerRevision[]
}

export class Revisions<Owner extends RevisedOwner> {
  readonly #context: ControllerContext
  readonly #owned: Owned<Owner, ControllerRevision>

  /** @param options of the owner's kind; `wake` is called when its history changes */
  constructor(options: {
    readonly context: ControllerContext
    readonly kind: string
    readonly ownerResource: { group: string; version: string; resource: string }
    readonly wake: (key: string) => void
  }) {
    this.#context = options.context
    this.#owned = new Owned<Owner, ControllerRevision>({
      ...options,
      childResource: resources.controllerrevisions,
      selectorOf: (owner) => owner.spec?.selector,
    })
  }

  listen(): void {
    this.#owned.listen()
  }

  /** The owner's history; the revision of its present template is made, or becomes the newest again. */
  async sync(owner: Owner): Promise<History> {
    const claimed = (await this.#owned.claim(owner)).filter(
      ({ metadata }) => metadata.deletionTimestamp === undefined,
    )
    const known = claimed.toSorted((a, b) => a.revision - b.revision)
    const data = dataOf(owner)
    const equal = known.filter((revision) => isDeepStrictEqual(revision.data, data)).at(-1)
    const newest = known.at(-1)?.revision ?? 0
    if (equal === undefined) {
      const made = await this.#create(owner, data, newest + 1)
      return { update: made, all: [...known, made] }
    }
    if (equal.revision === newest) return { update: equal, all: known }
    const { namespace, name } = equal.metadata
    const update = await this.#context.client.patch<ControllerRevision>(
      resources.controllerrevisions,
      namespace,
      name,
      'merge',
      { revision: newest + 1 },
    )
    return { update, all: [...known.filter((revision) => revision !== equal), update] }
  }

  /** Drops the oldest that nothing runs, beyond the owner's limit. */
  async trim(owner: Owner, history: History, used: ReadonlySet<string>): Promise<void> {
    const limit = owner.spec?.revisionHistoryLimit ?? 10
    const idle = history.all.filter(
      (revision) => revision !== history.update && !used.has(revision.metadata.name),
    )
    for (const { metadata } of idle.slice(0, Math.max(0, idle.length - limit))) {
      await this.#context.client
        .delete(resources.controllerrevisions, metadata.namespace, metadata.name)
        .catch(ignoreMissing)
    }
  }

  async #create(owner: Owner, data: unknown, revision: number): Promise<ControllerRevision> {
    const hash = shortHash(data)
    const { namespace = 'default', name, annotations } = owner.metadata
    const labels = owner.spec?.template.metadata?.labels
    const cause = annotations?.['kubernetes.io/change-cause']
    const wanted: ControllerRevision = {
      apiVersion: 'apps/v1',
      kind: 'ControllerRevision',
      metadata: {
        name: `${name}-${hash}`,
        namespace,
        labels: { ...labels, [hashLabel]: hash, [revisionLabel]: hash },
        ...(cause === undefined ? {} : { annotations: { 'kubernetes.io/change-cause': cause } }),
        ownerReferences: [controllerReference(owner)],
      },
      data,
      revision,
    }
    try {
      return await this.#context.client.create(resources.controllerrevisions, wanted)
    } catch (error) {
      // Made a moment ago, and not in the cache yet.
      if (!isApiError(error, 'AlreadyExists')) throw error
      const found = await this.#context.client.get<ControllerRevision>(
        resources.controllerrevisions,
        namespace,
        wanted.metadata.name,
      )
      const mine = found?.metadata.ownerReferences?.some(({ uid }) => uid === owner.metadata.uid)
      if (found === undefined || mine !== true) throw error
      return found
    }
  }
}

/** The hash by which pods name their revision. */
export function hashOf(revision: ControllerRevision): string {
  return revision.metadata.labels?.[hashLabel] ?? ''
}

/** The template that a revision stands for. */
export function templateOf(revision: ControllerRevision): PodTemplate | undefined {
  const { spec } = (revision.data ?? {}) as { spec?: { template?: PodTemplate } }
  if (spec?.template === undefined) return undefined
  const { $patch: _directive, ...template } = spec.template as PodTemplate & { $patch?: string }
  return template
}

function dataOf(owner: RevisedOwner): unknown {
  return { spec: { template: { ...owner.spec?.template, $patch: 'replace' } } }
}
