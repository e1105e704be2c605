/** Port 15006: plaintext which the rules redirected; there is no identity, but the same policies. */

import type net from 'node:net'
import { toError } from '../base/index.ts'
import { reset } from '../hbone/index.ts'
import { accessPeer, remoteOf } from './describe.ts'
import { describe, Refusal } from './errors.ts'
import { InboundSession } from './inbound-session.ts'
import { illegalPorts } from './limits.ts'
import { destinationOf, type Pod } from './pod.ts'

/** Serves one captured connection until it ends; never rejects. */
export async function serveInboundPlaintext(pod: Pod, socket: net.Socket): Promise<void> {
  const source = remoteOf(socket)
  const destination = destinationOf(socket)
  if (source === undefined || destination === undefined) return void socket.destroy()
  let session: InboundSession | undefined
  const clientGone = new AbortController()
  socket.once('close', () => clientGone.abort(new Error('the client closed the connection')))
  try {
    const workload = await pod.ownWorkload()
    if (illegalPorts.has(destination.port)) {
      throw new Refusal(503, `port ${destination.port} belongs to the proxy`)
    }
    session = new InboundSession({
      pod,
      workload,
      source,
      destination,
      signal: clientGone.signal,
    })
    session.authorize()
    await session.carry(socket, await session.connect())
  } catch (thrown) {
    const error = toError(thrown)
    reset(socket)
    if (session !== undefined) return session.finish(error)
    pod.parts.accessLog.failed(
      {
        source: accessPeer(source, undefined, undefined),
        destination: accessPeer(destination, pod.workload(), undefined),
        direction: 'inbound',
      },
      describe(error),
    )
  }
}
