/** Real pods in real namespaces, as root and as an unprivileged user. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { text } from 'node:stream/consumers'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

const cases = fileURLToPath(new URL('runtime-cases.ts', import.meta.url))
const isRoot = process.getuid?.() === 0
const tree = ['--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']
const drop = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']

function refusal(words: readonly string[]): string | false {
  const [program = '', ...args] = [...words, 'true']
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status === 0) return false
  process.stderr.write(`SKIPPED runtime.test.ts (${words.join(' ')}): ${stderr}\n`)
  return stderr.trim() || 'refused'
}

async function runInTree(words: readonly string[], root: boolean): Promise<void> {
  const [program = '', ...args] = [
    ...words,
    process.execPath,
    '--test-reporter=spec',
    '--disable-warning=ExperimentalWarning',
    cases,
  ]
  const { NODE_TEST_CONTEXT: _context, ...environment } = process.env
  const child = spawn(program, args, {
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

const asRoot = ['unshare', ...tree]
test('pods as root: all cases', { skip: isRoot ? refusal(asRoot) : 'needs root' }, () =>
  runInTree(asRoot, true),
)

const rootless = [...(isRoot ? drop : []), 'unshare', '--user', '--map-root-user', ...tree]
test('pods as an unprivileged user: all cases', { skip: refusal(rootless) }, () =>
  runInTree(rootless, false),
)
