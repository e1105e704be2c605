/** Answers a scrape over node:http. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { chooseFormat, contentTypes, expose } from './exposition.ts'
import type { MetricsRegistry } from './registry.ts'

/** Writes the registry in the form that the request's Accept header asks for. */
export function serveMetrics(
  registry: MetricsRegistry,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const format = chooseFormat(request.headers.accept)
  const body = Buffer.from(expose(registry.families(), format))
  response.writeHead(200, { 'content-type': contentTypes[format], 'content-length': body.length })
  response.end(request.method === 'HEAD' ? undefined : body)
}
