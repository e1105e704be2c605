/**
 * Golden cases of EnvoyFilters: `testdata/<case>/input.yaml` names a proxy and patches for the mesh in
 * `mesh.yaml`; expected.yaml has what differs from the same mesh without them. `UPDATE_GOLDEN=1` rewrites it.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { parse, stringify } from 'yaml'
import { answerPatches, differences, patchCases, patchCorpusFolder } from './fixture.ts'

for (const name of patchCases()) {
  void test(`golden case of EnvoyFilter: ${name.replaceAll('-', ' ')}`, () => {
    const { before, after } = answerPatches(name)
    const result = { differs: differences(before, after), problems: after.problems }
    const path = join(patchCorpusFolder, name, 'expected.yaml')
    const text = stringify(result, { lineWidth: 100, aliasDuplicateObjects: false })
    if (process.env.UPDATE_GOLDEN === '1' || !existsSync(path)) {
      writeFileSync(path, text)
      return
    }
    // Through YAML, so that both sides have lost the same (absent fields).
    assert.deepEqual(parse(text), parse(readFileSync(path, 'utf8')))
  })
}

void test('every operation on every target that takes it has a case which changes something', () => {
  const seen = new Set<string>()
  for (const name of patchCases()) {
    const { before, after, patches } = answerPatches(name)
    if (Object.keys(differences(before, after)).length === 0) continue
    for (const { applyTo, patch } of patches) seen.add(`${applyTo} ${patch?.operation}`)
  }
  const merges = ['MERGE', 'MERGE_AND_REPLACE_LIST']
  const inserts = ['INSERT_BEFORE', 'INSERT_AFTER', 'INSERT_FIRST']
  const filter = ['ADD', 'REMOVE', 'REPLACE', 'MERGE', ...inserts]
  const wanted = {
    LISTENER: ['ADD', 'REMOVE', ...merges],
    FILTER_CHAIN: ['ADD', 'REMOVE', ...merges],
    LISTENER_FILTER: filter,
    NETWORK_FILTER: filter,
    HTTP_FILTER: filter,
    ROUTE_CONFIGURATION: merges,
    VIRTUAL_HOST: ['ADD', 'REMOVE', ...merges],
    HTTP_ROUTE: ['ADD', 'REMOVE', ...merges, ...inserts],
    CLUSTER: ['ADD', 'REMOVE', ...merges],
    EXTENSION_CONFIG: ['ADD'],
  }
  const missing = Object.entries(wanted).flatMap(([target, operations]) =>
    operations.map((one) => `${target} ${one}`).filter((one) => !seen.has(one)),
  )
  assert.deepEqual(missing, [])
})
