/**
 * Runs inside a network namespace of its own, where every port is free and connections can be captured:
 * a stock Envoy with the whole view of a waypoint, a gateway or a sidecar, and clients. Prints what came out.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  createServer as createHttpServer,
  type IncomingHttpHeaders,
  type RequestOptions,
  request,
} from 'node:http'
import { connect as connectHttp2, createSecureServer } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { until } from './envoy.ts'
import { authority, type Identity } from './traffic-kit.ts'
import { gatewayMesh, sidecarMesh, waypointMesh } from './view-meshes.ts'
import { ViewWorld } from './view-world.ts'

const podIp = '10.244.0.5'
const ambientIp = '10.244.0.6'

function ip(...args: readonly string[]): void {
  execFileSync('ip', args)
}

function prepare(): void {
  ip('link', 'set', 'lo', 'up')
  for (const address of [
    podIp,
    ambientIp,
    '10.96.0.20',
    '10.96.0.21',
    '10.96.0.30',
    '10.96.0.31',
  ]) {
    ip('addr', 'add', `${address}/32`, 'dev', 'lo')
  }
}

/** Answers with its name and what it was asked. */
async function application(name: string, host: string, port: number): Promise<() => void> {
  const server = createHttpServer((request, response) => {
    response.end(JSON.stringify({ name, url: request.url, headers: request.headers }))
  })
  server.listen(port, host)
  await once(server, 'listening')
  return () => {
    server.close()
    server.closeAllConnections()
  }
}

interface Seen {
  readonly status: number | undefined
  readonly name?: string
  readonly url?: string
  readonly headers: IncomingHttpHeaders
  readonly answer: IncomingHttpHeaders
  readonly body: string
}

/** One request; status 0 when there was no answer. */
function get(options: RequestOptions): Promise<Seen> {
  return new Promise((resolve) => {
    const none = (body: string): void => resolve({ status: 0, headers: {}, answer: {}, body })
    // A connection that the caller made is used once.
    const agent = options.createConnection === undefined ? { agent: false as const } : {}
    const outgoing = request({ timeout: 5_000, ...agent, ...options }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      response.on('error', (error) => none(error.message))
      response.on('end', () => {
        const parsed = body.startsWith('{') ? (JSON.parse(body) as Partial<Seen>) : {}
        const { statusCode: status, headers: answer } = response
        resolve({ headers: {}, ...parsed, status, answer, body })
      })
    })
    outgoing.on('timeout', () => outgoing.destroy())
    outgoing.on('error', (error) => none(error.message))
    outgoing.end()
  })
}

/** A connection through HBONE, as a node proxy makes it. */
async function tunnel(identity: Identity, to: string): Promise<Duplex> {
  const socket = connectTls({
    host: '127.0.0.1',
    port: 15_008,
    ...identity,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.3',
  })
  await once(socket, 'secureConnect')
  const session = connectHttp2('https://waypoint', { createConnection: () => socket })
  const baggage = 'k8s.namespace.name=shop,k8s.deployment.name=client,service.name=client'
  const stream = session.request({ ':method': 'CONNECT', ':authority': to, baggage })
  const [headers] = (await once(stream, 'response')) as [{ ':status'?: number }]
  if (headers[':status'] !== 200) throw new Error(`CONNECT: ${headers[':status']}`)
  stream.on('close', () => session.close())
  // The request on it tells.
  stream.on('error', () => undefined)
  return stream
}

/** The node proxy of a pod: takes HBONE on 15008 and tells where each CONNECT was for. */
async function nodeProxy(
  identity: Identity,
  host: string,
): Promise<{ asked: string[]; close(): void }> {
  const asked: string[] = []
  const server = createSecureServer({
    ...identity,
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
  })
  server.on('stream', (stream, headers) => {
    const target = headers[':authority'] ?? ''
    asked.push(`${headers[':method']} ${target}`)
    const [address, port] = target.split(':')
    const upstream = connectTcp(Number(port), address)
    stream.respond({ ':status': 200 })
    stream.pipe(upstream).pipe(stream)
    upstream.on('error', () => stream.close())
    stream.on('error', () => upstream.destroy())
  })
  server.listen(25_008, host)
  await once(server, 'listening')
  return { asked, close: () => server.close() }
}

/** The waypoint listens on all addresses, so that the node proxy needs another port. */
const detour = `
table ip mesh {
  chain output {
    type nat hook output priority -100;
    ip daddr ${ambientIp} tcp dport 15008 redirect to :25008
  }
}`

async function waypoint(): Promise<unknown> {
  execFileSync('nft', ['-f', '-'], { input: detour })
  const issue = await authority()
  const [own, friend, stranger, node] = await Promise.all([
    issue('spiffe://cluster.local/ns/shop/sa/waypoint'),
    issue('spiffe://cluster.local/ns/shop/sa/friend'),
    issue('spiffe://cluster.local/ns/shop/sa/stranger'),
    issue('spiffe://cluster.local/ns/shop/sa/app'),
  ])
  const closers = [
    await application('v1', podIp, 8080),
    await application('v2', ambientIp, 8080),
    await application('plain', podIp, 9000),
  ]
  const proxy = await nodeProxy(node, '127.0.0.1')
  const world = new ViewWorld(
    { kind: 'waypoint', namespace: 'shop', gateway: 'shop/waypoint' },
    own,
  )
  world.apply(waypointMesh)
  await world.start()
  try {
    const through = async (
      who: Identity,
      to: string,
      path: string,
      headers = {},
    ): Promise<Seen> => {
      const stream = await tunnel(who, to)
      return await get({
        path,
        headers: { host: 'cart', ...headers },
        createConnection: () => stream as Socket,
      })
    }
    const allowed = await through(friend, '10.96.0.20:80', '/a')
    const byHeader = await through(friend, '10.96.0.20:80', '/b', { 'x-user': 'tester' })
    const denied = await through(stranger, '10.96.0.20:80', '/a')
    const fault = await through(friend, '10.96.0.20:80', '/fault')
    const sniffed = await through(friend, '10.96.0.20:9000', '/c')
    const direct = await through(friend, `${ambientIp}:8080`, '/d')
    const series = await world.envoy.admin('/stats/prometheus')
    const line = series.body
      .split('\n')
      .find(
        (one) => one.includes('istio_requests_total') && one.includes('source_workload="client"'),
      )
    return {
      allowed: [allowed.status, allowed.name],
      byHeader: [byHeader.status, byHeader.name],
      tunnels: proxy.asked,
      denied: [denied.status, denied.body],
      fault: fault.status,
      sniffed: [sniffed.status, sniffed.name],
      direct: [direct.status, direct.name],
      counted: line !== undefined,
      nacks: world.nacks,
      log: world.envoy.log.split('\n').filter((one) => /deprecat|\[error\]|\[critical\]/.test(one)),
    }
  } finally {
    await world.stop()
    proxy.close()
    for (const close of closers) close()
  }
}

/** A connection with TLS to a port, by its server name; the certificate's subject tells which it got. */
async function secure(
  port: number,
  options: ConnectionOptions,
): Promise<{ socket?: Socket; names: string }> {
  const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options })
  const opened = await Promise.race([
    once(socket, 'secureConnect').then(() => true),
    once(socket, 'error').then(() => false),
  ]).catch(() => false)
  if (!opened) return { names: '' }
  return { socket, names: socket.getPeerX509Certificate()?.subjectAltName ?? '' }
}

async function gateway(): Promise<unknown> {
  const issue = await authority()
  const own = await issue('spiffe://cluster.local/ns/shop/sa/gateway')
  const [one, two, client] = await Promise.all(
    ['spiffe://first', 'spiffe://second', 'spiffe://client'].map(issue),
  )
  if (one === undefined || two === undefined || client === undefined)
    throw new Error('no identities')
  const closers = [await application('v1', podIp, 8080)]
  const world = new ViewWorld(
    {
      kind: 'gateway',
      namespace: 'shop',
      gateway: 'shop/edge',
      labels: { istio: 'ingressgateway' },
      sendsHbone: false,
    },
    own,
  )
  world.apply(gatewayMesh(one))
  await world.start()
  try {
    const plain = (port: number, host: string, path = '/'): Promise<Seen> =>
      get({ host: '127.0.0.1', port, path, headers: { host } })
    const inside = async (
      port: number,
      options: ConnectionOptions,
      host: string,
    ): Promise<readonly unknown[]> => {
      const { socket, names } = await secure(port, { servername: host, ...options })
      if (socket === undefined) return [names, 0]
      const { status, headers } = await get({
        path: '/',
        headers: { host },
        createConnection: () => socket,
      })
      return [names, status, headers['x-forwarded-client-cert'] !== undefined]
    }
    const results = {
      route: await plain(8081, 'shop.example'),
      other: await plain(8081, 'other.example'),
      istio: await plain(8088, 'istio.example'),
      redirect: await plain(8088, 'secure.example'),
      https: await inside(8443, {}, 'secure.example'),
      unknownName: await inside(8443, {}, 'nobody.example'),
      mutualWithout: await inside(9443, {}, 'mutual.example'),
      mutualWith: await inside(9443, client, 'mutual.example'),
      apiHttps: await inside(7443, {}, 'api.example'),
    }
    const listenersBefore = await world.envoy.stat('listener_manager.listener_modified')
    world.apply(gatewayMesh(two))
    await until('the certificate is the new one', async () => {
      const { names, socket } = await secure(8443, { servername: 'secure.example' })
      socket?.destroy()
      return names.includes('second')
    })
    const listenersAfter = await world.envoy.stat('listener_manager.listener_modified')
    const server = (seen: Seen): readonly unknown[] => [seen.status, seen.name, seen.answer.server]
    return {
      route: server(results.route),
      forwarded: results.route.headers['x-forwarded-for'],
      other: results.other.status,
      istio: server(results.istio),
      redirect: [results.redirect.status, results.redirect.answer.location],
      https: results.https,
      unknownName: results.unknownName,
      mutualWithout: results.mutualWithout,
      mutualWith: results.mutualWith,
      apiHttps: results.apiHttps,
      listenersModified: listenersAfter - listenersBefore,
      nacks: world.nacks,
      log: world.envoy.log
        .split('\n')
        .filter((one_) => /deprecat|\[error\]|\[critical\]/.test(one_)),
    }
  } finally {
    await world.stop()
    for (const close of closers) close()
  }
}

/** What clients call from; only they are captured, the proxy itself is not. */
const clientIp = '10.244.0.99'

const capture = `
table ip mesh {
  chain output {
    type nat hook output priority -100;
    ip saddr ${clientIp} ip daddr 10.244.0.9 tcp dport { 8080, 9090 } redirect to :15006
    ip saddr ${clientIp} ip daddr { 10.96.0.0/16, 10.97.0.0/16 } tcp dport 1-65535 redirect to :15001
  }
}`

async function sidecar(): Promise<unknown> {
  ip('addr', 'add', '10.244.0.9/32', 'dev', 'lo')
  for (const address of ['10.97.0.1', clientIp]) ip('addr', 'add', `${address}/32`, 'dev', 'lo')
  execFileSync('nft', ['-f', '-'], { input: capture })
  const issue = await authority()
  const [own, friend] = await Promise.all([
    issue('spiffe://cluster.local/ns/shop/sa/app'),
    issue('spiffe://cluster.local/ns/shop/sa/friend'),
  ])
  const closers = [
    await application('other', podIp, 8080),
    await application('app', '10.244.0.9', 8080),
    await application('ops', '10.244.0.9', 9090),
    await application('outside', '10.97.0.1', 80),
  ]
  const world = new ViewWorld(
    { kind: 'sidecar', namespace: 'shop', labels: { app: 'app' }, serviceAccount: 'app' },
    own,
  )
  world.apply(sidecarMesh('PERMISSIVE', 'ALLOW_ANY'))
  await world.start()
  try {
    const outbound = (host: string, port: number, name: string): Promise<Seen> =>
      get({ host, port, path: '/', headers: { host: name }, localAddress: clientIp })
    const inbound = (port: number, path = '/'): Promise<Seen> =>
      get({ host: '10.244.0.9', port, path, headers: { host: 'app' }, localAddress: clientIp })
    const mutual = async (port: number): Promise<Seen> => {
      const socket = connectTls({
        socket: connectTcp({ host: '10.244.0.9', port, localAddress: clientIp }),
        ...friend,
        rejectUnauthorized: false,
        ALPNProtocols: ['istio-http/1.1', 'istio', 'http/1.1'],
      })
      await once(socket, 'secureConnect')
      return await get({ path: '/', headers: { host: 'app' }, createConnection: () => socket })
    }
    const short = ({ status, name }: Seen): readonly unknown[] => [status, name]
    const open = {
      http: short(await outbound('10.96.0.30', 80, 'other.shop')),
      auto: short(await outbound('10.96.0.30', 9000, 'other')),
      tcp: short(await outbound('10.96.0.30', 7000, 'anything')),
      unknown: short(await outbound('10.97.0.1', 80, 'outside.example')),
      plain: short(await inbound(8080)),
      denied: (await inbound(8080, '/admin')).status,
      mutual: short(await mutual(8080)),
      passthrough: short(await inbound(9090)),
    }
    const peer = (await mutual(8080)).headers['x-forwarded-client-cert']
    world.apply(sidecarMesh('STRICT', 'REGISTRY_ONLY'))
    await until('plaintext is refused', async () => (await inbound(8080)).status === 0)
    await until('unknown hosts are refused', async () => {
      return (await outbound('10.97.0.1', 80, 'outside.example')).status === 502
    })
    return {
      ...open,
      peer: String(peer).includes('URI=spiffe://cluster.local/ns/shop/sa/friend'),
      strictMutual: short(await mutual(8080)),
      nacks: world.nacks,
      log: world.envoy.log.split('\n').filter((one) => /deprecat|\[error\]|\[critical\]/.test(one)),
    }
  } finally {
    await world.stop()
    for (const close of closers) close()
  }
}

const scenarios: Readonly<Record<string, () => Promise<unknown>>> = { waypoint, gateway, sidecar }
prepare()
const scenario = scenarios[process.argv[2] ?? '']
if (scenario === undefined) throw new Error('which one?')
process.stdout.write(JSON.stringify(await scenario()))
process.exit(0)
