/**
 * The corpus of custom resources: for each kind a valid object, and changes of it with what the API must say.
 * In the files `${a*64}` stands for a text repeated, `@` for each of the places which a group names, `~` removes.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { CrdObject } from '../../src/schema/index.ts'

export type Json = Record<string, unknown>
export type Channel = 'standard' | 'experimental'

/** Values by path; then, for a refusal, the field that is named and a part of what is said. */
type Line = readonly [sets: Json, field?: string, says?: string]

interface Group {
  readonly channel?: Channel
  readonly at?: readonly string[]
  readonly cases: readonly Line[]
}

interface File {
  readonly channel?: Channel
  readonly base: Json
  readonly accepted: readonly Line[]
  readonly refused: readonly Group[]
  /** Changes of a stored object. */
  readonly changes?: { readonly accepted: readonly Line[]; readonly refused: readonly Line[] }
  readonly status?: readonly Group[]
}

export interface Case {
  readonly how: 'create' | 'update' | 'status'
  readonly object: Json
  /** Undefined: accepted. */
  readonly refusal: { readonly field: string; readonly says: string } | undefined
}

export interface Corpus {
  readonly file: string
  readonly base: Json
  readonly cases: readonly Case[]
}

const folder = join(import.meta.dirname, 'testdata/crds/rules')

/** The cases for one channel of the Gateway API; those of Istio are the same in both. */
export function readCorpus(channel: Channel): Corpus[] {
  return readdirSync(folder).flatMap((file) => {
    const { channel: only, ...content } = parse(
      readFileSync(join(folder, file), 'utf8').replace(/\$\{(.+?)\*(\d+)\}/g, (_, text, count) =>
        String(text).repeat(Number(count)),
      ),
    ) as File
    if (only !== undefined && only !== channel) return []
    return [{ file, base: content.base, cases: casesOf(content, channel) }]
  })
}

function casesOf({ base, accepted, refused, changes, status }: File, channel: Channel): Case[] {
  const make = (how: Case['how'], [sets, field, says]: Line, place = ''): Case => {
    const at = (path: string) => path.replaceAll('@', place)
    const object = structuredClone(base)
    for (const [path, value] of Object.entries(sets))
      setAt(object, at(path), structuredClone(value))
    const refusal =
      field === undefined || says === undefined ? undefined : { field: at(field), says }
    return { how, object, refusal }
  }
  const all = (how: Case['how'], groups: readonly Group[]): Case[] =>
    groups
      .filter(({ channel: only }) => only === undefined || only === channel)
      .flatMap(({ at = [''], cases }) =>
        at.flatMap((place) => cases.map((line) => make(how, line, place))),
      )
  return [
    { how: 'create', object: base, refusal: undefined },
    ...accepted.map((line) => make('create', line)),
    ...all('create', refused),
    ...all('update', [{ cases: [...(changes?.accepted ?? []), ...(changes?.refused ?? [])] }]),
    ...all('status', status ?? []),
  ]
}

/** Sets the value at a path such as `spec.rules[0].name`, making what is missing on the way. */
export function setAt(root: Json, path: string, value: unknown): void {
  const names = path.split(/[.[\]]+/).filter((name) => name !== '')
  let place = root
  for (const [i, name] of names.entries()) {
    if (i === names.length - 1) {
      if (value === null) delete place[name]
      else place[name] = value
      return
    }
    place[name] ??= /^\d+$/.test(names[i + 1] ?? '') ? [] : {}
    place = place[name] as Json
  }
}

/** One rule of one place of a schema. */
export interface RuleAt {
  /** As messages name the place: lists as `[]`, the values of maps as `{}`. */
  readonly path: string
  readonly rule: string
  readonly message: string
}

/** Every rule of a definition, in all versions; what versions share is there once. */
export function rulesOf(crd: CrdObject): RuleAt[] {
  const found = new Map<string, RuleAt>()
  const walk = (node: unknown, path: string): void => {
    if (typeof node !== 'object' || node === null) return
    const schema = node as Json
    for (const each of (schema['x-kubernetes-validations'] ?? []) as Json[]) {
      const { rule, message, fieldPath } = each as Record<string, string>
      const at = `${path}${fieldPath ?? ''}`
      found.set(`${at} ${rule}`, { path: at, rule: rule ?? '', message: message ?? '' })
    }
    for (const [name, child] of Object.entries((schema['properties'] ?? {}) as Json)) {
      walk(child, path === '' ? name : `${path}.${name}`)
    }
    walk(schema['items'], `${path}[]`)
    walk(schema['additionalProperties'], `${path}{}`)
  }
  const { versions } = crd['spec'] as { versions: Json[] }
  for (const version of versions) {
    if (version['served'] === true) walk((version['schema'] as Json)['openAPIV3Schema'], '')
  }
  return [...found.values()]
}

/** A field of a message in the form of `RuleAt.path`. */
export function placeOf(field: string): string {
  return field.replaceAll(/\[\d+\]/g, '[]').replaceAll(/\[[^\]]+\]/g, '{}')
}
