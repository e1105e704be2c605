import assert from 'node:assert/strict'
import http2 from 'node:http2'
import net from 'node:net'
import test, { after, before } from 'node:test'
import tls from 'node:tls'
import * as grpc from '@grpc/grpc-js'
import { silentLogger } from '../base/index.ts'
import {
  AggregatedDiscoveryService,
  ca,
  create,
  DeltaDiscoveryResponseSchema,
  fromBinary,
  toBinary,
} from '../proto/index.ts'
import {
  createCaCertificate,
  generateEcKeyPair,
  issueCertificate,
  type KeyPair,
} from '../x509/index.ts'
import {
  type CallContext,
  GrpcChannel,
  GrpcError,
  GrpcServer,
  grpcStatus,
  type ServerStream,
} from './index.ts'

const identity = 'spiffe://cluster.local/ns/a/sa/b'
const serverName = 'istiod.istio-system.svc'
const unaryMethod = ca.IstioCertificateService.method.createCertificate
const bidiMethod = AggregatedDiscoveryService.method.deltaAggregatedResources
const requestOf = (csr: string) => create(ca.IstioCertificateRequestSchema, { csr })

interface Authority {
  readonly keys: KeyPair
  readonly pem: string
}

async function authority(name: string): Promise<Authority> {
  const keys = await generateEcKeyPair()
  const now = Date.now()
  const subject = { organizations: [name] }
  return {
    keys,
    pem: await createCaCertificate({
      keys,
      subject,
      notBefore: now - 1000,
      notAfter: now + 3_600_000,
    }),
  }
}

async function issued(
  by: Authority,
  names: { uris?: string[]; dns?: string[] },
  lifeMs = 3_000_000,
) {
  const keys = await generateEcKeyPair()
  const now = Date.now()
  const chainPem = await issueCertificate({
    issuer: { certificatePem: by.pem, key: by.keys.privateKey },
    publicKey: keys.publicKey,
    names,
    notBefore: now - 10_000,
    notAfter: now - 5_000 + lifeMs,
  })
  return { keyPem: keys.privatePem, chainPem }
}

let mesh: Authority
let server: GrpcServer
let port: number
let lastContext: CallContext | undefined
let onStream: (stream: ServerStream<unknown, Uint8Array>) => void = () => {}

before(async () => {
  mesh = await authority('cluster.local')
  const serving = await issued(mesh, { dns: [serverName] })
  server = new GrpcServer({
    listeners: [
      { host: '127.0.0.1', port: 0, tls: true },
      { host: '127.0.0.1', port: 0, tls: false },
    ],
    certificate: () => ({ ...serving, clientRootsPem: mesh.pem }),
    logger: silentLogger,
  })
  server.registerUnary(unaryMethod, async (request, context) => {
    lastContext = context
    if (request.csr === 'refuse') throw new GrpcError(grpcStatus.unauthenticated, 'no: token')
    if (request.csr === 'crash') throw new Error('secret detail')
    return create(ca.IstioCertificateResponseSchema, { certChain: [request.csr] })
  })
  server.registerBidi(bidiMethod, (stream) => onStream(stream))
  await server.start()
  port = server.ports[0] ?? 0
})

after(() => server.stop())

function channel(options: Partial<ConstructorParameters<typeof GrpcChannel>[0]> = {}): GrpcChannel {
  return new GrpcChannel({
    address: `127.0.0.1:${port}`,
    serverName,
    roots: () => mesh.pem,
    ...options,
  })
}

test('a call without client certificate has no identity, one with a good one has it', async () => {
  const plain = channel({ headers: () => ({ clusterid: 'Kubernetes' }) })
  assert.deepEqual((await plain.unary(unaryMethod, requestOf('x'))).certChain, ['x'])
  assert.equal(lastContext?.peer.identity, undefined)
  assert.match(lastContext?.peer.address ?? '', /^127\.0\.0\.1:\d+$/)
  assert.equal(lastContext?.header('clusterid'), 'Kubernetes')
  plain.close()

  const mine = await issued(mesh, { uris: [identity] })
  const known = channel({ clientCertificate: () => mine })
  await known.unary(unaryMethod, requestOf('x'))
  assert.equal(lastContext?.peer.identity, identity)
  known.close()
})

test('a certificate of a stranger, an expired one and an ambiguous one are never an identity', async () => {
  const stranger = await authority('cluster.local')
  const bad = [
    await issued(stranger, { uris: [identity] }),
    await issued(mesh, { uris: [identity] }, 0),
  ]
  for (const certificate of bad) {
    lastContext = undefined
    const refused = channel({ clientCertificate: () => certificate })
    await assert.rejects(refused.unary(unaryMethod, requestOf('x')), {
      status: grpcStatus.unavailable,
    })
    assert.equal(lastContext, undefined)
    refused.close()
  }
  const two = await issued(mesh, { uris: [identity, 'spiffe://cluster.local/ns/a/sa/root'] })
  const ambiguous = channel({ clientCertificate: () => two })
  await ambiguous.unary(unaryMethod, requestOf('x'))
  assert.equal((lastContext as CallContext | undefined)?.peer.identity, undefined)
  ambiguous.close()
})

test('a client refuses a server of another authority or of another name', async () => {
  const stranger = await authority('cluster.local')
  for (const options of [{ roots: () => stranger.pem }, { serverName: 'other.svc' }]) {
    const refusing = channel(options)
    await assert.rejects(refusing.unary(unaryMethod, requestOf('x')), {
      status: grpcStatus.unavailable,
    })
    refusing.close()
  }
})

test('a GrpcError reaches the caller, any other error only as INTERNAL without its text', async () => {
  const client = channel()
  await assert.rejects(client.unary(unaryMethod, requestOf('refuse')), {
    status: grpcStatus.unauthenticated,
    message: 'no: token',
  })
  await assert.rejects(client.unary(unaryMethod, requestOf('crash')), {
    status: grpcStatus.internal,
    message: 'internal error',
  })
  client.close()
})

test('a new serving certificate is used by the next connection, and a changed root file too', async () => {
  const next = await authority('next')
  const roots = { pem: mesh.pem }
  const client = channel({ roots: () => roots.pem })
  await client.unary(unaryMethod, requestOf('x'))
  server.setCertificate({
    ...(await issued(next, { dns: [serverName] })),
    clientRootsPem: next.pem,
  })
  await client.unary(unaryMethod, requestOf('the old connection goes on'))
  roots.pem = next.pem
  await client.unary(unaryMethod, requestOf('x'))
  client.close()
  server.setCertificate({
    ...(await issued(mesh, { dns: [serverName] })),
    clientRootsPem: mesh.pem,
  })
})

test('bytes pass through a stream unchanged to an ordinary grpc-js client', async () => {
  const message = toBinary(
    DeltaDiscoveryResponseSchema,
    create(DeltaDiscoveryResponseSchema, {
      nonce: 'n',
      typeUrl: 't',
      removedResources: ['a', 'b'],
    }),
  )
  onStream = (stream) => {
    stream.onMessage(() => void stream.send(message).then(() => stream.end()))
  }
  const client = new grpc.Client(`localhost:${server.ports[1]}`, grpc.credentials.createInsecure())
  const call = client.makeBidiStreamRequest(
    `/${bidiMethod.parent.typeName}/${bidiMethod.name}`,
    (bytes: Buffer) => bytes,
    (bytes: Buffer) => bytes,
  )
  call.write(Buffer.alloc(0))
  const got: Buffer[] = []
  call.on('data', (bytes: Buffer) => got.push(bytes))
  const status = await new Promise<grpc.StatusObject>((resolve) => call.on('status', resolve))
  assert.equal(status.code, 0)
  assert.deepEqual(got, [Buffer.from(message)])
  assert.equal(fromBinary(DeltaDiscoveryResponseSchema, message).nonce, 'n')
  client.close()
})

test('sending waits for a peer that does not read, and is told when it goes', async () => {
  const results: boolean[] = []
  const closed = Promise.withResolvers<void>()
  onStream = (stream) => {
    stream.onClose(() => closed.resolve())
    stream.onMessage(() => {})
    void (async () => {
      for (let index = 0; index < 30; index++)
        results.push(await stream.send(Buffer.alloc(1024 * 1024)))
    })()
  }
  const session = http2.connect(`http://127.0.0.1:${server.ports[1]}`)
  const call = session.request({
    ':method': 'POST',
    ':path': `/${bidiMethod.parent.typeName}/${bidiMethod.name}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  call.on('error', () => {})
  await new Promise((resolve) => setTimeout(resolve, 200))
  assert.ok(results.length < 4, `${results.length} messages left although nobody reads`)
  call.close(http2.constants.NGHTTP2_CANCEL)
  session.close()
  await closed.promise
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(results.at(-1), false)
})

test('TLS 1.2 is accepted, older is not, and sessions are never resumed', async () => {
  const connect = (options: tls.ConnectionOptions): Promise<tls.TLSSocket> =>
    new Promise((resolve, reject) => {
      const ca = mesh.pem
      const socket = tls.connect({
        port,
        host: '127.0.0.1',
        servername: serverName,
        ca,
        ALPNProtocols: ['h2'],
        ...options,
      })
      socket.once('secureConnect', () => resolve(socket))
      socket.once('error', reject)
    })
  const old = await connect({ maxVersion: 'TLSv1.2' })
  const session = old.getSession()
  assert.ok(session)
  old.destroy()
  const again = await connect({ maxVersion: 'TLSv1.2', session })
  assert.equal(again.isSessionReused(), false)
  again.destroy()
  await assert.rejects(
    connect({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }),
  )
})

test('a port in use is named with the way to find its owner', async () => {
  const taken = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => taken.once('listening', resolve))
  const { port: number } = taken.address() as net.AddressInfo
  const second = new GrpcServer({
    listeners: [{ host: '127.0.0.1', port: number, tls: false }],
    logger: silentLogger,
  })
  await assert.rejects(second.start(), (error: Error & { hint?: string }) => {
    return error.message.includes(`127.0.0.1:${number}`) && /ss -ltnp/.test(error.hint ?? '')
  })
  taken.close()
})

test('an empty token or root file fails the call with its name', async () => {
  const empty = channel({ roots: () => '\n' })
  await assert.rejects(empty.unary(unaryMethod, requestOf('x')), /root certificate is empty/)
  const missing = channel({ roots: '/nonexistent/root.pem' })
  await assert.rejects(missing.unary(unaryMethod, requestOf('x')), /\/nonexistent\/root.pem/)
})
