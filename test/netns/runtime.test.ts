/** Real pods in real namespaces, as root and as an unprivileged user. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { text } from 'node:stream/consumers'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

const cases = fileURLToPath(new URL('runtime-cases.ts', import.meta.url))
const isRoot = process.getuid?.() === 0
const tree = ['--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']
const drop: Words = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']

type Words = readonly [string, ...string[]]

function refusal(words: Words): string | false {
  const [program, ...args] = words
  const { status, stderr } = spawnSync(program, [...args, 'true'], { encoding: 'utf8' })
  if (status === 0) return false
  process.stderr.write(`SKIPPED runtime.test.ts (${words.join(' ')}): ${stderr}\n`)
  return stderr.trim() || 'refused'
}

async function runInTree(words: Words, root: boolean): Promise<void> {
  const [program, ...args] = words
  const node = [process.execPath, '--test-reporter=spec', '--disable-warning=ExperimentalWarning']
  const { NODE_TEST_CONTEXT: _context, ...environment } = process.env
  const child = spawn(program, [...args, ...node, cases], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...environment, WEFT_TEST_ROOT: root ? '1' : '0', HOME: '/tmp' },
  })
  const [out, err, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once('exit', resolve)),
  ])
  assert.equal(code, 0, `${out}\n${err}`)
}

const asRoot: Words = ['unshare', ...tree]
test('pods as root: all cases', { skip: isRoot ? refusal(asRoot) : 'needs root' }, () =>
  runInTree(asRoot, true),
)

const unshare: Words = ['unshare', '--user', '--map-root-user', ...tree]
const rootless: Words = isRoot ? [...drop, ...unshare] : unshare
test('pods as an unprivileged user: all cases', { skip: refusal(rootless) }, () =>
  runInTree(rootless, false),
)
