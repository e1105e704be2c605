/** The `weft` program. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { systemClock } from '../src/base/index.ts'
import { main } from '../src/cli/index.ts'

const root = resolve(import.meta.dirname, '..')
const { version } = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8')) as {
  version: string
}

// `weft status | head -1`: a reader that has enough is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

await main(process.argv.slice(2), {
  terminal: {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    interactive: process.stderr.isTTY === true,
    monotonic: () => performance.now(),
  },
  environment: process.env,
  clock: systemClock,
  platform: process.platform,
  root,
  version,
  setExitCode: (code) => {
    process.exitCode = code
  },
})
