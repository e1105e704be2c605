/** The load, in a process of its own: takes one job after the other over IPC and answers with its figures. */
import { type Call, type Peer, RawClient } from './h2.ts'
import { mapBody, mapsPath, podBody, podsPath } from './objects.ts'

export type Job =
  | {
      readonly do: 'create' | 'createMap' | 'apply' | 'put'
      readonly writers: number
      readonly count: number
    }
  | { readonly do: 'read'; readonly path: string; readonly accept: string; readonly times: number }
  | { readonly do: 'fanOut'; readonly watchers: number; readonly seconds: number }

export interface Figures {
  /** Of each call, in the order of their ends; of a fan-out nothing. */
  readonly ms: number[]
  readonly seconds: number
  /** Payload of the last answer, or of all events. */
  readonly bytes: number
  /** Of a fan-out: events that came, and updates that made them. */
  readonly events: number
  readonly updates: number
}

const connections = 4
const json = 'application/json'
let created = 0
let createdMaps = 0
let applied = 0
let put = 0

async function handle(peer: Peer, job: Job): Promise<Figures> {
  switch (job.do) {
    case 'create':
      return write(peer, job, () => post(podsPath, podBody(`pod-${created++}`)))
    case 'createMap':
      return write(peer, job, () => post(mapsPath, mapBody(`map-${createdMaps++}`)))
    case 'apply':
      return write(peer, job, () => applyOf(applied++))
    case 'put':
      return write(peer, job, () => etcdPut(`/registry/pods/bench/pod-${put++}`))
    case 'read':
      return read(peer, job.path, job)
    case 'fanOut':
      return fanOut(peer, job)
  }
}

function connectAll(peer: Peer, count: number): Promise<RawClient[]> {
  return Promise.all(Array.from({ length: count }, () => RawClient.connect(peer)))
}

function request(method: string, path: string, more: Record<string, string> = {}) {
  return {
    ':method': method,
    ':scheme': 'https',
    ':authority': 'localhost',
    ':path': path,
    ...more,
  }
}

function post(path: string, body: Buffer): Call {
  return { headers: request('POST', path, { 'content-type': json, accept: json }), body }
}

/** Server-side apply of a whole pod in which one label changes. */
function applyOf(index: number): Call {
  const path = `${podsPath}/applied-${index % 64}?fieldManager=bench&force=true`
  const headers = request('PATCH', path, { 'content-type': 'application/apply-patch+yaml' })
  return { headers, body: podBody(`applied-${index % 64}`, `v${index}`) }
}

function patchOf(index: number): Call {
  const path = `${mapsPath}/map-${index % 500}`
  const headers = request('PATCH', path, { 'content-type': 'application/merge-patch+json' })
  return {
    headers,
    body: Buffer.from(JSON.stringify({ metadata: { labels: { version: `u${index}` } } })),
  }
}

/** etcdserverpb.KV/Put of what a pod of ours has when it is stored. */
function etcdPut(key: string): Call {
  const field = (tag: number, bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.from([tag, ...varint(bytes.length)]), bytes])
  const value = Buffer.alloc(5_000, podBody(key))
  const message = Buffer.concat([field(0x0a, Buffer.from(key)), field(0x12, value)])
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  const headers = {
    ...request('POST', '/etcdserverpb.KV/Put', { 'content-type': 'application/grpc' }),
    ':scheme': 'http',
    te: 'trailers',
  }
  return { headers, body: Buffer.concat([head, message]) }
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)]
}

/** Writers that each send the next request when the last was answered. */
async function write(
  peer: Peer,
  job: { readonly writers: number; readonly count: number },
  next: () => Call,
): Promise<Figures> {
  const clients = await connectAll(peer, Math.min(connections, job.writers))
  const ms: number[] = []
  let started = 0
  const begun = performance.now()
  const writer = async (client: RawClient): Promise<void> => {
    while (started++ < job.count) {
      const call = next()
      let answered = 0
      const sent = performance.now()
      await client.call({ ...call, onData: (piece) => (answered += piece.length) })
      if (answered === 0) throw new Error('a write was answered without a body')
      ms.push(performance.now() - sent)
    }
  }
  await Promise.all(
    Array.from({ length: job.writers }, (_, index) =>
      writer(clients[index % clients.length] as RawClient),
    ),
  )
  const seconds = (performance.now() - begun) / 1000
  for (const client of clients) client.close()
  return { ms, seconds, bytes: 0, events: 0, updates: 0 }
}

async function read(
  peer: Peer,
  path: string,
  job: { readonly accept: string; readonly times: number },
): Promise<Figures> {
  const client = await RawClient.connect(peer)
  const ms: number[] = []
  let bytes = 0
  const begun = performance.now()
  for (let index = 0; index < job.times; index++) {
    bytes = 0
    const sent = performance.now()
    const headers = request('GET', path, { accept: job.accept })
    await client.call({ headers, onData: (piece) => (bytes += piece.length) })
    ms.push(performance.now() - sent)
  }
  client.close()
  return { ms, seconds: (performance.now() - begun) / 1000, bytes, events: 0, updates: 0 }
}

const mark = Buffer.from('{"type":"MODIFIED"')

/**
 * Every watcher on a connection of its own; the clock stops when the last event has come to all. ConfigMaps of 5 KB
 * are what changes, so that sending events is measured and not the pipeline of pods.
 */
async function fanOut(
  peer: Peer,
  job: { readonly watchers: number; readonly seconds: number },
): Promise<Figures> {
  const [writerClient, ...clients] = await connectAll(peer, 1 + job.watchers)
  if (writerClient === undefined) throw new Error('no connection')
  let bytes = 0
  let events = 0
  const revision = await listRevision(writerClient)
  for (const client of clients) {
    // An event's start may lie on the border of two frames: what could be its beginning is kept.
    let tail: Buffer = Buffer.alloc(0)
    const onData = (piece: Buffer): void => {
      bytes += piece.length
      const border = Buffer.concat([tail, piece.subarray(0, mark.length - 1)])
      if (tail.length > 0 && border.indexOf(mark) >= 0) events++
      for (let at = piece.indexOf(mark); at >= 0; at = piece.indexOf(mark, at + mark.length)) {
        events++
      }
      tail = Buffer.from(piece.subarray(Math.max(0, piece.length - mark.length + 1)))
    }
    const path = `${mapsPath}?watch=true&resourceVersion=${revision}`
    client.call({ headers: request('GET', path, { accept: json }), onData }).catch(() => {})
  }
  // A watch has begun when it gets what happens now.
  let updates = 0
  await writerClient.call(patchOf(updates++))
  while (events < job.watchers) await pause(5)
  const [eventsBefore, bytesBefore, updatesBefore] = [events, bytes, updates]
  const begun = performance.now()
  const writer = async (): Promise<void> => {
    while (performance.now() - begun < job.seconds * 1000) {
      await writerClient.call(patchOf(updates++))
      // Updates that nobody can follow measure the queue and not the fan-out.
      while (updates * job.watchers - events > 400 * job.watchers) await pause(1)
    }
  }
  await Promise.all(Array.from({ length: 16 }, writer))
  while (events < updates * job.watchers) await pause(2)
  const seconds = (performance.now() - begun) / 1000
  for (const client of [writerClient, ...clients]) client.close()
  return {
    ms: [],
    seconds,
    bytes: bytes - bytesBefore,
    events: events - eventsBefore,
    updates: updates - updatesBefore,
  }
}

async function listRevision(client: RawClient): Promise<string> {
  let text = ''
  await client.call({
    headers: request('GET', `${mapsPath}?limit=1`, { accept: json }),
    onData: (piece) => (text += piece.toString()),
  })
  return (JSON.parse(text) as { metadata: { resourceVersion: string } }).metadata.resourceVersion
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

process.on('message', (message: { peer: Peer; job: Job }) => {
  handle(message.peer, message.job).then(
    (figures) => process.send?.({ figures }),
    (error: unknown) => process.send?.({ error: String(error) }),
  )
})
process.on('disconnect', () => process.exit(0))
