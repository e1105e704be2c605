/** Golden cases of whole views; see fixture.ts. `UPDATE_GOLDEN=1` rewrites expectations. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { parse, stringify } from 'yaml'
import type { TranslatedResource } from '../../types.ts'
import type { ViewResources } from '../view.ts'
import { readViewCase, viewCases, viewCorpusFolder, viewMessage } from './fixture.ts'

const allKinds: readonly (keyof ViewResources)[] = [
  'listeners',
  'routes',
  'clusters',
  'endpoints',
  'secrets',
  'extensionConfigs',
]

function result(name: string): unknown {
  const { question, translation } = readViewCase(name)
  const { kinds = allKinds, show = [], without = [] } = question
  const { resources, problems } = translation
  const named = kinds.map(
    (kind) => [kind, resources[kind].map((resource) => resource.name)] as const,
  )
  const shown = kinds.flatMap((kind) => resources[kind]).filter((one) => show.includes(one.name))
  const missing = show.filter((one) => !shown.some((resource) => resource.name === one))
  assert.deepEqual(missing, [], 'everything to look at is there')
  return {
    names: Object.fromEntries(named.filter(([, names]) => names.length > 0)),
    ...(shown.length === 0 ? {} : { resources: shown.map((one) => looked(one, without)) }),
    ...(problems.length === 0 ? {} : { problems }),
  }
}

function looked(resource: TranslatedResource, without: readonly string[]): unknown {
  return JSON.parse(
    JSON.stringify(viewMessage(resource), (key, value: unknown) =>
      without.includes(key) ? undefined : value,
    ),
  )
}

for (const name of viewCases()) {
  test(`golden case of a view: ${name.replaceAll('-', ' ')}`, () => {
    const path = join(viewCorpusFolder, name, 'expected.yaml')
    const text = stringify(result(name), { lineWidth: 100, aliasDuplicateObjects: false })
    if (process.env.UPDATE_GOLDEN === '1' || !existsSync(path)) {
      writeFileSync(path, text)
      return
    }
    // Through YAML, so that both sides have lost the same (absent fields).
    assert.deepEqual(parse(text), parse(readFileSync(path, 'utf8')))
  })
}
