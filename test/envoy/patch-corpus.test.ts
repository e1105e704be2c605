/**
 * A stock Envoy reads what every golden case of EnvoyFilters leads to. Its routes are put into the listeners,
 * so that they are judged too.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import {
  answerPatches,
  patchCases,
  patchMessage,
} from '../../src/translate/envoy/filters-patch/fixture.ts'
import type { ViewTranslation } from '../../src/translate/envoy/view.ts'
import { envoyPath } from '../../tools/envoy.ts'
import { bootstrapOf, validate } from './validate-kit.ts'

function configuration({ resources }: ViewTranslation): string {
  const routes = new Map(resources.routes.map((one) => [one.name, patchMessage(one)]))
  const text = JSON.stringify(
    bootstrapOf({
      listeners: resources.listeners.map(patchMessage),
      clusters: resources.clusters.map(patchMessage),
    }),
    (key, value: unknown) => {
      if (key !== 'typedConfig' || typeof value !== 'object' || value === null) return value
      const { rds, ...rest } = value as { rds?: { routeConfigName?: string } }
      const found = routes.get(rds?.routeConfigName ?? '')
      return found === undefined ? value : { ...rest, routeConfig: found }
    },
  )
  // Only a terminal or a file can be opened by that name.
  return text.replaceAll('/dev/stdout', '/dev/null')
}

test('a stock Envoy takes what every golden case of EnvoyFilters leads to, without a warning', async () => {
  const envoy = await envoyPath()
  const home = mkdtempSync(join(tmpdir(), 'weft-envoy-'))
  try {
    const refused: Record<string, string> = {}
    for (const name of patchCases()) {
      const file = join(home, `${name}.json`)
      writeFileSync(file, configuration(answerPatches(name).after))
      const trouble = await validate(envoy, file)
      if (trouble !== '') refused[name] = trouble
    }
    assert.deepEqual(refused, {})
  } finally {
    rmSync(home, { recursive: true })
  }
})
