/**
 * What Bookinfo's four services share: a small JSON server with a health page, and a client that passes on
 * the headers by which meshes trace and route, over keep-alive connections that it closes before servers do.
 */
import * as http from 'node:http'

export interface Answer {
  readonly status: number
  readonly body: unknown
  readonly headers?: Record<string, string>
}

export type Handler = (request: http.IncomingMessage, url: URL) => Promise<Answer> | Answer

/** Idle connections are given up before the servers' 5 s, so that none is reused while it closes. */
const idleMs = 4_000
const keptAlive = new http.Agent({ keepAlive: true, timeout: idleMs })
/** A connection for each request, so that every reload of the page may meet another version. */
const fresh = new http.Agent({ keepAlive: false })

const propagated = [
  'x-request-id',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
  'b3',
  'traceparent',
  'tracestate',
  'end-user',
  'user-agent',
  'cookie',
  'authorization',
]

/** Serves until SIGTERM; in-flight requests are finished. */
export function serve(name: string, port: number, handler: Handler): http.Server {
  const server = http.createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost')
    Promise.resolve()
      .then(() =>
        url.pathname === '/health'
          ? { status: 200, body: { status: `${name} is healthy` } }
          : handler(request, url),
      )
      .catch((error: unknown) => ({ status: 500, body: { error: String(error) } }))
      .then(({ status, body, headers }: Answer) => {
        const text = typeof body === 'string' ? body : `${JSON.stringify(body)}`
        const type = typeof body === 'string' ? 'text/html; charset=utf-8' : 'application/json'
        response.writeHead(status, { 'content-type': type, ...headers })
        response.end(text)
        // Probes come for ever; they are not what somebody looks for in a log.
        if (url.pathname !== '/health') console.log(`${request.method} ${url.pathname} ${status}`)
      })
      .catch((error: unknown) => console.error(String(error)))
  })
  server.listen(port, () => console.log(`${name} listens on ${port}`))
  process.once('SIGTERM', () => {
    server.close(() => process.exit(0))
    server.closeIdleConnections()
    setTimeout(() => process.exit(0), 3_000).unref()
  })
  return server
}

/** The port to serve on: the first argument, else 9080. */
export function portArgument(): number {
  return Number(process.argv[2] ?? 9080)
}

/** GET of JSON from another service. Any status but 200 and any failure gives undefined. */
export function fetchJson(
  url: string,
  incoming: http.IncomingMessage,
  options: { timeoutMs: number; keepAlive: boolean },
): Promise<{ status: number; body: unknown }> {
  const headers: Record<string, string> = {}
  for (const name of propagated) {
    const value = incoming.headers[name]
    if (typeof value === 'string') headers[name] = value
  }
  return new Promise((resolve) => {
    const request = http.get(
      url,
      { agent: options.keepAlive ? keptAlive : fresh, headers, timeout: options.timeoutMs },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          const status = response.statusCode ?? 502
          try {
            resolve({ status, body: JSON.parse(Buffer.concat(chunks).toString()) })
          } catch {
            resolve({ status: status === 200 ? 502 : status, body: undefined })
          }
        })
        response.on('error', () => resolve({ status: 502, body: undefined }))
      },
    )
    request.on('timeout', () => request.destroy(new Error('timeout')))
    request.on('error', () => resolve({ status: 503, body: undefined }))
  })
}

/** Host and port of a service from the environment, like DETAILS_HOSTNAME. */
export function serviceUrl(name: string): string {
  const upper = name.toUpperCase()
  const host = process.env[`${upper}_HOSTNAME`] ?? name
  const port = process.env[`${upper}_SERVICE_PORT_OVERRIDE`] ?? '9080'
  const domain = process.env.SERVICES_DOMAIN
  return `http://${host}${domain === undefined || domain === '' ? '' : `.${domain}`}:${port}`
}
