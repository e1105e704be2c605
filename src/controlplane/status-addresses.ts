/** Gives virtual IPs to the hosts of ServiceEntries that have none, by writing them into their status. */
import { isDeepStrictEqual } from 'node:util'
import type { Clock, Component, Logger } from '../base/index.ts'
import { type Informer, type KubeClient, WorkQueue } from '../client/index.ts'
import { isApiError, resources } from '../kube/index.ts'
import { addressClaim, allocateAddresses } from '../model/index.ts'
import type { MeshSource } from './source.ts'

export interface AddressWriterOptions {
  readonly client: KubeClient
  readonly serviceEntries: Informer
  readonly source: MeshSource
  readonly clock: Clock
  readonly logger: Logger
}

/** All entries share the pools, so that they are looked at together. */
const everything = 'all'

export class AddressWriter implements Component {
  readonly #options: AddressWriterOptions
  readonly #queue: WorkQueue
  #remove: (() => void) | undefined

  constructor(options: AddressWriterOptions) {
    this.#options = options
    const { clock, logger } = options
    const name = 'addresses of ServiceEntries'
    this.#queue = new WorkQueue({ name, work: () => this.#write(), clock, logger })
  }

  async start(): Promise<void> {
    this.#remove = this.#options.source.onMeshChange(({ touched }) => {
      for (const config of touched.configs) {
        if (config.startsWith('ServiceEntry/')) return this.#queue.add(everything)
      }
    })
    this.#queue.add(everything)
    await this.#queue.start()
  }

  async stop(): Promise<void> {
    this.#remove?.()
    await this.#queue.stop()
  }

  async #write(): Promise<void> {
    const { source, serviceEntries, client, logger } = this.#options
    const entries = source.snapshot.objects.ServiceEntry
    const wanted = allocateAddresses([...entries.values()].map(addressClaim))
    for (const [key, entry] of entries.entries()) {
      const addresses = wanted.get(key) ?? []
      if (isDeepStrictEqual(addresses, entry.allocated)) continue
      const object = serviceEntries.get(key)
      // The model hears of it in a moment, and then this is done again.
      if (object === undefined || object.metadata.generation !== entry.generation) continue
      const { namespace, name, resourceVersion } = object.metadata
      const body = { metadata: { resourceVersion }, status: { addresses } }
      try {
        const options = { subresource: 'status' }
        await client.patch(resources.serviceentries, namespace, name, 'merge', body, options)
        logger.debug(`gave ServiceEntry ${key} its addresses`, { addresses: addresses.length })
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error
      }
    }
  }
}
