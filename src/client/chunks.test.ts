import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientHttp2Stream, connect, createServer, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import test, { type TestContext } from 'node:test'
import { chunksOf } from './chunks.ts'

async function ask(
  t: TestContext,
  answer: (stream: ServerHttp2Stream) => void,
): Promise<ClientHttp2Stream> {
  const server = createServer().listen(0, '127.0.0.1')
  server.on('stream', answer)
  await once(server, 'listening')
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.after(() => {
    session.destroy()
    server.close()
  })
  const stream = session.request({ ':path': '/' })
  await once(stream, 'response')
  return stream
}

async function textOf(stream: ClientHttp2Stream): Promise<string> {
  let body = ''
  for await (const chunk of chunksOf(stream)) body += String(chunk)
  return body
}

test('a body that arrived as a whole before anybody reads it is read to its end', async (t) => {
  const stream = await ask(t, (server) => {
    server.respond({ ':status': 409 })
    server.end('conflict')
  })
  // The server has closed the stream long before.
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(stream.closed, true)
  assert.equal(await textOf(stream), 'conflict')
})

test('a long body comes whole, and one that is cut off is an error', async (t) => {
  const whole = await ask(t, (server) => {
    server.respond({ ':status': 200 })
    server.end('x'.repeat(3_000_000))
  })
  assert.equal((await textOf(whole)).length, 3_000_000)
  const cut = await ask(t, (server) => {
    server.respond({ ':status': 200 })
    server.write('part')
    server.on('error', () => {})
    setTimeout(() => server.session?.destroy(), 20)
  })
  await assert.rejects(textOf(cut))
})

test('leaving the loop early ends the request', async (t) => {
  let closed = false
  const stream = await ask(t, (server) => {
    server.respond({ ':status': 200 })
    const timer = setInterval(() => server.write('tick'), 5)
    server.on('error', () => {})
    server.once('close', () => {
      clearInterval(timer)
      closed = true
    })
  })
  for await (const chunk of chunksOf(stream)) {
    assert.match(String(chunk), /tick/)
    break
  }
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.equal(closed, true)
})
