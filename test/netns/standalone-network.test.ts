/**
 * The node's network and the broker around it, in real namespaces: everything runs inside a network
 * namespace that plays the host, as root and as an unprivileged user.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import test, { type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

const host = fileURLToPath(new URL('standalone-host.ts', import.meta.url))
const isRoot = process.getuid?.() === 0
const nobody = 65534
const drop = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups']

interface Found {
  readonly cases: readonly { readonly name: string; readonly error?: string }[]
  readonly ingress: string
  readonly left: {
    readonly files: unknown[]
    readonly processes: unknown[]
    readonly ports: boolean[]
  }
}

function refusal(words: readonly string[]): string | false {
  const [program = 'unshare', ...args] = words
  const all = [...args, process.execPath, '--version']
  const { status, stderr } = spawnSync(program, all, { encoding: 'utf8' })
  if (status === 0) return false
  process.stderr.write(`SKIPPED standalone-network (${words.join(' ')}): ${stderr}\n`)
  return stderr.trim() || 'refused'
}

async function play(
  t: TestContext,
  words: readonly string[],
  args: readonly string[],
): Promise<Found> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-net-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  if (words.includes('setpriv')) chownSync(folder, nobody, nobody)
  const [program = '', ...rest] = [
    ...words,
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    host,
    folder,
    ...args,
  ]
  const { NODE_TEST_CONTEXT: _context, NODE_COMPILE_CACHE: _cache, ...environment } = process.env
  const child = spawn(program, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...environment, HOME: folder },
  })
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
  assert.ok(out.startsWith('{'), `${out}\n${err}`)
  return JSON.parse(out) as Found
}

async function check(t: TestContext, found: Found): Promise<void> {
  for (const { name, error } of found.cases) {
    await t.test(name, () => {
      if (error !== undefined) assert.fail(error)
    })
  }
  await t.test('the ingress port of the host leads to a pod of the first LoadBalancer', () => {
    assert.equal(found.ingress, 'b saw 10.244.0.1')
  })
  await t.test('after the stop no process, namespace, socket or port is left', () => {
    assert.deepEqual(found.left, { files: [], processes: [], ports: [false, false] })
  })
}

const asRoot = ['unshare', '--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']
test('the network as root', { skip: isRoot ? refusal(asRoot) : 'needs root' }, async (t) => {
  await check(t, await play(t, asRoot, ['root']))
})

const asUser = [...(isRoot ? drop : []), 'unshare', '--user', '--map-root-user', ...asRoot.slice(1)]
test('the network as an unprivileged user, with access to the host', {
  skip: refusal(asUser),
}, async (t) => {
  await check(t, await play(t, asUser, ['rootless', 'host-access']))
})

test('the network with iptables instead of nft', {
  skip: isRoot ? refusal(asRoot) : 'needs root',
}, async (t) => {
  await check(t, await play(t, asRoot, ['root', '', 'iptables']))
})
