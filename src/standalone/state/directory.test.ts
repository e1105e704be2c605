import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { openStateDirectory, purgeState, stateExists } from './directory.ts'
import { stateError, writeStateFile } from './files.ts'
import { meshPaths, stateHome } from './paths.ts'

function freshHome(t: TestContext): string {
  const home = mkdtempSync(join(tmpdir(), 'weft-state-'))
  t.after(() => rmSync(home, { recursive: true }))
  return home
}

test('a new state directory is private, and opening it again keeps what is in it', (t) => {
  const paths = meshPaths(freshHome(t), 'a')
  assert.equal(stateExists(paths), false)
  openStateDirectory(paths)
  assert.equal(statSync(paths.root).mode & 0o777, 0o700)
  writeFileSync(join(paths.root, 'kubeconfig'), 'x')
  openStateDirectory(paths)
  assert.equal(readFileSync(paths.kubeconfig, 'utf8'), 'x')
  assert.equal(stateExists(paths), true)
  purgeState(paths)
  assert.equal(existsSync(paths.root), false)
})

test('a directory from a newer version is refused with the versions named and nothing touched', (t) => {
  const paths = meshPaths(freshHome(t), 'a')
  mkdirSync(paths.root)
  writeFileSync(paths.format, '99\n')
  assert.throws(() => openStateDirectory(paths), {
    code: 'STATE_NEWER',
    message: /format 99.*knows 1/,
  })
  assert.deepEqual(readdirSync(paths.root), ['format'])
  assert.equal(readFileSync(paths.format, 'utf8'), '99\n')
})

test("someone else's directory, a file, a link and foreign content are refused by name", (t) => {
  const home = freshHome(t)
  const paths = meshPaths(home, 'a')
  openStateDirectory(paths)
  const other = userInfo().uid + 1
  assert.throws(() => openStateDirectory(paths, other), {
    code: 'STATE_OWNER',
    message: /belongs to .*uid/,
  })
  symlinkSync(paths.root, meshPaths(home, 'b').root)
  assert.throws(() => openStateDirectory(meshPaths(home, 'b')), { code: 'STATE_NOT_A_DIRECTORY' })
  writeFileSync(meshPaths(home, 'c').root, '')
  assert.throws(() => openStateDirectory(meshPaths(home, 'c')), { code: 'STATE_NOT_A_DIRECTORY' })
  mkdirSync(meshPaths(home, 'd').root)
  writeFileSync(join(meshPaths(home, 'd').root, 'letter.txt'), '')
  assert.throws(() => openStateDirectory(meshPaths(home, 'd')), { code: 'STATE_FORMAT' })
  assert.throws(() => openStateDirectory(meshPaths(join(home, 'x'.repeat(90)), 'e')), {
    code: 'STATE_PATH',
  })
})

test('a full disk leaves the old file as it was and says what to do', (t) => {
  const path = join(freshHome(t), 'kubeconfig')
  writeStateFile(path, 'old')
  // The draft's place is taken by a device on which every write fails with ENOSPC.
  symlinkSync('/dev/full', `${path}.new`)
  assert.throws(() => writeStateFile(path, 'new'), {
    code: 'STATE_DISK_FULL',
    message: /disk is full.*unchanged/,
    hint: /Free some space/,
  })
  assert.equal(readFileSync(path, 'utf8'), 'old')
  assert.equal(
    stateError(path, Object.assign(new Error('x'), { code: 'EACCES' })).code,
    'STATE_WRITE',
  )
})

test('names that are no DNS label are refused, and the home follows the environment', () => {
  for (const bad of ['', 'A', '-a', 'a-', 'a/b', '..', 'x'.repeat(41)]) {
    assert.throws(() => meshPaths('/h', bad), { code: 'STATE_NAME' }, bad)
  }
  assert.equal(stateHome({ HOME: '/home/me' }), '/home/me/.local/state/weft')
  assert.equal(
    stateHome({ HOME: '/home/me', XDG_STATE_HOME: 'relative' }),
    '/home/me/.local/state/weft',
  )
  assert.equal(stateHome({ XDG_STATE_HOME: '/x' }), '/x/weft')
  assert.throws(() => stateHome({}), { code: 'STATE_HOME' })
})
