/**
 * One request on its way through the filters: what the configuration reads of it, and what has been
 * decided so far. The request itself is never changed; changes are noted in order, and what comes later
 * in the chain reads through them.
 */
import type { FilterOverride } from './route/per-filter.ts'
import type { RouteChoice } from './route/table.ts'
import type { DecideContext, HeaderOperation, L7Request, ResponseFacts } from './types.ts'
import { barePath } from './values.ts'

/** An object of the filter state. */
export interface StateValue {
  readonly value: string
  readonly factory: string
  readonly shared: 'none' | 'once' | 'transitive'
}

/** What runs when the response's headers are there; last come, first served. */
export type ResponseHook = (exchange: Exchange, response: ResponseFacts) => HeaderOperation[]

export class Exchange {
  readonly request: L7Request
  readonly context: DecideContext
  route: RouteChoice | undefined
  /** Chooses the route again, after a filter changed what routes match. */
  reroute: () => void = () => undefined
  /** In order; applied by whoever sends the request on. */
  requestHeaders: HeaderOperation[] = []
  responseHooks: ResponseHook[] = []
  /** Set when an explanation is wanted. */
  notes: Note[] | undefined
  #changed: Map<string, string | undefined> | undefined
  /** First values of headers that were appended to. */
  #firsts: Map<string, string> | undefined
  #metadata: Record<string, Record<string, unknown>> | undefined
  #state: Map<string, StateValue> | undefined
  #path: string | undefined
  #authority: string | undefined
  #bare: string | undefined
  #draw = -1
  #query: Map<string, string> | undefined

  constructor(request: L7Request, context: DecideContext) {
    this.request = request
    this.context = context
  }

  /** A header as it is now, pseudo headers included. */
  header(name: string): string | undefined {
    if (this.#changed?.has(name) === true) return this.#changed.get(name)
    if (name.charCodeAt(0) === 58) return this.#pseudo(name)
    return name === 'host' ? filled(this.authority) : this.request.headers.get(name)
  }

  /** Its first value, which is what command operators and rewrites use. */
  firstHeader(name: string): string | undefined {
    if (this.#changed?.has(name) === true) return this.#firsts?.get(name) ?? this.#changed.get(name)
    return this.request.headers.first?.(name) ?? this.header(name)
  }

  #pseudo(name: string): string | undefined {
    const { method, scheme } = this.request
    if (name === ':path') return filled(this.fullPath)
    if (name === ':method') return filled(method)
    if (name === ':authority') return filled(this.authority)
    return name === ':scheme' ? filled(scheme) : this.request.headers.get(name)
  }

  change(operation: HeaderOperation): void {
    this.requestHeaders.push(operation)
    const { name } = operation
    this.#changed ??= new Map()
    const before = operation.kind === 'add' ? this.header(name) : undefined
    if (operation.kind === 'add' && before !== undefined) {
      this.#firsts ??= new Map()
      this.#firsts.set(name, this.firstHeader(name) ?? before)
      this.#changed.set(name, `${before},${operation.value}`)
      return
    }
    this.#firsts?.delete(name)
    this.#changed.set(name, operation.kind === 'remove' ? undefined : operation.value)
  }

  get authority(): string {
    return this.#authority ?? this.request.authority
  }

  /** Of the request as it goes upstream. */
  set authority(authority: string) {
    this.#authority = authority
  }

  /** With the query, as filters left it. */
  get fullPath(): string {
    return this.#path ?? this.request.path
  }

  /** A filter takes something out of the query, such as a token, or a route rewrites it. */
  set fullPath(path: string) {
    this.#path = path
    this.#bare = undefined
    this.#query = undefined
  }

  /** The path without query and fragment. */
  get path(): string {
    return (this.#bare ??= barePath(this.fullPath))
  }

  /** The first value of a parameter of the query, as it was sent. */
  parameter(name: string): string | undefined {
    return (this.#query ??= parseQuery(this.fullPath)).get(name)
  }

  /** Drawn once: shares of one request fall on the same side, as in Envoy. A whole number below 2^32. */
  get draw(): number {
    if (this.#draw < 0) this.#draw = Math.floor(this.context.random() * 4_294_967_296)
    return this.#draw
  }

  /** Whether this request is in a share of all. */
  inShare(share: number): boolean {
    return share >= 1 || (share > 0 && this.draw % 1_000_000 < share * 1_000_000)
  }

  metadata(namespace: string): Readonly<Record<string, unknown>> | undefined {
    return this.#metadata?.[namespace] ?? this.request.connection.metadata?.[namespace]
  }

  setMetadata(namespace: string, key: string, value: unknown): void {
    this.#metadata ??= {}
    const inherited = this.request.connection.metadata?.[namespace]
    const own = (this.#metadata[namespace] ??= { ...inherited })
    own[key] = value
  }

  /** All metadata that filters of this request wrote. */
  get writtenMetadata(): Readonly<Record<string, Readonly<Record<string, unknown>>>> {
    return this.#metadata ?? {}
  }

  filterState(key: string): string | undefined {
    return this.#state?.get(key)?.value ?? this.request.connection.filterState?.get(key)
  }

  setFilterState(key: string, value: StateValue): void {
    this.#state ??= new Map()
    this.#state.set(key, value)
  }

  /** What filters of this request wrote. */
  get writtenState(): ReadonlyMap<string, StateValue> | undefined {
    return this.#state
  }

  get remoteIp(): string {
    return this.request.remoteIp ?? this.request.connection.sourceIp
  }

  /** What the route says about a filter; the most specific level that names it. */
  override(filter: string): FilterOverride | undefined {
    const { route } = this
    if (route === undefined) return undefined
    const own = route.target?.overrides
    if (own !== undefined && own.size > 0) {
      const found = own.get(filter)
      if (found !== undefined) return found
    }
    for (const level of route.route.overrides) {
      const found = level.get(filter)
      if (found !== undefined) return found
    }
    return undefined
  }
}

/** A connection has no request: its pseudo headers are not there. */
function filled(text: string): string | undefined {
  return text === '' ? undefined : text
}

/** One thing that an explanation tells. */
export interface Note {
  /** Name of the filter, or `route`. */
  readonly by: string
  readonly verdict: string
  readonly details?: Readonly<Record<string, unknown>>
}

/** Parameters as they were sent, without decoding; the first of a name counts. */
function parseQuery(path: string): Map<string, string> {
  const values = new Map<string, string>()
  const start = path.indexOf('?')
  if (start < 0) return values
  for (const part of path.slice(start + 1).split('&')) {
    const equals = part.indexOf('=')
    const name = equals < 0 ? part : part.slice(0, equals)
    if (!values.has(name)) values.set(name, equals < 0 ? '' : part.slice(equals + 1))
  }
  return values
}
