/** `weft registry backup|restore` by the command line, beside a registry process that kubectl talks to. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../src/base/index.ts'
import { main } from '../../src/cli/index.ts'
import { kubectlPath } from '../../tools/kubectl.ts'
import { RegistryChild } from './registry-child.ts'

const program = resolve(import.meta.dirname, '../../bin/weft.ts')

interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  return new Promise((done, reject) => {
    const child = spawn(command, args, { env: { PATH: process.env.PATH, ...env }, stdio: 'pipe' })
    const seen = { out: '', err: '' }
    child.stdout.on('data', (chunk: Buffer) => (seen.out += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (seen.err += chunk.toString()))
    child.once('error', reject)
    child.once('close', (code) => done({ code: code ?? -1, ...seen }))
    child.stdin.end()
  })
}

describe('backup and restore', () => {
  let home: string
  let state: string
  let kubectlProgram: string
  let registry: RegistryChild

  before(async () => {
    home = mkdtempSync(join(tmpdir(), 'weft-backup-'))
    state = join(home, 'weft', 'default')
    mkdirSync(state, { recursive: true, mode: 0o700 })
    writeFileSync(join(state, 'format'), '1\n')
    kubectlProgram = await kubectlPath('1.35')
    registry = await RegistryChild.start(state)
  })
  after(async () => {
    await registry.stop()
    rmSync(home, { recursive: true, force: true })
  })

  const weftProcess = (...args: string[]): Promise<Outcome> =>
    run(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...args], {
      XDG_STATE_HOME: home,
      HOME: home,
    })
  /** The same without a process of its own, which takes a second to start. */
  const weft = async (...args: string[]): Promise<Outcome> => {
    const seen = { code: 0, out: '', err: '' }
    await main(args, {
      terminal: {
        out: (text) => (seen.out += String(text)),
        err: (text) => (seen.err += String(text)),
        interactive: false,
        monotonic: () => performance.now(),
      },
      environment: { XDG_STATE_HOME: home, HOME: home },
      clock: systemClock,
      platform: process.platform,
      root: resolve(import.meta.dirname, '../..'),
      version: '0.0.0',
      setExitCode: (code) => (seen.code = code),
    })
    return seen
  }
  const kubectl = async (line: string): Promise<string> => {
    const { code, out, err } = await run(kubectlProgram, line.split(' '), {
      HOME: home,
      KUBECONFIG: join(state, 'kubeconfig'),
    })
    assert.equal(code, 0, `kubectl ${line}: ${err}`)
    return out
  }
  const maps = async (): Promise<string[]> =>
    (await kubectl('get configmaps -o name'))
      .split('\n')
      .filter((name) => name !== '' && !name.includes('kube-root-ca'))
  const file = (name: string): string => join(home, name)

  test('a running registry is backed up as it is at one moment, while it goes on writing', async () => {
    for (const name of ['a', 'b', 'c']) await kubectl(`create configmap ${name} --from-literal=v=1`)
    let writing = true
    const writer = (async () => {
      for (let round = 0; writing; round++)
        await kubectl(`annotate configmap a --overwrite r=${round}`)
    })()
    const backup = await weftProcess('registry', 'backup', file('first.db'))
    writing = false
    await writer
    assert.equal(backup.code, 0, backup.err)
    assert.match(backup.out, /^Wrote \d+ objects \(\d+ kB, version \d+\) to .*first\.db\.\n$/)
    assert.equal(statSync(file('first.db')).mode & 0o777, 0o600)
    assert.deepEqual(
      readdirSync(state).filter((name) => name.includes('.tmp')),
      [],
    )
    const again = await weft('registry', 'backup', file('first.db'))
    assert.equal(again.code, 1)
    assert.match(again.err, /exists already\n.*--force/)
    const forced = await weft('registry', 'backup', '--force', '-o', 'json', file('first.db'))
    const { objects, revision, path } = JSON.parse(forced.out) as Record<string, unknown>
    assert.ok(Number(objects) > 3 && Number(revision) > 3)
    assert.equal(path, file('first.db'))
  })

  test('while it runs nothing is restored', async () => {
    await kubectl('create configmap after-backup')
    const { code, err } = await weft('registry', 'restore', file('first.db'))
    assert.equal(code, 1)
    assert.match(
      err,
      new RegExp(`is in use by process ${registry.pid}\\nStop it first with: weft down`),
    )
    assert.ok((await maps()).includes('configmap/after-backup'))
  })

  test('what is no backup is refused and changes nothing', async () => {
    const cases: [string, (path: string) => void, RegExp][] = [
      ['absent.db', () => {}, /there is no file .*absent\.db/],
      ['text.db', (path) => writeFileSync(path, 'hello '.repeat(1_000)), /can't be restored/],
      [
        'other.db',
        (path) => {
          const db = new DatabaseSync(path)
          db.exec('CREATE TABLE t (x); PRAGMA application_id=7')
          db.close()
        },
        /is a database of another program/,
      ],
      [
        'torn.db',
        (path) => {
          const bytes = readFileSync(file('first.db'))
          bytes.fill(0xaa, 8_192, 16_384)
          writeFileSync(path, bytes)
        },
        /can't be restored/,
      ],
    ]
    for (const [name, make, text] of cases) {
      make(file(name))
      const { code, err } = await weft('registry', 'restore', '--name', 'other', file(name))
      assert.equal(code, 1, name)
      assert.match(err, text)
    }
    assert.equal(existsSync(join(home, 'weft', 'other')), false)
  })

  test('a restore brings the objects back, keeps the others aside, and every watch lists again', async () => {
    const list = await kubectl('get --raw /api/v1/namespaces/default/configmaps')
    const resume = (JSON.parse(list) as { metadata: { resourceVersion: string } }).metadata
      .resourceVersion
    const before = await maps()
    await registry.stop()
    const { code, out, err } = await weftProcess('registry', 'restore', file('first.db'))
    assert.equal(code, 0, err)
    const kept = /kept in (.*)\.\n/.exec(out)?.[1] ?? ''
    assert.match(kept, /registry\.db\.before-restore-/)
    assert.match(out, /Start the mesh with: weft up\n$/)
    registry = await RegistryChild.start(state)
    assert.deepEqual(await maps(), ['configmap/a', 'configmap/b', 'configmap/c'])
    const path = `/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=${resume}`
    const watch = await kubectl(`get --raw ${path}`)
    const { type, object } = JSON.parse(watch) as { type: string; object: Record<string, unknown> }
    assert.deepEqual([type, object.code, object.reason], ['ERROR', 410, 'Expired'])
    assert.match(
      String(object.message),
      new RegExp(`^too old resource version: ${resume} \\(\\d+\\)$`),
    )
    await kubectl('create configmap later')
    const version = await kubectl('get configmap later -o jsonpath={.metadata.resourceVersion}')
    assert.ok(Number(version) > Number(resume), `${version} is not above ${resume}`)
    // What was kept can be restored in its turn.
    await registry.stop()
    const back = await weft('registry', 'restore', '-o', 'json', kept)
    assert.equal(back.code, 0, back.err)
    assert.ok(
      Number((JSON.parse(back.out) as { newRevision: number }).newRevision) > Number(version),
    )
    registry = await RegistryChild.start(state)
    assert.deepEqual(await maps(), before)
  })

  test('a stopped mesh is backed up from its file, and restored into another one', async () => {
    const before = await maps()
    await registry.stop()
    const backup = await weft('registry', 'backup', file('second.db'))
    assert.equal(backup.code, 0, backup.err)
    const restore = await weft('registry', 'restore', '--name', 'copy', file('second.db'))
    assert.equal(restore.code, 0, restore.err)
    assert.doesNotMatch(restore.out, /kept/)
    const copy = await RegistryChild.start(join(home, 'weft', 'copy'))
    const { out } = await run(kubectlProgram, ['get', 'configmaps', '-o', 'name'], {
      HOME: home,
      KUBECONFIG: copy.ready.kubeconfig,
    })
    await copy.stop()
    for (const name of before) assert.ok(out.includes(name), `${name} is missing in ${out}`)
    registry = await RegistryChild.start(state)
  })

  test('a damaged database is named at the start, and a restore replaces it', async () => {
    await registry.stop()
    const path = join(state, 'registry.db')
    const bytes = readFileSync(path)
    bytes.fill(0xff, 4_096, 20_480)
    writeFileSync(path, bytes)
    await assert.rejects(RegistryChild.start(state), (error: Error) => {
      assert.match(error.message, /registry\.db is damaged/)
      assert.match(error.message, /weft registry restore FILE/)
      return true
    })
    const { code, err, out } = await weft('registry', 'restore', file('second.db'))
    assert.equal(code, 0, err)
    const kept = /kept in (.*)\.\n/.exec(out)?.[1] ?? ''
    assert.deepEqual(readFileSync(kept), bytes)
    registry = await RegistryChild.start(state)
    assert.ok((await maps()).includes('configmap/a'))
  })

  test('only administrators may read a backup', async () => {
    await kubectl('create serviceaccount reader')
    const token = (await kubectl('create token reader')).trim()
    const { code, err } = await run(
      kubectlProgram,
      [
        '--kubeconfig=/dev/null',
        `--server=${registry.ready.url}`,
        '--insecure-skip-tls-verify',
        `--token=${token}`,
        'get',
        '--raw',
        '/weft/backup',
      ],
      { HOME: home },
    )
    assert.equal(code, 1)
    assert.match(err, /Forbidden/)
  })
})
