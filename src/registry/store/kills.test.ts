import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { SqliteStore } from './sqlite-store.ts'

const writer = fileURLToPath(new URL('./kill-writer.ts', import.meta.url))
const kills = process.env.WEFT_SOAK === '1' ? 1_000 : 50

interface Known {
  verb: string
  revision: number
  /** What was tried after the last acknowledgement. */
  trying: string | undefined
}

/** Runs the writer until its random moment, and notes what it said. */
function runAndKill(path: string, afterMs: number, known: Map<string, Known>): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', writer, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let rest = ''
    let acknowledged = 0
    child.stdout.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const [mark, name = '', verb = '', revision] = line.split(' ')
        if (name === 'started') setTimeout(() => child.kill('SIGKILL'), afterMs)
        else if (mark === '?') {
          const before = known.get(name) ?? { verb: 'delete', revision: 0, trying: undefined }
          known.set(name, { ...before, trying: verb })
        } else {
          known.set(name, { verb, revision: Number(revision), trying: undefined })
          acknowledged++
        }
      }
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (signal === 'SIGKILL') resolve(acknowledged)
      else reject(new Error(`the writer ended by itself with ${signal ?? code}`))
    })
  })
}

async function stored(path: string): Promise<{ revision: number; revisions: Map<string, number> }> {
  const store = new SqliteStore(path)
  const revisions = new Map<string, number>()
  const revision = await store.open((objects) => {
    for (const object of objects) {
      // Torn content would not parse.
      JSON.parse(Buffer.from(object.bytes).toString())
      revisions.set(object.key.split('/').at(-1) ?? '', object.revision)
    }
  })
  await store.close()
  return { revision, revisions }
}

function check(known: ReadonlyMap<string, Known>, revisions: ReadonlyMap<string, number>): void {
  for (const [name, { verb, revision, trying }] of known) {
    const found = revisions.get(name)
    const text = `${name}: acknowledged ${verb} ${revision}, then tried ${trying ?? 'nothing'}, found ${found}`
    if (found === undefined) assert.ok(verb === 'delete' || trying === 'delete', text)
    else if (verb === 'put' && trying !== 'put') assert.equal(found, revision, text)
    else assert.ok(found >= revision && (verb === 'put' || trying === 'put'), text)
  }
}

/** Kills one writer after the other on one file. Returns how many writes were acknowledged. */
async function killAgainAndAgain(path: string, times: number): Promise<number> {
  const known = new Map<string, Known>()
  let acknowledged = 0
  let last = 0
  for (let kill = 0; kill < times; kill++) {
    acknowledged += await runAndKill(path, Math.random() * 60, known)
    const { revision, revisions } = await stored(path)
    check(known, revisions)
    assert.ok(revision >= last, `the revision went back from ${last} to ${revision}`)
    assert.ok([...known.values()].every((each) => each.revision <= revision))
    last = revision
    // What was tried is settled now: it either happened or not.
    for (const [name, entry] of known) {
      const found = revisions.get(name)
      known.set(name, {
        verb: found === undefined ? 'delete' : 'put',
        revision: found ?? entry.revision,
        trying: undefined,
      })
    }
  }
  return acknowledged
}

test(`${kills} kills at random moments lose no acknowledged write and tear nothing`, {
  timeout: kills * 3_000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-kills-'))
  try {
    // Most of the time goes into starting writers, so two files are worked on at once.
    const acknowledged = await Promise.all(
      ['a.db', 'b.db'].map((name) => killAgainAndAgain(join(dir, name), kills / 2)),
    )
    for (const count of acknowledged) {
      assert.ok(count > kills / 2, `only ${count} writes were acknowledged`)
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
