/** Network namespaces and sockets inside them; skipped, loudly, where the kernel refuses namespaces. */
import assert from 'node:assert'
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readlinkSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import {
  closeFd,
  connectTcp,
  createNetns,
  currentNetns,
  dupFd,
  fdOf,
  findTool,
  inodeOf,
  ipBatch,
  listenTcp,
  openNetns,
  originalDestination,
  removeNetns,
  runRules,
  runTool,
  SystemCallError,
  setMark,
  tcpSocket,
  udpSocket,
  withNetns,
} from './index.ts'

function refusal(): string | undefined {
  try {
    closeFd(createNetns())
    return undefined
  } catch (error) {
    if (error instanceof SystemCallError && error.errno === 'EPERM') {
      process.stderr.write(`SKIPPED src/linux/netns.test.ts: ${error.message} ${error.hint}\n`)
      return error.message
    }
    throw error
  }
}

const refused = refusal()
const servers: Server[] = []
/** Closed at the end also when an assertion fails in between. */
const listening = async (server: Server, fd: number): Promise<number> => {
  servers.push(server)
  server.on('connection', (socket) => socket.unref())
  server.listen({ fd })
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

describe('network namespaces', { skip: refused }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-netns-'))
  const netns = createNetns()
  const own = readlinkSync('/proc/self/ns/net')
  after(() => {
    for (const server of servers) server.close()
    closeFd(netns)
    rmSync(folder, { recursive: true })
  })

  it('a created namespace is another one, and this thread is back home', () => {
    const here = currentNetns()
    assert.notStrictEqual(inodeOf(netns), inodeOf(here))
    assert.strictEqual(readlinkSync('/proc/self/ns/net'), own)
    closeFd(here)
  })

  it('withNetns goes there and back, also when the action throws, and nests', () => {
    const second = createNetns()
    const here = (): bigint => {
      const fd = currentNetns()
      try {
        return inodeOf(fd)
      } finally {
        closeFd(fd)
      }
    }
    const home = here()
    assert.throws(() => withNetns(netns, () => assert.fail('inside')), /inside/)
    assert.strictEqual(here(), home)
    const seen = withNetns(netns, () => [here(), withNetns(second, here), here()])
    assert.deepStrictEqual(seen, [inodeOf(netns), inodeOf(second), inodeOf(netns)])
    assert.strictEqual(here(), home)
    closeFd(second)
  })

  it('withNetns refuses asynchronous actions, because their rest would run at home', () => {
    assert.throws(() => withNetns(netns, async () => {}), /synchronous/)
  })

  it('a bind mount keeps the namespace by name until it is removed', () => {
    const path = join(folder, 'kept')
    const fd = createNetns(path)
    const inode = inodeOf(fd)
    closeFd(fd)
    const again = openNetns(path)
    assert.strictEqual(inodeOf(again), inode)
    const copy = dupFd(again)
    assert.strictEqual(inodeOf(copy), inode)
    closeFd(copy)
    closeFd(again)
    removeNetns(path)
    assert.ok(!existsSync(path))
    removeNetns(path)
  })

  it('an error names the call, the errno and what to do', () => {
    assert.throws(
      () => withNetns(0, () => {}),
      (error) =>
        error instanceof SystemCallError &&
        error.errno === 'EINVAL' &&
        /setns failed/.test(error.message) &&
        /not a network namespace/.test(error.hint ?? ''),
    )
    assert.throws(() => openNetns(join(folder, 'absent')), {
      code: 'LINUX_NETNS_OPEN',
      hint: /gone/,
    })
    assert.throws(() => listenTcp({ netnsFd: netns, family: 4, address: '10.9.9.9', port: 80 }), {
      code: 'LINUX_EADDRNOTAVAIL',
      hint: /No interface/,
    })
  })

  it('child processes spawned inside belong to the namespace', async () => {
    await ipBatch(
      ['link add probe0 type veth peer name probe1', 'addr add 10.1.2.3/32 dev probe0'],
      { netnsFd: netns },
    )
    const inside = await runTool({
      path: findTool('ip') ?? 'ip',
      args: ['-o', 'addr'],
      netnsFd: netns,
    })
    assert.match(inside.stdout, /10\.1\.2\.3/)
    assert.match(inside.stdout, /127\.0\.0\.1/, 'lo is up')
    assert.doesNotMatch(execFileSync('ip', ['-o', 'addr'], { encoding: 'utf8' }), /10\.1\.2\.3/)
  })

  it('ipBatch ignores what it is told to and no more', async () => {
    const lines = ['addr add 10.1.2.3/32 dev lo', 'addr add 10.1.2.4/32 dev lo']
    await ipBatch(lines.slice(0, 1), { netnsFd: netns })
    await ipBatch(lines, { netnsFd: netns, ignore: /File exists|already assigned/ })
    await assert.rejects(ipBatch(['addr add 10.1.2.4/32 dev lo'], { netnsFd: netns }), {
      code: 'LINUX_RULES_REFUSED',
    })
    await assert.rejects(
      ipBatch(['link set absent up'], { netnsFd: netns, ignore: /File exists/ }),
      /absent/,
    )
  })

  it('a listener and a client socket in the namespace meet there, with a chosen source', async () => {
    const server = createServer({ allowHalfOpen: true })
    const port = await listening(
      server,
      listenTcp({
        netnsFd: netns,
        family: 4,
        address: '127.0.0.1',
        port: 0,
        mark: 0x539,
        reusePort: true,
        transparent: true,
        keepalive: { idle: 180, interval: 180, count: 9 },
      }),
    )
    const accepted = once(server, 'connection')
    const client = await connectTcp({
      netnsFd: netns,
      host: '127.0.0.1',
      port,
      mark: 0x539,
      bind: { address: '127.7.7.7', port: 0 },
    })
    const [peer] = (await accepted) as [Socket]
    assert.strictEqual(peer.remoteAddress, '127.7.7.7')
    setMark(fdOf(peer), 0x111)
    // Half-close one way, data the other way.
    client.end('ping')
    peer.once('end', () => peer.end('pong'))
    peer.resume()
    client.setEncoding('utf8')
    let answer = ''
    for await (const chunk of client) answer += chunk
    assert.strictEqual(answer, 'pong')
    await assert.rejects(connectTcp({ host: '127.0.0.1', port }), {
      code: /ECONNREFUSED|ENETUNREACH/,
    })
  })

  it('a connection to nowhere ends by abort or timeout', async () => {
    await ipBatch(
      ['link set probe0 up', 'link set probe1 up', 'route replace default dev probe0'],
      { netnsFd: netns },
    )
    const options = { netnsFd: netns, host: '192.0.2.1', port: 9 }
    await assert.rejects(connectTcp(options, AbortSignal.timeout(20)), { name: 'TimeoutError' })
    await assert.rejects(connectTcp({ ...options, connectTimeoutMs: 20 }), { code: 'ETIMEDOUT' })
    await assert.rejects(connectTcp(options, AbortSignal.abort(new Error('no'))), /no/)
  })

  it('two listeners share a port with SO_REUSEPORT', () => {
    const options = { netnsFd: netns, family: 4, address: '127.0.0.1', reusePort: true } as const
    const first = listenTcp({ ...options, port: 15001 })
    const second = listenTcp({ ...options, port: 15001 })
    closeFd(first)
    closeFd(second)
  })

  it('an IPv6 listener serves both families', async () => {
    const server = createServer((socket) => socket.end())
    const port = await listening(
      server,
      listenTcp({ netnsFd: netns, family: 6, address: '::', port: 0 }),
    )
    for (const host of ['127.0.0.1', '::1']) {
      const socket = await connectTcp({ netnsFd: netns, host, port })
      socket.destroy()
    }
  })

  it('UDP sockets made in the namespace work with dgram', async () => {
    const options = { netnsFd: netns, family: 4, address: '127.0.0.1', port: 0 } as const
    const [server, client] = [createSocket('udp4'), createSocket('udp4')]
    // Unlike a bind by address, this one is done when it returns.
    server.bind({ fd: udpSocket(options) })
    client.bind({ fd: udpSocket(options) })
    const received = once(server, 'message')
    client.send('hello', server.address().port, '127.0.0.1')
    assert.strictEqual(String((await received)[0]), 'hello')
    server.close()
    client.close()
  })

  it('the original destination of redirected connections is told, for both families', async (context) => {
    const nft = findTool('nft')
    if (nft === undefined) return context.skip('nft is not installed')
    await runRules({
      path: nft,
      args: ['-f', '-'],
      netnsFd: netns,
      stdin: `add table inet t
add chain inet t o { type nat hook output priority -100; }
add rule inet t o tcp dport 7777 redirect to :15111
`,
    })
    const server = createServer((socket) => socket.end())
    await listening(server, listenTcp({ netnsFd: netns, family: 6, address: '::', port: 15111 }))
    for (const host of ['127.0.0.9', '::1']) {
      const accepted = once(server, 'connection')
      const client = await connectTcp({ netnsFd: netns, host, port: 7777 })
      const [socket] = (await accepted) as [Socket]
      assert.deepStrictEqual(originalDestination(socket), {
        address: host,
        port: 7777,
        family: host.includes(':') ? 6 : 4,
      })
      client.destroy()
    }
  })

  it('refused rules are quoted with the line', async (context) => {
    const nft = findTool('nft')
    if (nft === undefined) return context.skip('nft is not installed')
    await assert.rejects(
      runRules({
        path: nft,
        args: ['-f', '-'],
        netnsFd: netns,
        stdin: 'add table inet ok\nadd nonsense\n',
      }),
      (error) =>
        error instanceof Error && 'hint' in error && /add nonsense/.test(String(error.hint)),
    )
  })

  it('an unconnected descriptor can be taken over by net.Socket', async () => {
    const server = createServer((socket) => socket.end('x'))
    const port = await listening(
      server,
      listenTcp({ netnsFd: netns, family: 4, address: '127.0.0.1', port: 0 }),
    )
    const socket = new Socket({ fd: tcpSocket({ netnsFd: netns, family: 4 }) })
    socket.connect({ host: '127.0.0.1', port })
    await once(socket, 'data')
    socket.destroy()
  })
})
