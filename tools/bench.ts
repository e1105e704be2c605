/**
 * `npm run bench NAME`: runs bench/NAME/index.ts, which exports `run()`. It prints a table for people and, as
 * the last line, one JSON object `{bench, figures, ratios}`; the raw data goes to bench/results/.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export interface BenchResult {
  readonly bench: string
  /** Figures of ours and of the peer, with the unit in the key. */
  readonly figures: Readonly<Record<string, number>>
  /** Ours divided by the peer's. */
  readonly ratios: Readonly<Record<string, number>>
  readonly raw?: unknown
}

const folder = resolve(import.meta.dirname, '../bench')
const name = process.argv[2]
const known = existsSync(folder)
  ? readdirSync(folder).filter((entry) => existsSync(join(folder, entry, 'index.ts')))
  : []
if (name === undefined || !known.includes(name)) {
  console.error(`usage: npm run bench NAME\nbenches: ${known.join(', ')}`)
  process.exit(2)
}
const module = (await import(join(folder, name, 'index.ts'))) as { run(): Promise<BenchResult> }
const result = await module.run()
mkdirSync(join(folder, 'results'), { recursive: true })
const stamp = new Date().toISOString().replaceAll(/[:.]/g, '-')
writeFileSync(
  join(folder, 'results', `${name}-${stamp}.json`),
  JSON.stringify(result, undefined, 2),
)
const { bench, figures, ratios } = result
console.log(JSON.stringify({ bench, figures, ratios }))
process.exit(0)
