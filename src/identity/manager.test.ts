import assert from 'node:assert/strict'
import test from 'node:test'
import { type Clock, FakeClock, silentLogger, type Timer } from '../base/index.ts'
import {
  createCaCertificate,
  generateEcKeyPair,
  issueCertificate,
  type KeyPair,
  parseCsr,
} from '../x509/index.ts'
import { CertificateManager, type CertificateSource, type WorkloadCertificate } from './index.ts'

const hourMs = 3_600_000
const id = (account: string): string => `spiffe://cluster.local/ns/bookinfo/sa/${account}`

/** A wall clock that can jump while the monotonic one and the timers stand still. */
class SleepyClock implements Clock {
  readonly awake = new FakeClock()
  #sleptMs = 0

  now(): number {
    return this.awake.now() + this.#sleptMs
  }
  monotonic(): number {
    return this.awake.monotonic()
  }
  after(delayMs: number, callback: () => void): Timer {
    return this.awake.after(delayMs, callback)
  }
  every(periodMs: number, callback: () => void): Timer {
    return this.awake.every(periodMs, callback)
  }
  suspend(ms: number): void {
    this.#sleptMs += ms
  }
}

let rootKeys: KeyPair | undefined

class Authority implements CertificateSource {
  readonly clock: Clock
  failing: string | undefined
  requests: string[] = []
  issuedFor: string | undefined
  rootPem = ''
  hold: Promise<void> | undefined
  active = 0
  activeMax = 0

  constructor(clock: Clock) {
    this.clock = clock
  }

  async request(csrPem: string, identity: string, ttlMs: number): Promise<string[]> {
    this.requests.push(identity)
    this.activeMax = Math.max(this.activeMax, ++this.active)
    try {
      await this.hold
      if (this.failing !== undefined) throw new Error(this.failing)
      return await this.#issue(csrPem, identity, ttlMs)
    } finally {
      this.active--
    }
  }

  async #issue(csrPem: string, identity: string, ttlMs: number): Promise<string[]> {
    const now = this.clock.now()
    rootKeys ??= await generateEcKeyPair()
    if (this.rootPem === '') {
      const subject = { organizations: ['cluster.local'] }
      this.rootPem = await createCaCertificate({
        keys: rootKeys,
        subject,
        notBefore: now,
        notAfter: now + 9999 * hourMs,
      })
    }
    const csr = parseCsr(csrPem)
    assert.deepEqual(csr.uriSans, [identity])
    const leaf = await issueCertificate({
      issuer: { certificatePem: this.rootPem, key: rootKeys.privateKey },
      publicKey: csr.publicKey,
      names: { uris: [this.issuedFor ?? identity] },
      notBefore: now,
      notAfter: now + ttlMs,
    })
    return [leaf, this.rootPem + this.rootPem]
  }
}

async function world(clock = new SleepyClock()) {
  const source = new Authority(clock)
  const manager = new CertificateManager({ source, clock, logger: silentLogger, random: () => 0.5 })
  await manager.start()
  const changes: WorkloadCertificate[] = []
  manager.onChange((certificate) => changes.push(certificate))
  const changed = async (count: number): Promise<void> => {
    for (let turn = 0; changes.length < count; turn++) {
      assert.ok(turn < 2000, `${changes.length} changes, not ${count}`)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
  const asked = async (count: number): Promise<void> => {
    for (let turn = 0; source.requests.length < count || source.active > 0; turn++) {
      assert.ok(turn < 2000, `${source.requests.length} requests, not ${count}`)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { clock, source, manager, changes, changed, asked }
}

test('an identity is fetched once for all who ask, with every root of the answer', async () => {
  const { manager, source } = await world()
  const [one, two] = await Promise.all([manager.fetch(id('a')), manager.fetch(id('a'))])
  assert.equal(one, two)
  assert.equal(one, manager.current(id('a')))
  assert.equal(source.requests.length, 1)
  assert.equal(one.identity, id('a'))
  assert.equal(one.notAfter - one.notBefore, 24 * hourMs)
  assert.equal(one.rootsPem.split('BEGIN CERTIFICATE').length, 3)
  assert.match(one.keyPem, /BEGIN PRIVATE KEY/)
  await manager.stop()
})

test('a certificate for somebody else is refused', async () => {
  const { manager, source } = await world()
  source.issuedFor = id('b')
  await assert.rejects(
    manager.fetch(id('a')),
    /refused: it is for spiffe:\/\/cluster.local\/ns\/bookinfo\/sa\/b/,
  )
  await assert.rejects(manager.fetch('not-spiffe'), /no SPIFFE id/)
  assert.equal(manager.current(id('a')), undefined)
  await manager.stop()
})

test('renewal comes at half of the life; while it fails the old certificate is used until it expires', async () => {
  const { manager, source, clock, changed, asked } = await world()
  const first = await manager.fetch(id('a'))
  clock.awake.advance(11.9 * hourMs)
  assert.equal(source.requests.length, 1)
  source.failing = 'the authority is away'
  clock.awake.advance(0.2 * hourMs)
  await asked(2)
  assert.equal(manager.current(id('a')), first)
  assert.match(manager.snapshot()[0]?.error ?? '', /the authority is away/)
  assert.equal(manager.snapshot()[0]?.state, 'available')
  clock.awake.advance(11.8 * hourMs)
  await asked(3)
  assert.equal(await manager.fetch(id('a')), first)
  clock.awake.advance(0.2 * hourMs)
  await asked(4)
  assert.equal(manager.current(id('a')), undefined)
  await assert.rejects(manager.fetch(id('a')), { code: 'IDENTITY_UNAVAILABLE' })
  assert.equal(manager.snapshot()[0]?.state, 'unavailable')
  source.failing = undefined
  clock.awake.advance(200_000)
  await changed(2)
  assert.notEqual((await manager.fetch(id('a'))).serial, first.serial)
  await manager.stop()
})

test('failures are retried after 500 ms, then twice as late each time; asking in between does not hurry', async () => {
  const { manager, source, clock, asked, changed } = await world()
  source.failing = 'no'
  await assert.rejects(manager.fetch(id('a')))
  await assert.rejects(manager.fetch(id('a')))
  assert.equal(source.requests.length, 1)
  for (const [index, delayMs] of [500, 1000, 2000, 4000].entries()) {
    clock.awake.advance(delayMs - 1)
    await asked(index + 1)
    assert.equal(source.requests.length, index + 1)
    clock.awake.advance(1)
    await asked(index + 2)
  }
  source.failing = undefined
  clock.awake.advance(8000)
  await changed(1)
  assert.ok(manager.current(id('a')))
  await manager.stop()
})

test('after a suspend an expired certificate is not used and a new one is fetched at once', async () => {
  const { manager, source, clock, changed, asked } = await world()
  await manager.fetch(id('a'))
  source.failing = 'still offline'
  clock.suspend(30 * hourMs)
  assert.equal(manager.current(id('a')), undefined)
  clock.awake.advance(2000)
  await asked(2)
  // The failures of before the sleep don't slow down what comes after it.
  clock.suspend(hourMs)
  source.failing = undefined
  clock.awake.advance(2000)
  await changed(2)
  assert.ok(manager.current(id('a')))
  await manager.stop()
})

test('eight requests run at once, and who waits for a connection goes first', async () => {
  const { manager, source, asked } = await world()
  const gate = Promise.withResolvers<void>()
  source.hold = gate.promise
  const results = Array.from({ length: 12 }, (_, index) => manager.fetch(id(`w${index}`), 'warmup'))
  results.push(manager.fetch(id('urgent'), 'realtime'))
  results.push(manager.fetch(id('w11'), 'realtime'))
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(source.requests.length, 8)
  gate.resolve()
  await Promise.all(results)
  await asked(13)
  assert.equal(source.activeMax, 8)
  assert.deepEqual(source.requests.slice(8, 10).sort(), [id('urgent'), id('w11')].sort())
  await manager.stop()
})

test('a forgotten identity is neither kept nor renewed', async () => {
  const { manager, source, clock } = await world()
  await manager.fetch(id('a'))
  manager.forget(id('a'))
  assert.equal(manager.current(id('a')), undefined)
  clock.awake.advance(48 * hourMs)
  assert.equal(source.requests.length, 1)
  const gate = Promise.withResolvers<void>()
  source.hold = gate.promise
  const pending = manager.fetch(id('b'))
  manager.forget(id('b'))
  gate.resolve()
  await assert.rejects(pending, /not needed any more/)
  assert.deepEqual(manager.snapshot(), [])
  await manager.stop()
})
