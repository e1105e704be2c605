import assert from 'node:assert/strict'
import { Duplex, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { FakeClock, systemClock } from '../base/index.ts'
import {
  type CommandConnection,
  type CommandStreams,
  openSpdyCommand,
  SpdyConnection,
  type SpdyStream,
  streamLimits,
} from './index.ts'

/** Two ends of a connection, which tells when one of them is gone. */
function pipe(): [Duplex, Duplex] {
  const ends: Duplex[] = []
  const make = (other: number): Duplex =>
    new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, callback) {
        ends[other]?.push(chunk)
        setImmediate(callback)
      },
      final(callback) {
        ends[other]?.push(null)
        callback()
      },
      destroy(error, callback) {
        ends[other]?.push(null)
        callback(error)
      },
    })
  ends.push(make(1), make(0))
  return ends as [Duplex, Duplex]
}

const all: CommandStreams = { stdin: true, stdout: true, stderr: true, tty: false }

class Client {
  readonly #connection: SpdyConnection
  readonly #opened = new Map<string, SpdyStream>()
  readonly command: Promise<CommandConnection>
  readonly sizes: string[] = []
  closed = 0

  constructor(protocol: string, streams: CommandStreams, clock = systemClock) {
    const [near, far] = pipe()
    this.#connection = new SpdyConnection({ transport: near, role: 'client', clock })
    const handlers = {
      onResize: (columns: number, rows: number) => void this.sizes.push(`${columns}x${rows}`),
      onClose: () => void this.closed++,
    }
    this.command = openSpdyCommand({ transport: far, protocol, streams, handlers, clock })
  }

  async open(...types: string[]): Promise<void> {
    for (const streamtype of types) {
      const stream = await this.#connection.open({ streamtype })
      stream.on('error', () => {})
      this.#opened.set(streamtype, stream)
    }
  }

  stream(type: string): SpdyStream {
    const stream = this.#opened.get(type)
    assert.ok(stream)
    return stream
  }

  leave(): void {
    this.#connection.close()
  }
}

const failed = { status: 'Failure', message: 'exit status 3' }

test('a command starts when its streams are there, and ends with a Status', async () => {
  const client = new Client('v4.channel.k8s.io', all)
  await client.open('error', 'stdin', 'stdout')
  const early = await Promise.race([client.command, new Promise((done) => setTimeout(done, 30))])
  assert.equal(early, undefined, 'stderr is missing')
  await client.open('stderr')
  const command = await client.command
  client.stream('stdin').end('typed')
  assert.equal(await text(command.stdin), 'typed')
  const shown = Promise.all(['stdout', 'stderr', 'error'].map((type) => text(client.stream(type))))
  await Promise.all([
    command.copy(Readable.from([Buffer.alloc(300_000, 'o')]), 'stdout'),
    command.copy(Readable.from([Buffer.from('complaint')]), 'stderr'),
  ])
  command.finish(failed)
  const [stdout, stderr, error] = await shown
  assert.equal(stdout?.length, 300_000)
  assert.equal(stderr, 'complaint')
  assert.deepEqual(JSON.parse(error ?? ''), failed)
})

test('clients before v4 get the last word as a sentence, and none when all is well', async () => {
  for (const [outcome, said] of [
    [failed, 'exit status 3'],
    [{ status: 'Success' }, ''],
  ] as const) {
    const client = new Client('v3.channel.k8s.io', { ...all, stdin: false, stderr: false })
    await client.open('error', 'stdout')
    const error = text(client.stream('error'))
    const command = await client.command
    command.finish(outcome)
    assert.equal(await error, said)
  }
})

test('sizes come from v3 on; what is no size changes nothing', async () => {
  const tty = { ...all, stderr: false, tty: true }
  const client = new Client('v4.channel.k8s.io', tty)
  await client.open('error', 'stdin', 'stdout', 'resize')
  await client.command
  client.stream('resize').write('{"Width":80,"Height":24}\n{"Width":')
  client.stream('resize').write('"x"} nonsense } {"Width":100,"Height":30}')
  while (client.sizes.length < 2) await new Promise((done) => setImmediate(done))
  assert.deepEqual(client.sizes, ['80x24', '100x30'])
  client.leave()
  const old = new Client('v2.channel.k8s.io', tty)
  await old.open('error', 'stdin', 'stdout')
  await old.command
  old.leave()
})

test('a client that leaves is noticed once, before and after the start', async () => {
  const early = new Client('v4.channel.k8s.io', all)
  await early.open('error')
  early.leave()
  await assert.rejects(early.command, { code: 'STREAMS_CLIENT_LEFT' })
  assert.equal(early.closed, 1)
  const later = new Client('v4.channel.k8s.io', all)
  await later.open('error', 'stdin', 'stdout', 'stderr')
  const command = await later.command
  later.leave()
  while (later.closed === 0) await new Promise((done) => setImmediate(done))
  await command.copy(Readable.from([Buffer.from('too late')]), 'stdout')
  command.finish(failed)
  assert.equal(later.closed, 1)
})

test('a client that does not open its streams is not waited for', async () => {
  const clock = new FakeClock()
  const client = new Client('v4.channel.k8s.io', all, clock)
  await client.open('error', 'stdin')
  // They arrive a little later.
  await new Promise((done) => setTimeout(done, 20))
  clock.advance(streamLimits.streamsWaitMs)
  await assert.rejects(client.command, /did not open: stdout, stderr/)
})

test('a connection is pinged, so that one whose peer is gone ends though nobody reads it', async () => {
  const clock = new FakeClock()
  const [near, far] = pipe()
  let closed = 0
  new SpdyConnection({ transport: far, role: 'server', clock, onClose: () => void closed++ })
  const bytes: Buffer[] = []
  near.on('data', (chunk: Buffer) => bytes.push(chunk))
  clock.advance(streamLimits.pingMs)
  while (bytes.length === 0) await new Promise((done) => setImmediate(done))
  assert.deepEqual(Buffer.concat(bytes), Buffer.of(0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2))
  near.write(Buffer.concat(bytes))
  await new Promise((done) => setTimeout(done, 20))
  assert.equal(bytes.length, 1, 'the answer to a ping is not answered')
  far.destroy(new Error('broken pipe'))
  while (closed === 0) await new Promise((done) => setImmediate(done))
})
