/**
 * What broken, greedy and hostile clients send, to a registry in a process of its own: the right status, and a
 * server that stays up, answers others meanwhile and keeps its memory.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import * as http2 from 'node:http2'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import { RawConnection } from './raw-connection.ts'
import { RegistryChild } from './registry-child.ts'

interface Reply {
  readonly code: number
  readonly text: string
  readonly warnings: string
}

interface StatusBody {
  readonly kind: string
  readonly reason: string
  readonly message: string
}

const maps = '/api/v1/namespaces/default/configmaps'
const soak = process.env.WEFT_SOAK === '1'
/** Waits of the server pass this much faster. */
const haste = 40
const json = { 'content-type': 'application/json' }

describe('bad input', () => {
  let dir: string
  let registry: RegistryChild
  let session: http2.ClientHttp2Session
  let idleBytes: number

  const open = (): http2.ClientHttp2Session => {
    const { url, caPem: ca, certPem: cert, keyPem: key } = registry.ready
    const opened = http2.connect(url, { ca, cert, key, maxSessionMemory: 1_000 })
    opened.on('error', () => {})
    return opened
  }

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'weft-bad-'))
    registry = await RegistryChild.start(dir, ['--expose-gc'], haste)
    session = open()
    assert.equal((await send('GET', maps)).code, 200)
    idleBytes = await registry.rssBytes()
  })
  after(async () => {
    session.destroy()
    await registry.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  function send(
    method: string,
    path: string,
    body?: string | Buffer,
    headers: Record<string, string> = json,
    through?: http2.ClientHttp2Session,
  ): Promise<Reply> {
    const used = through ?? current()
    return new Promise((resolve, reject) => {
      const options = { endStream: body === undefined }
      const stream = used.request({ ':method': method, ':path': path, ...headers }, options)
      let code = 0
      let text = ''
      let warnings = ''
      stream.on('response', (answer) => {
        code = Number(answer[':status'])
        warnings = String(answer.warning ?? '')
      })
      stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
      stream.on('error', (error) =>
        code === 0 ? reject(error) : resolve({ code, text, warnings }),
      )
      stream.on('end', () => resolve({ code, text, warnings }))
      if (body !== undefined) stream.end(body)
    })
  }

  /** The server ends what is idle. */
  function current(): http2.ClientHttp2Session {
    if (session.closed || session.destroyed) session = open()
    return session
  }

  const statusOf = (reply: Reply): StatusBody => JSON.parse(reply.text) as StatusBody
  const configMap = (name: string, data: object): string =>
    JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data })

  async function stillServes(): Promise<void> {
    assert.ok(registry.running, 'the registry has died')
    const name = `proof-${Math.random().toString(36).slice(2)}`
    assert.equal((await send('POST', maps, configMap(name, {}))).code, 201)
    assert.equal((await send('DELETE', `${maps}/${name}`)).code, 200)
  }

  async function memoryIsBelow(megabytes: number): Promise<void> {
    const grownMb = ((await registry.rssBytes()) - idleBytes) / 1e6
    assert.ok(grownMb < megabytes, `the registry has grown by ${grownMb.toFixed(0)} MB`)
  }

  test('bodies that cannot be decoded are 400 with what is wrong', async () => {
    const cases: [string, string | Buffer, RegExp][] = [
      ['application/json', '{"kind":', /the body is not valid JSON/],
      ['application/json', '[]', /must be an object of kind ConfigMap/],
      ['application/json', '', /the body is not valid JSON/],
      [
        'application/json',
        '{"metadata":{"name":"x"},"data":{"n":12345678901234567890}}',
        /larger than this server can store exactly/,
      ],
      ['application/json', '{"kind":"Secret"}', /the kind in the data \(Secret\) does not match/],
      ['application/yaml', 'a: [1,', /the body is not valid YAML/],
      ['application/yaml', 'a: &a [*a, *a]\nb: *c', /the body is not valid YAML/],
      ['application/vnd.kubernetes.protobuf', 'k8s', /./],
      ['application/vnd.kubernetes.protobuf', Buffer.from('6b3873000a', 'hex'), /./],
      ['application/vnd.kubernetes.protobuf', Buffer.from('6b387300ffffffffffff', 'hex'), /./],
    ]
    for (const [type, body, text] of cases) {
      const reply = await send('POST', maps, body, { 'content-type': type })
      assert.equal(reply.code, 400, `${type} ${String(body)}: ${reply.text}`)
      assert.equal(statusOf(reply).reason, 'BadRequest')
      assert.match(statusOf(reply).message, text)
    }
    const cbor = await send('POST', maps, 'x', { 'content-type': 'application/cbor' })
    assert.equal(cbor.code, 415)
    assert.equal(statusOf(cbor).reason, 'UnsupportedMediaType')
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'
      .split('')
      .map((name, index) => `${name}: &${name} [${`*${'abcdefgh'[index]},`.repeat(9)}]`)
      .join('\n')}\n`
    const laughs = await send('POST', maps, bomb, { 'content-type': 'application/yaml' })
    assert.equal(laughs.code, 400, laughs.text)
    await stillServes()
  })

  test('whatever bytes come as a body, the answer is no failure of the server', async () => {
    const valid = Buffer.from(
      '6b3873000a0f0a02763112094e616d65737061636512100a0e0a0c' +
        '6d792d6e616d65737061636518001a0022002a00',
      'hex',
    )
    const type = fc.constantFrom(
      'application/json',
      'application/yaml',
      'application/vnd.kubernetes.protobuf',
      'application/merge-patch+json',
      'application/json-patch+json',
      'application/strategic-merge-patch+json',
      'application/apply-patch+yaml',
    )
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
      fc.json().map((text) => Buffer.from(text)),
      fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 4 }).map((changes) => {
        const copy = Buffer.from(valid)
        for (const [at, value] of changes) copy[at] = value
        return copy
      }),
    )
    await send('POST', maps, configMap('fuzzed', { a: 'b' }))
    await fc.assert(
      fc.asyncProperty(type, bytes, async (contentType, body) => {
        const headers = { 'content-type': contentType }
        const path = `${maps}/fuzzed?fieldManager=fuzz&dryRun=All`
        const replies = contentType.includes('patch')
          ? [await send('PATCH', path, body, headers)]
          : [
              await send('POST', `${maps}?dryRun=All`, body, headers),
              await send('PUT', path, body, headers),
              await send('DELETE', path, body, headers),
            ]
        for (const { code, text } of replies)
          assert.ok(code >= 200 && code < 500, `${code}: ${text}`)
      }),
      { numRuns: soak ? 5_000 : 200, includeErrorInReport: true },
    )
    await stillServes()
  })

  test('objects and bodies over their limits are 413, however they come', async () => {
    // Not a ConfigMap or Secret: those may have a megabyte only, and say so themselves.
    const revisions = '/apis/apps/v1/namespaces/default/controllerrevisions'
    const revision = (data: object): string =>
      JSON.stringify({ metadata: { name: 'large' }, revision: 1, data })
    const large = await send('POST', revisions, revision({ v: 'x'.repeat(1.6 * 1024 * 1024) }))
    assert.equal(large.code, 413, large.text)
    assert.equal(statusOf(large).reason, 'RequestEntityTooLarge')
    assert.match(statusOf(large).message, /has \d+ bytes; objects may have up to 1572864/)
    assert.equal((await send('GET', `${revisions}/large`)).code, 404)
    const huge = await send('POST', maps, Buffer.alloc(40_000_000, 0x20))
    assert.equal(huge.code, 413, huge.text)
    assert.equal(statusOf(huge).reason, 'RequestEntityTooLarge')
    assert.match(statusOf(huge).message, /larger than the limit of 3145728 bytes/)
    const declared = await RawConnection.open(registry.ready, 'http/1.1')
    declared.send(
      `POST ${maps} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9000000000\r\n\r\n{`,
    )
    assert.match(await declared.until(/RequestEntityTooLarge/), /^HTTP\/1\.1 413 /)
    declared.socket.destroy()
    // An object that grows by patches has the same limit.
    assert.equal((await send('POST', revisions, revision({ a: 'x'.repeat(1_000_000) }))).code, 201)
    const patch = JSON.stringify({ metadata: { annotations: { b: 'x'.repeat(200_000) } } })
    const type = { 'content-type': 'application/merge-patch+json' }
    assert.equal((await send('PATCH', `${revisions}/large`, patch, type)).code, 200)
    const more = JSON.stringify({ metadata: { annotations: { b: 'y'.repeat(600_000) } } })
    assert.ok([413, 422].includes((await send('PATCH', `${revisions}/large`, more, type)).code))
    await send('DELETE', `${revisions}/large`)
    await stillServes()
    await memoryIsBelow(250)
  })

  test('unknown fields are refused, told or dropped as the client asks', async () => {
    const body = (name: string): string =>
      JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, datax: {} })
    const strict = await send('POST', `${maps}?fieldValidation=Strict`, body('s'))
    assert.equal(strict.code, 400)
    assert.equal(
      statusOf(strict).message,
      'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "datax"',
    )
    const warn = await send('POST', `${maps}?fieldValidation=Warn`, body('w'))
    assert.deepEqual([warn.code, warn.warnings], [201, '299 - "unknown field \\"datax\\""'])
    const ignore = await send('POST', `${maps}?fieldValidation=Ignore`, body('i'))
    assert.deepEqual([ignore.code, ignore.warnings], [201, ''])
    const other = await send('POST', `${maps}?fieldValidation=Loudly`, body('o'))
    assert.ok(other.code === 400 || other.code === 422, other.text)
  })

  test('names that are paths lead nowhere', async () => {
    const paths = [
      `${maps}/..%2f..%2fsecrets`,
      `${maps}/%2e%2e`,
      `${maps}/%2e`,
      `${maps}/a%2fb`,
      `${maps}/a%00b`,
      `${maps}/%252e%252e%252f`,
      `${maps}/%ff%fe`,
      `${maps}/%`,
      `${maps}/../../../../etc/passwd`,
      '/api/v1/namespaces/..%2f../configmaps',
      '/api/v1/namespaces/%2e%2e/configmaps/a',
      '/..%2f..%2f..%2fetc/passwd',
      '/openapi/v3/..%2f..%2fpackage.json',
      '//api//v1//namespaces//default//..//secrets',
    ]
    for (const path of paths) {
      for (const method of ['GET', 'PUT', 'DELETE']) {
        const { code, text } = await send(
          method,
          path,
          method === 'PUT' ? configMap('a', {}) : undefined,
        )
        assert.ok(code >= 400 && code < 500, `${method} ${path}: ${code} ${text}`)
        assert.doesNotMatch(text, /root:/)
      }
    }
    const named = await send('POST', maps, configMap('../secrets', {}))
    assert.equal(named.code, 422, named.text)
    const raw = await RawConnection.open(registry.ready, 'http/1.1')
    raw.send('GET /api/v1/namespaces/default/configmaps/\x01\x02 HTTP/1.1\r\nHost: x\r\n\r\n')
    assert.match(await raw.closed(), /^HTTP\/1\.1 4\d\d /)
    await stillServes()
  })

  test('header bombs are 431 or end their stream, and nobody else notices', async () => {
    const old = await RawConnection.open(registry.ready, 'http/1.1')
    old.send(`GET /version HTTP/1.1\r\nHost: x\r\nX-Bomb: ${'a'.repeat(100_000)}\r\n\r\n`)
    assert.match(await old.closed(), /^HTTP\/1\.1 431 /)
    const many = await RawConnection.open(registry.ready, 'http/1.1')
    many.send(`GET /version HTTP/1.1\r\nHost: x\r\n${'X-Many: 1234567890\r\n'.repeat(5_000)}\r\n`)
    assert.match(await many.closed(), /^HTTP\/1\.1 431 /)
    const header = (bytes: number): Record<string, string> =>
      Object.fromEntries(
        Array.from({ length: Math.ceil(bytes / 10_000) }, (_, index) => [
          `x-bomb-${index}`,
          'b'.repeat(10_000),
        ]),
      )
    const bomber = http2.connect(registry.ready.url, {
      ca: registry.ready.caPem,
      maxSendHeaderBlockLength: 10_000_000,
    })
    bomber.on('error', () => {})
    const reply = await send('GET', '/version', undefined, header(100_000), bomber)
    assert.equal(reply.code, 431, reply.text)
    assert.equal(statusOf(reply).reason, 'RequestHeaderFieldsTooLarge')
    await assert.rejects(send('GET', '/version', undefined, header(2_000_000), bomber))
    bomber.destroy()
    await stillServes()
    await memoryIsBelow(250)
  })

  test('a watcher that does not read is cut with an error, and costs little until then', async () => {
    const hanging = await Promise.all(
      Array.from({ length: 20 }, () => RawConnection.open(registry.ready, 'http/1.1')),
    )
    for (const { socket, ...connection } of hanging) {
      socket.pause()
      socket.write(`GET ${maps}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n`)
      void connection
    }
    const slow = open()
    const stream = slow.request({ ':path': `${maps}?watch=true&resourceVersion=0` })
    let failed: Error | undefined
    stream.on('error', (error) => (failed = error))
    stream.pause()
    const attentive = current().request({ ':path': `${maps}?watch=true` })
    let seen = 0
    attentive.on('data', (chunk: Buffer) => (seen += chunk.length))
    const type = { 'content-type': 'application/merge-patch+json' }
    await send('POST', maps, configMap('moving', {}))
    for (let round = 0; round < 60; round++) {
      const patch = JSON.stringify({ data: { v: `${round}`.padEnd(500_000, 'x') } })
      assert.equal((await send('PATCH', `${maps}/moving`, patch, type)).code, 200)
    }
    while (seen < 60 * 500_000) await pause(10)
    attentive.close()
    await memoryIsBelow(400)
    stream.resume()
    if (!stream.closed) await new Promise((resolve) => stream.once('close', resolve))
    assert.match(String(failed), /NGHTTP2_INTERNAL_ERROR|closed/)
    slow.destroy()
    for (const { socket } of hanging) {
      socket.resume()
      if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
    }
    for (const { received } of hanging) assert.doesNotMatch(received, /\r\n0\r\n\r\n$/)
    await stillServes()
  })

  test('who comes back after too many changes gets 410 and lists again', async () => {
    const list = JSON.parse((await send('GET', maps)).text) as {
      metadata: { resourceVersion: string }
    }
    const from = list.metadata.resourceVersion
    const type = { 'content-type': 'application/merge-patch+json' }
    for (let round = 0; round < 70; round++) {
      const patch = JSON.stringify({ data: { v: `${round}`.padEnd(1_000_000, 'y') } })
      assert.equal((await send('PATCH', `${maps}/moving`, patch, type)).code, 200)
    }
    const { code, text } = await send('GET', `${maps}?watch=true&resourceVersion=${from}`)
    assert.equal(code, 200)
    const { type: event, object } = JSON.parse(text) as {
      type: string
      object: { code: number; reason: string; message: string }
    }
    assert.deepEqual([event, object.code, object.reason], ['ERROR', 410, 'Expired'])
    assert.match(object.message, new RegExp(`^too old resource version: ${from} \\(\\d+\\)$`))
    const exact = await send('GET', `${maps}?resourceVersion=${from}&resourceVersionMatch=Exact`)
    assert.equal(exact.code, 410)
    await memoryIsBelow(400)
  })

  test('thousands of idle connections leave the server up, and have an end', async () => {
    const { hostname, port } = new URL(registry.ready.url)
    const sockets: Socket[] = []
    for (let batch = 0; batch < 100; batch++) {
      const opened = Array.from({ length: 100 }, () => connect(Number(port), hostname))
      for (const socket of opened) socket.on('error', () => {})
      sockets.push(...opened)
      await Promise.all(
        opened.map((socket) => new Promise((resolve) => socket.once('connect', resolve))),
      )
    }
    assert.equal(sockets.length, 10_000)
    const asked = performance.now()
    await stillServes()
    const fresh = open()
    assert.equal((await send('GET', '/readyz', undefined, {}, fresh)).code, 200)
    fresh.destroy()
    assert.ok(performance.now() - asked < 5_000, 'others wait for the idle ones')
    await memoryIsBelow(600)
    // Without a handshake they end after ten seconds, or make room for others before.
    const deadline = performance.now() + 30_000
    while (sockets.some((socket) => !socket.closed) && performance.now() < deadline)
      await pause(100)
    const left = sockets.filter((socket) => !socket.closed)
    for (const socket of left) socket.destroy()
    assert.equal(left.length, 0)
    await stillServes()
  })

  test('slow senders and silent connections meet their deadlines', async () => {
    const loris = await RawConnection.open(registry.ready, 'http/1.1')
    loris.send('GET /version HTTP/1.1\r\nHost: x\r\n')
    const drip = setInterval(() => loris.send('X-Drip: 1\r\n'), 500)
    const silent = await RawConnection.open(registry.ready, 'http/1.1')
    const idle = open()
    const quiet = new Promise((resolve) => idle.once('close', resolve))
    const trickle = current().request({ ':method': 'POST', ':path': maps, ...json })
    const trickled = new Promise<number>((resolve) =>
      trickle.once('response', (headers) => resolve(Number(headers[':status']))),
    )
    trickle.on('error', () => {})
    trickle.write('{')
    assert.equal(await trickled, 408)
    trickle.close()
    await quiet
    assert.match(await loris.closed(), /^HTTP\/1\.1 408 /)
    clearInterval(drip)
    assert.match(await silent.closed(), /^(HTTP\/1\.1 408 .*)?/)
    // A watch is no idle connection.
    const watcher = open()
    const watch = watcher.request({ ':path': `${maps}?watch=true&timeoutSeconds=3000` })
    watch.on('error', () => {})
    watch.resume()
    await pause((2 * 90_000) / haste)
    assert.equal(watcher.closed, false)
    watcher.destroy()
    await stillServes()
  })
})
