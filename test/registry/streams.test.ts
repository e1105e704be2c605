/**
 * exec, attach, cp and port-forward of the unmodified kubectl, over WebSocket and over SPDY: kubectl falls back
 * to SPDY by itself, and can be told to use nothing else.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { createLogger } from '../../src/base/index.ts'
import type { KubectlVersion } from '../../src/cli/kubectl-tool.ts'
import { onTerminal, RegistryHarness } from './harness.ts'

const pod = `
apiVersion: v1
kind: ServiceAccount
metadata: { name: web }
---
apiVersion: v1
kind: Pod
metadata: { name: solo }
spec:
  serviceAccountName: web
  containers: [{ name: main, image: curl, stdin: true, tty: true }]
`

const overSpdy = {
  KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false',
  KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false',
}
const dialects = { websocket: {}, spdy: overSpdy }

for (const version of ['1.32', '1.35'] satisfies KubectlVersion[]) {
  for (const [dialect, env] of Object.entries(dialects)) {
    describe(`kubectl ${version} over ${dialect}`, () => {
      const log: string[] = []
      let harness: RegistryHarness
      before(async () => {
        const logger = createLogger('test', {
          write: (line) => log.push(line),
          now: Date.now,
          level: 'debug',
        })
        harness = await RegistryHarness.start(version, logger)
        await harness.kubectl('apply -f -', pod)
        const running = '{"status":{"phase":"Running"}}'
        await harness.kubectl(`patch pod solo --subresource=status --type=merge -p ${running}`)
      })
      after(() => harness.stop())

      const run = (args: string[], input?: string) => harness.run(args, input, env)

      test('exec carries output, standard input to its end, and the exit code', async () => {
        const script = 'cat; echo oops >&2; exit 3'
        const input = 'x'.repeat(1_000_000)
        const outcome = await run(['exec', '-i', 'solo', '--', 'sh', '-c', script], input)
        assert.equal(outcome.stdout.length, input.length)
        assert.match(outcome.stderr, /oops/)
        assert.equal(outcome.code, 3)
        assert.ok(
          log.some((line) => line.includes(dialect)),
          'the wanted dialect was spoken',
        )
      })

      test('a command that does not read its input ends all the same', async () => {
        const args = ['exec', '-i', 'solo', '--', 'head', '-c', '3']
        const outcome = await run(args, 'abc'.repeat(1_000_000))
        assert.deepEqual([outcome.stdout, outcome.code], ['abc', 0])
      })

      test('exec -it has a terminal of the right size, which follows the user’s', async () => {
        const command = [harness.kubectlProgram, 'exec', '-it', 'solo', '--', 'sh']
        const session = onTerminal(command, { ...harness.environment, ...env, PS1: '$ ' })
        session.resize(91, 31)
        let shown = ''
        session.stdout.on('data', (chunk: Buffer) => (shown += chunk.toString()))
        const shows = async (wanted: RegExp): Promise<void> => {
          const end = performance.now() + 10_000
          while (!wanted.test(shown)) {
            if (performance.now() > end) throw new Error(`never shown: ${wanted}: ${shown}`)
            await new Promise((resolve) => setTimeout(resolve, 10))
          }
        }
        session.stdin.write('tty; stty size\n')
        await shows(/\/dev\/pts\/\d+/)
        session.resize(101, 42)
        session.stdin.write('while ! stty size | grep "42 101"; do sleep 0.05; done\n')
        await shows(/42 101\r/)
        session.stdin.write('sleep 100\n')
        await shows(/sleep 100/)
        await new Promise((resolve) => setTimeout(resolve, 100))
        // Control-C ends the sleep, not the session.
        session.stdin.write('\x03')
        session.stdin.write('echo $((6 * 7)); exit 5\n')
        await shows(/[\n ]42\r/)
        assert.equal(await session.exitCode, 5)
      })

      test('attach shows what the container prints', async () => {
        const outcome = await run(['attach', 'solo'])
        assert.deepEqual([outcome.stdout, outcome.code], ['attached\n', 0])
      })

      test('cp carries files and folders both ways', async () => {
        const here = join(harness.dir, 'here')
        const there = join(harness.dir, 'there')
        await mkdir(join(here, 'deep'), { recursive: true })
        await mkdir(there)
        const bytes = randomBytes(700_000)
        await writeFile(join(here, 'deep', 'blob'), bytes)
        const up = await run(['cp', here, `solo:${there}`])
        assert.equal(up.code, 0, up.stderr)
        assert.deepEqual(await readFile(join(there, 'here', 'deep', 'blob')), bytes)
        const back = join(harness.dir, 'back')
        const down = await run(['cp', `solo:${join(there, 'here')}`, back])
        assert.equal(down.code, 0, down.stderr)
        assert.deepEqual(await readFile(join(back, 'deep', 'blob')), bytes)
      })

      const megabytes = version === '1.35' ? 50 : 5
      test(`${megabytes} MB through port-forward arrive as they were sent`, async () => {
        const bytes = randomBytes(megabytes * 1024 * 1024)
        const upstream = createServer((socket) => {
          socket.on('error', () => {})
          socket.end(bytes)
        })
        await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
        const { port } = upstream.address() as AddressInfo
        const forward = await portForward(harness, port, env)
        try {
          const digest = createHash('sha256')
          for await (const chunk of connect(forward.port, '127.0.0.1')) {
            digest.update(chunk as Buffer)
          }
          assert.equal(digest.digest('hex'), createHash('sha256').update(bytes).digest('hex'))
        } finally {
          forward.stop()
          upstream.close()
        }
      })

      test('a port that nobody listens on is told', async () => {
        const probe = createServer().listen(0, '127.0.0.1')
        await once(probe, 'listening')
        const { port } = probe.address() as AddressInfo
        probe.close()
        const forward = await portForward(harness, port, env)
        try {
          await once(connect(forward.port, '127.0.0.1').resume(), 'close')
          await forward.complains
          assert.match(forward.said(), new RegExp(`connect ECONNREFUSED 127.0.0.1:${port}`))
        } finally {
          forward.stop()
        }
      })

      test('a refused request says why in words', async () => {
        const wrong = await run(['exec', 'solo', '-c', 'other', '--', 'true'])
        assert.match(wrong.stderr, /container other is not valid for pod solo/)
        const absent = await run(['exec', 'absent', '--', 'true'])
        assert.match(absent.stderr, /pods "absent" not found/)
        const debug = await run(['debug', 'solo', '--image=busybox'])
        assert.match(debug.stderr, /ephemeral containers are (disabled|not supported)/)
      })
    })
  }
}

interface Forward {
  readonly port: number
  /** What kubectl has complained of. */
  said(): string
  /** Resolves with its first word. */
  readonly complains: Promise<unknown>
  stop(): void
}

async function portForward(
  harness: RegistryHarness,
  port: number,
  env: NodeJS.ProcessEnv,
): Promise<Forward> {
  const child = spawn(harness.kubectlProgram, ['port-forward', 'pod/solo', `:${port}`], {
    env: { ...harness.environment, ...env },
    stdio: 'pipe',
  })
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const local = await new Promise<number>((resolve, reject) => {
    child.once('close', () => reject(new Error(errors)))
    child.stdout.on('data', (chunk: Buffer) => {
      const found = /127\.0\.0\.1:(\d+)/.exec(chunk.toString())
      if (found !== null) resolve(Number(found[1]))
    })
  })
  const complains = once(child.stderr, 'data')
  complains.catch(() => {})
  return { port: local, said: () => errors, complains, stop: () => void child.kill() }
}

describe('raw upgrade requests', () => {
  let harness: RegistryHarness
  before(async () => {
    harness = await RegistryHarness.start('1.35')
    await harness.kubectl('apply -f -', pod)
  })
  after(() => harness.stop())

  const exec = '/api/v1/namespaces/default/pods/solo/exec?command=true&stdout=true'
  const forward = '/api/v1/namespaces/default/pods/solo/portforward'

  async function ask(path: string, headers: Record<string, string>): Promise<IncomingMessage> {
    const { adminCredentials, caCertificatePem: ca } = harness.registry
    const { certPem: cert, keyPem: key } = adminCredentials
    const { hostname, port } = new URL(harness.url)
    const options = { hostname, port, path, method: 'POST', headers, ca, cert, key }
    return new Promise((resolve, reject) => {
      const outgoing = request({ ...options, agent: false })
      outgoing.once('response', resolve).once('error', reject)
      outgoing.once('upgrade', (answer, socket) => {
        socket.destroy()
        resolve(answer)
      })
      outgoing.end()
    })
  }

  const spdy = { connection: 'Upgrade', upgrade: 'SPDY/3.1' }

  test('the first protocol that both speak is chosen, down to the oldest', async () => {
    const offers = {
      'v5.channel.k8s.io, v4.channel.k8s.io, channel.k8s.io': 'v5.channel.k8s.io',
      'v9.channel.k8s.io, v4.channel.k8s.io': 'v4.channel.k8s.io',
      'v3.channel.k8s.io': 'v3.channel.k8s.io',
      'v2.channel.k8s.io': 'v2.channel.k8s.io',
      'channel.k8s.io': 'channel.k8s.io',
    }
    for (const [offer, chosen] of Object.entries(offers)) {
      const answer = await ask(exec, { ...spdy, 'x-stream-protocol-version': offer })
      assert.equal(answer.statusCode, 101)
      assert.equal(answer.headers.upgrade, 'SPDY/3.1')
      assert.equal(answer.headers['x-stream-protocol-version'], chosen)
    }
  })

  test('what can not be upgraded is refused with a Status that says why', async () => {
    const refused = async (path: string, headers: Record<string, string>) => {
      const answer = await ask(path, headers)
      const status = JSON.parse(await text(answer)) as Record<string, unknown>
      assert.equal(status.kind, 'Status')
      assert.equal(status.code, answer.statusCode)
      return { headers: answer.headers, told: `${status.code} ${status.reason}: ${status.message}` }
    }
    const unknown = await refused(exec, { ...spdy, 'x-stream-protocol-version': 'v9.other' })
    assert.match(unknown.told, /^403 Forbidden: .*client supports \[v9\.other\]/)
    assert.match(String(unknown.headers['x-accepted-stream-protocol-versions']), /v4\.channel/)
    assert.match((await refused(exec, spdy)).told, /^400 BadRequest: .*Version is required/)
    assert.match((await refused(exec, {})).told, /^400 BadRequest: Upgrade request required/)
    const other = { connection: 'Upgrade', upgrade: 'h2c' }
    assert.match((await refused(exec, other)).told, /^400 BadRequest: .*speaks WebSocket and SPDY/)
    const nothing = exec.replace('&stdout=true', '')
    const version = { 'x-stream-protocol-version': 'v4.channel.k8s.io' }
    assert.match(
      (await refused(nothing, { ...spdy, ...version })).told,
      /^400 BadRequest: you must specify at least 1 of stdin, stdout, stderr/,
    )
    assert.match((await refused(forward, { ...spdy, ...version })).told, /portforward\.k8s\.io/)
  })
})
