/**
 * Exec and attach over SPDY: the client opens one stream each for stdin, stdout, stderr, errors and sizes. From
 * v4 on the last word is a Status object, before it was a sentence; from v3 on there are sizes.
 */

import type { Duplex } from 'node:stream'
import { PassThrough, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Clock, MeshError } from '../base/index.ts'
import {
  type CommandConnection,
  type CommandHandlers,
  type CommandOutcome,
  type CommandStreams,
  readSize,
} from './command.ts'
import { streamLimits } from './limits.ts'
import { SpdyConnection, type SpdyStream } from './spdy-connection.ts'

/** Newest first. */
export const spdyCommandProtocols = [
  'v5.channel.k8s.io',
  'v4.channel.k8s.io',
  'v3.channel.k8s.io',
  'v2.channel.k8s.io',
  'channel.k8s.io',
] as const

export type SpdyCommandProtocol = (typeof spdyCommandProtocols)[number]

export interface SpdyCommandOptions {
  readonly transport: Duplex
  readonly protocol: string
  readonly streams: CommandStreams
  readonly handlers: CommandHandlers
  readonly clock: Clock
}

/** Waits for the streams that belong to the request. Rejects when they don't come. */
export async function openSpdyCommand(options: SpdyCommandOptions): Promise<CommandConnection> {
  const { transport, clock, handlers, protocol } = options
  const missing = expectedStreams(options)
  const streams = new Map<string, SpdyStream>()
  const complete = Promise.withResolvers<void>()
  const connection = new SpdyConnection({
    transport,
    role: 'server',
    clock,
    onStream(stream) {
      // A reset is no failure of ours.
      stream.on('error', () => {})
      const { streamtype = '' } = stream.headers
      if (!missing.delete(streamtype)) return void stream.destroy()
      streams.set(streamtype, stream)
      if (missing.size === 0) complete.resolve()
    },
    onClose() {
      complete.reject(new MeshError('STREAMS_CLIENT_LEFT', 'the client left before it had started'))
      handlers.onClose()
    },
  })
  const late = (): void =>
    complete.reject(
      new MeshError('STREAMS_CLIENT_LATE', `the client did not open: ${[...missing].join(', ')}`),
    )
  const timer = clock.after(streamLimits.streamsWaitMs, late, { background: true })
  try {
    await complete.promise
  } catch (error) {
    connection.close()
    throw error
  } finally {
    timer.cancel()
  }
  return new SpdyCommand(connection, streams, { handlers, protocol })
}

function expectedStreams({ streams, protocol }: SpdyCommandOptions): Set<string> {
  const { stdin, stdout, stderr, tty } = streams
  const expected = new Set(['error'])
  if (stdin) expected.add('stdin')
  if (stdout) expected.add('stdout')
  if (stderr && !tty) expected.add('stderr')
  if (tty && versionOf(protocol) >= 3) expected.add('resize')
  return expected
}

/** `channel.k8s.io` is the first. */
function versionOf(protocol: string): number {
  return Number(/^v(\d)\./.exec(protocol)?.[1] ?? 1)
}

class SpdyCommand implements CommandConnection {
  readonly stdin: Readable
  readonly #connection: SpdyConnection
  readonly #streams: ReadonlyMap<string, SpdyStream>
  readonly #protocol: string

  constructor(
    connection: SpdyConnection,
    streams: ReadonlyMap<string, SpdyStream>,
    { handlers, protocol }: { handlers: CommandHandlers; protocol: string },
  ) {
    this.#connection = connection
    this.#streams = streams
    this.#protocol = protocol
    this.stdin = streams.get('stdin') ?? new PassThrough().end()
    for (const [type, stream] of streams) {
      if (type === 'resize') readSizes(stream, handlers)
      // The client writes nothing on these, but their end must be read.
      else if (type !== 'stdin') stream.resume()
    }
  }

  async copy(source: Readable, to: 'stdout' | 'stderr'): Promise<void> {
    const stream = this.#streams.get(to)
    if (stream === undefined) return void source.resume()
    // Only a client that left ends this early; `onClose` says so.
    await pipeline(source, stream, { end: false }).catch(() => source.resume())
  }

  finish(outcome: CommandOutcome): void {
    const error = this.#streams.get('error')
    if (versionOf(this.#protocol) >= 4) error?.end(JSON.stringify(outcome))
    else error?.end(outcome.status === 'Success' ? '' : (outcome.message ?? 'failed'))
    for (const type of ['stdout', 'stderr']) this.#streams.get(type)?.end()
    this.#streams.get('stdin')?.resume()
    this.#connection.finish()
  }
}

/** Sizes are JSON objects one after another, each with a newline in between or not. */
function readSizes(stream: SpdyStream, handlers: CommandHandlers): void {
  let rest = ''
  stream.on('data', (chunk: Buffer) => {
    rest += chunk.toString('latin1')
    for (let end = rest.indexOf('}'); end >= 0; end = rest.indexOf('}')) {
      readSize(Buffer.from(rest.slice(0, end + 1)), handlers)
      rest = rest.slice(end + 1)
    }
    // No size is that long.
    if (rest.length > 1_024) rest = ''
  })
}
