/**
 * Golden cases of traffic: `testdata/<case>/{input,asked,expected}.yaml`; see fixture.ts.
 * `UPDATE_GOLDEN=1` rewrites expectations.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { parse, stringify } from 'yaml'
import { answerCase, messageOf, parseAsked } from './fixture.ts'

const folder = join(import.meta.dirname, 'testdata')

function result(name: string): unknown {
  const read = (file: string): string => readFileSync(join(folder, name, file), 'utf8')
  const asked = read('asked.yaml')
  const { only } = parseAsked(asked)
  const { resources, streams } = answerCase(read('input.yaml'), asked)
  return {
    resources: resources.map((resource) => {
      const message = messageOf(resource)
      const type = resource.typeUrl.slice(resource.typeUrl.lastIndexOf('.') + 1)
      const fields = only ?? Object.keys(message)
      return {
        type,
        name: resource.name,
        message: Object.fromEntries(
          fields.filter((field) => field in message).map((field) => [field, message[field]]),
        ),
      }
    }),
    ...(streams.length === 0 ? {} : { streams }),
  }
}

for (const name of readdirSync(folder).toSorted()) {
  test(`golden case of traffic: ${name.replaceAll('-', ' ')}`, () => {
    const path = join(folder, name, 'expected.yaml')
    const options = { lineWidth: 100, aliasDuplicateObjects: false }
    const text = stringify(result(name), options)
    if (process.env.UPDATE_GOLDEN === '1' || !existsSync(path)) {
      writeFileSync(path, text)
      return
    }
    // Through YAML, so that both sides have lost the same (absent fields).
    assert.deepEqual(parse(text), parse(readFileSync(path, 'utf8')))
  })
}
