/** Parts of the agent by themselves; with a real Envoy and a real mesh they run in test/e2e/waypoint.test.ts. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { FakeClock, MeshError, silentLogger } from '../../base/index.ts'
import { CertificateManager } from '../../identity/index.ts'
import {
  create,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
  fromBinary,
  toBinary,
} from '../../proto/index.ts'
import { engineOf } from '../engine.ts'
import { EnvoyAdmin, unreadiness } from './admin.ts'
import { bootstrap } from './bootstrap.ts'
import { readAgentConfig } from './config.ts'
import { locateEnvoy } from './locate.ts'
import { IstioNames } from './metrics.ts'
import { SecretServer } from './secrets.ts'

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'weft-agent-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

const pod = {
  POD_NAME: 'waypoint-1',
  POD_NAMESPACE: 'shop',
  SERVICE_ACCOUNT: 'waypoint',
  INSTANCE_IP: '10.244.0.9',
  TRUST_DOMAIN: 'mesh.example',
  XDS_ADDRESS: 'istiod-canary.istio-system.svc:15012',
  PROXY_CONFIG: '{"concurrency":3,"terminationDrainDuration":"7s"}',
  ISTIO_META_CLUSTER_ID: 'east',
  ISTIO_META_NETWORK: 'net1',
  ISTIO_METAJSON_LABELS: '{"gateway.networking.k8s.io/gateway-name":"waypoint"}',
}

test('the node is what Istio’s agent would say of the pod, labels from its volume included', (t) => {
  const labels = join(folder(t), 'labels')
  writeFileSync(labels, 'app="shop"\nquoted="a \\"b\\""\n')
  const config = readAgentConfig({ ...pod, POD_LABELS_PATH: labels }, [
    'proxy',
    'waypoint',
    '--domain',
    'shop.svc.cluster.local',
    '--serviceCluster',
    'waypoint.shop',
    '--proxyLogLevel',
    'info',
  ])
  assert.equal(config.node.id, 'waypoint~10.244.0.9~waypoint-1.shop~shop.svc.cluster.local')
  assert.equal(config.node.cluster, 'waypoint.shop')
  assert.equal(config.identity, 'spiffe://mesh.example/ns/shop/sa/waypoint')
  assert.deepEqual(config.node.metadata.LABELS, {
    app: 'shop',
    quoted: 'a "b"',
    'gateway.networking.k8s.io/gateway-name': 'waypoint',
  })
  assert.equal(config.node.metadata.NETWORK, 'net1')
  assert.equal(config.node.metadata.CLUSTER_ID, 'east')
  assert.deepEqual([config.concurrency, config.drainMs, config.logLevel], [3, 7_000, 'info'])
  assert.equal(config.caAddress, 'istiod-canary.istio-system.svc:15012')
})

test('a port or a time that is none is refused by its name', () => {
  for (const [name, value] of [
    ['PROXY_ADMIN_PORT', 'high'],
    ['TERMINATION_DRAIN_DURATION_SECONDS', 'soon'],
  ] as const) {
    assert.throws(() => readAgentConfig({ [name]: value }, []), new RegExp(`${name}="${value}"`))
  }
})

test('the control plane must show a certificate for the name it was called by', () => {
  const config = readAgentConfig(pod, ['proxy', 'waypoint'])
  const written = JSON.stringify(bootstrap(config))
  assert.match(written, /"san_type":"DNS","matcher":\{"exact":"istiod-canary.istio-system.svc"\}/)
  assert.match(written, /"address":"istiod-canary.istio-system.svc","port_value":15012/)
})

test('waypoints run on Envoy, gateways on our own proxy, and another word in the environment counts', () => {
  assert.equal(engineOf({}, ['proxy', 'waypoint']), 'envoy')
  assert.equal(engineOf({}, ['proxy', 'router']), 'weft')
  assert.equal(engineOf({ WEFT_ENGINE: 'envoy' }, ['proxy', 'router']), 'envoy')
  assert.throws(() => engineOf({ WEFT_ENGINE: 'nginx' }, []), /neither envoy nor weft/)
  assert.throws(() => engineOf({ WEFT_ENGINE: 'weft' }, ['proxy', 'waypoint']), /can't serve/)
})

test('Envoy is looked for in the PATH; where there is none the next step is told', (t) => {
  const bin = folder(t)
  const PATH = `relative:${bin}`
  assert.throws(
    () => locateEnvoy({ PATH, ENVOY_PATH: '/nowhere/envoy' }),
    (error: unknown) =>
      error instanceof MeshError &&
      error.message.includes('/nowhere/envoy') &&
      error.hint?.includes('weft tools envoy') === true,
  )
  const path = join(bin, 'envoy')
  writeFileSync(path, '#!/bin/sh\n')
  assert.throws(() => locateEnvoy({ PATH: '', ENVOY_PATH: path }), /there is none/)
  chmodSync(path, 0o755)
  assert.equal(locateEnvoy({ PATH: '', ENVOY_PATH: path }), path)
})

test('only the names of Istio’s own metrics lose Envoy’s prefix, wherever a page is cut', async () => {
  const page = [
    '# TYPE envoy_istio_istio_requests_total counter',
    'envoy_istio_istio_requests_total{a="envoy_istio_istio_"} 5',
    'envoy_istio_other{x="ü"} 1',
    'envoy_server_live 1',
    '',
  ].join('\n')
  const wanted = [
    '# TYPE istio_requests_total counter',
    'istio_requests_total{a="envoy_istio_istio_"} 5',
    'envoy_istio_other{x="ü"} 1',
    'envoy_server_live 1',
    '',
  ].join('\n')
  const bytes = Buffer.from(page)
  for (const size of [1, 7, 50, 1_000]) {
    const chunks: Buffer[] = []
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size))
    assert.equal(await text(Readable.from(chunks).pipe(new IstioNames())), wanted)
  }
})

test('Envoy is ready when it has taken clusters and listeners and its workers run', async (t) => {
  let body = ''
  const server = createServer((_request, response) => void response.end(body))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const admin = new EnvoyAdmin((server.address() as AddressInfo).port)
  const cases: [string, string | undefined][] = [
    ['server.state: 2\n', 'it has no clusters from the control plane yet'],
    ['cluster_manager.cds.update_rejected: 1\n', 'it refused its clusters; its log says why'],
    ['cluster_manager.cds.update_success: 1\n', 'it has no listeners from the control plane yet'],
    [
      'cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_success: 2\nserver.state: 2\n',
      'it is not live',
    ],
    [
      'cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_success: 2\nserver.state: 0\n' +
        'listener_manager.workers_started: 1\n',
      undefined,
    ],
  ]
  for (const [answer, reason] of cases) {
    body = answer
    assert.equal(await unreadiness(admin), reason)
  }
  server.close()
  server.closeAllConnections()
  await assert.rejects(unreadiness(admin), /did not answer/)
})

/** A gRPC message with its prefix. */
function framed(bytes: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([prefix, bytes])
}

test('secrets are sent when all that were asked for are there, and again when one is renewed', async (t) => {
  const home = folder(t)
  const [socketPath, rootCaPath] = [join(home, 'sds', 'socket'), join(home, 'root.pem')]
  writeFileSync(rootCaPath, 'first roots')
  const clock = new FakeClock()
  const identity = 'spiffe://cluster.local/ns/shop/sa/waypoint'
  const certificates = new CertificateManager({
    source: { request: () => Promise.reject(new Error('there is no authority')) },
    clock,
    logger: silentLogger,
  })
  const server = new SecretServer({
    socketPath,
    identity,
    certificates,
    rootCaPath,
    clock,
    logger: silentLogger,
  })
  await server.start()
  t.after(() => server.stop())
  assert.equal(server.hasCertificate, false)
  const session = connectHttp2('http://agent', { createConnection: () => connect(socketPath) })
  t.after(() => session.destroy())
  const stream = session.request({
    ':method': 'POST',
    ':path': '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets',
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  const ask = (resourceNames: string[], responseNonce = ''): boolean =>
    stream.write(
      framed(
        toBinary(
          DiscoveryRequestSchema,
          create(DiscoveryRequestSchema, { resourceNames, responseNonce }),
        ),
      ),
    )
  let bytes = Buffer.alloc(0)
  stream.on('data', (chunk: Buffer) => (bytes = Buffer.concat([bytes, chunk])))
  const answer = async (): Promise<string> => {
    while (bytes.length < 5 || bytes.length < 5 + bytes.readUInt32BE(1)) {
      await new Promise(setImmediate)
    }
    const size = bytes.readUInt32BE(1)
    const message = fromBinary(DiscoveryResponseSchema, bytes.subarray(5, 5 + size))
    bytes = bytes.subarray(5 + size)
    return message.resources.map(({ value }) => Buffer.from(value).toString('latin1')).join()
  }
  // The workload's certificate is not there, and half an answer would be taken for a whole one.
  ask(['default', 'CONTROL-PLANE-ROOTS'])
  ask(['CONTROL-PLANE-ROOTS'])
  assert.match(await answer(), /CONTROL-PLANE-ROOTS[^]*first roots/)
  ask(['CONTROL-PLANE-ROOTS'], '1')
  writeFileSync(rootCaPath, 'second roots')
  clock.advance(10_000)
  assert.match(await answer(), /second roots/)
})
