import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { FakeClock, type LogFields, type Logger, silentLogger } from '../base/index.ts'
import { GrpcServer, type ServerStream } from '../grpc/index.ts'
import {
  AggregatedDiscoveryService,
  create,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  toJson,
  typeUrl,
} from '../proto/index.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../x509/index.ts'
import { createDeltaClient, type DeltaClientOptions, type DeltaType } from './index.ts'

type Stream = ServerStream<DeltaDiscoveryRequest, unknown>

const folder = mkdtempSync(join(tmpdir(), 'weft-xdsclient-'))
const rootPath = join(folder, 'root-cert.pem')
const tokenPath = join(folder, 'istio-token')
const node = {
  id: 'ztunnel~10.0.0.1~z.istio-system~istio-system.svc.cluster.local',
  metadata: { NAME: 'z' },
}
let server: GrpcServer
let onStream: (stream: Stream) => void = () => {}

before(async () => {
  const keys = await generateEcKeyPair()
  const own = await generateEcKeyPair()
  const validity = { notBefore: Date.now() - 1000, notAfter: Date.now() + 3_600_000 }
  const rootPem = await createCaCertificate({
    keys,
    subject: { organizations: ['td'] },
    ...validity,
  })
  const chainPem = await issueCertificate({
    issuer: { certificatePem: rootPem, key: keys.privateKey },
    publicKey: own.publicKey,
    names: { dns: ['istiod.istio-system.svc'] },
    ...validity,
  })
  writeFileSync(rootPath, rootPem)
  writeFileSync(tokenPath, 'token-one\n')
  server = new GrpcServer({
    listeners: [{ host: '127.0.0.1', port: 0, tls: true }],
    certificate: () => ({ keyPem: own.privatePem, chainPem, clientRootsPem: rootPem }),
    logger: silentLogger,
  })
  server.registerBidi(AggregatedDiscoveryService.method.deltaAggregatedResources, (stream) =>
    onStream(stream),
  )
  await server.start()
})

after(async () => {
  await server.stop(0)
  rmSync(folder, { recursive: true })
})

function clientOf(types: readonly DeltaType[], more: Partial<DeltaClientOptions> = {}) {
  const clock = new FakeClock()
  const client = createDeltaClient({
    address: `127.0.0.1:${server.ports[0]}`,
    serverName: 'istiod.istio-system.svc',
    rootCa: rootPath,
    token: tokenPath,
    node,
    clusterId: 'Kubernetes',
    types,
    logger: silentLogger,
    clock,
    random: () => 0.5,
    ...more,
  })
  return { client, clock }
}

function accepting(url: string, wildcard: boolean): DeltaType {
  return {
    typeUrl: url,
    wildcard,
    onResource: (name) => {
      if (name.startsWith('bad')) throw new Error('not like this')
    },
    onRemoved: () => {},
  }
}

/** The requests of the next streams as JSON, and what the server does with each. */
function record(answer: (stream: Stream, count: number) => void) {
  const requests: unknown[] = []
  const headers: (string | undefined)[] = []
  onStream = (stream) => {
    headers.push(stream.context.header('authorization'), stream.context.header('clusterid'))
    stream.onMessage((request) => {
      requests.push(toJson(DeltaDiscoveryRequestSchema, request))
      answer(stream, requests.length)
    })
  }
  return { requests, headers }
}

function respond(
  stream: Stream,
  url: string,
  nonce: string,
  names: readonly string[],
  removed: string[] = [],
): void {
  const resources = names.map((name) => ({
    name,
    version: '1',
    resource: { typeUrl: url, value: new Uint8Array() },
  }))
  void stream.send(
    create(DeltaDiscoveryResponseSchema, {
      typeUrl: url,
      nonce,
      resources,
      removedResources: removed,
    }),
  )
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 3000
  while (!condition()) {
    assert.ok(Date.now() < deadline, `not within 3 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

test('the requests are those of a node proxy: node, empty subscription, acknowledgement, rejection', async () => {
  const { requests, headers } = record((stream, count) => {
    if (count === 1) respond(stream, typeUrl.address, 'n1', ['a', 'bad-1', 'bad-2'])
    if (count === 2) respond(stream, typeUrl.address, 'n2', ['b'], ['a'])
  })
  const { client } = clientOf([accepting(typeUrl.address, true)])
  await client.start()
  await client.ready
  await until(() => requests.length === 3, 'three requests')
  const { address } = typeUrl
  assert.deepEqual(requests, [
    { node: { id: node.id, metadata: { NAME: 'z' } }, typeUrl: address },
    {
      typeUrl: address,
      responseNonce: 'n1',
      errorDetail: { message: 'bad-1: not like this; bad-2: not like this' },
    },
    { typeUrl: address, responseNonce: 'n2' },
  ])
  assert.deepEqual(headers, ['Bearer token-one', 'Kubernetes'])
  await client.stop()
})

test('a new stream claims what was accepted or is waited for, and reads the token anew', async () => {
  const { address, authorization } = typeUrl
  const streams: Stream[] = []
  const { requests, headers } = record((stream, count) => {
    streams.push(stream)
    if (count === 1) respond(stream, authorization, 'n1', ['ns/a', 'bad-1'])
  })
  const { client, clock } = clientOf([accepting(authorization, true), accepting(address, false)])
  await client.start()
  await until(() => requests.length === 3, 'the initial requests and the rejection')
  assert.deepEqual(requests[1], {
    node: { id: node.id, metadata: { NAME: 'z' } },
    typeUrl: address,
    resourceNamesSubscribe: ['*'],
    resourceNamesUnsubscribe: ['*'],
  })
  let answered = false
  void client.demand(address, 'net/10.0.0.9').then(() => (answered = true))
  await until(() => requests.length === 4, 'the demand')
  assert.deepEqual(requests[3], { typeUrl: address, resourceNamesSubscribe: ['net/10.0.0.9'] })
  writeFileSync(tokenPath, 'token-two')
  streams[0]?.end()
  await until(() => !client.connected, 'the loss')
  clock.advance(0)
  await until(() => requests.length === 6, 'the requests of the new stream')
  assert.deepEqual((requests[4] as { initialResourceVersions: unknown }).initialResourceVersions, {
    'ns/a': '1',
  })
  assert.deepEqual((requests[5] as { initialResourceVersions: unknown }).initialResourceVersions, {
    'net/10.0.0.9': '',
  })
  assert.equal(headers.at(-2), 'Bearer token-two')
  assert.equal(answered, false)
  respond(streams.at(-1) as Stream, address, 'n9', [], ['net/10.0.0.9'])
  await until(() => answered, 'the answer that there is none')
  await client.stop()
})

test('without a server the delays double from 10 ms to 15 s; a server that answers resets them', async () => {
  const delays: unknown[] = []
  const levels: string[] = []
  const note = (level: string) => (_message: string, fields?: LogFields) => {
    levels.push(level)
    delays.push(fields?.retryMs)
  }
  const logger: Logger = { ...silentLogger, info: note('info'), warn: note('warn') }
  let token = (): string => ''
  const { client, clock } = clientOf([accepting(typeUrl.address, true)], {
    logger,
    token: () => token(),
  })
  await client.start()
  for (let round = 0; round < 13; round++) clock.advance(Number(delays.at(-1)))
  assert.deepEqual(
    delays,
    [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 15000, 15000, 15000],
  )
  // It may be starting beside us; after ten seconds it is a matter for people.
  assert.deepEqual(new Set(levels.slice(0, 10)), new Set(['info']))
  assert.deepEqual(new Set(levels.slice(10)), new Set(['warn']))
  token = () => 'x'
  const streams: Stream[] = []
  record((stream, count) => {
    streams.push(stream)
    if (count === 1) respond(stream, typeUrl.address, 'n', [])
  })
  clock.advance(15_000)
  await client.ready
  streams[0]?.fail(new Error('crash'))
  await until(() => delays.length === 15, 'the failure')
  assert.equal(delays.at(-1), 10)
  await client.stop()
})
