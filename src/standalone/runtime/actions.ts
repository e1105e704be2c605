/**
 * Probe and hook actions: http, tcp, exec, grpc. They come from the node with a source address of
 * its own, so that a pod's redirection rules let them pass untouched (as a kubelet's probes do).
 */
import * as http from 'node:http'
import * as http2 from 'node:http2'
import * as https from 'node:https'
import { connect } from 'node:net'
import { toError } from '../../base/index.ts'
import type { RunningContainer } from './launcher.ts'
import { limits } from './limits.ts'
import type { Container, Handler, HttpGetAction } from './types.ts'

export interface ActionTarget {
  readonly container: Container
  readonly podIp: string
  /** Undefined: let the kernel choose (pods in the node's network). */
  readonly localAddress: string | undefined
  readonly process: RunningContainer
}

export interface ActionResult {
  readonly ok: boolean
  /** What people read in the `Unhealthy` event. */
  readonly output: string
}

/** Never rejects: what goes wrong is a failed result. */
export async function runAction(
  handler: Handler,
  target: ActionTarget,
  timeoutMs: number,
): Promise<ActionResult> {
  try {
    if (handler.exec) return await runExec(handler.exec.command ?? [], target.process, timeoutMs)
    if (handler.httpGet) return await httpGet(handler.httpGet, target, timeoutMs)
    if (handler.tcpSocket) {
      const { host, port } = handler.tcpSocket
      return await tcpConnect(
        host ?? target.podIp,
        portOf(port, target.container),
        target,
        timeoutMs,
      )
    }
    if (handler.grpc) return await grpcCheck(handler.grpc, target, timeoutMs)
    return { ok: true, output: '' }
  } catch (error) {
    return { ok: false, output: toError(error).message }
  }
}

/** A number, or the container port of that name. */
function portOf(port: number | string, container: Container): number {
  const text = String(port)
  const named = container.ports?.find((candidate) => candidate.name === text)?.containerPort
  const number = named ?? Number(text)
  if (!Number.isInteger(number) || number < 1 || number > 65535) {
    throw new Error(
      `port "${text}" is neither a number nor a named port of container "${container.name}"`,
    )
  }
  return number
}

function httpGet(
  action: HttpGetAction,
  target: ActionTarget,
  timeoutMs: number,
): Promise<ActionResult> {
  const { promise, resolve } = Promise.withResolvers<ActionResult>()
  const secure = action.scheme?.toUpperCase() === 'HTTPS'
  const headers: Record<string, string> = {
    'user-agent': 'kube-probe/1.32',
    accept: '*/*',
    connection: 'close',
  }
  for (const { name, value } of action.httpHeaders ?? []) headers[name.toLowerCase()] = value
  const path = action.path ?? '/'
  const request = (secure ? https : http).request({
    host: action.host ?? target.podIp,
    port: portOf(action.port, target.container),
    path: path.startsWith('/') ? path : `/${path}`,
    headers,
    agent: false,
    // A kubelet does not verify either: the pod's certificate is for its own clients.
    ...(secure ? { rejectUnauthorized: false } : {}),
    ...(target.localAddress === undefined || action.host !== undefined
      ? {}
      : { localAddress: target.localAddress }),
  })
  const timer = setTimeout(() => {
    resolve({
      ok: false,
      output: `Get "${path}": context deadline exceeded (timeout ${timeoutMs} ms)`,
    })
    request.destroy()
  }, timeoutMs)
  const finish = (result: ActionResult): void => {
    clearTimeout(timer)
    resolve(result)
    request.destroy()
  }
  request.once('error', (error) => finish({ ok: false, output: `Get "${path}": ${error.message}` }))
  request.once('response', (response) => {
    const code = response.statusCode ?? 0
    const ok = code >= 200 && code < 400
    finish({ ok, output: ok ? '' : `HTTP probe failed with statuscode: ${code}` })
  })
  request.end()
  return promise
}

function tcpConnect(
  host: string,
  port: number,
  { localAddress }: ActionTarget,
  timeoutMs: number,
): Promise<ActionResult> {
  const { promise, resolve } = Promise.withResolvers<ActionResult>()
  const socket = connect({ host, port, ...(localAddress === undefined ? {} : { localAddress }) })
  const finish = (result: ActionResult): void => {
    clearTimeout(timer)
    resolve(result)
    socket.destroy()
  }
  const timer = setTimeout(
    () => finish({ ok: false, output: `dial tcp ${host}:${port}: i/o timeout` }),
    timeoutMs,
  )
  socket.once('connect', () => finish({ ok: true, output: '' }))
  socket.once('error', (error) =>
    finish({ ok: false, output: `dial tcp ${host}:${port}: ${error.message}` }),
  )
  return promise
}

async function runExec(
  command: readonly string[],
  process: RunningContainer,
  timeoutMs: number,
): Promise<ActionResult> {
  const session = await process.exec({ command, stdin: false, tty: false })
  const output: Buffer[] = []
  let bytes = 0
  const collect = (chunk: Buffer): void => {
    if (bytes < limits.probeOutputBytesMax) output.push(chunk)
    bytes += chunk.length
  }
  session.stdout.on('data', collect)
  session.stderr?.on('data', collect)
  let late = false
  const timer = setTimeout(() => {
    late = true
    session.kill()
  }, timeoutMs)
  const code = await session.exitCode
  clearTimeout(timer)
  const text = Buffer.concat(output).toString().slice(0, limits.probeOutputBytesMax).trim()
  if (late) return { ok: false, output: `command timed out after ${timeoutMs} ms` }
  return { ok: code === 0, output: text === '' ? `exit code ${code}` : text }
}

/** `grpc.health.v1.Health/Check`: one message with the service's name; field 1 of the answer is SERVING (1). */
function grpcCheck(
  { port, service = '' }: { port: number; service?: string },
  { podIp, localAddress }: ActionTarget,
  timeoutMs: number,
): Promise<ActionResult> {
  const { promise, resolve } = Promise.withResolvers<ActionResult>()
  const session = http2.connect(`http://${podIp}:${port}`, {
    createConnection: () =>
      connect({ host: podIp, port, ...(localAddress === undefined ? {} : { localAddress }) }),
  })
  const finish = (ok: boolean, output: string): void => {
    clearTimeout(timer)
    resolve({ ok, output })
    session.destroy()
  }
  const timer = setTimeout(
    () => finish(false, `timeout: failed to connect service "${podIp}:${port}"`),
    timeoutMs,
  )
  session.once('error', (error) => finish(false, error.message))
  const stream = session.request({
    ':method': 'POST',
    ':path': '/grpc.health.v1.Health/Check',
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  stream.once('error', (error) => finish(false, error.message))
  const name = Buffer.from(service)
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.length]), name])
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message])
  const answer: Buffer[] = []
  stream.on('data', (chunk: Buffer) => answer.push(chunk))
  stream.once('end', () => {
    const body = Buffer.concat(answer).subarray(5)
    const serving = body[0] === 0x08 && body[1] === 1
    finish(serving, serving ? '' : `service unhealthy (answer ${body.toString('hex') || 'empty'})`)
  })
  stream.end(frame)
  return promise
}
