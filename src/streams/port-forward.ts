/**
 * The port-forward protocol over SPDY streams: for each forwarded connection the client opens an error
 * and a data stream with the same `requestid`; text on the error stream ends it with a message.
 */
import type { Duplex } from 'node:stream'
import { type Clock, toError } from '../base/index.ts'
import { SpdyConnection, type SpdyStream } from './spdy-connection.ts'

/** The subprotocol of SPDY frames in WebSocket messages, and that of raw SPDY. */
export const portForwardTunnelProtocol = 'SPDY/3.1+portforward.k8s.io'
export const portForwardProtocol = 'portforward.k8s.io'

interface Pair {
  data?: SpdyStream
  error?: SpdyStream
}

/** Serves port-forwards on a transport until it closes. `connect` reaches a port of the pod. */
export function servePortForward(
  transport: Duplex,
  connect: (port: number) => Promise<Duplex>,
  clock: Clock,
): SpdyConnection {
  const pairs = new Map<string, Pair>()
  return new SpdyConnection({
    transport,
    role: 'server',
    clock,
    onStream(stream) {
      stream.on('error', () => {})
      const { requestid = '', streamtype, port } = stream.headers
      const key = `${requestid}/${port ?? ''}`
      const pair = pairs.get(key) ?? {}
      if (streamtype === 'data') pair.data = stream
      else if (streamtype === 'error') pair.error = stream
      else return void stream.destroy()
      const { data, error } = pair
      if (data === undefined || error === undefined) {
        pairs.set(key, pair)
        stream.once('close', () => pairs.get(key) === pair && pairs.delete(key))
        return
      }
      pairs.delete(key)
      void forward(data, error, () => connect(portNumber(port)))
    },
  })
}

function portNumber(text: string | undefined): number {
  const port = Number(text)
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new RangeError(`"${text ?? ''}" is no port`)
  return port
}

async function forward(
  data: SpdyStream,
  error: SpdyStream,
  connect: () => Promise<Duplex>,
): Promise<void> {
  // The client writes nothing on the error stream, but its end must be read.
  error.resume()
  let upstream: Duplex
  try {
    upstream = await connect()
  } catch (thrown) {
    error.end(toError(thrown).message)
    data.destroy()
    return
  }
  upstream.on('error', (failure) => {
    if (!error.writableEnded) error.end(failure.message)
    data.destroy()
  })
  upstream.once('close', () => {
    if (!error.writableEnded) error.end()
    if (!data.writableEnded) data.end()
  })
  data.once('close', () => upstream.destroy())
  data.pipe(upstream)
  upstream.pipe(data)
}
