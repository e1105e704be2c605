/** A connection that is reset while both directions are full, over real TLS. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import test, { type TestContext } from 'node:test'
import tls from 'node:tls'
import { systemClock } from '../base/index.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../x509/index.ts'
import { HboneClientPool, type HboneStream, serveHbone } from './index.ts'

/** What a PING without an answer would take. */
const pingMs = 20_000

async function certificates() {
  const [keys, own] = [await generateEcKeyPair(), await generateEcKeyPair()]
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
  const subject = { organizations: ['test'] }
  const rootPem = await createCaCertificate({ keys, subject, ...validity })
  const issuer = { certificatePem: rootPem, key: keys.privateKey }
  const names = { dns: ['peer'] }
  const chainPem = await issueCertificate({ issuer, publicKey: own.publicKey, names, ...validity })
  return { rootPem, chainPem, keyPem: own.privatePem }
}

async function listen(t: TestContext, onConnection: (socket: net.Socket) => void): Promise<number> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

test('a reset under full load ends both ends at once, and the next stream takes a new connection', async (t) => {
  const { rootPem, chainPem, keyPem } = await certificates()
  let served = 0
  let ended = 0
  const handshakes = tls.createServer({ key: keyPem, cert: chainPem, ALPNProtocols: ['h2'] })
  handshakes.on('secureConnection', (socket) => {
    served++
    const onRequest = (request: Parameters<Parameters<typeof serveHbone>[1]['onRequest']>[0]) => {
      const stream = request.accept()
      stream.pipe(stream)
    }
    void serveHbone(socket, { clock: systemClock, onRequest }).closed.then(() => ended++)
  })
  const port = await listen(t, (socket) => void handshakes.emit('connection', socket))
  const wires: net.Socket[] = []
  const way = await listen(t, (near) => {
    const far = net.connect({ host: '127.0.0.1', port }).on('error', () => {})
    near.pipe(far).pipe(near)
    wires.push(near, far)
  })
  const pool = new HboneClientPool({ clock: systemClock })
  t.after(() => pool.close())
  const open = (): Promise<HboneStream> =>
    pool.connect({
      key: 'k',
      authority: '10.0.0.1:80',
      openTls: async () => {
        const options = { host: '127.0.0.1', port: way, ca: rootPem, servername: 'peer' }
        const socket = tls.connect({ ...options, ALPNProtocols: ['h2'] })
        await once(socket, 'secureConnect')
        return socket
      },
    })
  const streams = await Promise.all([open(), open(), open(), open()])
  const closed = streams.map((stream) => {
    const push = (): void => {
      while (!stream.destroyed && stream.write(Buffer.alloc(65_000)));
    }
    stream.on('drain', push).on('error', () => {})
    // The reader stops now and then, as an application does: both directions are full.
    stream.on('data', () => {
      stream.pause()
      setTimeout(() => stream.resume(), 20)
    })
    push()
    return new Promise<void>((resolve) => void stream.once('close', resolve))
  })
  await new Promise((resolve) => setTimeout(resolve, 300))
  const startedAt = performance.now()
  for (const socket of wires) socket.resetAndDestroy()
  const next = await open()
  next.end('x')
  assert.equal(String((await once(next, 'data'))[0]), 'x')
  await Promise.all(closed)
  while (ended < 1) await new Promise((resolve) => setTimeout(resolve, 20))
  const tookMs = performance.now() - startedAt
  assert.ok(tookMs < pingMs / 2, `noticed after ${tookMs} ms`)
  assert.equal(served, 2)
})
