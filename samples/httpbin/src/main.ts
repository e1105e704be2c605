/** A small echo of HTTP requests, with the paths people know from httpbin: /get, /headers, /status/418 ... */
import * as http from 'node:http'
import { buffer } from 'node:stream/consumers'

const port = Number(process.argv[2] ?? 8080)
const delaySecondsMax = 10
const bytesMax = 10 * 1024 * 1024

const server = http.createServer((request, response) => {
  handle(request, response).catch((error: unknown) => {
    response.statusCode = 500
    response.end(`${String(error)}\n`)
  })
})
server.listen(port, () => console.log(`httpbin listens on ${port}`))
process.once('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeIdleConnections()
  setTimeout(() => process.exit(0), 2_000).unref()
})

async function handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', `http://${request.headers.host ?? 'localhost'}`)
  const [, first = '', second = ''] = url.pathname.split('/')
  console.log(`${request.method} ${url.pathname}`)
  if (first === 'status') return void response.writeHead(Number(second) || 400).end()
  if (first === 'delay') {
    const seconds = Math.min(Number(second) || 0, delaySecondsMax)
    await new Promise((done) => setTimeout(done, seconds * 1000))
  }
  if (first === 'bytes') {
    return void response.end(Buffer.alloc(Math.min(Number(second) || 0, bytesMax), 'x'))
  }
  const body = (await buffer(request)).toString()
  const common = {
    args: Object.fromEntries(url.searchParams),
    headers: request.headers,
    method: request.method,
    origin: request.socket.remoteAddress,
    url: url.href,
  }
  if (first === 'headers') return json({ headers: request.headers })
  if (first === 'ip') return json({ origin: request.socket.remoteAddress })
  if (['get', 'post', 'put', 'patch', 'delete', 'anything', 'delay'].includes(first)) {
    return json({ ...common, data: body })
  }
  if (first === 'uuid') return json({ uuid: crypto.randomUUID() })
  if (first === '' || first === 'health' || first === 'healthz') return json({ status: 'ok' })
  response.writeHead(404).end()

  function json(value: unknown): void {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify(value, undefined, 2)}\n`)
  }
}
