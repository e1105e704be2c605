/**
 * Loaded into every test process: a test may leave a socket open, and its file must still come to an
 * end. Not `--test-force-exit`, which ends the process before its results are written.
 */
import { after } from 'node:test'

const graceMs = 2_000

after(() => {
  setTimeout(() => process.exit(), graceMs).unref()
})
