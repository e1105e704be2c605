import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { MeshError } from '../../base/index.ts'
import {
  addressRecord,
  answerMessage,
  decodeMessage,
  encodeMessage,
  queryMessage,
} from '../../dns/index.ts'
import { askBroker, serveControl } from './control.ts'
import { EgressDialer, egressTarget } from './egress.ts'
import { lockHolder, takeLock } from './lock.ts'
import { listenOnLoopback } from './ports.ts'
import { checkPrerequisites } from './prerequisites.ts'
import { HostResolver, nameServersOf } from './resolver.ts'

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'weft-host-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

test('a port in use is refused with the process that has it and the flag to change it', async (t) => {
  const server = await listenOnLoopback(0, undefined)
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  await assert.rejects(listenOnLoopback(port, '--ingress-port'), (error: MeshError) => {
    assert.equal(error.code, 'BROKER_PORT_IN_USE')
    assert.match(
      error.message,
      new RegExp(`port ${port} is taken by .*process ${process.pid}.*uid`),
    )
    assert.match(error.hint ?? '', /--ingress-port/)
    return true
  })
})

test('the fence around the host: loopback, link, own addresses and nonsense are refused', () => {
  const fence = { hostAccess: false, ownAddresses: () => ['192.168.1.5'] }
  const open = { ...fence, hostAccess: true }
  for (const address of [
    '127.0.0.1',
    '127.8.8.8',
    '169.254.169.254',
    '169.254.1.2',
    '192.168.1.5',
    '::1',
    'fe80::1',
    '0.0.0.0',
    '224.0.0.1',
    '255.255.255.255',
    'x',
  ]) {
    assert.equal(egressTarget(address, fence), undefined, address)
  }
  assert.equal(egressTarget('192.168.1.6', fence), '192.168.1.6')
  assert.equal(egressTarget('169.254.1.2', open), '127.0.0.1')
  assert.equal(egressTarget('192.168.1.5', open), '192.168.1.5')
  assert.equal(egressTarget('0.0.0.0', open), undefined)
})

test('a dial gives a socket whose first bytes were not taken, or the errno', async (t) => {
  const server = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const dialer = new EgressDialer({ hostAccess: true, ownAddresses: () => [] })
  const dial = (number: number): Promise<string> =>
    new Promise((resolve) => {
      dialer.dial('127.0.0.1', number, (socket, errno) => {
        if (socket === undefined) return resolve(errno)
        assert.equal(socket.isPaused(), true)
        socket.once('data', (data) => {
          resolve(String(data))
          socket.destroy()
        })
        socket.resume()
      })
    })
  assert.equal(await dial(port), 'hello')
  assert.equal(await dial(1), 'ECONNREFUSED')
})

test("the host's name servers are asked in order until one answers", async (t) => {
  const good = createSocket('udp4').on('message', (data, peer) => {
    const query = decodeMessage(data)
    good.send(
      encodeMessage(answerMessage(query, { answers: [addressRecord('a.test', '192.0.2.1', 9)] })),
      peer.port,
      peer.address,
    )
  })
  good.bind(0, '127.0.0.1')
  await once(good, 'listening')
  t.after(() => good.close())
  const file = join(folder(t), 'resolv.conf')
  writeFileSync(file, '# none at 127.0.0.2\nnameserver 127.0.0.2\nnameserver 127.0.0.1\n')
  const resolver = new HostResolver(file, good.address().port)
  const answer = await resolver.resolve(encodeMessage(queryMessage(3, 'a.test', 1)))
  assert.ok(answer)
  assert.deepEqual(decodeMessage(answer).answers, [addressRecord('a.test', '192.0.2.1', 9)])
  assert.deepEqual(nameServersOf('search x\n'), [{ address: '127.0.0.1', port: 53 }])
})

test('a mesh name is held by one process on a machine, which says who it is', async (t) => {
  const name = `test-${process.pid}`
  assert.equal(await lockHolder(name), undefined)
  const holder = { pid: 4711, uid: 0, stateDirectory: '/somewhere' }
  const lock = await takeLock(name, holder)
  t.after(() => lock.close())
  assert.deepEqual(await lockHolder(name), holder)
  await assert.rejects(takeLock(name, holder), {
    code: 'BROKER_NAME_TAKEN',
    message: /already run by process 4711 of user root \(uid 0\) \(state in \/somewhere\)/,
  })
})

test('the control socket is private and passes progress, results and errors', async (t) => {
  const path = join(folder(t), 'control.sock')
  assert.equal(await askBroker(path, { method: 'status' }, { timeoutMs: 1000 }), undefined)
  const server = await serveControl(path, async (request, progress) => {
    progress({ step: 'one', status: 'done', elapsedMs: 1 })
    if (request.method === 'down') throw new MeshError('X_NO', 'no', { hint: 'yes' })
    return { method: request.method }
  })
  t.after(() => server.close())
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const steps: string[] = []
  const ask = { timeoutMs: 1000, onProgress: (event: { step: string }) => steps.push(event.step) }
  assert.deepEqual(await askBroker(path, { method: 'status' }, ask), {
    result: { method: 'status' },
  })
  assert.deepEqual(steps, ['one'])
  await assert.rejects(askBroker(path, { method: 'down' }, ask), { code: 'X_NO', hint: 'yes' })
})

test('a broker that is silent, or whose answer nobody waits for any more, holds nobody up', async (t) => {
  const path = join(folder(t), 'control.sock')
  const server = await serveControl(path, () => new Promise(() => {}))
  t.after(() => server.close())
  await assert.rejects(askBroker(path, { method: 'status' }, { timeoutMs: 100 }), {
    code: 'BROKER_SILENT',
  })
  const abort = new AbortController()
  const reason = new Error('interrupted')
  setTimeout(() => abort.abort(reason), 50)
  const ask = { timeoutMs: 10_000, signal: abort.signal }
  await assert.rejects(askBroker(path, { method: 'wait' }, ask), reason)
})

test('all that a machine lacks is told at once, each with its fix', async () => {
  const problems = await checkPrerequisites({
    mode: 'rootless',
    toolFolders: [],
    platform: 'linux',
    find: (name) => (['unshare', 'setpriv', 'mount'].includes(name) ? `/bin/${name}` : undefined),
    readFile: (path) =>
      path.endsWith('apparmor_restrict_unprivileged_userns') ? '1\n' : undefined,
    probe: async () => ({
      output: '',
      error: 'unshare: write failed /proc/self/uid_map: Operation not permitted',
    }),
  })
  assert.deepEqual(
    problems.map(({ what }) => what),
    ['tool nsenter', 'tool ip', 'tool nft', 'namespaces'],
  )
  assert.match(problems[3]?.fix ?? '', /apparmor_restrict_unprivileged_userns=0/)
})

test('each way of forbidding user namespaces has its own fix', async () => {
  const fixFor = async (path: string, value: string, error: string): Promise<string> => {
    const [problem] = await checkPrerequisites({
      mode: 'rootless',
      toolFolders: [],
      platform: 'linux',
      find: (name) => `/bin/${name}`,
      readFile: (asked) => (asked.endsWith(path) && path !== '' ? value : undefined),
      probe: async () => ({ output: '', error }),
    })
    return problem?.fix ?? ''
  }
  assert.match(await fixFor('max_user_namespaces', '0', ''), /user\.max_user_namespaces=/)
  assert.match(
    await fixFor('unprivileged_userns_clone', '0', ''),
    /kernel\.unprivileged_userns_clone=1/,
  )
  assert.match(
    await fixFor('', '', 'unshare: mount /proc failed: Operation not permitted'),
    /unmask=ALL/,
  )
  assert.match(
    await fixFor('', '', 'unshare failed: Operation not permitted'),
    /seccomp=unconfined/,
  )
})

test('a kernel that lacks a part is told by that part, and other systems by their name', async () => {
  const [missing] = await checkPrerequisites({
    mode: 'root',
    toolFolders: [],
    platform: 'linux',
    find: (name) => `/bin/${name}`,
    probe: async () => ({ output: 'tree ok\nlacks veth Error: Unknown device type.\n', error: '' }),
  })
  assert.match(missing?.message ?? '', /"veth".*Unknown device type/)
  assert.match(missing?.fix ?? '', /modprobe -a veth/)
  const [mac] = await checkPrerequisites({ mode: 'rootless', toolFolders: [], platform: 'darwin' })
  assert.match(mac?.message ?? '', /macOS/)
})
