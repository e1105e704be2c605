/**
 * The control socket: one request line in, any number of progress lines and one result line out.
 * Who may connect is decided by the directory it is in (0700).
 */
import { chmodSync, rmSync } from 'node:fs'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { errnoOf, MeshError, toError } from '../../base/index.ts'
import type { ImageMapping } from '../images/index.ts'
import { limits } from './limits.ts'
import { fromWireError, type ProgressEvent, toWireError, type WireError } from './protocol.ts'

export type ControlRequest =
  | { readonly method: 'status' }
  /** Answers when the mesh is ready, or failed. */
  | { readonly method: 'wait' }
  | { readonly method: 'apply-samples'; readonly samples: readonly string[] }
  /** Makes `image.image` stand for a program of the machine: what `weft run` starts. */
  | { readonly method: 'define-image'; readonly image: ImageMapping }
  | { readonly method: 'forget-image'; readonly name: string }
  /** Answers when everything has ended. */
  | { readonly method: 'down' }

type ControlLine =
  | { readonly progress: ProgressEvent }
  | { readonly result: unknown }
  | { readonly error: WireError }

export type ControlHandler = (
  request: ControlRequest,
  progress: (event: ProgressEvent) => void,
) => Promise<unknown>

/** Serves the socket at `path`; a stale file there (nobody listens: the lock is ours) is replaced. */
export async function serveControl(path: string, handler: ControlHandler): Promise<Server> {
  rmSync(path, { force: true })
  const server = createServer((socket) => serveClient(socket, handler))
  server.maxConnections = limits.controlClients
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => resolve())
  })
  chmodSync(path, 0o600)
  return server
}

function serveClient(socket: Socket, handler: ControlHandler): void {
  const write = (line: ControlLine): void => {
    if (socket.writable) socket.write(`${JSON.stringify(line)}\n`)
  }
  let text = ''
  socket.on('error', () => socket.destroy())
  socket.on('data', function onData(chunk) {
    text += chunk.toString()
    const end = text.indexOf('\n')
    if (end < 0) {
      if (text.length > limits.controlLineBytes) socket.destroy()
      return
    }
    socket.off('data', onData).resume()
    void answer(text.slice(0, end), handler, write).finally(() => socket.end())
  })
}

async function answer(
  line: string,
  handler: ControlHandler,
  write: (line: ControlLine) => void,
): Promise<void> {
  try {
    // Checked by the handler, which knows the methods.
    const request = JSON.parse(line) as ControlRequest
    write({ result: await handler(request, (progress) => write({ progress })) })
  } catch (error) {
    write({ error: toWireError(error) })
  }
}

/**
 * One request to a running broker. Undefined when none is running.
 * @param timeoutMs without any line in that time it is taken for hung
 */
export async function askBroker(
  path: string,
  request: ControlRequest,
  options: {
    readonly timeoutMs: number
    readonly onProgress?: (event: ProgressEvent) => void
    /** Rejects with the signal's reason; the broker goes on with what it does. */
    readonly signal?: AbortSignal
  },
): Promise<{ readonly result: unknown } | undefined> {
  const socket = createConnection(path)
  socket.setTimeout(options.timeoutMs, () => {
    socket.destroy(
      new MeshError('BROKER_SILENT', `the broker behind ${path} does not answer`, {
        hint: 'Look into logs/broker.log beside it; as a last resort end the process named in broker.json.',
      }),
    )
  })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.once('connect', resolve)
    })
  } catch (error) {
    // No socket, or one that nobody listens on any more.
    if (['ENOENT', 'ECONNREFUSED', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined
    throw new MeshError('BROKER_CONTROL', `can't reach the broker: ${toError(error).message}`, {
      cause: error,
      hint: 'The mesh belongs to another user; run as that one.',
    })
  }
  let failure: Error | undefined
  socket.on('error', (error) => (failure = error))
  const onAbort = (): void => void socket.destroy()
  options.signal?.addEventListener('abort', onAbort, { once: true })
  socket.write(`${JSON.stringify(request)}\n`)
  const lines = createInterface({ input: socket })
  // It notices the end of its input, but not that it is destroyed.
  socket.once('close', () => lines.close())
  for await (const line of lines) {
    // Our own broker of the same or an older version wrote it.
    const message = JSON.parse(line) as Partial<{ progress: ProgressEvent; error: WireError }>
    if (message.progress !== undefined) options.onProgress?.(message.progress)
    else if (message.error !== undefined) throw fromWireError(message.error)
    else return { result: (message as { result?: unknown }).result }
  }
  options.signal?.throwIfAborted()
  if (failure instanceof MeshError) throw failure
  throw new MeshError('BROKER_GONE', 'the broker ended before it answered', {
    hint: 'Its last words are in logs/broker.log of the state directory.',
  })
}
