/**
 * An init for tests: the node's network with pods a, b, c and Services, but no registry. Runs its
 * cases from inside, writes `results.json`, and says that it is ready.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { createServer, Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { createLogger, sleep, systemClock } from '../../src/base/index.ts'
import type { KubeClient } from '../../src/client/index.ts'
import { connectTcp, findTool, listenTcp, withNetns } from '../../src/linux/index.ts'
import type { BrokerToInit, InitToBroker } from '../../src/standalone/broker/protocol.ts'
import { BrokerLink } from '../../src/standalone/init/link.ts'
import { setUpMounts } from '../../src/standalone/init/mounts.ts'
import { createNetworkApp } from '../../src/standalone/init/network-app.ts'
import { MemoryInformer } from '../../src/standalone/network/memory-informer.ts'
import { setUpNode } from '../../src/standalone/network/node.ts'
import { PodNetworks } from '../../src/standalone/network/pods.ts'
import { EgressRelay } from '../../src/standalone/network/relay.ts'
import type { EndpointSlice, Service } from '../../src/standalone/network/service-table.ts'
import { service, slice } from '../../src/standalone/network/testing.ts'
import type { PodSandbox } from '../../src/standalone/runtime/network.ts'

const send = (message: InitToBroker): void => void process.send?.(message)
const link = new BrokerLink(send)
process.on('message', (message, handle) => link.receive(message as BrokerToInit, handle))
process.on('disconnect', () => process.exit(1))
link.handle({ stop: () => process.exit(0), applySamples: async () => {}, setImages: () => {} })

const clock = systemClock
const logger = createLogger('init', { write: (line) => process.stdout.write(line), now: Date.now })
const config = await link.config
const world = JSON.parse(readFileSync(config.catalogFile ?? '', 'utf8')) as {
  hostAddress: string
  worldAddress: string
  worldPort: number
  hostPort: number
  rules: string
}
setUpMounts(join(config.stateDirectory, 'pods'))
await setUpNode()
const relay = new EgressRelay(link, logger)
await relay.start()

const port = (number: number, targetPort: number) => ({ port: number, targetPort, protocol: 'TCP' })
const services = new MemoryInformer<Service>(
  service('web', { clusterIP: '10.96.1.1', ports: [port(80, 8080)] }),
  service('empty', { clusterIP: '10.96.1.2', ports: [port(80, 8080)] }),
  service('self', { clusterIP: '10.96.1.3', ports: [port(80, 8080)] }),
  service('front', { type: 'LoadBalancer', clusterIP: '10.96.1.4', ports: [port(80, 8080)] }),
  service(
    'kube-dns',
    { clusterIP: '10.96.0.10', ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] },
    'kube-system',
  ),
)
const slices = new MemoryInformer<EndpointSlice>(
  slice(
    'kube-dns',
    { addresses: ['10.244.0.1'], port: 53, portName: 'dns', protocol: 'UDP' },
    'kube-system',
  ),
)
const patches: unknown[] = []
const client = {
  patch: async (...words: unknown[]) => {
    patches.push(words[4])
    return {}
  },
} as unknown as KubeClient
const network = createNetworkApp({
  services,
  slices,
  client,
  door: link,
  relay,
  ingress: await link.listener('ingress'),
  hostAccess: config.hostAccess,
  ...(world.rules === 'iptables'
    ? { findTool: (name) => (name === 'nft' ? undefined : findTool(name)) }
    : {}),
  clock,
  logger,
})
await network.start()
const networks = new PodNetworks({
  netnsFolder: '/run/weft/netns',
  stateFile: join(config.stateDirectory, 'network.json'),
  clock,
  logger,
})
const pod = (uid: string): Promise<PodSandbox> =>
  networks.setup({ uid, namespace: 'shop', name: uid })
const [a, b, c] = await Promise.all([pod('a'), pod('b'), pod('c')])
for (const [name, sandbox] of Object.entries({ a, b, c })) {
  const server = new Server({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.on('end', () => socket.end(`${name} saw ${socket.remoteAddress}`)).resume()
  })
  server.listen({
    fd: listenTcp({ netnsFd: sandbox.netnsFd, family: 4, address: '0.0.0.0', port: 8080 }),
  })
}
slices.set(slice('web', { addresses: [b.ip, c.ip], port: 8080 }))
slices.set(slice('self', { addresses: [a.ip], port: 8080 }))
slices.set(slice('front', { addresses: [b.ip], port: 8080 }))
for (const [number, host] of [
  [9999, '10.244.0.1'],
  [15012, '10.244.0.1'],
  [15000, '127.0.0.1'],
] as const) {
  const server = createServer((socket) => socket.end('node')).listen(number, host)
  await once(server, 'listening')
}

/** Says something from a pod (or the node), ends, and returns what comes back, or the errno. */
async function ask(from: PodSandbox | undefined, host: string, number: number): Promise<string> {
  let socket: Socket
  try {
    socket = await connectTcp({
      host,
      port: number,
      connectTimeoutMs: 3_000,
      ...(from === undefined ? {} : { netnsFd: from.netnsFd }),
    })
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
  try {
    socket.end('hello')
    return await text(socket)
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (await condition()) return
    await sleep(clock, 20)
  }
  throw new Error('did not come true in 2 s')
}

function equal(actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`${JSON.stringify(actual)} is not ${JSON.stringify(expected)}`)
  }
}

const refused = (answer: string): void => equal(/ECONNREFUSED|ECONNRESET|LINUX_/.test(answer), true)

/** Names as a program in the pod resolves them: through the standard library and the Service's address. */
async function resolve(from: PodSandbox, expression: string): Promise<string> {
  const script = `const {Resolver}=require('dns').promises; const r=new Resolver({timeout:3000,tries:1}); r.setServers(['10.96.0.10']);
    r.${expression}.then((v)=>console.log(JSON.stringify(v)),(e)=>console.log(e.code))`
  const child = withNetns(from.netnsFd, () =>
    spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] }),
  )
  return (await text(child.stdout)).trim()
}

const cases: Record<string, () => Promise<void>> = {
  'a pod reaches another one directly, and is seen with its own address': async () => {
    equal(await ask(a, b.ip, 8080), `b saw ${a.ip}`)
  },
  'a Service leads to each of its endpoints, from pods and from the node': async () => {
    await until(async () => (await ask(a, '10.96.1.1', 80)).startsWith('b'))
    await until(async () => (await ask(a, '10.96.1.1', 80)).startsWith('c'))
    await until(async () => (await ask(undefined, '10.96.1.1', 80)) === 'b saw 10.244.0.1')
  },
  'a pod reaches itself through its Service': async () => {
    equal(await ask(a, '10.96.1.3', 80), 'a saw 10.244.0.1')
  },
  'a Service without endpoints, and an address without a Service, refuse at once': async () => {
    for (const from of [a, undefined]) {
      equal(await ask(from, '10.96.1.2', 80), 'ECONNREFUSED')
      equal(await ask(from, '10.99.9.9', 80), 'ECONNREFUSED')
      equal(await ask(from, '10.96.1.1', 81), 'ECONNREFUSED')
    }
  },
  'an endpoint that is not ready any more gets nothing, the others get all': async () => {
    slices.set(slice('web', { addresses: [c.ip], notReady: [b.ip], port: 8080 }))
    await until(async () => (await ask(a, '10.96.1.1', 80)).startsWith('c'))
    await sleep(clock, 100)
    for (let tries = 0; tries < 12; tries++) equal((await ask(a, '10.96.1.1', 80))[0], 'c')
    slices.remove('shop/web-1')
    await until(async () => (await ask(a, '10.96.1.1', 80)) === 'ECONNREFUSED')
  },
  'names resolve in a pod through the address of kube-dns': async () => {
    equal(await resolve(a, "resolve4('web.shop.svc.cluster.local')"), '["10.96.1.1"]')
    equal(await resolve(a, "resolve4('none.shop.svc.cluster.local')"), 'ENOTFOUND')
    equal(await resolve(a, "reverse('10.96.1.1')"), '["web.shop.svc.cluster.local"]')
  },
  'the world is reached through the relay: the server speaks first, both directions end on their own':
    async () => {
      equal(await ask(a, world.worldAddress, world.worldPort), 'welcome;heard hello')
      equal(await ask(undefined, world.worldAddress, world.worldPort), 'welcome;heard hello')
      refused(await ask(a, world.worldAddress, 7099))
    },
  'the host itself is reached only with --host-access': async () => {
    const answers = [
      await ask(a, '169.254.1.2', world.hostPort),
      await ask(a, world.hostAddress, world.hostPort),
    ]
    for (const answer of answers) {
      if (config.hostAccess) equal(answer, 'welcome;heard hello')
      else refused(answer)
    }
    refused(await ask(a, '169.254.169.254', 80))
    refused(await ask(a, '169.254.1.1', 9999))
    refused(await ask(a, '127.0.0.1', world.hostPort))
  },
  'of the node a pod reaches only what pods need': async () => {
    equal(await ask(a, '10.244.0.1', 15012), 'node')
    refused(await ask(a, '10.244.0.1', 9999))
    refused(await ask(a, '10.244.0.1', 15000))
    refused(await ask(a, '10.244.0.1', relay.port))
  },
  'a LoadBalancer says where it is': async () => {
    await until(async () => patches.length === 2)
    equal(patches[1], {
      status: {
        loadBalancer: {
          ingress: [{ ip: '127.0.0.1', ipMode: 'Proxy', ports: [{ port: 80, protocol: 'TCP' }] }],
        },
      },
    })
  },
  'a pod that is gone leaves nothing, and one that comes back has its address': async () => {
    const before = c.ip
    await networks.teardown('c')
    equal(/EHOSTUNREACH|ECONNREFUSED|LINUX_/.test(await ask(a, before, 8080)), true)
    equal((await pod('a')).ip, a.ip)
  },
}

const results: { name: string; error?: string }[] = []
for (const [name, run] of Object.entries(cases)) {
  try {
    await run()
    results.push({ name })
  } catch (error) {
    results.push({
      name,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
  }
}
const namespaces = [
  readlinkSync('/proc/self/ns/net'),
  ...[a, b].map(({ netnsFd }) => readlinkSync(`/proc/self/fd/${netnsFd}`)),
]
writeFileSync(
  join(config.stateDirectory, 'results.json'),
  JSON.stringify({ cases: results, namespaces }),
)
link.ready()
