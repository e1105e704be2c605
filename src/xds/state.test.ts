/** State-of-the-world ADS with a bare gRPC client: what Envoy, gRPC libraries and istioctl rely on. */
import assert from 'node:assert/strict'
import test, { after, before } from 'node:test'
import { silentLogger, systemClock } from '../base/index.ts'
import { GrpcChannel, GrpcServer } from '../grpc/index.ts'
import {
  AggregatedDiscoveryService,
  create,
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
  typeUrl,
} from '../proto/index.ts'
import { MemorySource, testProxy } from './fixture.ts'
import { createXdsServer, type XdsServer } from './index.ts'
import { noMetrics } from './metrics.ts'

const stale: string[] = []
let source: MemorySource
let xds: XdsServer
let server: GrpcServer

before(async () => {
  source = new MemorySource()
  xds = createXdsServer({
    source,
    authenticate: async (context) => {
      const identity = context.header('x-identity')
      return { identity }
    },
    clock: systemClock,
    logger: silentLogger,
    identifier: '{"Component":"istiod"}',
    limits: { debounceQuietMs: 5, acknowledgeMs: 400, connectionsPerSecond: 1_000 },
    metrics: { ...noMetrics, staleNonce: (type) => stale.push(type) },
  })
  server = new GrpcServer({
    listeners: [{ host: '127.0.0.1', port: 0, tls: false }],
    logger: silentLogger,
  })
  xds.register(server)
  await xds.start()
  await server.start()
})

after(async () => {
  await xds.stop()
  await server.stop(0)
})

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 3000
  while (!condition()) {
    assert.ok(Date.now() < deadline, `not within 3 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

class Client {
  readonly responses: DiscoveryResponse[] = []
  readonly #channel: GrpcChannel
  readonly #stream: ReturnType<typeof open>
  readonly ended: Promise<{ status: number; message: string }>

  constructor(headers: Record<string, string> = {}) {
    const address = `127.0.0.1:${server.ports[0]}`
    this.#channel = new GrpcChannel({ address, headers: () => headers })
    this.#stream = open(this.#channel)
    this.#stream.onMessage((response) => this.responses.push(response))
    this.ended = new Promise((resolve) => this.#stream.onEnd(resolve))
  }

  ask(type: string, names: string[] = [], nonce = '', error?: string): void {
    const request = create(DiscoveryRequestSchema, {
      node: { id: testProxy.id },
      typeUrl: type,
      resourceNames: names,
      responseNonce: nonce,
      ...(error === undefined ? {} : { errorDetail: { code: 3, message: error } }),
    })
    this.#stream.send(request as DiscoveryRequest)
  }

  /** The next response, acknowledged with these names when given. */
  async next(names?: string[]): Promise<{ contents: string[]; nonce: string; type: string }> {
    const seen = this.#seen++
    await until(() => this.responses.length > seen, `response ${seen}`)
    const response = this.responses[seen]
    assert.ok(response)
    const contents = response.resources.map(({ value }) => Buffer.from(value).toString()).toSorted()
    if (names !== undefined) this.ask(response.typeUrl, names, response.nonce)
    return { contents, nonce: response.nonce, type: response.typeUrl }
  }
  #seen = 0

  async silent(): Promise<void> {
    await pause(60)
    assert.equal(this.responses.length, this.#seen, 'there is another response')
  }

  close(): void {
    this.#stream.cancel()
    this.#channel.close()
  }
}

function open(channel: GrpcChannel) {
  return channel.bidi(AggregatedDiscoveryService.method.streamAggregatedResources)
}

function clear(): void {
  for (const type of Object.values(typeUrl)) {
    for (const { name } of source.list(type, testProxy)) source.delete(type, name)
  }
}

test('an empty list is everything until something was named, and nothing from then on', async () => {
  clear()
  source.set(typeUrl.cluster, 'a', 'a1')
  source.set(typeUrl.cluster, 'b', 'b1')
  await pause(20)
  const client = new Client()
  client.ask(typeUrl.cluster)
  assert.deepEqual((await client.next([])).contents, ['a1', 'b1'])
  source.set(typeUrl.cluster, 'a', 'a2')
  const whole = await client.next([])
  assert.deepEqual(whole.contents, ['a2', 'b1'])
  await client.silent()
  // Named: each response is the whole of what is wanted.
  client.ask(typeUrl.cluster, ['a'], whole.nonce)
  const named = await client.next(['a'])
  assert.deepEqual(named.contents, ['a2'])
  source.set(typeUrl.cluster, 'b', 'b2')
  await client.silent()
  client.ask(typeUrl.cluster, [], named.nonce)
  source.set(typeUrl.cluster, 'a', 'a3')
  await client.silent()
  client.ask(typeUrl.cluster, ['*'], named.nonce)
  assert.deepEqual((await client.next(['*'])).contents, ['a3', 'b2'])
  source.delete(typeUrl.cluster, 'b')
  assert.deepEqual((await client.next(['*'])).contents, ['a3'])
  client.close()
})

test('endpoints come by name: what changed, what is newly named, and what does not exist as empty', async () => {
  clear()
  source.set(typeUrl.endpoint, 'a', 'a1')
  await pause(20)
  const client = new Client()
  client.ask(typeUrl.endpoint, ['a', 'none'])
  const first = await client.next(['a', 'none'])
  // Field 1, its length, its text: an assignment with a name and no endpoints.
  assert.deepEqual(first.contents, ['\n\x04none', 'a1'])
  source.set(typeUrl.endpoint, 'b', 'b1')
  await client.silent()
  source.set(typeUrl.endpoint, 'a', 'a2')
  const second = await client.next(['a', 'none'])
  assert.deepEqual(second.contents, ['a2'])
  client.ask(typeUrl.endpoint, ['a', 'none', 'b'], second.nonce)
  const third = await client.next(['a', 'none', 'b'])
  assert.deepEqual(third.contents, ['b1'])
  // The same names once more, and nothing to acknowledge: the proxy wants them again.
  client.ask(typeUrl.endpoint, ['a', 'none', 'b'], third.nonce)
  const fourth = await client.next(['b'])
  assert.deepEqual(fourth.contents, ['\n\x04none', 'a2', 'b1'])
  source.set(typeUrl.endpoint, 'a', 'a3')
  await client.silent()
  // Of endpoints an empty list never means everything.
  client.ask(typeUrl.endpoint, [], fourth.nonce)
  source.set(typeUrl.endpoint, 'b', 'b2')
  await client.silent()
  client.close()
})

test('a rejection is remembered and not answered; what was rejected comes again when it changes', async () => {
  clear()
  source.set(typeUrl.listener, 'l', 'bad')
  await pause(20)
  const client = new Client()
  client.ask(typeUrl.listener)
  const { nonce } = await client.next()
  client.ask(typeUrl.listener, [], nonce, 'no such filter')
  await client.silent()
  const state = () => xds.connections()[0]?.types[0]
  assert.equal(state()?.error, 'no such filter')
  assert.equal(state()?.nonceAcked, '')
  source.set(typeUrl.listener, 'l', 'good')
  assert.deepEqual((await client.next([])).contents, ['good'])
  await until(() => state()?.error === undefined, 'cured')
  client.close()
})

test('a stale nonce acknowledges nothing', async () => {
  clear()
  source.set(typeUrl.endpoint, 'a', 'a1')
  await pause(20)
  const client = new Client()
  client.ask(typeUrl.endpoint, ['a'])
  await client.next()
  stale.length = 0
  client.ask(typeUrl.endpoint, ['a', 'b'], 'long-ago')
  await client.silent()
  assert.deepEqual(stale, [typeUrl.endpoint])
  assert.equal(xds.connections()[0]?.types[0]?.names, 1)
  client.close()
})

test('nothing more of a type goes out before the last was acknowledged, and then only the newest', async () => {
  clear()
  source.set(typeUrl.cluster, 'a', 'a0')
  await pause(20)
  const client = new Client()
  client.ask(typeUrl.cluster)
  const first = await client.next()
  for (let index = 1; index <= 5; index++) {
    source.set(typeUrl.cluster, 'a', `a${index}`)
    await pause(10)
  }
  await client.silent()
  client.ask(typeUrl.cluster, [], first.nonce)
  assert.deepEqual((await client.next()).contents, ['a5'])
  // One that never acknowledges is served all the same, late.
  source.set(typeUrl.cluster, 'a', 'a6')
  await client.silent()
  assert.deepEqual((await client.next()).contents, ['a6'])
  client.close()
})

test('clusters and endpoints go before listeners and routes of the same round', async () => {
  clear()
  const types = [typeUrl.cluster, typeUrl.endpoint, typeUrl.listener, typeUrl.route]
  const client = new Client()
  for (const type of types.toReversed()) {
    source.set(type, 'a', 'one')
    client.ask(type, ['a'])
  }
  await pause(50)
  for (const _ of types) await client.next(['a'])
  await pause(30)
  while (client.responses.length > 4) await client.next(['a'])
  for (const type of types.toReversed()) source.set(type, 'a', 'two')
  const order: string[] = []
  const held: string[] = []
  for (const _ of types) {
    const { type, nonce } = await client.next()
    order.push(type)
    held.push(nonce)
    // Listeners wait for the acknowledgement of what they may name.
    if (order.length === 2) {
      await client.silent()
      client.ask(typeUrl.cluster, ['a'], held[0])
      client.ask(typeUrl.endpoint, ['a'], held[1])
    }
  }
  assert.deepEqual(order, types)
  client.close()
})

test('secrets go to proxies with an identity only', async () => {
  clear()
  source.set(typeUrl.secret, 'key', 'secret')
  await pause(20)
  const identity = 'spiffe://cluster.local/ns/istio-system/sa/ztunnel'
  const known = new Client({ 'x-identity': identity })
  known.ask(typeUrl.secret, ['key'])
  assert.deepEqual((await known.next(['key'])).contents, ['secret'])
  const stranger = new Client()
  stranger.ask(typeUrl.secret, ['key'])
  await stranger.silent()
  known.close()
  stranger.close()
})

test('the first response says who answers, and debug requests without a debugger are refused', async () => {
  clear()
  const client = new Client()
  client.ask(typeUrl.cluster)
  await client.next([])
  assert.equal(client.responses[0]?.controlPlane?.identifier, '{"Component":"istiod"}')
  client.ask('istio.io/debug', ['syncz'])
  const { status, message } = await client.ended
  assert.equal(status, 12)
  assert.match(message, /debug/)
  client.close()
})
