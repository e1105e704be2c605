/**
 * Many proxies in one process, as cheap as can be: each a TLS connection with one stream, which acknowledges what it gets
 * and notes when it came. It reads only the type and the nonce of a response.
 */
import http2 from 'node:http2'
import {
  create,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  toBinary,
  typeUrl,
} from '../../src/proto/index.ts'

export type ToClients =
  | { readonly kind: 'connect'; readonly port: number; readonly rootPem: string }
  | { readonly kind: 'arrivals' }

export interface FromClients {
  /** All have everything; milliseconds since the first began to connect. */
  readonly readyMs?: number
  readonly bytes?: number
  /** When each message of the watched type came, since the last question. */
  readonly arrivals?: { readonly address: number[]; readonly endpoint: number[] }
}

const [nodeProxies, gateways] = (process.argv[2] ?? '0,0').split(',').map(Number)
const path = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources'
const send = (message: FromClients): void => void process.send?.(message)
const ambient = [typeUrl.address, typeUrl.authorization]
const envoy = [typeUrl.cluster, typeUrl.endpoint, typeUrl.listener, typeUrl.route]

let arrivals = { address: [] as number[], endpoint: [] as number[] }
let bytes = 0
let missing = 0

function frame(request: Parameters<typeof create<typeof DeltaDiscoveryRequestSchema>>[1]): Buffer {
  const message = create(DeltaDiscoveryRequestSchema, request) as DeltaDiscoveryRequest
  const body = toBinary(DeltaDiscoveryRequestSchema, message)
  const head = Buffer.alloc(5)
  head.writeUInt32BE(body.length, 1)
  return Buffer.concat([head, body])
}

/** The texts of the fields that come first in a response: version, type, nonce. */
function headOf(message: Buffer): { type: string; nonce: string } {
  const found: Record<number, string> = {}
  for (let at = 0, seen = 0; seen < 3 && at < message.length; seen++) {
    const tag = message[at] ?? 0
    const length = message[at + 1] ?? 0
    found[tag >> 3] = message.toString('utf8', at + 2, at + 2 + length)
    at += 2 + length
  }
  return { type: found[4] ?? '', nonce: found[5] ?? '' }
}

/** Puts messages together, without copying what is still to grow. */
class FrameReader {
  readonly #onMessage: (message: Buffer) => void
  #chunks: Buffer[] = []
  #length = 0
  #wanted = 5

  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage
  }

  push(chunk: Buffer): void {
    bytes += chunk.length
    this.#chunks.push(chunk)
    this.#length += chunk.length
    while (this.#length >= this.#wanted) {
      const all = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks)
      if (all === undefined) return
      this.#chunks = [all]
      const end = 5 + all.readUInt32BE(1)
      this.#wanted = end
      if (this.#length < end) return
      this.#onMessage(all.subarray(5, end))
      this.#chunks = end === all.length ? [] : [all.subarray(end)]
      this.#length = all.length - end
      this.#wanted = 5
    }
  }
}

function connect(port: number, rootPem: string, node: object, types: readonly string[]): void {
  const session = http2.connect(`https://127.0.0.1:${port}`, {
    ca: rootPem,
    servername: 'istiod.istio-system.svc',
    settings: { initialWindowSize: 4 * 1024 * 1024 },
  })
  session.once('connect', () => session.setLocalWindowSize(8 * 1024 * 1024))
  const stream = session.request(
    { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' },
    { endStream: false },
  )
  const open = new Set(types)
  for (const type of types) stream.write(frame({ node, typeUrl: type }))
  const reader = new FrameReader((message) => {
    const { type, nonce } = headOf(message)
    const now = performance.timeOrigin + performance.now()
    if (type === typeUrl.address) arrivals.address.push(now)
    if (type === typeUrl.endpoint) arrivals.endpoint.push(now)
    stream.write(frame({ typeUrl: type, responseNonce: nonce }))
    if (open.delete(type) && open.size === 0 && --missing === 0) {
      send({ readyMs: performance.now() - began, bytes })
    }
  })
  stream.on('data', (chunk: Buffer) => reader.push(chunk))
  stream.on('error', (error) => process.stderr.write(`a stream broke: ${error.message}\n`))
  session.on('error', (error) => process.stderr.write(`a connection broke: ${error.message}\n`))
}

let began = 0
process.on('message', (message: ToClients) => {
  if (message.kind === 'arrivals') {
    send({ arrivals })
    arrivals = { address: [], endpoint: [] }
    return
  }
  began = performance.now()
  missing = (nodeProxies ?? 0) + (gateways ?? 0)
  for (let index = 0; index < (nodeProxies ?? 0); index++) {
    const id = `ztunnel~10.1.${index >> 8}.${index & 255}~ztunnel-${index}.istio-system~istio-system.svc.cluster.local`
    const metadata = { NAMESPACE: 'istio-system', NODE_NAME: `node-${index}` }
    connect(message.port, message.rootPem, { id, metadata }, ambient)
  }
  for (let index = 0; index < (gateways ?? 0); index++) {
    const id = `router~10.2.0.${index}~gateway-${index}.team-${index}~team-${index}.svc.cluster.local`
    const LABELS = { 'gateway.networking.k8s.io/gateway-name': `gateway-${index}` }
    connect(
      message.port,
      message.rootPem,
      { id, metadata: { NAMESPACE: `team-${index}`, LABELS } },
      envoy,
    )
  }
})
process.on('disconnect', () => process.exit(0))
