/** One exec or attach: the client's connection on one side, the session in the pod on the other. */
import { failure, type Status, success } from '../kube/index.ts'
import {
  acceptSpdy,
  acceptWebSocket,
  ChannelConnection,
  type CommandConnection,
  type CommandHandlers,
  type CommandStreams,
  channelProtocols,
  openSpdyCommand,
  spdyCommandProtocols,
} from '../streams/index.ts'
import type { ExecSession } from './backend.ts'
import { statusOf } from './errors.ts'
import { negotiateDialect, type StreamContext, type UpgradeRequest } from './pod-upgrade.ts'

const supported = { webSocket: channelProtocols, spdy: spdyCommandProtocols }

/** Serves the request to its end. Rejects only while the client can still be answered over HTTP. */
export async function serveCommand(
  request: UpgradeRequest,
  streams: CommandStreams,
  start: () => Promise<ExecSession>,
  context: StreamContext,
): Promise<void> {
  const session = new CommandSession()
  const connection = await open(request, streams, session, context)
  // A client that leaves while it opens its streams has no one to be answered any more.
  if (connection !== undefined) await session.serve(connection, streams, start)
}

async function open(
  request: UpgradeRequest,
  streams: CommandStreams,
  handlers: CommandHandlers,
  context: StreamContext,
): Promise<CommandConnection | undefined> {
  const { message, socket, head } = request
  const { transport, protocol } = negotiateDialect(request, supported, context)
  const { clock } = context
  if (transport === 'spdy') {
    const stream = acceptSpdy(socket, head, protocol)
    return openSpdyCommand({ transport: stream, protocol, streams, handlers, clock }).catch(
      () => undefined,
    )
  }
  const webSocket = await acceptWebSocket(message, socket, head, protocol)
  return new ChannelConnection(webSocket, handlers, clock)
}

/** What the client does may come before the command runs, and after it has ended. */
class CommandSession implements CommandHandlers {
  #session: ExecSession | undefined
  #size: readonly [columns: number, rows: number] | undefined
  #left = false

  onResize(columns: number, rows: number): void {
    this.#size = [columns, rows]
    this.#session?.resize(columns, rows)
  }

  onClose(): void {
    this.#left = true
    this.#session?.kill()
  }

  async serve(
    connection: CommandConnection,
    streams: CommandStreams,
    start: () => Promise<ExecSession>,
  ): Promise<void> {
    try {
      const session = await start()
      this.#session = session
      // It may be rejected while the outputs are still read; it is awaited below.
      session.exitCode.catch(() => {})
      if (this.#left) session.kill()
      if (this.#size !== undefined) session.resize(...this.#size)
      await transfer(connection, streams, session)
      const code = await session.exitCode
      this.#session = undefined
      connection.finish(exitStatus(code))
    } catch (error) {
      this.#session?.kill()
      this.#session = undefined
      connection.finish(statusOf(error))
    }
  }
}

/** Until both outputs have ended. */
async function transfer(
  connection: CommandConnection,
  streams: CommandStreams,
  session: ExecSession,
): Promise<void> {
  const { stdin, stdout, stderr } = session
  if (stdin === undefined) connection.stdin.resume()
  else {
    // A command that does not read its input, or has ended, is no failure of the session.
    stdin.on('error', () => connection.stdin.resume())
    connection.stdin.pipe(stdin)
  }
  const outputs: Promise<void>[] = []
  if (streams.stdout) outputs.push(connection.copy(stdout, 'stdout'))
  else stdout.resume()
  if (stderr !== undefined && streams.stderr) outputs.push(connection.copy(stderr, 'stderr'))
  else stderr?.resume()
  await Promise.all(outputs)
}

function exitStatus(code: number): Status {
  if (code === 0) return { ...success(), metadata: {} }
  const { status } = failure(
    500,
    'NonZeroExitCode',
    `command terminated with non-zero exit code: exit status ${code}`,
    { causes: [{ reason: 'ExitCode', message: String(code) }] },
  )
  return status
}
