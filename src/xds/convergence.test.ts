/**
 * Whatever the order of changes, deliveries, acknowledgements, rejections, subscriptions and reconnections: when it is
 * quiet, each proxy holds what the source has. The whole server runs, with streams in memory and a clock that we move.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock, silentLogger } from '../base/index.ts'
import type { GrpcServer } from '../grpc/index.ts'
import { cluster } from '../proto/envoy.ts'
import {
  create,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
  fromBinary,
  toBinary,
  typeUrl as urls,
} from '../proto/index.ts'
import type { XdsStream } from './connection.ts'
import { MemorySource, testProxy } from './fixture.ts'
import { createXdsServer, type XdsServer } from './index.ts'

type Protocol = 'delta' | 'state'
type Request = DeltaDiscoveryRequest | DiscoveryRequest

/** A stream in memory; a message leaves when the proxy reads it. */
class MemoryStream {
  readonly context = {
    peer: { identity: undefined, address: '10.0.0.1:1' },
    header: () => undefined,
  }
  readonly waiting: { bytes: Uint8Array; left: (sent: boolean) => void }[] = []
  closed = false
  #request: (request: Request) => void = () => {}
  #close: () => void = () => {}

  onMessage(handler: (request: never) => void): void {
    this.#request = handler as (request: Request) => void
  }

  onClose(handler: () => void): void {
    this.#close = handler
  }

  send(message: unknown): Promise<boolean> {
    const bytes = Buffer.concat(message as Uint8Array[])
    return new Promise((left) => this.waiting.push({ bytes, left }))
  }

  end(): void {
    this.close()
  }

  fail(error: unknown): void {
    throw error
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    for (const { left } of this.waiting) left(false)
    this.#close()
  }

  request(request: Request): void {
    this.#request(request)
  }
}

const names = ['a', 'b', 'c', 'd']
const wildcards = [urls.cluster, urls.address]

/** A proxy as Envoy is one: all clusters, and the endpoints of names that it picks. */
class Proxy {
  readonly held = new Map<string, Map<string, string>>()
  readonly versions = new Map<string, Record<string, string>>()
  readonly nonces = new Map<string, string>()
  readonly picked = new Set<string>()
  readonly #protocol: Protocol
  readonly #open: (stream: MemoryStream) => void
  stream = new MemoryStream()

  constructor(protocol: Protocol, open: (stream: MemoryStream) => void) {
    this.#protocol = protocol
    this.#open = open
    this.connect()
  }

  connect(): void {
    this.stream.close()
    this.stream = new MemoryStream()
    this.nonces.clear()
    this.#open(this.stream)
  }

  /** What a new stream begins with. */
  introduce(): void {
    for (const typeUrl of wildcards) this.#ask({ typeUrl })
    if (this.picked.size > 0) this.#pick([...this.picked], [])
  }

  pick(name: string): void {
    const isNew = !this.picked.delete(name)
    if (isNew) this.picked.add(name)
    else this.held.get(urls.endpoint)?.delete(name)
    if (!isNew) delete this.versions.get(urls.endpoint)?.[name]
    this.#pick(isNew ? [name] : [], isNew ? [] : [name])
  }

  /** Reads one message and answers it. Returns false when there is none. */
  read(accepts: boolean): boolean {
    const message = this.stream.waiting.shift()
    if (message === undefined) return false
    message.left(true)
    const { typeUrl, nonce, apply } =
      this.#protocol === 'delta' ? this.#delta(message.bytes) : this.#state(message.bytes)
    this.nonces.set(typeUrl, nonce)
    apply(accepts)
    const errorDetail = accepts ? {} : { errorDetail: { code: 3, message: 'no' } }
    const all = this.#protocol === 'state' && typeUrl === urls.endpoint
    const resourceNames = all ? [...this.picked] : []
    this.#ask({ typeUrl, responseNonce: nonce, resourceNames, ...errorDetail })
    return true
  }

  #pick(add: string[], drop: string[]): void {
    const typeUrl = urls.endpoint
    if (this.#protocol === 'delta') {
      this.#ask({ typeUrl, resourceNamesSubscribe: add, resourceNamesUnsubscribe: drop })
    } else {
      const responseNonce = this.nonces.get(typeUrl) ?? ''
      this.#ask({ typeUrl, resourceNames: [...this.picked], responseNonce })
    }
  }

  #ask(request: { typeUrl: string; responseNonce?: string } & Record<string, unknown>): void {
    const { typeUrl } = request
    const isFirst = !this.nonces.has(typeUrl)
    if (isFirst) this.nonces.set(typeUrl, '')
    const node = { id: testProxy.id }
    if (this.#protocol === 'state')
      return this.stream.request(create(DiscoveryRequestSchema, { ...request, node }))
    const { resourceNames: _, ...rest } = request
    const initialResourceVersions = isFirst ? { ...this.versions.get(typeUrl) } : {}
    const full = { ...rest, node, initialResourceVersions }
    this.stream.request(create(DeltaDiscoveryRequestSchema, full))
  }

  #map(typeUrl: string): Map<string, string> {
    const map = this.held.get(typeUrl) ?? new Map<string, string>()
    this.held.set(typeUrl, map)
    return map
  }

  #delta(bytes: Uint8Array) {
    const { typeUrl, nonce, resources, removedResources } = fromBinary(
      DeltaDiscoveryResponseSchema,
      bytes,
    )
    const apply = (accepts: boolean): void => {
      const versions = this.versions.get(typeUrl) ?? {}
      this.versions.set(typeUrl, versions)
      for (const name of removedResources) {
        this.#map(typeUrl).delete(name)
        delete versions[name]
      }
      for (const { name, version, resource } of accepts ? resources : []) {
        if (typeUrl === urls.endpoint && !this.picked.has(name)) continue
        this.#map(typeUrl).set(name, Buffer.from(resource?.value ?? []).toString('hex'))
        versions[name] = version
      }
    }
    return { typeUrl, nonce, apply }
  }

  #state(bytes: Uint8Array) {
    const { typeUrl, nonce, resources } = fromBinary(DiscoveryResponseSchema, bytes)
    const apply = (accepts: boolean): void => {
      if (!accepts) return
      const held = this.#map(typeUrl)
      if (typeUrl !== urls.endpoint) held.clear()
      for (const { value } of resources) {
        // All these messages have their name in field 1, which is written first.
        const name = Buffer.from(value.subarray(2, 2 + (value[1] ?? 0))).toString()
        if (typeUrl === urls.endpoint && !this.picked.has(name)) continue
        // Nothing but a name: there are no such endpoints.
        if (value.length === 2 + name.length) held.delete(name)
        else held.set(name, Buffer.from(value).toString('hex'))
      }
    }
    return { typeUrl, nonce, apply }
  }
}

/** A cluster that has endpoints, or anything that begins with its name. */
function content(typeUrl: string, name: string, salt: number): Uint8Array {
  if (typeUrl !== urls.cluster) {
    return Buffer.concat([
      Buffer.from([10, name.length]),
      Buffer.from(`${name}`),
      Buffer.from([16, salt]),
    ])
  }
  const type = cluster.Cluster_DiscoveryType.EDS
  const json = {
    name,
    altStatName: String(salt),
    clusterDiscoveryType: { case: 'type', value: type },
  }
  return toBinary(
    cluster.ClusterSchema,
    create(
      cluster.ClusterSchema,
      json as Parameters<typeof create<typeof cluster.ClusterSchema>>[1],
    ),
  )
}

const types = [urls.cluster, urls.endpoint, urls.address]
const who = fc.nat(2)
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('set' as const),
      type: fc.constantFrom(...types),
      name: fc.constantFrom(...names),
      salt: fc.nat(3),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('delete' as const),
      type: fc.constantFrom(...types),
      name: fc.constantFrom(...names),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('everything' as const),
      type: fc.constantFrom(...types),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(30, 100, 400) }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('read' as const), who }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reject' as const), who }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('pick' as const),
      who,
      name: fc.constantFrom(...names),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reconnect' as const), who }) },
)

async function settle(): Promise<void> {
  for (let turn = 0; turn < 6; turn++) await Promise.resolve()
}

async function world(protocol: Protocol) {
  const source = new MemorySource(...types)
  const clock = new FakeClock()
  const xds: XdsServer = createXdsServer({
    source,
    clock,
    logger: silentLogger,
    authenticate: async () => ({ identity: undefined }),
    limits: { connectionsPerSecond: 1_000_000, roundsMax: 3 },
  })
  const handlers: ((stream: XdsStream<never>) => void)[] = []
  const server = {
    registerBidi: (_method: unknown, handler: (stream: never) => void) =>
      void handlers.push(handler as (stream: XdsStream<never>) => void),
  } as unknown as GrpcServer // only this method is used
  xds.register(server)
  await xds.start()
  const handler = handlers[protocol === 'delta' ? 0 : 1]
  assert.ok(handler)
  const open = (stream: MemoryStream): void => handler(stream as unknown as XdsStream<never>)
  const proxies = [0, 1, 2].map(() => new Proxy(protocol, open))
  await settle()
  for (const proxy of proxies) proxy.introduce()
  return { source, clock, xds, proxies }
}

for (const protocol of ['delta', 'state'] satisfies Protocol[]) {
  test(`any interleaving ends with every proxy holding what the source has (${protocol})`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 40, maxLength: 90 }),
        fc.boolean(),
        async (steps, rejects) => {
          const { source, clock, xds, proxies } = await world(protocol)
          for (const item of steps) {
            if (item.kind === 'set')
              source.set(item.type, item.name, content(item.type, item.name, item.salt))
            else if (item.kind === 'delete') source.delete(item.type, item.name)
            else if (item.kind === 'everything') source.change(item.type, '*')
            else if (item.kind === 'wait') clock.advance(item.ms)
            else {
              const proxy = proxies[item.who]
              if (item.kind === 'pick') proxy?.pick(item.name)
              else if (item.kind === 'reconnect') {
                proxy?.connect()
                await settle()
                proxy?.introduce()
              } else proxy?.read(item.kind === 'read' || !rejects)
            }
            await settle()
          }
          const quiet = async (): Promise<void> => {
            for (let turn = 0; turn < 20; turn++) {
              clock.advance(500)
              await settle()
              for (const proxy of proxies) while (proxy.read(true)) await settle()
            }
          }
          // What was rejected stays as it was until it changes: so everything changes, and goes back.
          for (const typeUrl of rejects ? types : []) {
            const present = new Set(source.list(typeUrl, testProxy).map(({ name }) => name))
            for (const name of names) source.set(typeUrl, name, content(typeUrl, name, 9))
            await quiet()
            for (const name of names) if (!present.has(name)) source.delete(typeUrl, name)
          }
          await quiet()
          for (const [index, proxy] of proxies.entries()) {
            for (const type of types) {
              const expected = source
                .list(type, testProxy)
                .filter(({ name }) => type !== urls.endpoint || proxy.picked.has(name))
                .map(({ name, bytes }): [string, string] => [
                  name,
                  Buffer.from(bytes).toString('hex'),
                ])
              const held = proxy.held.get(type) ?? new Map()
              assert.deepEqual(held, new Map(expected), `proxy ${index}, ${type}`)
            }
          }
          for (const proxy of proxies) proxy.stream.close()
          await xds.stop()
        },
      ),
      { numRuns: 300 },
    )
  })
}
