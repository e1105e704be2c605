import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import {
  ask,
  echoOf,
  eventsOf,
  eventually,
  gatewayYaml,
  type Harness,
  portOf,
  routeYaml,
  serviceYaml,
  startEcho,
  startHarness,
} from './fixture.ts'

let v1: Server
let v2: Server
let odd: Server
let harness: Harness

const routes = `
  rules:
    - matches: [{path: {type: Exact, value: /exact}}]
      backendRefs: [{name: v1, port: 80}]
    - matches: [{path: {value: /api}, headers: [{name: x-user, value: jason}]}]
      backendRefs: [{name: v2, port: 80}]
    - matches: [{path: {value: /api}}]
      backendRefs: [{name: v1, port: 80}]
    - matches: [{path: {value: /split}}]
      backendRefs: [{name: v1, port: 80, weight: 3}, {name: v2, port: 80, weight: 1}]
    - matches: [{path: {value: /empty}}]
      backendRefs: [{name: none, port: 80}]
    - matches: [{path: {value: /missing}}]
      backendRefs: [{name: nothere, port: 80}]
    - matches: [{path: {value: /half}}]
      backendRefs: [{name: half, port: 80}]
    - matches: [{path: {value: /dead}}]
      backendRefs: [{name: dead, port: 80}]
    - matches: [{path: {value: /odd}}]
      timeouts: {request: 300ms}
      backendRefs: [{name: odd, port: 80}]`

before(async () => {
  v1 = await startEcho('v1')
  v2 = await startEcho('v2')
  odd = createServer((request, response) => {
    if (request.url === '/odd/slow') return
    if (request.url === '/odd/break') {
      response.writeHead(200, { 'content-length': '100' }).write('part')
      setTimeout(() => response.destroy(), 20)
    } else if (request.url === '/odd/reset') request.socket.destroy()
    else if (request.url === '/odd/204') response.writeHead(204).end()
    else response.end('odd')
  })
  odd.on('upgrade', (_request, socket, head) => {
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n',
    )
    if (head.length > 0) socket.write(head)
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  await new Promise<void>((resolve) => odd.listen(0, '127.0.0.1', resolve))
  harness = await startHarness(
    [
      gatewayYaml,
      serviceYaml('v1', portOf(v1), ['127.0.0.1']),
      serviceYaml('v2', portOf(v2), ['127.0.0.1']),
      serviceYaml('none', 1, []),
      serviceYaml('half', portOf(v1), ['127.0.0.1', '127.0.0.77']),
      serviceYaml('dead', 1, ['127.0.0.77']),
      serviceYaml('odd', portOf(odd), ['127.0.0.1']),
      routeYaml('r', routes),
    ].join('\n'),
  )
})

after(async () => {
  await harness.stop()
  for (const server of [v1, v2, odd]) {
    server.closeAllConnections()
    server.close()
  }
})

test('path and header matches choose the backend', async () => {
  const who = async (path: string, headers: Record<string, string> = {}): Promise<string> =>
    echoOf(await ask(harness.port, { path, headers })).who
  assert.equal(await who('/exact'), 'v1')
  assert.equal(await who('/api'), 'v1')
  assert.equal(await who('/api/x?y=1'), 'v1')
  assert.equal(await who('/api/x', { 'X-User': 'jason' }), 'v2')
  for (const path of ['/exact/more', '/apis', '/other']) {
    const answer = await ask(harness.port, { path })
    assert.equal(answer.status, 404, path)
    assert.equal(answer.body, '')
    assert.equal(answer.headers.server, 'istio-envoy')
  }
})

test('a gateway says who the client is and hides what belongs to one connection', async () => {
  const answer = await ask(harness.port, {
    path: '/api/a?b=c',
    method: 'POST',
    body: 'hello',
    headers: {
      connection: 'close, x-secret',
      'x-secret': '1',
      'x-forwarded-for': '1.2.3.4',
      te: 'gzip',
      host: 'shop.test',
    },
  })
  const { headers, url, method, body } = echoOf(answer)
  assert.deepEqual({ url, method, body }, { url: '/api/a?b=c', method: 'POST', body: 'hello' })
  assert.equal(headers['x-forwarded-for'], '1.2.3.4,127.0.0.1')
  assert.equal(headers['x-forwarded-proto'], 'http')
  assert.equal(headers['x-envoy-attempt-count'], '1')
  assert.equal(headers.host, 'shop.test')
  assert.match(headers['x-request-id'] ?? '', /^[0-9a-f-]{36}$/)
  assert.equal(headers['x-secret'], undefined)
  assert.equal(headers.te, undefined)
  assert.equal(answer.headers['x-two'], 'a, b')
  assert.match(String(answer.headers['x-envoy-upstream-service-time']), /^\d+$/)
})

test('bodies of known and unknown length, empty ones and answers without body pass', async () => {
  const chunked = await ask(harness.port, {
    path: '/api',
    method: 'PUT',
    body: 'x'.repeat(200_000),
    headers: { 'transfer-encoding': 'chunked' },
  })
  assert.equal(echoOf(chunked).body.length, 200_000)
  const empty = await ask(harness.port, { path: '/api', method: 'POST' })
  assert.equal(echoOf(empty).headers['content-length'], '0')
  const head = await ask(harness.port, { path: '/api', method: 'HEAD' })
  assert.deepEqual([head.status, head.body], [200, ''])
  assert.equal((await ask(harness.port, { path: '/odd/204' })).status, 204)
})

test('weights split the traffic', async () => {
  const counts = { v1: 0, v2: 0 }
  for (let turn = 0; turn < 20; turn++) {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => ask(harness.port, { path: '/split' })),
    )
    for (const answer of answers) counts[echoOf(answer).who as 'v1' | 'v2']++
  }
  // 400 requests at 3:1; five standard deviations either way.
  assert.ok(Math.abs(counts.v1 - 300) < 44, JSON.stringify(counts))
})

test('what goes wrong upstream is answered as Envoy does, and logged with its flag', async () => {
  const expected: Record<string, [number, RegExp, string]> = {
    '/empty': [503, /^no healthy upstream$/, 'UH'],
    '/missing': [500, /^$/, '-'],
    '/dead': [503, /upstream connect error.*connection failure.*ECONNREFUSED/, 'UF'],
    '/odd/slow': [504, /^upstream request timeout$/, 'UT'],
    '/odd/reset': [503, /upstream connect error.*connection termination/, 'UC'],
  }
  for (const [path, [status, body, flag]] of Object.entries(expected)) {
    const answer = await ask(harness.port, { path })
    assert.equal(answer.status, status, path)
    assert.match(answer.body, body, path)
    await eventually(() =>
      harness.log.some((line) => line.includes(`"GET ${path} HTTP/1.1" ${status} ${flag} `)),
    )
  }
})

test('a refused connection is retried at another endpoint, with the body intact', async () => {
  for (let turn = 0; turn < 20; turn++) {
    const answer = await ask(harness.port, { path: '/half', method: 'POST', body: `n${turn}` })
    assert.equal(answer.status, 200)
    assert.equal(echoOf(answer).body, `n${turn}`)
  }
})

test('an answer that breaks off upstream breaks off for the client', async () => {
  await assert.rejects(ask(harness.port, { path: '/odd/break' }))
})

/** Sends bytes and gives back what comes until the connection ends or is quiet. */
function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    let text = ''
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => (text += chunk))
    socket.on('error', () => resolve(text))
    socket.on('close', () => resolve(text))
    setTimeout(() => socket.destroy(), 400)
  })
}

test('ambiguous, old and evading requests are refused', async () => {
  const { port } = harness
  const smuggled =
    'POST /api HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'
  assert.match(await raw(port, smuggled), /^HTTP\/1.1 400/)
  assert.match(await raw(port, 'GET /api HTTP/1.0\r\nhost: x\r\n\r\n'), /^HTTP\/1.1 426/)
  assert.match(await raw(port, 'GET /api HTTP/1.1\r\n\r\n'), /^HTTP\/1.1 400/)
  assert.match(await raw(port, 'GET /../x HTTP/1.1\r\nhost: x\r\n\r\n'), /^HTTP\/1.1 400/)
  const evading = await raw(
    port,
    'GET /other/%2e%2e/api HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n',
  )
  assert.match(evading, /"url":"\/api"/)
  const giant = `GET /api HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(70_000)}\r\n\r\n`
  assert.match(await raw(port, giant), /^HTTP\/1.1 431/)
})

test('a WebSocket passes through', async () => {
  const text = await new Promise<string>((resolve, reject) => {
    const socket = connect(harness.port, '127.0.0.1')
    let received = ''
    socket.setEncoding('latin1')
    socket.on('error', reject)
    socket.on('data', (chunk: string) => {
      received += chunk
      if (received.endsWith('\r\n\r\n')) socket.write('ping')
      if (received.endsWith('ping')) {
        socket.destroy()
        resolve(received)
      }
    })
    socket.write(
      'GET /odd/ws HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n',
    )
  })
  assert.match(text, /^HTTP\/1.1 101 [\s\S]*ping$/)
})

test('an offer of h2c is ignored, other upgrades are refused', async () => {
  const offer = (protocol: string): string =>
    `GET /api HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, close\r\nupgrade: ${protocol}\r\n\r\n`
  assert.match(await raw(harness.port, offer('h2c')), /^HTTP\/1.1 200/)
  assert.match(await raw(harness.port, offer('something')), /^HTTP\/1.1 403/)
})

test('the access log has the fields of the default format', async () => {
  await ask(harness.port, { path: '/api/logged?a=1', headers: { 'user-agent': 'a"b' } })
  await eventually(() => harness.log.some((line) => line.includes('/api/logged')))
  const line = harness.log.find((candidate) => candidate.includes('/api/logged')) ?? ''
  const address = String.raw`127\.0\.0\.1:\d+`
  const fields = [
    String.raw`^\[[^\]]+Z\] "GET /api/logged\?a=1 HTTP/1\.1" 200 - via_upstream - "-"`,
    String.raw`0 \d+ \d+ \d+ "-" "a\\x22b" "[0-9a-f-]{36}" "${address}" "${address}"`,
    String.raw`outbound\|80\|\|v1\.demo\.svc\.cluster\.local ${address} ${address} ${address}`,
    String.raw`- demo\.r\.2\.0$`,
  ]
  assert.match(line, new RegExp(fields.join(' ')))
})

test('a change of routes and endpoints takes effect without a failed request', async () => {
  let failures = 0
  let stop = false
  const load = (async () => {
    while (!stop) {
      const answer = await ask(harness.port, { path: '/exact' }).catch(() => undefined)
      if (answer?.status !== 200) failures++
    }
  })()
  harness.source.apply(
    eventsOf(
      routeYaml(
        'r',
        routes.replace(
          '/exact}}]\n      backendRefs: [{name: v1',
          '/exact}}]\n      backendRefs: [{name: v2',
        ),
      ),
    ),
  )
  await eventually(async () => echoOf(await ask(harness.port, { path: '/exact' })).who === 'v2')
  harness.source.apply(eventsOf(serviceYaml('v2', portOf(v1), ['127.0.0.1'])))
  await eventually(async () => echoOf(await ask(harness.port, { path: '/exact' })).who === 'v1')
  stop = true
  await load
  assert.equal(failures, 0)
})

test('a proxy that stops lets requests in progress finish', async () => {
  const slow = createServer((_request, response) => setTimeout(() => response.end('late'), 300))
  await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve))
  const other = await startHarness(
    [
      gatewayYaml,
      serviceYaml('slow', portOf(slow), ['127.0.0.1']),
      routeYaml('s', '  rules: [{backendRefs: [{name: slow, port: 80}]}]'),
    ].join('\n'),
  )
  const pending = ask(other.port)
  await new Promise((resolve) => setTimeout(resolve, 100))
  const stopped = other.stop()
  assert.equal((await pending).body, 'late')
  await stopped
  await assert.rejects(ask(other.port))
  slow.closeAllConnections()
  slow.close()
})
