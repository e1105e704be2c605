/** OpenAPI v3: an index with content hashes, and one document for each group version, built when asked for. */
import { createHash } from 'node:crypto'
import { openApiDocument, type SchemaRegistry } from '../schema/index.ts'
import type { Catalogue } from './catalogue.ts'
import type { Exchange } from './http/exchange.ts'

const yearSeconds = 31_536_000

interface Document {
  readonly body: string
  readonly hash: string
}

export class OpenApi {
  readonly #catalogue: Catalogue
  readonly #schemas: SchemaRegistry
  readonly #now: () => number
  #builtAt = -1
  #documents = new Map<string, Document>()

  constructor(catalogue: Catalogue, schemas: SchemaRegistry, now: () => number) {
    this.#catalogue = catalogue
    this.#schemas = schemas
    this.#now = now
  }

  /** Answers below `/openapi/v3`; false for unknown documents. */
  answer(exchange: Exchange): boolean {
    if (this.#builtAt !== this.#catalogue.generation) {
      this.#documents = new Map()
      this.#builtAt = this.#catalogue.generation
    }
    const rest = exchange.path.slice('/openapi/v3'.length).replace(/^\/|\/$/g, '')
    if (rest === '') return this.#index(exchange)
    const groupVersion = rest.replace(/^apis?\//, '')
    if (!this.#catalogue.has(groupVersion)) return false
    const { body, hash } = this.#document(groupVersion)
    const etag = `"${hash}"`
    const asked = exchange.query.get('hash')
    const headers: Record<string, string> = { etag, vary: 'Accept' }
    if (asked === hash) {
      headers['cache-control'] = 'public, immutable'
      headers.expires = new Date(this.#now() + yearSeconds * 1000).toUTCString()
    }
    if (exchange.header('if-none-match') === etag) {
      exchange.head(304, headers)
      exchange.response.end()
    } else exchange.send(200, 'application/json', body, headers)
    return true
  }

  #index(exchange: Exchange): boolean {
    const paths: Record<string, object> = {}
    for (const groupVersion of this.#catalogue.groupVersions()) {
      // Clients that find a group here expect to find its kinds as well.
      const types = this.#catalogue.of(groupVersion)
      if (types.every((type) => this.#schemas.get(type) === undefined)) continue
      const path = groupVersion.includes('/') ? `apis/${groupVersion}` : `api/${groupVersion}`
      const { hash } = this.#document(groupVersion)
      paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }
    }
    exchange.json(200, { paths })
    return true
  }

  #document(groupVersion: string): Document {
    let document = this.#documents.get(groupVersion)
    if (document === undefined) {
      const slash = groupVersion.indexOf('/')
      const group = slash < 0 ? '' : groupVersion.slice(0, slash)
      const version = groupVersion.slice(slash + 1)
      const resources = this.#catalogue.of(groupVersion)
      const body = JSON.stringify(openApiDocument(this.#schemas, { group, version }, resources))
      const hash = createHash('sha256').update(body).digest('hex').toUpperCase()
      document = { body, hash }
      this.#documents.set(groupVersion, document)
    }
    return document
  }
}
