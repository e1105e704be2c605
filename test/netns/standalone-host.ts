/**
 * Plays the host of a mesh in a network namespace of its own: an external server in a second
 * namespace, servers on its own loopback and address, and a broker whose init is `standalone-init.ts`.
 * Prints one JSON line with what init found, and one about what is left after the stop.
 */
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { connect, createServer, Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createLogger, systemClock } from '../../src/base/index.ts'
import { createNetns, ipBatch, listenTcp } from '../../src/linux/index.ts'
import { Broker } from '../../src/standalone/broker/app.ts'
import { meshPaths } from '../../src/standalone/state/paths.ts'
import { freePort } from '../free-port.ts'

const [stateHome = '', mode = 'root', access = '', rules = 'nft'] = process.argv.slice(2)
const hostAddress = '203.0.113.1'
const worldAddress = '203.0.113.5'

const world = createNetns()
await ipBatch([
  'link set lo up',
  `link add out type veth peer name in netns /proc/${process.pid}/fd/${world}`,
])
await ipBatch([`addr add ${hostAddress}/24 dev out`, 'link set out up'])
await ipBatch([`addr add ${worldAddress}/24 dev in`, 'link set in up'], { netnsFd: world })

/** Speaks first, and answers with what it heard only after the other side has ended. */
function serve(socket: Socket): void {
  let heard = ''
  socket.on('error', () => {})
  socket.write('welcome;')
  socket.on('data', (data) => (heard += String(data)))
  socket.on('end', () => socket.end(`heard ${heard}`))
}

const external = new Server({ allowHalfOpen: true }, serve)
external.listen({ fd: listenTcp({ netnsFd: world, family: 4, address: worldAddress, port: 7000 }) })
const local = createServer({ allowHalfOpen: true }, serve).listen(7001, '0.0.0.0')
await Promise.all([once(external, 'listening'), once(local, 'listening')])

const name = `net-${process.pid}`
const parameters = join(stateHome, 'parameters.json')
writeFileSync(
  parameters,
  JSON.stringify({ hostAddress, worldAddress, worldPort: 7000, hostPort: 7001, rules }),
)
const registryPort = await freePort()
const ingressPort = await freePort()
const broker = new Broker({
  config: {
    name,
    version: '0',
    stateHome,
    mode: mode === 'root' ? 'root' : 'rootless',
    registryPort,
    ingressPort,
    hostAccess: access === 'host-access',
    hostPathPrefixes: [],
    samples: [],
    catalogFile: parameters,
    toolFolders: [],
    foreground: false,
  },
  clock: systemClock,
  logger: createLogger('broker', { write: (line) => process.stderr.write(line), now: Date.now }),
  tellStarter: () => {},
  onEnd: () => {},
  initEntry: fileURLToPath(new URL('standalone-init.ts', import.meta.url)),
})
const paths = meshPaths(stateHome, name)
await broker.start()
// The last case needs the host's side: the ingress port leads to a pod.
const ingress = await talk(ingressPort)
const results = JSON.parse(readFileSync(join(paths.root, 'results.json'), 'utf8')) as {
  cases: unknown[]
  namespaces: string[]
}
await broker.stop()
const left = {
  files: readdirSync(paths.root).filter((file) => file.endsWith('.sock') || file === 'broker.json'),
  processes: readdirSync('/proc').filter((pid) => results.namespaces.includes(namespaceOf(pid))),
  ports: await Promise.all([registryPort, ingressPort].map(isOpen)),
}
process.stdout.write(`${JSON.stringify({ ...results, ingress, left })}\n`)
process.exit(0)

function namespaceOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return ''
  }
}

async function talk(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let heard = ''
  socket.on('data', (data) => (heard += String(data)))
  socket.end('through the ingress')
  await Promise.race([once(socket, 'end'), once(socket, 'error')])
  return heard
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const open = await Promise.race([
    once(socket, 'connect').then(() => true),
    new Promise<false>((resolve) => socket.once('error', () => resolve(false))),
  ])
  socket.destroy()
  return open
}
