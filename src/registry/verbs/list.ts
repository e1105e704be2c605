/** LIST: version semantics, selectors and paging. Pages are cut from the history, not from kept copies. */
import {
  badRequest,
  checkFieldSelector,
  expired,
  failure,
  matchesFields,
  matchesLabels,
  parseFieldSelector,
  parseLabelSelector,
  tooLargeResourceVersion,
} from '../../kube/index.ts'
import { fieldNames } from '../fields.ts'
import type { Exchange } from '../http/exchange.ts'
import { limits } from '../limits.ts'
import { entryKey } from '../store/bucket.ts'
import type { Entry } from '../store/entry.ts'
import type { ObjectStore } from '../store/objects.ts'
import type { Target } from './target.ts'

/** Kubernetes' own words: people search for them. */
const continueExpired =
  'The provided continue parameter is too old to display a consistent list result. You can start a new ' +
  'list without the continue parameter, or use the continue token in this response to retrieve the ' +
  'remainder of the results. Continuing with the provided token results in an inconsistent list - objects ' +
  'that were created, modified, or deleted between the time the first chunk was returned and now may show up ' +
  'in the list.'

export interface ListResult {
  readonly entries: readonly Entry[]
  readonly revision: number
  readonly continue: string | undefined
  readonly remaining: number | undefined
}

export type EntryMatcher = (entry: Entry) => boolean

/** The request's selectors as one test; undefined when there is none. */
export function matcherOf(exchange: Exchange, target: Target): EntryMatcher | undefined {
  const labels = parseLabelSelector(exchange.query.get('labelSelector') ?? undefined)
  const fields = [...parseFieldSelector(exchange.query.get('fieldSelector') ?? undefined)]
  checkFieldSelector(fields, fieldNames(target.bucket.id, target.type.custom?.selectableFields))
  if (target.name !== undefined)
    fields.push({ path: 'metadata.name', equal: true, value: target.name })
  if (labels.length === 0 && fields.length === 0) return undefined
  return (entry) =>
    (fields.length === 0 || matchesFields(fields, entry.index.fields)) &&
    (labels.length === 0 || matchesLabels(labels, entry.index.labels))
}

/** A resource version from the query: undefined when absent, 400 when it is no number. */
export function versionOf(exchange: Exchange): number | undefined {
  const text = exchange.query.get('resourceVersion')
  if (text === null || text === '') return undefined
  if (!/^\d+$/.test(text))
    throw badRequest(`Invalid value: "${text}": resourceVersion must be an integer`)
  return Number(text)
}

/** Waits for a version that another request may just be writing; 504 when it does not come. */
export async function waitForVersion(
  store: ObjectStore,
  revision: number | undefined,
): Promise<void> {
  if (revision === undefined || (await store.reached(revision, limits.futureVersionWaitMs))) return
  throw tooLargeResourceVersion(String(revision), String(store.revision))
}

export async function list(
  store: ObjectStore,
  exchange: Exchange,
  target: Target,
): Promise<ListResult> {
  const match = matcherOf(exchange, target)
  const limit = exchange.integer('limit') ?? 0
  const token = exchange.query.get('continue') ?? ''
  const wanted = versionOf(exchange)
  const how = exchange.query.get('resourceVersionMatch') ?? ''
  checkVersionMatch(how, wanted, token)
  if (token !== '') return continued(store, target, match, { token, limit })
  await waitForVersion(store, wanted)
  const exact = how === 'Exact' && wanted !== undefined
  const revision = exact ? wanted : store.revision
  const all = exact ? stateAt(target, revision) : target.bucket.list(target.namespace)
  if (all === undefined) throw expired('The resourceVersion for the provided list is too old.')
  return page(all, match, { limit, revision })
}

function checkVersionMatch(how: string, wanted: number | undefined, token: string): void {
  const refuse = (why: string): never => {
    throw failure(
      422,
      'Invalid',
      `ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: ${why}`,
    )
  }
  if (how === '') return
  if (token !== '') refuse('Forbidden: resourceVersionMatch is forbidden when continue is provided')
  if (wanted === undefined) {
    refuse('Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided')
  }
  if (how !== 'Exact' && how !== 'NotOlderThan') {
    refuse(`Unsupported value: "${how}": supported values: "Exact", "NotOlderThan", ""`)
  }
  if (how === 'Exact' && wanted === 0) {
    refuse('Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
  }
}

function continued(
  store: ObjectStore,
  target: Target,
  match: EntryMatcher | undefined,
  request: { readonly token: string; readonly limit: number },
): ListResult {
  const { rv, start } = decodeToken(request.token)
  const revision = rv < 0 ? store.revision : rv
  const all = rv < 0 ? target.bucket.list(target.namespace, start) : stateAt(target, rv, start)
  if (all === undefined) throw expired(continueExpired, { continue: encodeToken(-1, start) })
  return page(all, match, { limit: request.limit, revision })
}

/** @param all what is left from the start of this page on */
function page(
  all: readonly Entry[],
  match: EntryMatcher | undefined,
  options: { readonly limit: number; readonly revision: number },
): ListResult {
  const { limit, revision } = options
  const whole = { revision, continue: undefined, remaining: undefined }
  if (match === undefined && (limit === 0 || all.length <= limit)) return { ...whole, entries: all }
  const entries: Entry[] = []
  for (let index = 0; index < all.length; index++) {
    const entry = all[index] as Entry
    if (match !== undefined && !match(entry)) continue
    if (limit > 0 && entries.length === limit) {
      return {
        entries,
        revision,
        continue: encodeToken(revision, entryKey(entry.namespace, entry.name)),
        remaining: match === undefined ? all.length - index : undefined,
      }
    }
    entries.push(entry)
  }
  return { ...whole, entries }
}

/** The state of the resource at an earlier version: the present one with later changes undone. */
function stateAt(target: Target, revision: number, from = ''): Entry[] | undefined {
  const { bucket, namespace } = target
  const later = bucket.since(revision)
  if (later === undefined) return undefined
  const present = bucket.list(namespace, from)
  if (later.length === 0) return present
  // What a key held at the version is what its first later change replaced.
  const before = new Map<string, Entry | undefined>()
  for (const { entry, previous } of later) {
    if (namespace !== undefined && entry.namespace !== namespace) continue
    const key = entryKey(entry.namespace, entry.name)
    if (key >= from && !before.has(key)) before.set(key, previous)
  }
  return before.size === 0 ? present : merged(present, before)
}

/** Both are in the order of their keys; a key of `before` replaces the present one. */
function merged(
  present: readonly Entry[],
  before: ReadonlyMap<string, Entry | undefined>,
): Entry[] {
  const restored = [...before]
    .filter((pair): pair is [string, Entry] => pair[1] !== undefined)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
  const state: Entry[] = []
  let next = 0
  for (const entry of present) {
    const key = entryKey(entry.namespace, entry.name)
    for (; next < restored.length && (restored[next] as [string, Entry])[0] <= key; next++) {
      state.push((restored[next] as [string, Entry])[1])
    }
    if (!before.has(key)) state.push(entry)
  }
  for (; next < restored.length; next++) state.push((restored[next] as [string, Entry])[1])
  return state
}

function encodeToken(rv: number, start: string): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv, start })).toString('base64url')
}

function decodeToken(token: string): { rv: number; start: string } {
  try {
    const value = JSON.parse(Buffer.from(token, 'base64url').toString()) as Record<string, unknown>
    if (typeof value.rv === 'number' && typeof value.start === 'string') {
      return { rv: value.rv, start: value.start }
    }
  } catch {
    // Falls through to the same answer as a token of another shape.
  }
  throw badRequest('continue key is not valid: it must be the token of an earlier list answer')
}
