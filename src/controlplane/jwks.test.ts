import assert from 'node:assert/strict'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Server as NetServer } from 'node:net'
import test, { type TestContext } from 'node:test'
import { type Clock, silentLogger, systemClock, type Timer } from '../base/index.ts'
import { modelEvents, objectsFromYaml } from '../ingest/index.ts'
import { defaultMeshSettings, type ModelEvent } from '../model/index.ts'
import { listener as listenerApi } from '../proto/envoy.ts'
import { fromBinary, typeUrl } from '../proto/index.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../x509/index.ts'
import type { ProxyNode } from '../xds/index.ts'
import { KeySetKeeper } from './jwks.ts'
import { keySetFetcher } from './jwks-fetch.ts'
import { MeshSource } from './source.ts'

const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }

/** A web server whose answers a test sets by path, over TLS or not. */
class Provider {
  readonly answers = new Map<string, { status?: number; body?: string; location?: string }>()
  readonly asked: string[] = []
  rootPem = ''
  url = ''

  async start(context: TestContext, tls = true): Promise<this> {
    const server = tls ? await this.#secure() : createHttpServer()
    server.on('request', (request, response) => {
      this.asked.push(request.url ?? '')
      const found = this.answers.get(request.url ?? '')
      // A path without an answer hangs.
      if (found === undefined) return
      const { status = 200, body = '', location } = found
      response.writeHead(status, location === undefined ? {} : { location })
      response.end(body)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    this.url = `${tls ? 'https' : 'http'}://localhost:${portOf(server)}`
    context.after(() => {
      server.closeAllConnections()
      server.close()
    })
    return this
  }

  async #secure(): Promise<Server> {
    const [keys, own] = [await generateEcKeyPair(), await generateEcKeyPair()]
    const subject = { commonName: 'provider' }
    this.rootPem = await createCaCertificate({ keys, subject, ...validity })
    const cert = await issueCertificate({
      issuer: { certificatePem: this.rootPem, key: keys.privateKey },
      publicKey: own.publicKey,
      names: { dns: ['localhost'] },
      ...validity,
    })
    return createServer({ key: own.privatePem, cert })
  }
}

function portOf(server: NetServer): number {
  return (server.address() as AddressInfo).port // listening on TCP
}

const set = (kid: string): string =>
  JSON.stringify({ keys: [{ kty: 'oct', alg: 'HS256', kid, k: 'c2VjcmV0' }] })

function events(yaml: string): ModelEvent[] {
  return modelEvents(
    objectsFromYaml(yaml).map(({ object }) => object),
    defaultMeshSettings,
  )
}

const tokens = (name: string, rule: string): string => `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: ${name}, namespace: shop}
spec: {jwtRules: [${rule}]}
---`

const mesh = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: istio}
spec: {controllerName: istio.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---`

const gateway: ProxyNode = {
  id: 'router~10.0.0.1~x.shop~shop.svc.cluster.local',
  type: 'router',
  ip: '10.0.0.1',
  name: 'x',
  namespace: 'shop',
  cluster: 'Kubernetes',
  metadata: { LABELS: { 'gateway.networking.k8s.io/gateway-name': 'gw' } },
  identity: 'spiffe://cluster.local/ns/shop/sa/x',
}

/** Long timers are kept until a test says that their time has come. */
class SlowClock implements Clock {
  readonly due: { delayMs: number; callback: () => void }[] = []
  now = systemClock.now
  monotonic = systemClock.monotonic
  every = systemClock.every

  after(delayMs: number, callback: () => void): Timer {
    const entry = { delayMs, callback }
    this.due.push(entry)
    return { cancel: () => void this.due.splice(this.due.indexOf(entry), 1) }
  }

  async fire(): Promise<number> {
    await eventually(() => this.due.length > 0)
    const [entry] = this.due.splice(0, 1)
    assert.ok(entry)
    entry.callback()
    return entry.delayMs
  }
}

async function eventually(check: () => boolean): Promise<void> {
  const end = Date.now() + 5000
  while (!check()) {
    if (Date.now() > end) throw new Error(`not within 5 s: ${check}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function keeping(context: TestContext, yaml: string, provider: Provider) {
  const clock = new SlowClock()
  const source = new MeshSource({
    settings: defaultMeshSettings,
    clock: systemClock,
    logger: silentLogger,
  })
  source.apply(events(mesh + yaml))
  const counts = { fetched: 0, failed: 0 }
  const keeper = new KeySetKeeper({
    source,
    fetch: keySetFetcher(provider.rootPem),
    clock,
    logger: silentLogger,
    metrics: { fetched: () => counts.fetched++, failed: () => counts.failed++ },
    random: () => 0.5,
  })
  await keeper.start()
  context.after(() => keeper.stop())
  /** The listener that the gateway gets, as text with its key sets in it. */
  const listener = (): string => {
    const found = source.get(typeUrl.listener, '0.0.0.0_80', gateway)
    assert.ok(found)
    fromBinary(listenerApi.ListenerSchema, found.bytes)
    return Buffer.from(found.bytes).toString('latin1')
  }
  return { clock, source, keeper, counts, listener }
}

void test('a key set is fetched over TLS and reaches the proxies, and a newer one replaces it', async (context) => {
  const provider = await new Provider().start(context)
  provider.answers.set('/keys', { body: set('first') })
  const rule = `{issuer: us, jwksUri: "${provider.url}/keys"}`
  const { clock, source, counts, listener } = await keeping(context, tokens('t', rule), provider)
  assert.match(listener(), /unavailable/)
  const changes: string[] = []
  source.onChange(({ names }) => changes.push(...names.keys()))
  await eventually(() => counts.fetched === 1)
  assert.match(listener(), /first/)
  assert.deepEqual(changes, [typeUrl.listener])
  provider.answers.set('/keys', { body: set('second') })
  assert.equal(await clock.fire(), 20 * 60_000)
  await eventually(() => counts.fetched === 2)
  assert.match(listener(), /second/)
})

void test('an issuer without a key set of its own is asked where it has it', async (context) => {
  const provider = await new Provider().start(context)
  const document = JSON.stringify({ issuer: provider.url, jwks_uri: `${provider.url}/moved` })
  provider.answers.set('/.well-known/openid-configuration', { body: document })
  provider.answers.set('/moved', { status: 302, location: '/keys' })
  provider.answers.set('/keys', { body: set('discovered') })
  const yaml = tokens('t', `{issuer: "${provider.url}/"}`)
  const { listener, counts } = await keeping(context, yaml, provider)
  await eventually(() => counts.fetched === 1)
  assert.match(listener(), /discovered/)
  assert.deepEqual(provider.asked, ['/.well-known/openid-configuration', '/moved', '/keys'])
})

void test('what was had stays when the server fails, lies or hangs, and it is asked less and less', async (context) => {
  const provider = await new Provider().start(context)
  provider.answers.set('/keys', { body: set('good') })
  const rule = `{issuer: us, jwksUri: "${provider.url}/keys", timeout: 0.2s}`
  const { clock, counts, listener } = await keeping(context, tokens('t', rule), provider)
  await eventually(() => counts.fetched === 1)
  const bad = [
    { status: 500 },
    { body: 'no JSON' },
    { body: '{"keys": "none"}' },
    { body: `{"keys": [], "x": "${'x'.repeat(1024 * 1024)}"}` },
    { status: 302, location: 'http://localhost:1/keys' },
    { status: 302, location: '/keys' },
    undefined,
  ]
  const delays: number[] = []
  for (const [index, answer] of bad.entries()) {
    if (answer === undefined) provider.answers.delete('/keys')
    else provider.answers.set('/keys', answer)
    delays.push(await clock.fire())
    await eventually(() => counts.failed === index + 1)
    assert.match(listener(), /good/)
  }
  assert.deepEqual(delays, [1_200_000, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000])
  provider.answers.set('/keys', { body: set('back') })
  assert.equal(await clock.fire(), 64_000)
  await eventually(() => counts.fetched === 2)
  assert.match(listener(), /back/)
  assert.equal(clock.due.length, 1)
})

void test('a certificate that nobody vouches for is refused, and plain HTTP is taken where it is written', async (context) => {
  const provider = await new Provider().start(context)
  provider.answers.set('/keys', { body: set('forged') })
  const request = { source: `${provider.url}/keys`, timeoutMs: 2_000 }
  await assert.rejects(keySetFetcher()(request), { code: 'CONTROLPLANE_KEY_SET' })
  assert.equal(await keySetFetcher(provider.rootPem)(request), set('forged'))
  const plain = await new Provider().start(context, false)
  plain.answers.set('/keys', { body: set('plain') })
  const open = { source: `${plain.url}/keys`, timeoutMs: 2_000 }
  assert.equal(await keySetFetcher()(open), set('plain'))
  await assert.rejects(
    keySetFetcher()({ source: 'file:///etc/passwd', timeoutMs: 100 }),
    /no address/,
  )
})

void test('with the last object that names it a key set goes, and nothing asks for it again', async (context) => {
  const provider = await new Provider().start(context)
  provider.answers.set('/keys', { body: set('first') })
  const rule = `{issuer: us, jwksUri: "${provider.url}/keys"}`
  const yaml = tokens('t', rule) + tokens('u', rule)
  const { clock, source, counts, listener } = await keeping(context, yaml, provider)
  await eventually(() => counts.fetched === 1)
  source.apply([{ kind: 'RequestAuthentication', key: 'shop/t', value: undefined }])
  assert.match(listener(), /first/)
  assert.equal(clock.due.length, 1)
  source.apply([{ kind: 'RequestAuthentication', key: 'shop/u', value: undefined }])
  assert.doesNotMatch(listener(), /first/)
  assert.equal(clock.due.length, 0)
  // Back again: the old text is not remembered.
  provider.answers.set('/keys', { body: set('other') })
  source.apply(events(tokens('t', rule)))
  assert.match(listener(), /unavailable/)
  await eventually(() => counts.fetched === 2)
  assert.match(listener(), /other/)
})
