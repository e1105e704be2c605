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
  // A command that has something to clean up (`run`) does so as on a signal.
  if (process.listenerCount('SIGTERM') > 0) process.emit('SIGTERM', 'SIGTERM')
  else process.exit()
})

// `weft up 2>&1 | head -1`: nobody reads the progress any more, but the mesh is wanted.
process.stderr.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

await main(process.argv.slice(2), {
  terminal: {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    interactive: process.stderr.isTTY === true,
    monotonic: () => performance.now(),
    columns: () => process.stderr.columns,
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
