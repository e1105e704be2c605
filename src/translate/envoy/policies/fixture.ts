/**
 * A case of policies or telemetry as text: the first document asks (which proxy, what of it), the others
 * are the mesh. The answer is what the translation makes of it, as JSON of the messages.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { createRegistry, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import { StringValueSchema, StructSchema } from '@bufbuild/protobuf/wkt'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { modelEvents, objectsFromYaml } from '../../../ingest/index.ts'
import { buildSnapshot, defaultMeshSettings, type Service } from '../../../model/index.ts'
import * as envoy from '../../../proto/envoy.ts'
import { toJson } from '../../../proto/index.ts'
import { Reader } from '../../reader.ts'
import { type ProxyView, proxyView } from '../proxy.ts'

export interface Question {
  readonly proxy: Partial<ProxyView> & Pick<ProxyView, 'kind' | 'namespace'>
  /** `<namespace>/<hostname>` */
  readonly service?: string
  readonly side?: 'CLIENT' | 'SERVER'
  readonly port?: number
  readonly jwks?: Readonly<Record<string, string>>
  readonly ask: readonly string[]
}

export interface Case {
  readonly reader: Reader
  readonly proxy: ProxyView
  readonly service: Service | undefined
  readonly side: 'CLIENT' | 'SERVER'
  readonly port: number | undefined
  readonly jwks: ReadonlyMap<string, string>
  readonly ask: readonly string[]
}

export function readCase(text: string, file: string): Case {
  const [first, ...rest] = parseAllDocuments(text)
  // A test's own document: it has the form above, or the test fails.
  const question = first?.toJS() as Question
  const input = rest.map((document) => stringify(document.toJS())).join('---\n')
  const objects = objectsFromYaml(input, file).map(({ object }) => object)
  const snapshot = buildSnapshot(defaultMeshSettings, modelEvents(objects, defaultMeshSettings))
  const reader = new Reader(snapshot)
  return {
    reader,
    proxy: proxyView(question.proxy),
    service: question.service === undefined ? undefined : reader.service(question.service),
    side: question.side ?? 'SERVER',
    port: question.port,
    jwks: new Map(Object.entries(question.jwks ?? {})),
    ask: question.ask,
  }
}

const schemas = Object.values(envoy).flatMap((module) =>
  Object.values(module).filter(
    (value): value is DescMessage =>
      typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'message',
  ),
)

export const registry = createRegistry(StructSchema, StringValueSchema, ...schemas)

export function readable<S extends DescMessage>(schema: S, message: MessageShape<S>): unknown {
  return toJson(schema, message, { registry })
}

/** What a case can ask for, by the word it asks with. */
export type Answers = Readonly<Record<string, (given: Case) => unknown>>

/** A test for each folder; `UPDATE_GOLDEN=1` rewrites expectations. */
export function goldenCases(folder: string, answers: Answers): void {
  for (const name of readdirSync(folder).toSorted()) {
    void test(`golden case: ${name.replaceAll('-', ' ')}`, () => {
      const inputPath = join(folder, name, 'input.yaml')
      const expectedPath = join(folder, name, 'expected.yaml')
      const given = readCase(readFileSync(inputPath, 'utf8'), inputPath)
      const result = given.ask.map((topic) => {
        const answer = answers[topic]
        assert.ok(answer, `nobody answers '${topic}'`)
        return [topic, answer(given)]
      })
      // Through YAML, so that both sides have lost the same (absent fields).
      const actual: unknown = parse(stringify(Object.fromEntries(result)))
      if (process.env.UPDATE_GOLDEN === '1' || !existsSync(expectedPath)) {
        const options = { lineWidth: 100, aliasDuplicateObjects: false }
        writeFileSync(expectedPath, stringify(actual, options))
        return
      }
      assert.deepEqual(actual, parse(readFileSync(expectedPath, 'utf8')))
    })
  }
}
