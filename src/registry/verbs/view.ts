/**
 * Turns stored objects into what the client asked for: plain, Table or metadata only. Whatever can be is cut from
 * the stored bytes; objects are parsed only for the cells of a Table and for YAML.
 */
import type { Clock } from '../../base/index.ts'
import type { KubeObject } from '../../kube/index.ts'
import type { Exchange } from '../http/exchange.ts'
import { limits } from '../limits.ts'
import { apiVersionOfType, type ResourceType } from '../resource-type.ts'
import type { Entry } from '../store/entry.ts'
import type { Printer } from '../tables/cells.ts'
import { printerOf } from '../tables/printer.ts'
import type { ListResult } from './list.ts'
import { metadataSpan } from './slices.ts'
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
  /** Hardly any column shows managedFields, which are a large part of many objects. */
  readonly #showsManagers: boolean
  #headerSent = false

  constructor(exchange: Exchange, type: ResourceType, clock: Clock) {
    this.#type = type
    this.#clock = clock
    this.#as = exchange.representation.as
    this.#includeObject = exchange.query.get('includeObject') ?? 'Metadata'
    const columns = type.custom?.columns ?? []
    this.#showsManagers = columns.some(({ jsonPath }) => jsonPath.includes('managedFields'))
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
    if (this.metadataOnly) return metadataOf(bytesAt(this.#type, entry))
    const printer = printerOf(this.#type)
    const head = {
      kind: 'Table',
      apiVersion: metaVersion,
      metadata: { resourceVersion: String(entry.revision) },
      columnDefinitions: this.#headerSent ? null : printer.columns,
    }
    this.#headerSent = true
    const row = this.#row(printer, entry)
    return Buffer.concat([opened(head, 'rows'), row, Buffer.from(']}')])
  }

  /** Sends a whole list, in pieces, leaving the event loop to others in between. */
  async sendList(exchange: Exchange, result: ListResult): Promise<void> {
    const { entries } = result
    const metadata = {
      resourceVersion: String(result.revision),
      ...(result.continue === undefined ? {} : { continue: result.continue }),
      ...(result.remaining === undefined ? {} : { remainingItemCount: result.remaining }),
    }
    if (exchange.representation.format === 'yaml') {
      return exchange.json(200, await this.#listObject(entries, metadata))
    }
    if (this.table) {
      const printer = printerOf(this.#type)
      const { columns: columnDefinitions } = printer
      const head = { kind: 'Table', apiVersion: metaVersion, metadata, columnDefinitions }
      const encode = (entry: Entry): Buffer => this.#row(printer, entry)
      return this.#stream(exchange, opened(head, 'rows'), entries, encode)
    }
    if (this.metadataOnly) {
      const head = { kind: 'PartialObjectMetadataList', apiVersion: metaVersion, metadata }
      const encode = (entry: Entry): Buffer => metadataOf(bytesAt(this.#type, entry))
      return this.#stream(exchange, opened(head, 'items'), entries, encode)
    }
    const { listKind: kind } = this.#type
    const head = { kind, apiVersion: apiVersionOfType(this.#type), metadata }
    const encode = (entry: Entry): Buffer => bytesAt(this.#type, entry)
    return this.#stream(exchange, opened(head, 'items'), entries, encode)
  }

  async #stream(
    exchange: Exchange,
    head: Buffer,
    entries: readonly Entry[],
    encode: (entry: Entry) => Buffer,
  ): Promise<void> {
    exchange.head(200, { 'content-type': 'application/json' })
    let chunks: Buffer[] = [head]
    let size = 0
    const slice = new TimeSlice(this.#clock)
    for (let index = 0; index < entries.length; index++) {
      if (index > 0) chunks.push(comma)
      const bytes = encode(entries[index] as Entry)
      chunks.push(bytes)
      size += bytes.length
      if (slice.over) await slice.next()
      if (size < limits.listChunkBytes) continue
      if (!(await exchange.write(Buffer.concat(chunks)))) return
      chunks = []
      size = 0
    }
    chunks.push(listEnd)
    exchange.response.end(Buffer.concat(chunks))
  }

  async #listObject(entries: readonly Entry[], metadata: object): Promise<object> {
    const objects: KubeObject[] = []
    const slice = new TimeSlice(this.#clock)
    for (const entry of entries) {
      objects.push(objectAt(this.#type, entry))
      if (slice.over) await slice.next()
    }
    if (this.table) return this.#tableOf(objects, metadata)
    const kind = this.metadataOnly ? 'PartialObjectMetadataList' : this.#type.listKind
    const apiVersion = this.metadataOnly ? metaVersion : apiVersionOfType(this.#type)
    const items = this.metadataOnly ? objects.map(partialMetadata) : objects
    return { kind, apiVersion, metadata, items }
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

  /** A row of a Table, with the metadata as it is stored. */
  #row(printer: Printer, entry: Entry): Buffer {
    const bytes = bytesAt(this.#type, entry)
    const span = metadataSpan(bytes)
    const text = this.#showsManagers
      ? bytes.toString()
      : bytes.toString('utf8', 0, span.managedStart) + bytes.toString('utf8', span.managedEnd)
    const cells = JSON.stringify(printer.cells(JSON.parse(text) as KubeObject, this.#clock.now()))
    const before = Buffer.from(`{"cells":${cells},"object":`)
    if (this.#includeObject === 'None') return Buffer.concat([before, noObject])
    const object = this.#includeObject === 'Object' ? bytes : metadataOf(bytes, span)
    return Buffer.concat([before, object, rowEnd])
  }
}

/** Works for a while, then lets others work. */
export class TimeSlice {
  readonly #clock: Clock
  #end: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#end = clock.monotonic() + limits.listSliceMs
  }

  get over(): boolean {
    return this.#clock.monotonic() > this.#end
  }

  async next(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.#end = this.#clock.monotonic() + limits.listSliceMs
  }
}

/** The PartialObjectMetadata of a stored object. */
function metadataOf(bytes: Buffer, span = metadataSpan(bytes)): Buffer {
  return Buffer.concat([metadataHead, bytes.subarray(span.start, span.end), rowEnd])
}

/** The beginning of an object whose last field is a list that follows. */
function opened(head: object, list: string): Buffer {
  return Buffer.from(`${JSON.stringify(head).slice(0, -1)},"${list}":[`)
}

const comma = Buffer.from(',')
const listEnd = Buffer.from(']}\n')
const rowEnd = Buffer.from('}')
const noObject = Buffer.from('null}')
const metadataHead = Buffer.from(
  `{"kind":"PartialObjectMetadata","apiVersion":"${metaVersion}","metadata":`,
)
