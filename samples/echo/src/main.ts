/** Answers every HTTP request with what it was sent, as plain text: `main.ts 8080`, or the variable PORT. */
import { createServer } from 'node:http'
import { hostname } from 'node:os'

const port = Number(process.argv[2] ?? process.env.PORT ?? 8080)

const server = createServer((request, response) => {
  const headers = Object.entries(request.headers).map(
    ([name, value]) => `${name}: ${String(value)}`,
  )
  response.writeHead(200, { 'content-type': 'text/plain' })
  response.write(
    [
      `hostname: ${hostname()}`,
      `${request.method} ${request.url} HTTP/${request.httpVersion}`,
      ...headers,
      '',
      '',
    ].join('\n'),
  )
  request.pipe(response)
})
server.listen(port, () => console.log(`echo listens on ${port}`))
process.once('SIGTERM', () => process.exit(0))
