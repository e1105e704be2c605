/**
 * `npm run check`: formatting, lint, types and architecture, side by side (under 30 s).
 * `npm run format` (`--fix`) lets the formatter and the linter mend what they can.
 */
import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const fix = process.argv.includes('--fix')
const bin = (name: string): string => join(root, 'node_modules/.bin', name)

const checks: Record<string, string[]> = {
  format: [bin('biome'), 'check', ...(fix ? ['--write'] : ['--error-on-warnings']), '.'],
  lint: [bin('oxlint'), '--type-aware', '--deny-warnings', ...(fix ? ['--fix'] : [])],
  types: [bin('tsc'), '--noEmit'],
  tidy: [process.execPath, join(root, 'tools/tidy/index.ts')],
}

const results = await Promise.all(
  Object.entries(checks).map(async ([name, [command = '', ...args]]) => {
    const startedMs = performance.now()
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (chunk) => (output += String(chunk)))
    child.stderr.on('data', (chunk) => (output += String(chunk)))
    const code = await new Promise<number>((done) => {
      child.on('error', () => done(127))
      child.on('close', (status) => done(status ?? 1))
    })
    return { name, code, output, seconds: (performance.now() - startedMs) / 1000 }
  }),
)
for (const { name, code, output, seconds } of results) {
  console.log(`${code === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds.toFixed(1)} s)`)
  if (code !== 0) console.log(output.trimEnd())
}
process.exitCode = results.some((result) => result.code !== 0) ? 1 : 0
