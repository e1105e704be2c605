/**
 * A CustomResourceDefinition takes its objects along: it carries a finalizer, and once it is being deleted
 * its objects are deleted too; with the last of them gone, the finalizer goes and the kind is served no more.
 */
import { type Logger, toError } from '../base/index.ts'
import type { KubeObject } from '../kube/index.ts'
import type { VerbContext } from './context.ts'
import { cleanupFinalizer, typesOf } from './definitions.ts'
import { bucketIdOf } from './resource-type.ts'
import { StaleWrite } from './store/objects.ts'
import { deleteObject } from './verbs/delete.ts'

const bucketId = 'apiextensions.k8s.io/customresourcedefinitions'

const withoutConditions = {
  dryRun: false,
  graceSeconds: undefined,
  propagation: undefined,
  uid: undefined,
  resourceVersion: undefined,
}

export class DefinitionCleanup {
  readonly #context: VerbContext
  readonly #logger: Logger
  readonly #running = new Set<string>()

  constructor(context: VerbContext, logger: Logger) {
    this.#context = context
    this.#logger = logger
  }

  start(): void {
    const bucket = this.#context.store.bucket(bucketId)
    for (const entry of bucket.list()) this.#consider(entry.parse())
    bucket.listen(({ type, entry }) => {
      if (type !== 'DELETED') this.#consider(entry.parse())
    })
  }

  #consider(definition: KubeObject): void {
    const { name, deletionTimestamp, finalizers = [] } = definition.metadata
    if (deletionTimestamp === undefined || !finalizers.includes(cleanupFinalizer)) return
    if (this.#running.has(name)) return
    this.#running.add(name)
    this.#clean(definition)
      .catch((error: unknown) => {
        this.#logger.error('objects of a deleted definition remain', {
          name,
          error: toError(error).message,
        })
      })
      .finally(() => this.#running.delete(name))
  }

  async #clean(definition: KubeObject): Promise<void> {
    const [type] = typesOf(definition)
    if (type !== undefined) {
      const bucket = this.#context.store.bucket(bucketIdOf(type))
      for (const { namespace, name } of bucket.list()) {
        const target = { type, bucket, namespace, name, subresource: undefined }
        await deleteObject(this.#context, target, withoutConditions)
      }
      await emptied(bucket)
    }
    await this.#release(definition.metadata.name)
  }

  async #release(name: string): Promise<void> {
    const bucket = this.#context.store.bucket(bucketId)
    for (;;) {
      const entry = bucket.latest('', name)
      if (entry === undefined) return
      const definition = entry.parse()
      const left = (definition.metadata.finalizers ?? []).filter(
        (each) => each !== cleanupFinalizer,
      )
      if (left.length > 0) definition.metadata.finalizers = left
      try {
        const next = left.length > 0 ? definition : undefined
        await this.#context.store.write(bucket, { namespace: '', name }, entry, next)
        return
      } catch (error) {
        if (!(error instanceof StaleWrite)) throw error
      }
    }
  }
}

/** Objects with finalizers of their own go when their controllers are done. */
function emptied(bucket: {
  readonly size: number
  listen(listener: () => void): () => void
}): Promise<void> {
  if (bucket.size === 0) return Promise.resolve()
  return new Promise((resolve) => {
    const remove = bucket.listen(() => {
      if (bucket.size > 0) return
      remove()
      resolve()
    })
  })
}
