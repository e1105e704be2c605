import assert from 'node:assert'
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { connectSeqPacket, listenSeqPacket, type SeqPacketConnection } from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'weft-seqpacket-'))
after(() => rmSync(folder, { recursive: true }))
let count = 0
const newPath = (): string => join(folder, `s${++count}`)
const openFds = (): number => readdirSync('/proc/self/fd').length
const text = (value: string): Uint8Array => new TextEncoder().encode(value)

async function pair(maxBytes = 1024): Promise<{ a: SeqPacketConnection; b: SeqPacketConnection }> {
  const listener = await listenSeqPacket(newPath(), { maxBytes })
  const path = join(folder, `s${count}`)
  const [a, b] = await Promise.all([connectSeqPacket(path, { maxBytes }), listener.accept()])
  listener.close()
  assert.ok(b !== undefined)
  return { a, b }
}

/** What kill -9 leaves: the file without a listener. */
function leaveSocketFile(path: string): void {
  const room = JSON.stringify(join(import.meta.dirname, 'index.ts'))
  const source = `import { listenSeqPacket } from ${room}
    await listenSeqPacket(${JSON.stringify(path)})
    process.kill(process.pid, 'SIGKILL')`
  spawnSync(process.execPath, ['--input-type=module-typescript', '-e', source])
  assert.ok(existsSync(path))
}

describe('SEQPACKET sockets', { skip: process.platform !== 'linux' }, () => {
  it('keep packet boundaries, in both directions, whether the reader waits or not', async () => {
    const { a, b } = await pair()
    const early = b.receive()
    await a.send(text('one'))
    await a.send(text('two'))
    assert.deepStrictEqual((await early)?.data, text('one'))
    assert.deepStrictEqual(await b.receive(), { data: text('two'), fds: [] })
    await b.send(text('back'))
    assert.deepStrictEqual((await a.receive())?.data, text('back'))
    a.close()
    assert.strictEqual(await b.receive(), undefined)
    await assert.rejects(b.send(text('late')), { code: 'LINUX_EPIPE' })
    b.close()
  })

  it('carry descriptors, which the receiver owns and which are closed on exec', async () => {
    const { a, b } = await pair()
    const sent = [openSync('/proc/self/ns/net', 'r'), openSync('/proc/self/ns/mnt', 'r')]
    await a.send(text('add'), sent)
    const packet = await b.receive()
    assert.deepStrictEqual(
      packet?.fds.map((fd) => fstatSync(fd).ino),
      sent.map((fd) => fstatSync(fd).ino),
    )
    assert.ok(packet.fds.every((fd) => !sent.includes(fd)))
    for (const fd of [...sent, ...packet.fds]) closeSync(fd)
    a.close()
    b.close()
  })

  it('refuse packets that are too long, when sending and when receiving', async () => {
    const { a, b } = await pair(16)
    await assert.rejects(a.send(new Uint8Array(17)), {
      code: 'LINUX_PACKET_SIZE',
      message: /17 bytes/,
    })
    await assert.rejects(a.send(new Uint8Array(0)), { code: 'LINUX_PACKET_SIZE' })
    const path = newPath()
    const listener = await listenSeqPacket(path, { maxBytes: 16 })
    const big = await connectSeqPacket(path)
    const small = await listener.accept()
    const fd = openSync('/dev/null', 'r')
    const before = openFds()
    await big.send(new Uint8Array(17), [fd])
    await assert.rejects(async () => small?.receive(), { code: 'LINUX_PACKET_SIZE' })
    assert.strictEqual(openFds(), before, 'its descriptors are closed')
    closeSync(fd)
    for (const end of [a, b, big, small, listener]) end?.close()
  })

  it('hold packets back when the reader is slow, and lose none', async () => {
    const { a, b } = await pair(1024)
    const total = 600
    const sends = Array.from({ length: total }, (_, index) => {
      const data = new Uint8Array(1000)
      new DataView(data.buffer).setUint32(0, index)
      return a.send(data)
    })
    let done = false
    const sent = Promise.all(sends).then(() => (done = true))
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.strictEqual(done, false, 'the peer’s buffer is full')
    for (let index = 0; index < total; index++) {
      const packet = await b.receive()
      assert.strictEqual(
        new DataView(packet?.data.buffer ?? new ArrayBuffer(4)).getUint32(0),
        index,
      )
    }
    await sent
    a.close()
    b.close()
  })

  it('close ends a waiting receive and accept, and leaves no descriptor open', async () => {
    const warm = await pair()
    warm.a.close()
    warm.b.close()
    const before = openFds()
    const { a, b } = await pair()
    const waiting = a.receive()
    const fd = openSync('/dev/null', 'r')
    await a.send(text('never taken'), [fd])
    closeSync(fd)
    await new Promise((resolve) => setTimeout(resolve, 5))
    a.close()
    b.close()
    assert.strictEqual(await waiting, undefined)
    const path = newPath()
    const listener = await listenSeqPacket(path)
    const accepting = listener.accept()
    listener.close()
    assert.strictEqual(await accepting, undefined)
    assert.ok(!existsSync(path))
    assert.strictEqual(openFds(), before)
  })

  it('the socket file is private, a live server is respected, a dead one replaced', async () => {
    const path = newPath()
    const listener = await listenSeqPacket(path)
    assert.strictEqual(statSync(path).mode & 0o777, 0o600)
    await assert.rejects(listenSeqPacket(path), {
      code: 'LINUX_EADDRINUSE',
      message: /another process/,
    })
    const stale = newPath()
    leaveSocketFile(stale)
    await assert.rejects(connectSeqPacket(stale), { code: 'LINUX_ECONNREFUSED', retryable: true })
    const replaced = await listenSeqPacket(stale)
    replaced.close()
    listener.close()
    await assert.rejects(connectSeqPacket(path), { code: 'LINUX_ENOENT', hint: /Nothing listens/ })
    await assert.rejects(listenSeqPacket(`/tmp/${'x'.repeat(120)}`), { code: 'LINUX_SOCKET_PATH' })
  })

  it('tell who the peer is', async () => {
    const { a, b } = await pair()
    assert.deepStrictEqual(b.peer, {
      pid: process.pid,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
    })
    a.close()
    b.close()
  })
})
