import assert from 'node:assert'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'

const room = join(import.meta.dirname, 'index.ts')

/** Runs a module of its own, so that flags set on it end with it. */
function run(source: string): string {
  const result = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', source], {
    encoding: 'utf8',
    timeout: 10_000,
  })
  assert.strictEqual(result.status, 0, result.stderr)
  return result.stdout.trim()
}

describe('processes', { skip: process.platform !== 'linux' }, () => {
  it('orphans are seen and reaped, while Node keeps the exit codes of its own children', () => {
    const out = run(`
      import { spawn } from 'node:child_process'
      import { setTimeout as sleep } from 'node:timers/promises'
      import { reap, setChildSubreaper, waitAnyChild } from ${JSON.stringify(room)}
      setChildSubreaper(true)
      const own = spawn('sh', ['-c', '(sleep 0.05; exit 7) & exit 3'])
      const ended = new Promise((resolve) => own.once('exit', resolve))
      const orphans = []
      for (let tries = 0; tries < 100 && orphans.length === 0; tries++) {
        const child = waitAnyChild()
        if (child !== undefined && child.pid !== own.pid) {
          orphans.push(child.exitCode, reap(child.pid), reap(child.pid))
        }
        await sleep(5)
      }
      console.log(JSON.stringify({ orphans, own: await ended, left: waitAnyChild() ?? null }))
    `)
    assert.deepStrictEqual(JSON.parse(out), { orphans: [7, true, false], own: 3, left: null })
  })

  it('a process that is not dumpable hides its memory and descriptors', (context) => {
    // Seen by the owner of its files in /proc, which takes an ordinary user to tell from root.
    const users = readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/)
    if (process.getuid?.() !== 0 || Number(users[2]) < 65_536) return context.skip('needs root')
    const out = run(`
      import { statSync } from 'node:fs'
      import { setDumpable } from ${JSON.stringify(room)}
      process.setegid?.(65534)
      process.seteuid?.(65534)
      setDumpable(true)
      const open = statSync('/proc/self/environ').uid
      setDumpable(false)
      console.log(open, statSync('/proc/self/environ').uid)
    `)
    assert.strictEqual(out, '65534 0')
  })
})
