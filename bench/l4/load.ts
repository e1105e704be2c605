/** The traffic: keep-alive HTTP, short connections, one bulk transfer, idle connections. */
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'

export type Dial = () => Promise<net.Socket>

const body = Buffer.alloc(1024, 'x')

/** Answers 1 KiB. */
export function webServer(): (socket: net.Socket) => void {
  const server = http.createServer((_request, response) => response.end(body))
  server.keepAliveTimeout = 60_000
  return (socket) => void server.emit('connection', socket)
}

/** Swallows, and says at the end how much it got; a first byte of `e` makes it an echo. */
export function sinkServer(): (socket: net.Socket) => void {
  return (socket) => {
    let bytes = 0
    socket.once('data', (first: Buffer) => {
      if (first[0] === 0x65) {
        socket.write(first)
        socket.on('data', (chunk) => socket.write(chunk)).on('end', () => socket.end())
        return
      }
      bytes += first.length
      socket.on('data', (chunk: Buffer) => void (bytes += chunk.length))
      socket.on('end', () => socket.end(String(bytes)))
    })
  }
}

export interface Requests {
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Requests over keep-alive connections, one at a time on each. */
export async function requests(dial: Dial, count: number, connections: number): Promise<Requests> {
  const question = Buffer.from('GET / HTTP/1.1\r\nhost: server\r\n\r\n')
  const times: number[] = []
  const sockets = await Promise.all(Array.from({ length: connections }, dial))
  let left = count
  const startedAt = performance.now()
  await Promise.all(
    sockets.map(async (socket) => {
      while (left-- > 0) {
        const from = performance.now()
        socket.write(question)
        await answer(socket)
        times.push(performance.now() - from)
      }
    }),
  )
  const seconds = (performance.now() - startedAt) / 1000
  for (const socket of sockets) socket.destroy()
  times.sort((a, b) => a - b)
  const at = (share: number): number => times[Math.floor(times.length * share)] ?? 0
  return { seconds, p50Ms: at(0.5), p99Ms: at(0.99) }
}

/** Until a whole answer has come: the head, and the 1 KiB after it. */
function answer(socket: net.Socket): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let text: Buffer = Buffer.alloc(0)
  const onClose = (): void => reject(new Error('the connection ended in the middle'))
  const onData = (chunk: Buffer): void => {
    text = text.length === 0 ? chunk : Buffer.concat([text, chunk])
    const head = text.indexOf('\r\n\r\n')
    if (head < 0) return
    if (!text.subarray(0, 15).includes(' 200 ')) return reject(new Error(text.toString('latin1')))
    // Chunked by proxies or not: the content is all x, and ends the answer.
    const content = text.subarray(head + 4)
    let count = 0
    for (const byte of content) if (byte === 0x78) count++
    if (count < body.length) return
    socket.off('data', onData).off('close', onClose)
    resolve()
  }
  socket.on('data', onData).on('close', onClose)
  return promise
}

/** Sends that many bytes over one connection; resolves with the seconds until all arrived. */
export async function bulk(dial: Dial, bytes: number): Promise<number> {
  const socket = await dial()
  const chunk = Buffer.alloc(256 * 1024, 'y')
  const startedAt = performance.now()
  for (let sent = 0; sent < bytes; sent += chunk.length) {
    if (!socket.write(chunk)) await once(socket, 'drain')
  }
  socket.end()
  const [said] = (await once(socket, 'data')) as [Buffer]
  if (Number(said.toString()) !== Math.ceil(bytes / chunk.length) * chunk.length) {
    throw new Error(`${said.toString()} bytes arrived of ${bytes}`)
  }
  socket.destroy()
  return (performance.now() - startedAt) / 1000
}

async function touch(dial: Dial): Promise<net.Socket> {
  const socket = await dial()
  socket.write('e')
  await once(socket, 'data')
  return socket
}

/** Opens, sends a byte, gets it back, closes; resolves with the seconds. */
export async function setUps(dial: Dial, count: number, atOnce: number): Promise<number> {
  let left = count
  const startedAt = performance.now()
  const worker = async (): Promise<void> => {
    while (left-- > 0) (await touch(dial)).destroy()
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return (performance.now() - startedAt) / 1000
}

/** Connections that have carried a byte and stay; the result ends them. */
export async function idle(dial: Dial, count: number): Promise<() => void> {
  const sockets: net.Socket[] = []
  while (sockets.length < count) {
    const some = Array.from({ length: 50 }, () => touch(dial))
    sockets.push(...(await Promise.all(some)))
  }
  return () => {
    for (const socket of sockets) socket.destroy()
  }
}
