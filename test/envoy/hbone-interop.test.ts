/**
 * HBONE with a stock Envoy at the other end, both ways: what applications speak goes through unchanged,
 * and ends, resets and headers arrive as what they are.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import * as grpc from '@grpc/grpc-js'
import { acceptWebSocket, webSocketStream } from '../../src/streams/index.ts'
import { readAll, refusal, until } from '../netns/nodeproxy-kit.ts'
import { checkPattern, sendPattern } from '../netns/patterns.ts'
import {
  connectPort,
  envoyBaggage,
  forwarder,
  HboneWorld,
  identityOf,
  type Way,
} from './hbone-kit.ts'

const skip = refusal('test/envoy/hbone-interop.test.ts') ?? false
const soak = process.env.WEFT_SOAK === '1'
const bulkBytes = soak ? 1 << 30 : 64 << 20
const idleMs = soak ? 600_000 : 20_000
const idleConnections = 1_000
const shortConnections = 10_000
let world: HboneWorld
const idle = new Map<Way, net.Socket[]>()
let idleSince = 0

before(async () => {
  if (skip !== false) return
  world = await HboneWorld.create()
  for (const way of world.ways) {
    await way.serve(9000, (socket) => socket.pipe(socket))
    idle.set(way, await openMany(way, 9000, idleConnections))
  }
  idleSince = Date.now()
})
after(async () => {
  for (const socket of [...idle.values()].flat()) socket.destroy()
  await world?.close()
})

/** What a stock Envoy that ends CONNECT makes of a tunnel: its TCP upstream knows no more than this. */
// It ends a tunnel with CONNECT_ERROR whether what is behind it was closed or reset.
const envoysEnd = { clientReset: 'end', serverReset: 'end', heardAfterEnd: '' }
const ourEnd = {
  clientReset: 'ECONNRESET',
  serverReset: 'ECONNRESET',
  heardAfterEnd: 'the client speaks on',
}

describe('from our outbound to Envoy', { skip }, () => traffic(() => wayNumber(0), envoysEnd))
describe('from Envoy to our inbound', { skip }, () => traffic(() => wayNumber(1), ourEnd))

function wayNumber(index: number): Way {
  const way = world.ways[index]
  assert.ok(way)
  return way
}

function traffic(way: () => Way, shown: typeof ourEnd): void {
  test('HTTP/1.1 with keep-alive and a chunked upload', async () => {
    const server = http.createServer((request, response) => {
      let bytes = 0
      request.on('data', (chunk: Buffer) => (bytes += chunk.length))
      request.on('end', () => response.end(`${request.method} ${request.url} ${bytes}`))
    })
    await way().serve(9001, (socket) => void server.emit('connection', socket))
    const socket = await way().dial(9001)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    Object.assign(agent, { createConnection: () => socket })
    const ask = async (path: string, body: string): Promise<string> => {
      const request = http.request({ agent, path, method: 'POST', host: 'app' })
      for (const part of body) request.write(part)
      request.end()
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      return (await response.setEncoding('utf8').toArray()).join('')
    }
    assert.equal(await ask('/a', 'xyz'), 'POST /a 3')
    assert.equal(await ask('/b', 'x'.repeat(100)), 'POST /b 100')
    agent.destroy()
  })

  test('HTTP/2 with prior knowledge, streams side by side', async () => {
    const server = http2.createServer()
    server.on('stream', (stream, headers) => {
      stream.respond({ ':status': 200 })
      stream.end(String(headers[':path']).repeat(2000))
    })
    await way().serve(9002, (socket) => void server.emit('connection', socket))
    const socket = await way().dial(9002)
    const session = http2.connect('http://app', { createConnection: () => socket })
    const bodies = await Promise.all(
      Array.from({ length: 20 }, async (_, number) => {
        const stream = session.request({ ':path': `/${number}` })
        return (await stream.setEncoding('utf8').toArray()).join('')
      }),
    )
    session.destroy()
    assert.deepEqual(
      bodies,
      Array.from({ length: 20 }, (_, number) => `/${number}`.repeat(2000)),
    )
  })

  test('gRPC: a call, a stream both ways, trailers with a status', async (t) => {
    const { port, close } = await grpcServer()
    t.after(close)
    await way().serve(9003, (socket) => pipeTo(socket, port))
    const way9003 = await forwarder(() => way().dial(9003))
    t.after(() => way9003.close())
    const Client = grpc.makeGenericClientConstructor(grpcMethods, 'Echo')
    const client = new Client(`127.0.0.1:${way9003.port}`, grpc.credentials.createInsecure())
    t.after(() => client.close())
    const chat = client['chat']?.() as grpc.ClientDuplexStream<Buffer, Buffer>
    const seen: string[] = []
    chat.on('data', (message: Buffer) => seen.push(message.toString()))
    for (const text of ['one', 'two', 'three']) {
      chat.write(Buffer.from(text))
      await until(`the answer to ${text}`, () => seen.includes(text))
    }
    const status = Promise.withResolvers<grpc.StatusObject>()
    chat.on('error', () => {})
    chat.on('status', status.resolve)
    chat.write(Buffer.from('fail'))
    const { code, details } = await status.promise
    assert.deepEqual([code, details], [grpc.status.FAILED_PRECONDITION, 'as you wish'])
  })

  test('WebSocket', async (t) => {
    const server = http.createServer()
    server.on('upgrade', (request, socket, head) => {
      void acceptWebSocket(request, socket, head, 'chat').then((accepted) => {
        const stream = webSocketStream(accepted)
        stream.pipe(stream)
      })
    })
    await way().serve(9004, (socket) => void server.emit('connection', socket))
    const near = await forwarder(() => way().dial(9004))
    t.after(() => near.close())
    const client = new WebSocket(`ws://127.0.0.1:${near.port}/`, 'chat')
    client.binaryType = 'arraybuffer'
    await new Promise((resolve, reject) => {
      client.addEventListener('open', resolve)
      client.addEventListener('error', reject)
    })
    for (const size of [1, 1000, 100_000]) {
      const answer = Promise.withResolvers<number>()
      let bytes = 0
      client.onmessage = ({ data }: { data: unknown }) => {
        assert.ok(data instanceof ArrayBuffer)
        bytes += data.byteLength
        if (bytes >= size) answer.resolve(bytes)
      }
      client.send(Buffer.alloc(size, 'x'))
      assert.equal(await answer.promise, size)
    }
    const closed = once(client, 'close')
    client.close()
    await closed
  })

  test('servers that speak first: a mail server’s dialogue, a database’s greeting', async () => {
    await way().serve(9005, smtpServer)
    const mail = await way().dial(9005)
    const lines = lineReader(mail)
    assert.equal(await lines(), '220 mail.example ESMTP')
    for (const [said, answer] of [
      ['EHLO client', '250 hello'],
      ['DATA', '354 go on'],
      ['.', '250 queued'],
      ['QUIT', '221 bye'],
    ]) {
      mail.write(`${said}\r\n`)
      assert.equal(await lines(), answer)
    }
    // Length, sequence number, protocol 10, version: what MySQL sends before it is asked anything.
    const greeting = Buffer.from('0a0000000a382e302e333600', 'hex')
    await way().serve(9006, (socket) => socket.end(greeting))
    const database = await way().dial(9006)
    assert.deepEqual(await readAll(database), greeting)
    database.destroy()
  })

  test(`${bulkBytes >> 20} MiB arrive unchanged each way, the sender’s end with them`, async () => {
    const arrived = Promise.withResolvers<object>()
    await way().serve(9007, (socket) => {
      void checkPattern(socket).done.then((received) => {
        arrived.resolve({ ...received })
        void sendPattern(socket, bulkBytes).then(() => socket.end())
      })
    })
    const startedAt = performance.now()
    const socket = await way().dial(9007)
    const { done } = checkPattern(socket)
    assert.equal(await sendPattern(socket, bulkBytes), bulkBytes)
    socket.end()
    const whole = { bytes: bulkBytes, wrongAt: undefined, ended: true }
    assert.deepEqual(await arrived.promise, whole)
    assert.deepEqual(await done, whole)
    const seconds = (performance.now() - startedAt) / 1000
    console.log(`${((2 * bulkBytes * 8) / seconds / 1e9).toFixed(2)} Gbit/s`)
  })

  test('either side may end first and still read', async () => {
    const heard = Promise.withResolvers<string>()
    await way().serve(9008, (socket) => {
      socket.end('the server ends')
      void readAll(socket).then((data) => heard.resolve(data.toString()), heard.reject)
    })
    const first = await way().dial(9008)
    assert.equal((await readAll(first)).toString(), 'the server ends')
    await new Promise((resolve) => setTimeout(resolve, 100))
    first.end('the client speaks on')
    assert.equal(await heard.promise, shown.heardAfterEnd)
    await way().serve(9009, (socket) => {
      void readAll(socket).then(async (data) => {
        await new Promise((resolve) => setTimeout(resolve, 100))
        socket.end(`after your end: ${data.toString()}`)
      })
    })
    const second = await way().dial(9009)
    second.end('question')
    assert.equal((await readAll(second)).toString(), 'after your end: question')
  })

  test('a reset at either end reaches the other one, as far as Envoy tells resets from ends', async () => {
    const seen: string[] = []
    await way().serve(9010, (socket) => {
      socket.on('error', (error: NodeJS.ErrnoException) => seen.push(error.code ?? ''))
      socket.on('end', () => seen.push('end'))
      socket.once('data', (data) => {
        if (data.toString() !== 'reset') return void socket.write('waiting')
        socket.write('half of an answer')
        setTimeout(() => socket.resetAndDestroy(), 50)
      })
    })
    const first = await way().dial(9010)
    first.write('reset')
    const outcome = await readAll(first).then(
      () => 'end',
      (error: NodeJS.ErrnoException) => error.code,
    )
    assert.equal(outcome, shown.serverReset)
    const second = await way().dial(9010)
    second.write('wait')
    await once(second, 'data')
    second.resetAndDestroy()
    await until('the reset at the server', () => seen.length > 0)
    assert.deepEqual(seen, [shown.clientReset])
  })

  test(`${shortConnections / 2} short connections, none lost`, async () => {
    const count = shortConnections / 2
    let served = 0
    await way().serve(9011, (socket) => {
      served++
      socket.pipe(socket)
    })
    let next = 0
    const wrong: string[] = []
    const startedAt = performance.now()
    const worker = async (): Promise<void> => {
      while (next < count) {
        const text = String(next++)
        try {
          const socket = await way().dial(9011)
          socket.end(text)
          const answer = (await readAll(socket)).toString()
          if (answer !== text) wrong.push(`${text}: ${answer}`)
        } catch (error) {
          wrong.push(`${text}: ${String(error)}`)
        }
      }
    }
    await Promise.all(Array.from({ length: 32 }, worker))
    assert.deepEqual(wrong, [])
    assert.equal(served, count)
    console.log(`${((count / (performance.now() - startedAt)) * 1000).toFixed(0)} a second`)
  })

  test(`${idleConnections} connections live after ${idleMs / 1000} idle seconds`, async () => {
    const restMs = Math.max(0, idleSince + idleMs - Date.now())
    await new Promise((resolve) => setTimeout(resolve, restMs))
    const sockets = idle.get(way()) ?? []
    assert.equal(sockets.length, idleConnections)
    const answers = await Promise.all(
      sockets.map(async (socket, number) => {
        socket.end(`still ${number}`)
        return (await readAll(socket).catch(String)).toString()
      }),
    )
    assert.deepEqual(
      answers,
      sockets.map((_, number) => `still ${number}`),
    )
  })
}

test('Envoy sees whose tunnel it is: identity, baggage, forwarded, trace', { skip }, async () => {
  const [way] = world.ways
  assert.ok(way)
  const socket = await way.dial(9000)
  socket.end('x')
  await readAll(socket)
  const ours = `${way.serverPod.ip}:9000|${identityOf(way.clientPod)}|`
  await until('a line in the log of Envoy', () => world.log().some((line) => line.startsWith(ours)))
  const [, , baggage, forwarded, trace, version] = (
    world.log().findLast((line) => line.startsWith(ours)) ?? ''
  ).split('|')
  assert.equal(
    baggage,
    'k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=client,service.name=client',
  )
  assert.match(forwarded ?? '', new RegExp(`^for="${way.clientPod.ip}:[0-9]+"$`))
  assert.match(trace ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  assert.equal(version, 'TLSv1.3')
})

test('Envoy gets our baggage with the answer, 401 by policy and 400 for another pod', {
  skip,
}, async () => {
  const way = world.ways[1]
  assert.ok(way)
  const ask = async (target: string): Promise<http.IncomingMessage> => {
    const socket = await world.mesh.connect(way.clientPod, '127.0.0.1', connectPort)
    const request = http.request({
      method: 'CONNECT',
      path: target,
      createConnection: () => socket,
    })
    request.end()
    const answer = Promise.withResolvers<http.IncomingMessage>()
    request.once('connect', answer.resolve).once('response', answer.resolve)
    request.once('error', answer.reject)
    const response = await answer.promise
    socket.destroy()
    return response
  }
  const good = await ask(`${way.serverPod.ip}:9000`)
  assert.equal(good.statusCode, 200)
  assert.equal(
    String(good.headers['baggage'])
      .replace(`,${envoyBaggage}`, '')
      .replace(`, ${envoyBaggage}`, ''),
    'k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=server,service.name=server',
  )
  assert.equal((await ask(`${way.clientPod.ip}:9000`)).statusCode, 400)
  world.mesh.policy({ name: 'nobody' })
  assert.equal((await ask(`${way.serverPod.ip}:9000`)).statusCode, 401)
})

async function openMany(way: Way, port: number, count: number): Promise<net.Socket[]> {
  const sockets: net.Socket[] = []
  for (let open = 0; open < count; open += 100) {
    const batch = await Promise.all(Array.from({ length: 100 }, () => way.dial(port)))
    await Promise.all(
      batch.map(async (socket) => {
        socket.write('.')
        await once(socket, 'data')
      }),
    )
    sockets.push(...batch)
  }
  return sockets
}

const plain = (value: Buffer): Buffer => value
const grpcMethods: grpc.ServiceDefinition = {
  chat: {
    path: '/test.Echo/Chat',
    requestStream: true,
    responseStream: true,
    requestSerialize: plain,
    requestDeserialize: plain,
    responseSerialize: plain,
    responseDeserialize: plain,
  },
}

/** Echoes messages until one says "fail". */
async function grpcServer(): Promise<{ port: number; close: () => void }> {
  const server = new grpc.Server()
  server.addService(grpcMethods, {
    chat(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
      call.on('data', (message: Buffer) => {
        if (message.toString() !== 'fail') return void call.write(message)
        call.emit('error', { code: grpc.status.FAILED_PRECONDITION, details: 'as you wish' })
      })
      call.on('end', () => call.end())
    },
  })
  const credentials = grpc.ServerCredentials.createInsecure()
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  return { port, close: () => server.forceShutdown() }
}

function smtpServer(socket: net.Socket): void {
  socket.write('220 mail.example ESMTP\r\n')
  const next = lineReader(socket)
  const answers: Record<string, string> = { DATA: '354 go on', '.': '250 queued', QUIT: '221 bye' }
  void (async () => {
    for (;;) {
      const line = await next()
      socket.write(`${answers[line] ?? '250 hello'}\r\n`)
      if (line === 'QUIT') return void socket.end()
    }
  })()
}

/** The lines of a socket, one at a time. */
function lineReader(socket: net.Socket): () => Promise<string> {
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  return async () => {
    await until('a line', () => text.includes('\n'))
    const end = text.indexOf('\n')
    const line = text.slice(0, end).replace('\r', '')
    text = text.slice(end + 1)
    return line
  }
}

function pipeTo(socket: net.Socket, port: number): void {
  const server = net.connect({ host: '127.0.0.1', port })
  server.on('error', () => socket.destroy())
  socket.on('close', () => server.destroy())
  socket.pipe(server).pipe(socket)
}
