/**
 * The feature ledger. A row of test/features.tsv is *shown* when a test goes from user input to observable
 * output through the program (it lives in test/) and carries the row's id in its name, like `[A1.8]`;
 * tests beside the code count in a column of their own.
 *
 *   npm run features                      writes docs/reference/features.md
 *   npm run features -- --json            totals by section and priority
 *   npm run features -- --check           fails when the page is not up to date
 *   npm run features -- --sabotage A1.8   switches the feature off by its seam; its tests must turn red
 */
import { spawnSync } from 'node:child_process'
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

interface Row {
  readonly id: string
  readonly title: string
  readonly priority: string
  readonly by: string
  readonly seam: string
}

interface Place {
  readonly file: string
  readonly line: number
}

const root = resolve(import.meta.dirname, '..')
const page = 'docs/reference/features.md'
const sections: Record<string, string> = {
  A: 'Seed documents',
  B: 'Istio resource kinds',
  C: 'Gateway API',
  D: 'Mesh configuration, charts, installation, environment',
  E: 'istioctl',
  F: 'Labels and annotations',
  G: 'Automatic behaviour',
}

function readRows(): Row[] {
  return readFileSync(join(root, 'test/features.tsv'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [id = '', title = '', priority = '', by = '', seam = ''] = line.split('\t')
      return { id, title, priority, by, seam }
    })
}

/** Ids in the names of tests: the first string of `test('...')` or `it('...')`, on one line or the next. */
function findTests(): Map<string, Place[]> {
  const places = new Map<string, Place[]>()
  const patterns = [
    'test/**/*.test.ts',
    'src/**/*.test.ts',
    'tools/**/*.test.ts',
    'samples/**/*.test.ts',
  ]
  for (const file of patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).toSorted()) {
    const text = readFileSync(join(root, file), 'utf8')
    for (const match of text.matchAll(/\b(?:test|it)(?:\.\w+)?\(\s*(['"`])(.*?)\1/gs)) {
      const line = text.slice(0, match.index).split('\n').length
      for (const [, id = ''] of (match[2] ?? '').matchAll(/\[([A-G]\d+(?:\.\d+)?)\]/g)) {
        places.set(id, [...(places.get(id) ?? []), { file, line }])
      }
    }
  }
  return places
}

const isShown = (place: Place): boolean => place.file.startsWith('test/')

function render(rows: readonly Row[], tests: ReadonlyMap<string, Place[]>): string {
  const link = ({ file, line }: Place): string =>
    `[${file.split('/').at(-1)}:${line}](../../${file}#L${line})`
  let text = `# Features

Made by \`npm run features\`; do not edit. A row is *shown* when a test goes from what a user types to what can be
observed, through the program. Tests beside the code stand in their own column and do not count.
Priorities: S named in a seed document, C core, A advanced, R rare.\n\n`
  text += summaryTable(rows, tests)
  for (const [letter, title] of Object.entries(sections)) {
    text += `\n## ${letter}. ${title}\n\n| id | feature | P | by | shown | unit only |\n|---|---|---|---|---|---|\n`
    for (const row of rows.filter((entry) => entry.id.startsWith(letter))) {
      const places = tests.get(row.id) ?? []
      const shown = places.filter(isShown).map(link).join('<br>')
      const unit = places
        .filter((place) => !isShown(place))
        .map(link)
        .join('<br>')
      text += `| ${row.id} | ${row.title.replaceAll('|', '\\|')} | ${row.priority} | ${row.by} | ${shown} | ${unit} |\n`
    }
  }
  return text
}

function totals(rows: readonly Row[], tests: ReadonlyMap<string, Place[]>) {
  const table: Record<
    string,
    Record<string, { rows: number; shown: number; unitOnly: number }>
  > = {}
  for (const row of rows) {
    const section = (table[row.id[0] ?? ''] ??= {})
    const cell = (section[row.priority] ??= { rows: 0, shown: 0, unitOnly: 0 })
    const places = tests.get(row.id) ?? []
    cell.rows++
    if (places.some(isShown)) cell.shown++
    else if (places.length > 0) cell.unitOnly++
  }
  return table
}

function summaryTable(rows: readonly Row[], tests: ReadonlyMap<string, Place[]>): string {
  const table = totals(rows, tests)
  const priorities = ['S', 'C', 'A', 'R']
  const cell = (entry?: { rows: number; shown: number }): string =>
    entry ? `${entry.shown} / ${entry.rows}` : ''
  let text = `| shown / rows | ${priorities.join(' | ')} |\n|---|---|---|---|---|\n`
  for (const [letter, title] of Object.entries(sections)) {
    text += `| ${letter}. ${title} | ${priorities.map((p) => cell(table[letter]?.[p])).join(' | ')} |\n`
  }
  return text
}

/** Exit code 0 when the tests of the row turn red with the feature switched off. */
function sabotage(id: string, rows: readonly Row[], tests: ReadonlyMap<string, Place[]>): number {
  const row = rows.find((entry) => entry.id === id)
  const places = (tests.get(id) ?? []).filter(isShown)
  if (row === undefined || places.length === 0 || row.seam === '') {
    const lack =
      row === undefined
        ? 'no such row'
        : places.length === 0
          ? 'no test shows it'
          : 'it names no seam'
    console.error(`${id}: ${lack} (test/features.tsv)`)
    return 2
  }
  const files = [...new Set(places.map((place) => place.file))]
  const only = `\\[${id.replace('.', '\\.')}\\]`
  const result = spawnSync(process.execPath, ['tools/test.ts', ...files, '--only', only], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, WEFT_SABOTAGE: row.seam },
  })
  const red = result.status === 1
  console.log(
    red
      ? `${id}: red without ${row.seam}, as it must be`
      : `${id}: still green without ${row.seam}`,
  )
  return red ? 0 : 1
}

const { values } = parseArgs({
  options: { json: { type: 'boolean' }, check: { type: 'boolean' }, sabotage: { type: 'string' } },
})
const rows = readRows()
const tests = findTests()
const unknown = [...tests.keys()].filter((id) => !rows.some((row) => row.id === id))
for (const id of unknown)
  console.error(`[${id}] in ${tests.get(id)?.[0]?.file} is no row of test/features.tsv`)

if (values.sabotage !== undefined) process.exit(sabotage(values.sabotage, rows, tests))
if (values.json === true) console.log(JSON.stringify(totals(rows, tests), undefined, 2))
else {
  const text = render(rows, tests)
  const path = join(root, page)
  if (values.check === true) {
    const same = readFileSync(path, 'utf8') === text
    if (!same) console.error(`${page} is stale: run npm run features`)
    process.exit(same && unknown.length === 0 ? 0 : 1)
  }
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  console.log(`${page}: ${rows.length} rows`)
  console.log(summaryTable(rows, tests))
}
process.exit(unknown.length > 0 ? 1 : 0)
