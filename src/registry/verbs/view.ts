/** Turns stored objects into what the client asked for: plain, Table or metadata only. */
import { type Clock } from '../../base/index.ts'
import type { KubeObject } from '../../kube/index.ts'
import type { Exchange } from '../http/exchange.ts'
import { limits } from '../limits.ts'
import { apiVersionOfType, type ResourceType } from '../resource-type.ts'
import type { Entry } from '../store/entry.ts'
import { printerOf } from '../tables/printer.ts'
import type { ListResult } from './list.ts'
import { bytesAt, objectAt } from './versions.ts'

const metaVersion = 'meta.k8s.io/v1'

export function partialMetadata(object: KubeObject): KubeObject {
  return { kind: 'PartialObjectMetadata', apiVersion: metaVersion, metadata: object.metadata }
}

/** How one request wants its objects; made once a request, used for every object. */
export class View {
  readonly #type: ResourceType
  readonly #as: string | undefined
  readonly #includeObject: string
  readonly #clock: Clock
  #headerSent = false

  constructor(exchange: Exchange, type: ResourceType, clock: Clock) {
    this.#type = type
    this.#clock = clock
    this.#as = exchange.representation.as
    this.#includeObject = exchange.query.get('includeObject') ?? 'Metadata'
  }

  /** Whether objects leave as they are stored, so that their bytes can be shared. */
  get plain(): boolean {
    return !this.table && !this.metadataOnly
  }

  get table(): boolean {
    return this.#as === 'Table'
  }

  get metadataOnly(): boolean {
    return this.#as === 'PartialObjectMetadata' || this.#as === 'PartialObjectMetadataList'
  }

  /** One object, for GET and for the answers of writes. */
  object(object: KubeObject): unknown {
    if (this.metadataOnly) return partialMetadata(object)
    if (!this.table) return object
    return this.#tableOf([object], { resourceVersion: object.metadata.resourceVersion })
  }

  /** One object as the payload of a watch event; a Table names its columns only the first time. */
  event(entry: Entry): Buffer {
    if (this.plain) return bytesAt(this.#type, entry)
    const object = objectAt(this.#type, entry)
    if (this.metadataOnly) return Buffer.from(JSON.stringify(partialMetadata(object)))
    const table = this.#tableOf([object], { resourceVersion: object.metadata.resourceVersion })
    if (this.#headerSent) table.columnDefinitions = null
    this.#headerSent = true
    return Buffer.from(JSON.stringify(table))
  }

  /** Sends a whole list, in pieces, leaving the event loop to others in between. */
  async sendList(exchange: Exchange, result: ListResult): Promise<void> {
    const metadata = {
      resourceVersion: String(result.revision),
      ...(result.continue === undefined ? {} : { continue: result.continue }),
      ...(result.remaining === undefined ? {} : { remainingItemCount: result.remaining }),
    }
    if (this.table) {
      const objects = await this.#parsed(result.entries)
      return exchange.json(200, this.#tableOf(objects, metadata))
    }
    const kind = this.metadataOnly ? 'PartialObjectMetadataList' : this.#type.listKind
    const apiVersion = this.metadataOnly ? metaVersion : apiVersionOfType(this.#type)
    if (this.metadataOnly || exchange.representation.format === 'yaml') {
      const objects = await this.#parsed(result.entries)
      const items = this.metadataOnly ? objects.map(partialMetadata) : objects
      return exchange.json(200, { kind, apiVersion, metadata, items })
    }
    await this.#streamList(exchange, { kind, apiVersion, metadata }, result.entries)
  }

  async #streamList(exchange: Exchange, head: object, entries: readonly Entry[]): Promise<void> {
    exchange.head(200, { 'content-type': 'application/json' })
    let chunks: Buffer[] = [Buffer.from(`${JSON.stringify(head).slice(0, -1)},"items":[`)]
    let size = 0
    let sliceEnd = this.#clock.monotonic() + limits.listSliceMs
    for (const [index, entry] of entries.entries()) {
      const bytes = bytesAt(this.#type, entry)
      if (index > 0) chunks.push(comma)
      chunks.push(bytes)
      size += bytes.length
      if (size < limits.listChunkBytes) continue
      if (!(await exchange.write(Buffer.concat(chunks)))) return
      chunks = []
      size = 0
      if (this.#clock.monotonic() > sliceEnd) {
        await nextTurn()
        sliceEnd = this.#clock.monotonic() + limits.listSliceMs
      }
    }
    chunks.push(Buffer.from(']}\n'))
    exchange.response.end(Buffer.concat(chunks))
  }

  async #parsed(entries: readonly Entry[]): Promise<KubeObject[]> {
    const objects: KubeObject[] = []
    let sliceEnd = this.#clock.monotonic() + limits.listSliceMs
    for (const entry of entries) {
      objects.push(objectAt(this.#type, entry))
      if (this.#clock.monotonic() > sliceEnd) {
        await nextTurn()
        sliceEnd = this.#clock.monotonic() + limits.listSliceMs
      }
    }
    return objects
  }

  #tableOf(objects: readonly KubeObject[], metadata: object): Record<string, unknown> {
    const printer = printerOf(this.#type)
    const now = this.#clock.now()
    return {
      kind: 'Table',
      apiVersion: metaVersion,
      metadata,
      columnDefinitions: printer.columns,
      rows: objects.map((object) => ({
        cells: printer.cells(object, now),
        object: this.#rowObject(object),
      })),
    }
  }

  #rowObject(object: KubeObject): unknown {
    if (this.#includeObject === 'None') return null
    return this.#includeObject === 'Object' ? object : partialMetadata(object)
  }
}

const comma = Buffer.from(',')

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
