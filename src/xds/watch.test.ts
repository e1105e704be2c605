import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { create, DeltaDiscoveryResponseSchema, fromBinary, toBinary } from '../proto/index.ts'
import { type Body, encodeBody, encodeHead, type Head } from './encode.ts'
import { MemorySource, testProxy } from './fixture.ts'
import { NamedWatch } from './named-watch.ts'
import { Views } from './view.ts'
import { type Watch, WildcardWatch } from './watch.ts'

const type = 'type.googleapis.com/istio.workload.Address'

function whole(body: Body, head: Head): Buffer {
  return Buffer.concat([encodeHead(head, 'delta'), body.bytes])
}

function decode(body: Body) {
  return fromBinary(
    DeltaDiscoveryResponseSchema,
    whole(body, { typeUrl: type, version: 'v', nonce: 'n' }),
  )
}

test('responses of concatenated bytes are the messages that a protobuf library writes', () => {
  const text = fc.string({ maxLength: 200 })
  const resource = fc.record({
    name: text,
    version: text,
    bytes: fc.uint8Array({ maxLength: 400 }),
    aliases: fc.array(text, { maxLength: 3 }),
  })
  fc.assert(
    fc.property(
      fc.array(resource, { maxLength: 5 }),
      fc.array(text, { maxLength: 5 }),
      text,
      (items, removed, head) => {
        const resources = items.map((item) => ({ ...item, typeUrl: type }))
        const bytes = whole(encodeBody(resources, removed, true), {
          typeUrl: type,
          version: head,
          nonce: `${head}-1`,
          controlPlane: head,
        })
        const expected = create(DeltaDiscoveryResponseSchema, {
          systemVersionInfo: head,
          typeUrl: type,
          nonce: `${head}-1`,
          removedResources: removed,
          controlPlane: { identifier: head },
          resources: items.map((item) => ({
            name: item.name,
            version: item.version,
            aliases: item.aliases,
            resource: { typeUrl: type, value: item.bytes },
          })),
        })
        assert.deepEqual(
          toBinary(DeltaDiscoveryResponseSchema, fromBinary(DeltaDiscoveryResponseSchema, bytes)),
          toBinary(DeltaDiscoveryResponseSchema, expected),
        )
      },
    ),
  )
})

/** What a proxy would hold. */
class Proxy {
  readonly held = new Map<string, string>()
  readonly versions: Record<string, string> = {}

  apply(body: Body | undefined): void {
    if (body === undefined) return
    const response = decode(body)
    for (const name of response.removedResources) {
      this.held.delete(name)
      delete this.versions[name]
    }
    for (const { name, version, resource } of response.resources) {
      this.held.set(name, Buffer.from(resource?.value ?? []).toString())
      this.versions[name] = version
    }
  }
}

const isEarly = (): boolean => false

const names = ['a', 'b', 'c', 'd']
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(fc.constant('set' as const), fc.constantFrom(...names), fc.nat(2)),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constant('delete' as const), fc.constantFrom(...names), fc.constant(0)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constant('everything' as const), fc.constant(''), fc.constant(0)),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constant('flush' as const), fc.constant(''), fc.constant(0)),
  },
  { weight: 4, arbitrary: fc.tuple(fc.constant('send' as const), fc.constant(''), fc.nat(2)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('reconnect' as const), fc.constant(''), fc.nat(2)) },
)

test('after any changes, rounds, delays and reconnections every proxy holds what the source has', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const source = new MemorySource(type)
      const views = new Views(source, 2)
      let revision = 0
      let pending: Set<string> | '*' = new Set()
      source.onChange((change) => {
        const changed = change.names.get(type) ?? new Set()
        pending = changed === '*' || pending === '*' ? '*' : pending.union(changed)
      })
      const clients = [0, 1, 2].map((index) => {
        const proxy = new Proxy()
        const open = (): Watch => {
          const options = {
            source,
            typeUrl: type,
            proxy: testProxy,
            initial: { ...proxy.versions },
            isEarly,
          }
          if (index < 2) return new WildcardWatch(options, views, revision)
          const named = new NamedWatch(options)
          named.subscribe(names)
          return named
        }
        return { proxy, open, watch: open() }
      })
      const flush = (): void => {
        revision = source.revision
        views.update(new Map([[type, pending]]), revision)
        for (const { watch } of clients) watch.changed(pending)
        pending = new Set()
      }
      for (const [kind, name, number] of steps) {
        const client = clients[number]
        if (kind === 'set') source.set(type, name, `${name}${number}`)
        else if (kind === 'delete') source.delete(type, name)
        else if (kind === 'everything') source.change(type, '*')
        else if (kind === 'flush') flush()
        else if (kind === 'send') client?.proxy.apply(client.watch.take())
        else if (client !== undefined) {
          client.watch.close()
          client.watch = client.open()
        }
      }
      flush()
      const expected = new Map(
        source.list(type, testProxy).map((item) => [item.name, Buffer.from(item.bytes).toString()]),
      )
      for (const [index, { proxy, watch }] of clients.entries()) {
        for (let turn = 0; turn < 5; turn++) proxy.apply(watch.take())
        assert.deepEqual(proxy.held, expected, `client ${index}`)
        assert.equal(watch.take(), undefined)
      }
    }),
    { numRuns: 1500 },
  )
})

test('a round is encoded once for all who are equally far, and unchanged versions are not sent', () => {
  const source = new MemorySource(type)
  for (const name of names) source.set(type, name, 'one')
  const views = new Views(source, 8)
  const watches = Array.from({ length: 3 }, () => {
    return new WildcardWatch(
      { source, typeUrl: type, proxy: testProxy, initial: {}, isEarly },
      views,
      source.revision,
    )
  })
  const bodies = watches.map((watch) => watch.take())
  assert.equal(new Set(bodies).size, 1)
  source.set(type, 'a', 'two')
  source.set(type, 'b', 'one')
  views.update(new Map([[type, new Set(['a', 'b'])]]), source.revision)
  const [one, two] = watches.map((watch) => watch.take())
  assert.equal(one, two)
  assert.deepEqual(
    decode(one as Body).resources.map((resource) => resource.name),
    ['a'],
  )
})

test('a reconnecting proxy gets what differs from its versions, and what is gone', () => {
  const source = new MemorySource(type)
  for (const name of names) source.set(type, name, 'one')
  const views = new Views(source, 8)
  const [a] = source.list(type, testProxy)
  const initial = { a: a?.version ?? '', b: 'old', gone: 'x' }
  const watch = new WildcardWatch(
    { source, typeUrl: type, proxy: testProxy, initial, isEarly },
    views,
    source.revision,
  )
  const response = decode(watch.take() as Body)
  assert.deepEqual(
    response.resources.map((resource) => resource.name),
    ['b', 'c', 'd'],
  )
  assert.deepEqual(response.removedResources, ['gone'])
  watch.close()
  assert.equal(views.size, 0)
})

test('a proxy that comes to another view gets the difference of the two', () => {
  const source = new MemorySource(type)
  for (const name of names) source.set(type, name, 'one')
  let view = 'left'
  source.viewOf = () => view
  source.hidden = (of, name) => name === (of === 'left' ? 'a' : 'd')
  const views = new Views(source, 8)
  const proxy = new Proxy()
  const watch = new WildcardWatch(
    { source, typeUrl: type, proxy: testProxy, initial: {}, isEarly },
    views,
    source.revision,
  )
  proxy.apply(watch.take())
  assert.deepEqual([...proxy.held.keys()], ['b', 'c', 'd'])
  view = 'right'
  source.change(type, '*')
  views.update(new Map([[type, '*' as const]]), source.revision)
  const body = watch.take() as Body
  assert.deepEqual([body.resources, body.removed], [1, 1])
  proxy.apply(body)
  assert.deepEqual([...proxy.held.keys()].sort(), ['a', 'b', 'c'])
  assert.equal(views.size, 1)
})

test('names on demand are answered with their aliases, absence as removal, and followed afterwards', () => {
  const source = new MemorySource(type)
  source.set(type, 'pod', 'one', ['net/10.0.0.1'])
  const watch = new NamedWatch({ source, typeUrl: type, proxy: testProxy, initial: {}, isEarly })
  assert.deepEqual(decode(watch.take() as Body).resources, [])
  watch.subscribe(['net/10.0.0.1', 'net/10.0.0.2'])
  const first = decode(watch.take() as Body)
  assert.deepEqual(
    first.resources.map(({ name, aliases }) => [name, aliases]),
    [['pod', ['net/10.0.0.1']]],
  )
  assert.deepEqual(first.removedResources, ['net/10.0.0.2'])
  assert.equal(watch.take(), undefined)

  source.set(type, 'stranger', 'x', ['net/10.0.0.9'])
  watch.changed(new Set(['stranger']))
  assert.equal(watch.take(), undefined)
  // The missing address appears, and the known pod goes.
  source.set(type, 'late', 'y', ['net/10.0.0.2'])
  source.delete(type, 'pod')
  watch.changed(new Set(['late', 'pod']))
  const second = decode(watch.take() as Body)
  assert.deepEqual(
    second.resources.map(({ name }) => name),
    ['late'],
  )
  assert.deepEqual(second.removedResources, ['pod'])
  // Asking again is answered again, unsubscribing ends it.
  watch.subscribe(['late'])
  assert.equal((watch.take() as Body).resources, 1)
  watch.unsubscribe(['late', 'net/10.0.0.2'])
  source.set(type, 'late', 'z', ['net/10.0.0.2'])
  watch.changed(new Set(['late']))
  assert.equal(watch.take(), undefined)
})

test('who asks for a service gets what belongs to it, follows it, and keeps nothing that left', () => {
  const source = new MemorySource()
  source.set(type, 'ns/svc', 'service', ['net/10.96.0.1'])
  source.set(type, 'pod-1', 'one', [], ['ns/svc'])
  source.set(type, 'stranger', 'x', [], ['ns/other'])
  const watch = new NamedWatch({ source, typeUrl: type, proxy: testProxy, initial: {}, isEarly })
  watch.take()
  const told = (): string[][] => {
    const body = watch.take()
    if (body === undefined) return [[], []]
    const { resources, removedResources } = decode(body)
    return [resources.map(({ name }) => name).toSorted(), removedResources]
  }
  watch.subscribe(['net/10.96.0.1'])
  assert.deepEqual(told(), [['ns/svc', 'pod-1'], []])
  source.set(type, 'pod-2', 'two', [], ['ns/svc'])
  source.set(type, 'stranger', 'y', [], ['ns/other'])
  watch.changed(new Set(['pod-2', 'stranger']))
  assert.deepEqual(told(), [['pod-2'], []])
  // One goes over to another service, one ends.
  source.set(type, 'pod-1', 'moved', [], ['ns/other'])
  source.delete(type, 'pod-2')
  watch.changed(new Set(['pod-1', 'pod-2']))
  assert.deepEqual(told(), [[], ['pod-1', 'pod-2']])
  // A service that appears after it was asked for brings its own.
  watch.subscribe(['ns/late'])
  assert.deepEqual(told(), [[], ['ns/late']])
  source.set(type, 'pod-3', 'three', [], ['ns/late'])
  source.set(type, 'ns/late', 'service')
  watch.changed(new Set(['pod-3', 'ns/late']))
  assert.deepEqual(told(), [['ns/late', 'pod-3'], []])
})
