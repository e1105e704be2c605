/** For tests: the golden cases of EnvoyFilters. Also read by the test with a stock Envoy. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { fromBinary, toJson } from '@bufbuild/protobuf'
import { parseAllDocuments, stringify } from 'yaml'
import { modelEvents, objectsFromYaml } from '../../../ingest/index.ts'
import { buildSnapshot, defaultMeshSettings, type EnvoyPatch } from '../../../model/index.ts'
import { readRegistry } from '../../../proto/index.ts'
import { Memo } from '../../reader.ts'
import type { TranslatedResource } from '../../types.ts'
import { type ProxyView, proxyView } from '../proxy.ts'
import { translateView, type ViewTranslation } from '../view.ts'

export const patchCorpusFolder = join(import.meta.dirname, 'testdata')
const descriptors = join(import.meta.dirname, '../../../../proto/envoy.binpb')

let registry: ReturnType<typeof readRegistry> | undefined

export function testTypes(): ReturnType<typeof readRegistry> {
  registry ??= readRegistry(readFileSync(descriptors))
  return registry
}

export function patchCases(): string[] {
  return readdirSync(patchCorpusFolder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .toSorted()
}

export interface PatchCase {
  readonly before: ViewTranslation
  readonly after: ViewTranslation
  readonly patches: readonly EnvoyPatch[]
}

export function answerPatches(name: string): PatchCase {
  const path = join(patchCorpusFolder, name, 'input.yaml')
  const [first, ...rest] = parseAllDocuments(readFileSync(path, 'utf8'))
  // A test's own document: it has this form, or the test fails.
  const view = proxyView(first?.toJS() as Pick<ProxyView, 'kind' | 'namespace'>)
  const mesh = readFileSync(join(patchCorpusFolder, 'mesh.yaml'), 'utf8')
  const filters = rest.map((document) => stringify(document.toJS())).join('---\n')
  const patches = rest.flatMap((document) => {
    const { spec } = document.toJS() as { spec?: { configPatches?: EnvoyPatch[] } }
    return spec?.configPatches ?? []
  })
  return {
    before: translate(mesh, view),
    after: translate(`${mesh}\n---\n${filters}`, view),
    patches,
  }
}

function translate(yaml: string, view: ProxyView): ViewTranslation {
  const objects = objectsFromYaml(yaml).map(({ object }) => object)
  const snapshot = buildSnapshot(defaultMeshSettings, modelEvents(objects, defaultMeshSettings))
  return translateView({ snapshot, memo: new Memo(), keySets: new Map(), types: testTypes }, view)
}

/** Where two configurations differ: by resource, then by path, with what was and what is. */
export function differences(
  before: ViewTranslation,
  after: ViewTranslation,
): Record<string, unknown> {
  const [one, two] = [messages(before), messages(after)]
  const result: Record<string, unknown> = {}
  for (const name of [...new Set([...one.keys(), ...two.keys()])].toSorted()) {
    const [was, is] = [one.get(name), two.get(name)]
    if (isDeepStrictEqual(was, is)) continue
    if (was === undefined || is === undefined)
      result[name] = is === undefined ? 'gone' : { new: is }
    else result[name] = Object.fromEntries(changes('', was, is))
  }
  return result
}

function messages({ resources }: ViewTranslation): Map<string, unknown> {
  const all: TranslatedResource[] = Object.values(resources).flat()
  return new Map(
    all.map((resource) => {
      const { name, typeUrl } = resource
      return [`${typeUrl.slice(typeUrl.lastIndexOf('.') + 1)} ${name}`, patchMessage(resource)]
    }),
  )
}

/** A resource as JSON of its message, whatever extensions are in it. */
export function patchMessage({ typeUrl, bytes }: TranslatedResource): unknown {
  const desc = testTypes().getMessage(typeUrl.slice(typeUrl.lastIndexOf('/') + 1))
  if (desc === undefined) throw new TypeError(typeUrl)
  return toJson(desc, fromBinary(desc, bytes), { registry: testTypes() })
}

function changes(path: string, was: unknown, is: unknown): [string, unknown][] {
  if (isDeepStrictEqual(was, is)) return []
  if (isObject(was) && isObject(is) && Array.isArray(was) === Array.isArray(is)) {
    // Of lists that differ in length: the names of their elements say it best.
    if (Array.isArray(was) && Array.isArray(is) && was.length !== is.length) {
      return [
        [
          path,
          { was: was.map(shortOf), is: is.map((one) => (includes(was, one) ? shortOf(one) : one)) },
        ],
      ]
    }
    const keys = [...new Set([...Object.keys(was), ...Object.keys(is)])]
    return keys.flatMap((key) => changes(`${path}/${key}`, was[key], is[key]))
  }
  return [[path, { ...(was === undefined ? {} : { was }), ...(is === undefined ? {} : { is }) }]]
}

function includes(list: readonly unknown[], value: unknown): boolean {
  return list.some((one) => isDeepStrictEqual(one, value))
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/** The name of an element, or what there is of it. */
function shortOf(value: unknown): unknown {
  if (!isObject(value)) return value
  return value.name ?? value
}
