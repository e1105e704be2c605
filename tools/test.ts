/**
 * `npm test`: installs what the tests need, then runs every level and counts.
 *
 *   npm test                    everything
 *   npm test -- unit netns      these levels only
 *   npm test -- --only 'deny'   tests whose name matches, with the files that have them
 *   npm run soak                the long versions too (WEFT_SOAK=1)
 *
 * The last line is `N passed, N failed, N skipped`. A JSON line for each test goes to .cache/test-results.jsonl.
 */
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { run } from 'node:test'
import { parseArgs } from 'node:util'
import { prepareTestTools } from './test-tools.ts'

const root = resolve(import.meta.dirname, '..')
process.chdir(root)

/** Levels in the order of their cost; those that make networks run one file at a time. */
const levels: Record<string, { files: string[]; concurrency: number; timeoutMs: number }> = {
  unit: {
    files: ['src/**/*.test.ts', 'tools/**/*.test.ts', 'samples/**/*.test.ts'],
    concurrency: 2,
    timeoutMs: 120_000,
  },
  registry: { files: ['test/registry/**/*.test.ts'], concurrency: 2, timeoutMs: 300_000 },
  netns: { files: ['test/netns/**/*.test.ts'], concurrency: 1, timeoutMs: 300_000 },
  envoy: { files: ['test/envoy/**/*.test.ts'], concurrency: 1, timeoutMs: 300_000 },
  e2e: { files: ['test/e2e/**/*.test.ts'], concurrency: 1, timeoutMs: 600_000 },
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { soak: { type: 'boolean' }, only: { type: 'string' } },
})
if (values.soak === true) process.env.WEFT_SOAK = '1'
for (const name of positionals) {
  if (levels[name] === undefined && globSync(name).length === 0) {
    console.error(`no level or file "${name}"; levels: ${Object.keys(levels).join(', ')}`)
    process.exit(2)
  }
}

const totals = { passed: 0, failed: 0, skipped: 0 }
const records: string[] = []
const failures: { file: string; text: string }[] = []

await prepareTestTools(root)
const named = positionals.filter((name) => levels[name] === undefined)
const chosen: [string, { files: string[]; concurrency: number; timeoutMs: number }][] =
  named.length > 0
    ? [['named', { files: named, concurrency: 1, timeoutMs: 600_000 }]]
    : Object.entries(levels).filter(
        ([name]) => positionals.length === 0 || positionals.includes(name),
      )
for (const [name, level] of chosen) await runLevel(name, level)
await runAgain()

mkdirSync('.cache', { recursive: true })
writeFileSync('.cache/test-results.jsonl', records.join('\n'))
if (failures.length > 0)
  console.log(`\nfailed:\n${failures.map((failure) => failure.text).join('\n')}`)
const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : ''
console.log(`\n${totals.passed} passed, ${totals.failed} failed${skipped}`)
process.exit(totals.failed > 0 || totals.passed === 0 ? 1 : 0)

async function runLevel(name: string, level: (typeof levels)[string]): Promise<void> {
  let files = [...new Set(level.files.flatMap((pattern) => globSync(pattern)))]
    .filter((file) => !file.includes('node_modules'))
    .toSorted()
  if (values.only !== undefined) {
    const wanted = values.only
    files = files.filter((file) => readFileSync(file, 'utf8').includes(wanted.replaceAll('\\', '')))
  }
  if (files.length === 0) return
  const startedMs = performance.now()
  console.log(`\n== ${name}: ${files.length} files`)
  const events = run({
    files: files.map((file) => resolve(root, file)),
    concurrency: level.concurrency,
    timeout: level.timeoutMs,
    // A failed test may leave a socket open; its file must still come to an end.
    execArgv: ['--import', new URL('test-exit.ts', import.meta.url).href],
    ...(values.only === undefined ? {} : { testNamePatterns: [values.only] }),
  })
  for await (const { type, data } of events) {
    if (type === 'test:stdout' || type === 'test:stderr') {
      if (process.env.WEFT_TEST_OUTPUT === '1') process.stdout.write(data.message)
    } else if (type === 'test:pass' || type === 'test:fail') count(type, data)
  }
  console.log(`== ${name}: ${((performance.now() - startedMs) / 1000).toFixed(0)} s`)
}

/**
 * Tests with real processes, ports and clocks fail now and then on a busy machine. A file with a failure runs once
 * more, alone; what passes then counts as passed and is listed as flaky, what fails again has failed.
 */
async function runAgain(): Promise<void> {
  if (failures.length === 0 || process.env.WEFT_SABOTAGE !== undefined) return
  const first = failures.splice(0)
  const files = [...new Set(first.map((failure) => failure.file))].filter((file) => file !== '')
  const before = { ...totals }
  await runLevel('once more', { files, concurrency: 1, timeoutMs: 600_000 })
  const failed = totals.failed - before.failed
  // Only the second outcome of these tests counts, each once.
  totals.passed = before.passed + first.length - failed
  totals.failed = failed
  totals.skipped = before.skipped
  const again = new Set(failures.map((failure) => failure.text))
  for (const { text } of first) if (!again.has(text)) console.log(`flaky: ${text}`)
}

interface TestData {
  name: string
  file?: string
  line?: number
  skip?: string | boolean
  todo?: string | boolean
  details: { type?: string; duration_ms: number; error?: Error }
}

function count(type: string, data: TestData): void {
  if (data.details.type === 'suite') return
  const file = data.file === undefined ? '' : relative(root, data.file)
  const skip = data.skip !== undefined && data.skip !== false
  const status = skip ? 'skipped' : type === 'test:pass' ? 'passed' : 'failed'
  totals[status]++
  const seconds = (data.details.duration_ms / 1000).toFixed(2)
  records.push(
    JSON.stringify({ name: data.name, file, line: data.line, status, seconds: Number(seconds) }),
  )
  const reason = skip && typeof data.skip === 'string' ? ` (${data.skip})` : ''
  if (
    status !== 'passed' ||
    data.details.duration_ms > 2000 ||
    process.env.WEFT_TEST_VERBOSE === '1'
  ) {
    console.log(
      `${status === 'passed' ? 'ok' : status} ${file}:${data.line} ${data.name} ${seconds} s${reason}`,
    )
  }
  if (status === 'failed') {
    const cause = data.details.error?.cause
    console.log(
      cause instanceof Error ? (cause.stack ?? cause.message) : String(cause ?? data.details.error),
    )
    failures.push({ file, text: `  ${file}:${data.line} ${data.name}` })
  }
}
