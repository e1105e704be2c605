/** What clients do with running containers: terminals, attaching, copying files, old and recent logs. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import type { ExecSession, LogOptions } from '../../src/registry/index.ts'
import type { Pod } from '../../src/standalone/runtime/types.ts'
import { isReady, type PodBench, pod, shell, sleeper, until, untilPod } from './runtime-kit.ts'

/** What a session has shown so far. */
class Screen {
  #shown = ''

  constructor(session: ExecSession) {
    session.stdout.on('data', (chunk: Buffer) => (this.#shown += chunk.toString()))
  }

  shows(wanted: RegExp): Promise<true> {
    return until(`${wanted}`, () => (wanted.test(this.#shown) ? true : undefined)).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}; shown: ${JSON.stringify(this.#shown)}`)
      },
    )
  }
}

export function streamCases(bench: PodBench): void {
  const { create, exec, reference, remove } = bench
  const attach = (subject: Pod, tty: boolean): Promise<ExecSession> =>
    bench.runtime.backend.attach(reference(subject), { container: '', stdin: true, tty })

  void test('several clients attach to a terminal, type, resize it and leave; it goes on', async () => {
    const main = { ...shell('main', 'exec sh -i'), stdin: true, tty: true }
    await create(pod('shared', { containers: [main] }))
    const subject = await untilPod(bench.client, 'shared', isReady)
    const one = await attach(subject, true)
    const two = await attach(subject, true)
    const [first, second] = [new Screen(one), new Screen(two)]
    one.resize(93, 37)
    one.stdin?.write('tty; stty size; id -u\n')
    await Promise.all([first.shows(/\/dev\/pts\/0\r\n37 93\r\n/), second.shows(/37 93\r\n/)])
    one.stdin?.end()
    one.kill()
    assert.equal(await one.exitCode, 0)
    two.stdin?.write('echo $((6 * 7)) > /dev/tty\n')
    await second.shows(/[ \n]42\r\n/)
    two.stdin?.write('exit 9\n')
    assert.equal(await two.exitCode, 0, 'how the container ended is in the status of the pod')
    const ended = await untilPod(
      bench.client,
      'shared',
      (p) => p.status?.containerStatuses?.[0]?.lastState.terminated?.exitCode === 9,
    )
    assert.equal(ended.metadata.uid, subject.metadata.uid)
    await remove('shared')
  })

  void test('the input of a container ends with its first client when it says stdinOnce', async () => {
    const main = { ...shell('main', 'wc -c'), stdin: true, stdinOnce: true }
    await create(pod('once', { restartPolicy: 'Never', containers: [main] }))
    const subject = await untilPod(bench.client, 'once', isReady)
    const session = await attach(subject, false)
    const screen = new Screen(session)
    session.stdin?.end('12345')
    await screen.shows(/^5\n/)
    await untilPod(bench.client, 'once', (p) => p.status?.phase === 'Succeeded')
    await remove('once')
  })

  void test('a terminal’s session ends when its client hangs up', async () => {
    await create(pod('hangup', sleeper))
    const subject = await untilPod(bench.client, 'hangup', isReady)
    const sleeps = 'cat /proc/[0-9]*/cmdline'
    const options = { container: '', command: ['sh'], stdin: true, tty: true }
    const session = await bench.runtime.backend.exec(reference(subject), options)
    const screen = new Screen(session)
    session.stdin?.write('echo started; sleep 4711\n')
    await screen.shows(/[ \n]started\r\n/)
    await until('the sleep', async () =>
      (await exec(subject, sleeps)).out.includes('4711') ? true : undefined,
    )
    session.kill()
    await until('the end of what it had started', async () =>
      (await exec(subject, sleeps)).out.includes('4711') ? undefined : true,
    )
    const typed = await bench.runtime.backend.exec(reference(subject), {
      ...options,
      command: ['cat'],
    })
    const shown = text(typed.stdout)
    typed.stdin?.end('no newline')
    assert.equal(await typed.exitCode, 0, 'the end of the input is typed')
    assert.match(await shown, /no newline.*no newline/s)
    await remove('hangup')
  })

  void test('files that belong to somebody else can be copied in, as kubectl cp does it', async () => {
    await create(pod('copied', sleeper))
    const subject = await untilPod(bench.client, 'copied', isReady)
    const folder = mkdtempSync(join(tmpdir(), 'weft-cp-'))
    writeFileSync(join(folder, 'a'), 'content')
    const archive = execFileSync('tar', [
      '-cf',
      '-',
      '--owner=1234',
      '--group=1234',
      '-C',
      folder,
      'a',
    ])
    rmSync(folder, { recursive: true })
    const session = await bench.runtime.backend.exec(reference(subject), {
      container: '',
      command: ['tar', '-xmf', '-', '-C', '/tmp'],
      stdin: true,
      tty: false,
    })
    session.stdout.resume()
    const complaints = text(session.stderr ?? session.stdout)
    session.stdin?.end(archive)
    assert.equal(await session.exitCode, 0, await complaints)
    assert.equal((await exec(subject, 'cat /tmp/a')).out, 'content')
    await remove('copied')
  })

  void test('logs begin where they are asked to: by lines, time, and the run before', async () => {
    const script =
      'if [ -e /w/x ]; then echo second; exec sleep 1000; fi; touch /w/x; echo a; echo b'
    const main = { ...shell('main', script), volumeMounts: [{ name: 'w', mountPath: '/w' }] }
    await create(pod('logged', { containers: [main], volumes: [{ name: 'w', emptyDir: {} }] }))
    const subject = await untilPod(
      bench.client,
      'logged',
      (p) => p.status?.containerStatuses?.[0]?.restartCount === 1 && isReady(p),
    )
    const read = async (options: Partial<LogOptions>): Promise<string> => {
      const all = { container: '', follow: false, previous: false, timestamps: false, ...options }
      return text(await bench.runtime.backend.logs(reference(subject), all))
    }
    await until('the log', async () => ((await read({})) === 'second\n' ? true : undefined))
    assert.equal(await read({ previous: true }), 'a\nb\n')
    assert.equal(await read({ previous: true, tailLines: 1 }), 'b\n')
    assert.equal(await read({ tailLines: 0 }), '')
    assert.equal(await read({ limitBytes: 3 }), 'sec')
    assert.equal(await read({ sinceSeconds: 3600 }), 'second\n')
    assert.match(await read({ timestamps: true }), /^\d{4}-\d\d-\d\dT[\d:.]{18}Z second\n$/)
    const [stamp = ''] = (await read({ timestamps: true })).split(' ')
    assert.equal(await read({ sinceTime: stamp }), 'second\n')
    const later = new Date(Date.parse(stamp) + 1_000).toISOString()
    assert.equal(await read({ sinceTime: later }), '')
    const following = await bench.runtime.backend.logs(reference(subject), {
      container: '',
      follow: true,
      previous: false,
      timestamps: false,
    })
    const followed = text(following)
    await remove('logged')
    assert.equal(await followed, 'second\n', 'it ends with the container')
  })
}
