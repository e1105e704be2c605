import assert from 'node:assert/strict'
import net from 'node:net'
import test, { before } from 'node:test'
import tls from 'node:tls'
import {
  createCaCertificate,
  generateEcKeyPair,
  issueCertificate,
  parseCertificate,
} from '../x509/index.ts'
import {
  tlsClientOptions,
  tlsServerOptions,
  verifyPeer,
  type WorkloadCertificate,
} from './index.ts'

const reviews = 'spiffe://cluster.local/ns/bookinfo/sa/reviews'
const productpage = 'spiffe://cluster.local/ns/bookinfo/sa/productpage'

type Issue = (identity: string, endsInMs?: number) => Promise<WorkloadCertificate>

async function authority(): Promise<Issue> {
  const keys = await generateEcKeyPair()
  const now = Date.now()
  const subject = { organizations: ['cluster.local'] }
  const rootsPem = await createCaCertificate({
    keys,
    subject,
    notBefore: now - 9e6,
    notAfter: now + 9e6,
  })
  return async (identity, endsInMs = 3_600_000) => {
    const own = await generateEcKeyPair()
    const chainPem = await issueCertificate({
      issuer: { certificatePem: rootsPem, key: keys.privateKey },
      publicKey: own.publicKey,
      names: { uris: [identity] },
      notBefore: now - 120_000,
      notAfter: now + endsInMs,
    })
    const { notBefore, notAfter, serial } = parseCertificate(chainPem)
    return { identity, keyPem: own.privatePem, chainPem, rootsPem, notBefore, notAfter, serial }
  }
}

let issue: Issue
before(async () => {
  issue = await authority()
})

interface Outcome {
  readonly client: string
  readonly server: string
}

/** One handshake over loopback; what each side made of the other. */
async function handshake(
  server: WorkloadCertificate,
  client: tls.ConnectionOptions,
  trustDomain = 'cluster.local',
): Promise<Outcome> {
  const listener = tls.createServer(tlsServerOptions(server))
  const seen = Promise.withResolvers<string>()
  listener.on('secureConnection', (socket) => {
    socket.on('error', () => {})
    try {
      seen.resolve(verifyPeer(socket, { trustDomain }))
      socket.end('hello')
    } catch (error) {
      seen.resolve(String(error))
      socket.destroy()
    }
  })
  listener.on('tlsClientError', (error) => seen.resolve(`refused: ${error.message}`))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as net.AddressInfo
  const result = await new Promise<string>((resolve) => {
    const socket = tls.connect({ ...client, host: '127.0.0.1', port })
    socket.on('error', (error) => resolve(`failed: ${error.message}`))
    socket.on('data', () => {
      const cipher = socket.getCipher().standardName
      resolve(
        `${socket.getProtocol()} ${cipher} ${socket.alpnProtocol} ${verifyPeer(socket, { trustDomain })}`,
      )
      socket.destroy()
    })
    socket.on('close', () => resolve('closed'))
  })
  // A client that refuses in the middle may leave the server without any event.
  const timer = setTimeout(() => seen.resolve('nothing'), 200)
  const outcome = { client: result, server: await seen.promise }
  clearTimeout(timer)
  listener.close()
  return outcome
}

test('two workloads of a mesh meet over TLS 1.3 and know each other', async () => {
  const outcome = await handshake(
    await issue(reviews),
    tlsClientOptions(await issue(productpage), new Set([reviews])),
  )
  assert.deepEqual(outcome, {
    client: `TLSv1.3 TLS_AES_256_GCM_SHA384 h2 ${reviews}`,
    server: productpage,
  })
})

test('a client refuses a server with another identity of the same mesh', async () => {
  const { client } = await handshake(
    await issue(reviews),
    tlsClientOptions(await issue(productpage), new Set([productpage])),
  )
  assert.match(client, /it is for spiffe:\/\/cluster.local\/ns\/bookinfo\/sa\/reviews, not for/)
})

test('a server refuses clients of other authorities or trust domains, expired or without certificate', async () => {
  const server = await issue(reviews)
  const accepted = new Set([reviews])
  const stranger = await (await authority())(productpage)
  const foreign = await issue('spiffe://other.domain/ns/bookinfo/sa/productpage')
  const old = await issue(productpage, -60_000)
  for (const [name, certificate] of [
    ['stranger', { ...stranger, rootsPem: server.rootsPem }],
    ['foreign', foreign],
    ['old', old],
  ] as const) {
    const outcome = await handshake(server, tlsClientOptions(certificate, accepted))
    assert.match(outcome.server, /refused|nothing/, name)
    assert.doesNotMatch(outcome.client, /TLSv1.3/, name)
  }
  const bare: tls.ConnectionOptions = { rejectUnauthorized: false, ALPNProtocols: ['h2'] }
  assert.doesNotMatch((await handshake(server, bare)).client, /TLSv1.3/)
  const outdated = {
    ...tlsClientOptions(await issue(productpage), accepted),
    maxVersion: 'TLSv1.2' as const,
  }
  const { secureContext: _, minVersion: __, ...rest } = outdated
  assert.match((await handshake(server, rest)).client, /failed/)
})

test('a session is never resumed, and no server name is sent', async () => {
  const server = await issue(reviews)
  const listener = tls.createServer(tlsServerOptions(server))
  const names: unknown[] = []
  listener.on('secureConnection', (socket) => {
    names.push(socket.servername)
    socket.on('error', () => {})
    socket.write('hello')
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as net.AddressInfo
  const certificate = await issue(productpage)
  let session: Buffer | undefined
  for (let round = 0; round < 2; round++) {
    const options = tlsClientOptions(certificate, new Set([reviews]))
    const socket = tls.connect({ ...options, host: '127.0.0.1', port, ...(session && { session }) })
    socket.on('session', (ticket) => (session = ticket))
    await new Promise((resolve, reject) => socket.once('data', resolve).once('error', reject))
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(socket.isSessionReused(), false)
    socket.destroy()
  }
  assert.deepEqual(names, [false, false])
  listener.close()
})
