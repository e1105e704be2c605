/** Elections over a store with versions and conflicts; time is moved by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FakeClock, silentLogger } from '../base/index.ts'
import { failure, type KubeObject } from '../kube/index.ts'
import { LeaderElector, type LeaderElectorOptions } from './leader-elector.ts'

type Lease = KubeObject<{
  holderIdentity?: string
  leaseTransitions?: number
  leaseDurationSeconds?: number
  renewTime?: string
}>

/** One Lease, and for each candidate a way to it which can break. */
class Store {
  lease: Lease | undefined
  writes = 0
  #version = 0

  client(reach: () => boolean): LeaderElectorOptions['client'] {
    const answer = async <T>(run: () => T): Promise<T> => {
      if (!reach()) throw new Error('unreachable')
      return structuredClone(run())
    }
    const verbs = {
      get: () => answer(() => this.lease),
      create: (_gvr: unknown, lease: Lease) =>
        answer(() => {
          if (this.lease !== undefined) throw failure(409, 'AlreadyExists', 'exists')
          return this.#write(lease)
        }),
      update: (_gvr: unknown, lease: Lease) =>
        answer(() => {
          if (lease.metadata.resourceVersion !== this.lease?.metadata.resourceVersion)
            throw failure(409, 'Conflict', 'changed')
          return this.#write(lease)
        }),
    }
    return verbs as unknown as LeaderElectorOptions['client'] // generic in the object's type
  }

  #write(lease: Lease): Lease {
    this.writes++
    const metadata = { ...lease.metadata, resourceVersion: String(++this.#version) }
    this.lease = structuredClone({ ...lease, metadata })
    return this.lease
  }
}

interface Candidate {
  readonly elector: LeaderElector
  readonly clock: FakeClock
  leading: boolean
  stops: number
  reachable: boolean
}

function candidate(
  store: Store,
  identity: string,
  options: { rank?: number; start?: number } = {},
) {
  const clock = new FakeClock(options.start)
  const self: Candidate = {
    clock,
    leading: false,
    stops: 0,
    reachable: true,
    elector: new LeaderElector({
      client: store.client(() => self.reachable),
      namespace: 'istio-system',
      name: 'istio-leader',
      identity,
      clock,
      logger: silentLogger,
      random: () => 0.5,
      ...(options.rank === undefined ? {} : { rank: options.rank }),
      onStarted: () => (self.leading = true),
      onStopped: () => {
        self.leading = false
        self.stops++
      },
    }),
  }
  return self
}

/** Lets promises settle, which no clock moves. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve))
}

async function pass(candidates: readonly Candidate[], seconds: number): Promise<void> {
  for (let step = 0; step < seconds * 2; step++) {
    for (const { clock } of candidates) clock.advance(500)
    await settle()
  }
}

test('one candidate leads, renews, and gives the lease back when it stops', async () => {
  const store = new Store()
  const [one, two] = [candidate(store, 'one'), candidate(store, 'two')]
  await one.elector.start()
  await settle()
  await two.elector.start()
  await pass([one, two], 40)
  assert.deepEqual([one.leading, two.leading], [true, false])
  assert.equal(two.elector.holder, 'one')
  assert.equal(store.lease?.spec?.leaseTransitions, 0)
  assert.equal(store.lease?.spec?.leaseDurationSeconds, 15)
  assert.match(store.lease?.spec?.renewTime ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
  await one.elector.stop()
  assert.equal(store.lease?.spec?.holderIdentity, '')
  await pass([two], 6)
  assert.deepEqual([one.leading, two.leading], [false, true])
  assert.equal(store.lease?.spec?.leaseTransitions, 1)
  await two.elector.stop()
})

test('a leader that lost the API server stops before another one takes over', async () => {
  const store = new Store()
  const [one, two] = [candidate(store, 'one'), candidate(store, 'two')]
  await one.elector.start()
  await settle()
  await two.elector.start()
  await pass([one, two], 5)
  one.reachable = false
  await pass([one, two], 7)
  assert.deepEqual([one.leading, two.leading], [true, false])
  await pass([one, two], 5)
  assert.deepEqual([one.leading, two.leading], [false, false])
  await pass([one, two], 8)
  assert.deepEqual([one.leading, two.leading], [false, true])
  one.reachable = true
  await pass([one, two], 10)
  assert.deepEqual([one.leading, two.leading], [false, true])
  await one.elector.stop()
  await two.elector.stop()
})

test('a leader whose process was frozen knows at once that it leads no more', async () => {
  const store = new Store()
  const one = candidate(store, 'one')
  await one.elector.start()
  await settle()
  assert.ok(one.elector.isLeader)
  one.clock.advance(11_000)
  assert.equal(one.elector.isLeader, false)
  await settle()
  assert.equal(one.stops, 1)
  // Nobody else was there: it leads again, by a new renewal.
  assert.ok(one.elector.isLeader)
  await one.elector.stop()
})

test('a candidate of higher rank gets the lease from its holder, never beside it', async () => {
  const store = new Store()
  const [canary, main] = [candidate(store, 'canary'), candidate(store, 'main', { rank: 1 })]
  await canary.elector.start()
  await settle()
  await main.elector.start()
  for (let step = 0; step < 40 && !main.leading; step++) {
    await pass([canary, main], 0.5)
    assert.ok(!(canary.leading && main.leading))
  }
  assert.deepEqual([canary.leading, main.leading], [false, true])
  await pass([canary, main], 30)
  assert.deepEqual([canary.leading, main.leading], [false, true])
  await main.elector.stop()
  await pass([canary], 6)
  assert.equal(canary.leading, true)
  await canary.elector.stop()
})

test('whatever breaks and however clocks are set, two never lead at once, and in quiet times one does', async () => {
  const step = fc.record({
    // Milliseconds by which each candidate's own clock moves: they run up to 10 % apart.
    drift: fc.tuple(fc.integer({ min: 950, max: 1050 }), fc.integer({ min: 950, max: 1050 })),
    reachable: fc.tuple(fc.boolean(), fc.boolean()),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 20, maxLength: 60 }),
      fc.integer({ min: -5000, max: 5000 }),
      async (steps, skewMs) => {
        const store = new Store()
        const start = Date.UTC(2026, 0, 1)
        const pair = [
          candidate(store, 'one', { start }),
          candidate(store, 'two', { start: start + skewMs }),
        ] as const
        for (const { elector } of pair) await elector.start()
        for (const { drift, reachable } of steps) {
          for (const [index, one] of pair.entries()) {
            one.reachable = reachable[index] ?? true
            one.clock.advance(drift[index] ?? 1000)
          }
          await settle()
          assert.ok(!(pair[0].leading && pair[1].leading), 'two leaders')
        }
        for (const one of pair) one.reachable = true
        await pass(pair, 30)
        assert.equal(Number(pair[0].leading) + Number(pair[1].leading), 1)
        for (const { elector } of pair) await elector.stop()
      },
    ),
    { numRuns: 12 },
  )
})
