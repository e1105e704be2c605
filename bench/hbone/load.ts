/** The two ends of the bench's traffic: a small HTTP server with a bulk sink, and its clients. */
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'

export interface Origin {
  readonly http: number
  readonly bulk: number
  close(): void
}

/** An HTTP server that answers 1 KiB, and a TCP server that swallows and then says how much it got. */
export async function startOrigin(): Promise<Origin> {
  const body = Buffer.alloc(1024, 'x')
  const web = http.createServer((_request, response) => response.end(body))
  web.listen(0, '127.0.0.1')
  const sink = net.createServer({ allowHalfOpen: true }, (socket) => {
    let bytes = 0
    socket.on('data', (chunk) => void (bytes += chunk.length))
    socket.on('end', () => socket.end(String(bytes)))
    socket.on('error', () => {})
  })
  sink.listen(0, '127.0.0.1')
  await Promise.all([once(web, 'listening'), once(sink, 'listening')])
  const port = (server: net.Server): number => (server.address() as net.AddressInfo).port
  return {
    http: port(web),
    bulk: port(sink),
    close() {
      web.close()
      web.closeAllConnections()
      sink.close()
    },
  }
}

/** Requests over keep-alive connections; resolves with the milliseconds it took. */
export async function requests(port: number, count: number, connections: number): Promise<number> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections })
  let left = count
  const startedAt = performance.now()
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const request = http.get({ host: '127.0.0.1', port, agent })
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
      response.resume()
      await once(response, 'end')
    }
  }
  await Promise.all(Array.from({ length: connections }, worker))
  agent.destroy()
  return performance.now() - startedAt
}

/** Sends that many bytes over one connection; resolves with the milliseconds until all arrived. */
export async function bulk(port: number, bytes: number): Promise<number> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  const chunk = Buffer.alloc(256 * 1024, 'y')
  const startedAt = performance.now()
  for (let sent = 0; sent < bytes; sent += chunk.length) {
    if (!socket.write(chunk)) await once(socket, 'drain')
  }
  socket.end()
  const [answer] = (await once(socket, 'data')) as [Buffer]
  if (Number(answer.toString()) !== Math.ceil(bytes / chunk.length) * chunk.length) {
    throw new Error(`${answer.toString()} bytes arrived of ${bytes}`)
  }
  return performance.now() - startedAt
}
