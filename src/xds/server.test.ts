import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock, silentLogger, systemClock } from '../base/index.ts'
import { type CallContext, GrpcChannel, GrpcError, GrpcServer, grpcStatus } from '../grpc/index.ts'
import {
  AggregatedDiscoveryService,
  create,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  typeUrl,
} from '../proto/index.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../x509/index.ts'
import { createDeltaClient, type DeltaClientOptions, type DeltaType } from '../xdsclient/index.ts'
import { MemorySource, testProxy } from './fixture.ts'
import { createXdsServer, type XdsServerOptions } from './index.ts'
import { noMetrics } from './metrics.ts'

const serverName = 'istiod.istio-system.svc'
const identity = 'spiffe://cluster.local/ns/istio-system/sa/ztunnel'
const method = AggregatedDiscoveryService.method.deltaAggregatedResources

async function certificates() {
  const now = Date.now()
  const keys = await generateEcKeyPair()
  const own = await generateEcKeyPair()
  const validity = { notBefore: now - 1000, notAfter: now + 3_600_000 }
  const rootPem = await createCaCertificate({
    keys,
    subject: { organizations: ['cluster.local'] },
    ...validity,
  })
  const chainPem = await issueCertificate({
    issuer: { certificatePem: rootPem, key: keys.privateKey },
    publicKey: own.publicKey,
    names: { dns: [serverName] },
    ...validity,
  })
  return { rootPem, certificate: { keyPem: own.privatePem, chainPem, clientRootsPem: rootPem } }
}

const authenticate = async (context: CallContext) => {
  if (context.header('authorization') === 'Bearer good') return { identity }
  throw new GrpcError(grpcStatus.unauthenticated, 'authentication failure')
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 3000
  while (!condition()) {
    assert.ok(Date.now() < deadline, `not within 3 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

async function world(options: Partial<XdsServerOptions> = {}) {
  const source = new MemorySource(typeUrl.address, typeUrl.authorization)
  const { rootPem, certificate } = await certificates()
  const nacks: string[] = []
  const makeXds = () =>
    createXdsServer({
      source,
      authenticate,
      clock: systemClock,
      logger: silentLogger,
      limits: { debounceQuietMs: 10, debounceMaxMs: 200 },
      ...options,
      metrics: { ...noMetrics, nacked: (type) => nacks.push(type) },
    })
  let xds = makeXds()
  let server: GrpcServer
  let port = 0
  const up = async (): Promise<void> => {
    xds = makeXds()
    server = new GrpcServer({
      listeners: [{ host: '127.0.0.1', port, tls: true }],
      certificate: () => certificate,
      logger: silentLogger,
    })
    xds.register(server)
    await xds.start()
    await server.start()
    port = server.ports[0] ?? 0
  }
  const down = async (): Promise<void> => {
    await xds.stop()
    await server.stop(0)
  }
  await up()
  const base = () => ({ address: `127.0.0.1:${port}`, serverName, clusterId: 'Kubernetes' })
  return {
    source,
    rootPem,
    nacks,
    up,
    down,
    connections: () => xds.connections(),
    client: (types: readonly DeltaType[], more: Partial<DeltaClientOptions> = {}) =>
      createDeltaClient({
        ...base(),
        rootCa: () => rootPem,
        token: () => 'good',
        node: { id: testProxy.id, metadata: { NAMESPACE: 'istio-system' } },
        types,
        logger: silentLogger,
        clock: systemClock,
        ...more,
      }),
    /** A stream with nothing around it. */
    raw: (headers: Record<string, string> = { authorization: 'Bearer good' }) => {
      const channel = new GrpcChannel({ ...base(), roots: () => rootPem, headers: () => headers })
      const stream = channel.bidi(method)
      const responses: DeltaDiscoveryResponse[] = []
      const settings = { acknowledges: false }
      const end = new Promise<{ status: number; message: string }>((resolve) =>
        stream.onEnd(resolve),
      )
      stream.onMessage((response) => {
        responses.push(response)
        const { typeUrl: type, nonce } = response
        if (!settings.acknowledges) return
        const request = create(DeltaDiscoveryRequestSchema, { typeUrl: type, responseNonce: nonce })
        stream.send(request)
      })
      return {
        responses,
        settings,
        end,
        send: (request: Parameters<typeof create<typeof DeltaDiscoveryRequestSchema>>[1]) =>
          stream.send(create(DeltaDiscoveryRequestSchema, request) as DeltaDiscoveryRequest),
        close: () => {
          stream.cancel()
          channel.close()
        },
      }
    },
  }
}

/** Keeps what it is given, as a proxy does; refuses what `refuses` says. */
function keeper(type: string, wildcard = true) {
  const held = new Map<string, string>()
  const refused = new Set<string>()
  return {
    typeUrl: type,
    wildcard,
    held,
    refused,
    received: 0,
    onResource(name: string, bytes: Uint8Array) {
      this.received++
      const content = Buffer.from(bytes).toString()
      if (refused.has(content)) throw new Error(`${content} is not supported`)
      held.set(name, content)
    },
    onRemoved(name: string) {
      held.delete(name)
    },
  }
}

const node = { id: testProxy.id, metadata: { NAMESPACE: 'istio-system' } }

test('a proxy gets everything, then changes; it is ready after the first answer of each type', async () => {
  const mesh = await world()
  mesh.source.set(typeUrl.address, 'pod-a', 'one')
  mesh.source.set(typeUrl.authorization, 'ns/deny', 'rule')
  const addresses = keeper(typeUrl.address)
  const policies = keeper(typeUrl.authorization)
  const client = mesh.client([addresses, policies])
  await client.start()
  await client.ready
  assert.deepEqual([...addresses.held], [['pod-a', 'one']])
  assert.deepEqual([...policies.held], [['ns/deny', 'rule']])
  mesh.source.set(typeUrl.address, 'pod-b', 'two')
  mesh.source.delete(typeUrl.address, 'pod-a')
  mesh.source.set(typeUrl.address, 'pod-b', 'three')
  await until(() => addresses.held.get('pod-b') === 'three', 'the change arrives')
  assert.deepEqual([...addresses.held.keys()], ['pod-b'])
  assert.equal(policies.received, 1)
  await until(() => mesh.connections()[0]?.types[0]?.versionAcked === '5', 'the acknowledgement')
  const [info] = mesh.connections()
  assert.equal(info?.node.identity, identity)
  assert.equal(info?.node.name, 'ztunnel-a')
  const [type] = info?.types ?? []
  assert.deepEqual(
    [type?.typeUrl, type?.wildcard, type?.nonceSent === type?.nonceAcked, type?.error],
    [typeUrl.address, true, true, undefined],
  )
  await client.stop()
  await until(() => mesh.connections().length === 0, 'the connection is forgotten')
  await mesh.down()
})

test('one bad resource is rejected with its reason and does not hold up the others', async () => {
  const mesh = await world()
  mesh.source.set(typeUrl.address, 'good', 'one')
  mesh.source.set(typeUrl.address, 'bad', 'poison')
  const addresses = keeper(typeUrl.address)
  addresses.refused.add('poison')
  const client = mesh.client([addresses])
  await client.start()
  await until(() => mesh.connections()[0]?.types[0]?.error !== undefined, 'the rejection')
  assert.equal(mesh.connections()[0]?.types[0]?.error, 'bad: poison is not supported')
  assert.deepEqual(mesh.nacks, [typeUrl.address])
  assert.deepEqual([...addresses.held.keys()], ['good'])
  let ready = false
  void client.ready.then(() => (ready = true))
  mesh.source.set(typeUrl.address, 'bad', 'cured')
  await until(() => ready, 'ready after the first acknowledged response')
  assert.equal(addresses.held.get('bad'), 'cured')
  // The server clears it when the acknowledgement arrives.
  await until(() => mesh.connections()[0]?.types[0]?.error === undefined, 'no error any more')
  await client.stop()
  await mesh.down()
})

test('after a restart of the server a proxy keeps its state and gets only what differs', async () => {
  const mesh = await world()
  for (let index = 0; index < 20; index++) mesh.source.set(typeUrl.address, `pod-${index}`, 'one')
  const addresses = keeper(typeUrl.address)
  addresses.refused.add('poison')
  let connected = 0
  const client = mesh.client([addresses], { onConnected: () => connected++ })
  await client.start()
  await client.ready
  mesh.source.set(typeUrl.address, 'pod-1', 'poison')
  mesh.source.set(typeUrl.address, 'pod-2', 'poison')
  await until(() => addresses.received === 22, 'the rejected updates')
  await mesh.down()
  await until(() => !client.connected, 'the loss')
  assert.equal(addresses.held.size, 20)
  mesh.source.delete(typeUrl.address, 'pod-0')
  mesh.source.delete(typeUrl.address, 'pod-1')
  mesh.source.set(typeUrl.address, 'pod-3', 'two')
  await mesh.up()
  await until(() => connected === 2, 'the reconnection')
  await until(() => addresses.held.get('pod-3') === 'two', 'the difference')
  // pod-2 is not claimed and comes again; pod-1 is not claimed and is gone.
  assert.equal(addresses.received, 24)
  assert.equal(addresses.held.has('pod-0'), false)
  assert.equal(addresses.held.has('pod-1'), false)
  assert.equal(addresses.held.get('pod-2'), 'one')
  await client.stop()
  await mesh.down()
})

test('names on demand: nothing at first, an answer for each, absence included, also after a reconnection', async () => {
  const mesh = await world()
  mesh.source.set(typeUrl.address, 'c//Pod/ns/a', 'one', ['net/10.0.0.1'])
  const addresses = keeper(typeUrl.address, false)
  const client = mesh.client([addresses])
  await client.start()
  await client.ready
  const early = client.demand(typeUrl.address, 'net/10.0.0.1')
  await early
  assert.deepEqual([...addresses.held], [['c//Pod/ns/a', 'one']])
  await client.demand(typeUrl.address, 'net/10.0.0.2')
  assert.equal(addresses.received, 1)
  mesh.source.set(typeUrl.address, 'c//Pod/ns/b', 'two', ['net/10.0.0.2'])
  mesh.source.set(typeUrl.address, 'c//Pod/ns/unasked', 'x', ['net/10.0.0.3'])
  await until(() => addresses.held.get('c//Pod/ns/b') === 'two', 'the name that appeared')
  await mesh.down()
  await until(() => !client.connected, 'the loss')
  const waiting = client.demand(typeUrl.address, 'net/10.0.0.3')
  await mesh.up()
  await waiting
  assert.equal(addresses.held.get('c//Pod/ns/unasked'), 'x')
  assert.equal(addresses.received, 3)
  await client.stop()
  await mesh.down()
})

test('who has no token, a wrong node or comes too early is refused with the status for it', async () => {
  const mesh = await world()
  const status = async (
    headers: Record<string, string> | undefined,
    wire: { id: string; metadata?: Record<string, string> },
  ): Promise<{ status: number; message: string }> => {
    const stream = mesh.raw(headers)
    stream.send({ typeUrl: typeUrl.address, node: wire })
    const end = await stream.end
    stream.close()
    assert.deepEqual(stream.responses, [])
    return end
  }
  assert.equal((await status({}, node)).status, grpcStatus.unauthenticated)
  assert.equal(
    (await status({ authorization: 'Bearer bad' }, node)).status,
    grpcStatus.unauthenticated,
  )
  assert.equal((await status(undefined, { id: 'nonsense' })).status, grpcStatus.invalidArgument)
  const elsewhere = await status(undefined, { ...node, metadata: { NAMESPACE: 'bookinfo' } })
  assert.equal(elsewhere.status, grpcStatus.permissionDenied)
  assert.match(elsewhere.message, /says namespace bookinfo, but authenticated as spiffe/)
  const account = { NAMESPACE: 'istio-system', SERVICE_ACCOUNT: 'istiod' }
  assert.equal(
    (await status(undefined, { ...node, metadata: account })).status,
    grpcStatus.permissionDenied,
  )
  mesh.source.ready = false
  assert.equal((await status(undefined, node)).status, grpcStatus.unavailable)
  await mesh.down()
})

test('a stale nonce acknowledges nothing, but its subscriptions count; unknown types get an empty answer', async () => {
  const mesh = await world()
  mesh.source.set(typeUrl.address, 'a', 'one')
  mesh.source.set(typeUrl.address, 'b', 'two')
  const stream = mesh.raw()
  stream.send({ typeUrl: typeUrl.address, node, resourceNamesSubscribe: ['a'] })
  await until(() => stream.responses.length === 1, 'the first response')
  assert.deepEqual(
    stream.responses[0]?.resources.map(({ name }) => name),
    ['a'],
  )
  stream.send({ typeUrl: typeUrl.address, responseNonce: 'stale', resourceNamesSubscribe: ['b'] })
  await until(() => stream.responses.length === 2, 'the second response')
  assert.deepEqual(
    stream.responses[1]?.resources.map(({ name }) => name),
    ['b'],
  )
  assert.equal(mesh.connections()[0]?.types[0]?.nonceAcked, '')
  assert.equal(mesh.connections()[0]?.types[0]?.names, 2)
  stream.send({ typeUrl: typeUrl.address, resourceNamesSubscribe: ['*'] })
  await until(() => stream.responses.length === 3, 'everything')
  assert.equal(stream.responses[2]?.resources.length, 2)
  stream.send({ typeUrl: 'type.googleapis.com/unheard.Of' })
  await until(() => stream.responses.length === 4, 'the unknown type')
  assert.deepEqual(stream.responses[3]?.resources, [])
  stream.close()
  await mesh.down()
})

test('changes within the quiet time are one push, and a stream of changes is not put off for ever', async () => {
  const clock = new FakeClock()
  const mesh = await world({ clock, limits: { debounceQuietMs: 100, debounceMaxMs: 1000 } })
  const stream = mesh.raw()
  stream.settings.acknowledges = true
  stream.send({ typeUrl: typeUrl.address, node })
  await until(() => {
    const [type] = mesh.connections()[0]?.types ?? []
    return type !== undefined && type.nonceAcked !== ''
  }, 'the first response and its acknowledgement')
  for (let index = 0; index < 30; index++) {
    mesh.source.set(typeUrl.address, `pod-${index}`, 'x')
    clock.advance(50)
  }
  await until(() => stream.responses.length === 2, 'the push after a second')
  // At 1000 ms there were the changes of 0 to 950 ms.
  assert.equal(stream.responses[1]?.resources.length, 20)
  clock.advance(99)
  await until(() => stream.responses.length === 3, 'the push after the quiet time')
  assert.equal(stream.responses[2]?.resources.length, 10)
  stream.close()
  await mesh.down()
})

test('streams end after their age with OK, and too many new ones are refused', async () => {
  const clock = new FakeClock()
  const mesh = await world({
    clock,
    random: () => 0.5,
    limits: { connectionAgeMs: 60_000, connectionsPerSecond: 2, admissionWaitMs: 100 },
  })
  const streams = [mesh.raw(), mesh.raw(), mesh.raw()]
  for (const stream of streams) stream.send({ typeUrl: typeUrl.address, node })
  const first = await Promise.race(streams.map((stream) => stream.end))
  assert.equal(first.status, grpcStatus.resourceExhausted)
  await until(() => mesh.connections().length === 2, 'two streams')
  clock.advance(60_000)
  const ends = await Promise.all(streams.map((stream) => stream.end))
  assert.deepEqual(
    ends.map(({ status }) => status).sort((a, b) => a - b),
    [0, 0, grpcStatus.resourceExhausted],
  )
  for (const stream of streams) stream.close()
  await mesh.down()
})
