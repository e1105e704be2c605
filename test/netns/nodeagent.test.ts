/** The node agent with real namespaces, rules and ZDS; only the registry is in memory. */
import assert from 'node:assert'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { type Component, silentLogger, systemClock } from '../../src/base/index.ts'
import { closeFd, createNetns, inodeOf } from '../../src/linux/index.ts'
import {
  createNodeAgent,
  type NodeAgent,
  type NodeAgentOptions,
} from '../../src/nodeagent/index.ts'
import { ZdsClient } from '../../src/zds/index.ts'
import { Cluster, Sandboxes } from './nodeagent-cluster.ts'
import {
  ask,
  createWorld,
  peerAddress,
  refusal,
  serve,
  type TestServer,
  type World,
} from './nodeagent-kit.ts'

const refused = refusal()
const ambient = { 'istio.io/dataplane-mode': 'ambient' }

interface Proxy extends Component {
  readonly log: string[]
  refusal: string | undefined
}

describe('node agent', { skip: refused }, () => {
  let folder: string
  let world: World
  let peer: TestServer
  let cluster: Cluster
  let sandboxes: Sandboxes
  let parts: Component[]

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'weft-nodeagent-'))
    world = await createWorld()
    peer = await serve(world.peer, 80, 'peer')
    cluster = new Cluster()
    sandboxes = new Sandboxes()
    parts = []
    cluster.namespace('apps')
  })
  afterEach(async () => {
    for (const part of parts.toReversed()) await part.stop()
    for (const socket of peer.sockets) socket.destroy()
    peer.server.close()
    world.close()
    rmSync(folder, { recursive: true })
  })

  async function agent(options: Partial<NodeAgentOptions> = {}): Promise<NodeAgent> {
    const made = createNodeAgent({
      client: cluster.client,
      informers: { pods: cluster.pods, namespaces: cluster.namespaces },
      netns: sandboxes,
      socketPath: join(folder, 'ztunnel.sock'),
      logger: silentLogger,
      clock: systemClock,
      events: cluster,
      drainMs: 40,
      ...options,
    })
    await made.start()
    parts.push(made)
    return made
  }

  async function proxy(): Promise<Proxy> {
    const log: string[] = []
    const client = new ZdsClient({
      path: join(folder, 'ztunnel.sock'),
      logger: silentLogger,
      clock: systemClock,
      handler: {
        async add(uid, info, netnsFd) {
          log.push(
            `add ${uid} ${info.namespace}/${info.name}/${info.serviceAccount} ${inodeOf(netnsFd)}`,
          )
          closeFd(netnsFd)
          if (made.refusal !== undefined) throw new Error(made.refusal)
        },
        keep: async (uid) => void log.push(`keep ${uid}`),
        del: async (uid) => void log.push(`del ${uid}`),
        snapshotSent: async () => void log.push('snapshot'),
      },
    })
    const made: Proxy = {
      log,
      refusal: undefined,
      start: () => client.start(),
      stop: () => client.stop(),
    }
    await made.start()
    parts.push(made)
    await until('snapshot', () => log.includes('snapshot'))
    return made
  }

  const captured = async (): Promise<boolean> =>
    (await ask(world.pod, peerAddress[4], 80)) !== 'peer'

  it('a namespace’s label captures its running pods, its removal lets them go; the pods stay', async () => {
    const made = await agent()
    const np = await proxy()
    sandboxes.set('uid-a', world.pod)
    cluster.pod('a')
    assert.strictEqual(await captured(), false)
    cluster.namespace('apps', ambient)
    await until('enabled', () => cluster.redirection('a') === 'enabled')
    assert.strictEqual(await captured(), true)
    const add = `add uid-a apps/a/sa-a ${inodeOf(world.pod)}`
    assert.deepStrictEqual(np.log, ['snapshot', add])
    assert.deepStrictEqual(made.list(), [
      { uid: 'uid-a', namespace: 'apps', name: 'a', state: 'enabled' },
    ])

    cluster.namespace('apps', {})
    await until('annotation removed', () => cluster.redirection('a') === undefined)
    assert.strictEqual(await captured(), false)
    assert.deepStrictEqual(np.log, ['snapshot', add], 'the proxy still serves what is open')
    assert.deepStrictEqual(made.list(), [])
    await until('proxy told', () => np.log.includes('del uid-a'))
    assert.deepStrictEqual(cluster.writes, ['pods/status a enabled', 'pods/status a null'])
  })

  it('a pod that comes back while its proxy drains keeps that proxy', async () => {
    await agent({ drainMs: 200 })
    const np = await proxy()
    sandboxes.set('uid-a', world.pod)
    cluster.pod('a', { labels: ambient })
    await until('enabled', () => cluster.redirection('a') === 'enabled')
    cluster.pod('a', { annotations: { 'ambient.istio.io/redirection': 'enabled' } })
    await until('left', () => cluster.redirection('a') === undefined)
    cluster.pod('a', { labels: ambient })
    await until('enabled again', () => cluster.redirection('a') === 'enabled')
    assert.strictEqual(await captured(), true)
    await new Promise((resolve) => setTimeout(resolve, 250))
    assert.strictEqual(np.log.filter((line) => line.startsWith('del')).length, 0)
  })

  it('without drain the order is rules, proxy, annotation', async () => {
    await agent({ drainMs: 0 })
    const np = await proxy()
    sandboxes.set('uid-a', world.pod)
    cluster.pod('a', { labels: ambient })
    await until('enabled', () => cluster.redirection('a') === 'enabled')
    cluster.pod('a', { annotations: { 'ambient.istio.io/redirection': 'enabled' } })
    await until('left', () => cluster.redirection('a') === undefined)
    assert.ok(np.log.includes('del uid-a'))
    assert.strictEqual(await captured(), false)
  })

  it('a pod without a proxy is captured and pending; the proxy’s death opens nothing', async () => {
    await agent()
    sandboxes.set('uid-a', world.pod)
    cluster.pod('a', { labels: ambient })
    await until('pending', () => cluster.redirection('a') === 'pending')
    assert.strictEqual(await ask(world.pod, peerAddress[4], 80), 'ECONNREFUSED')
    const np = await proxy()
    await until('enabled', () => cluster.redirection('a') === 'enabled')
    await np.stop()
    assert.strictEqual(await ask(world.pod, peerAddress[4], 80), 'ECONNREFUSED')
    assert.strictEqual(cluster.redirection('a'), 'enabled')
  })

  it('a pod that the proxy refuses is pending, with the reason in the list', async () => {
    const made = await agent()
    const np = await proxy()
    np.refusal = 'port 15001 is taken'
    sandboxes.set('uid-a', world.pod)
    cluster.pod('a', { labels: ambient })
    await until('pending', () => cluster.redirection('a') === 'pending')
    assert.strictEqual(made.list()[0]?.reason, 'port 15001 is taken')
  })

  it('admit returns when even the first packet would be captured', async () => {
    const made = await agent()
    await proxy()
    cluster.namespace('apps', ambient)
    const pod = { ...cluster.pod('a'), status: { phase: 'Pending' } }
    assert.strictEqual(await made.admit(pod), 'waiting', 'no sandbox yet')
    sandboxes.set('uid-a', world.pod)
    assert.strictEqual(await made.admit(pod), 'enabled')
    assert.strictEqual(await captured(), true)
    const host = { ...cluster.pod('h'), spec: { hostNetwork: true } }
    cluster.pods.store(host)
    assert.strictEqual(await made.admit(host), 'excluded')
  })

  it('the end of a pod, by phase or by deletion, is told to the proxy at once', async () => {
    const made = await agent({ drainMs: 60_000 })
    const np = await proxy()
    const second = createNetns()
    sandboxes.set('uid-a', world.pod)
    sandboxes.set('uid-b', second)
    cluster.pod('a', { labels: ambient })
    cluster.pod('b', { labels: ambient })
    await until('both', () => made.list().filter(({ state }) => state === 'enabled').length === 2)
    cluster.pod('a', { labels: ambient }, 'Succeeded')
    cluster.pods.remove('apps/b')
    await until('gone', () => np.log.includes('del uid-a') && np.log.includes('del uid-b'))
    assert.deepStrictEqual(made.list(), [])
    closeFd(second)
  })

  it('a sandbox made anew gets rules of its own and is announced with its descriptor', async () => {
    await agent()
    const np = await proxy()
    const first = createNetns()
    sandboxes.set('uid-a', first)
    cluster.pod('a', { labels: ambient })
    await until('enabled', () => cluster.redirection('a') === 'enabled')
    sandboxes.set('uid-a', world.pod)
    await until('second add', () => np.log.some((line) => line.endsWith(` ${inodeOf(world.pod)}`)))
    // The rules follow the proxy's answer.
    const deadline = performance.now() + 2_000
    while (!(await captured()))
      assert.ok(performance.now() < deadline, 'the new sandbox has no rules')
    assert.ok(!np.log.includes('del uid-a'))
    closeFd(first)
  })

  it('a new agent takes over captured pods, and cleans up those that left meanwhile', async () => {
    const first = await agent()
    await proxy()
    sandboxes.set('uid-a', world.pod)
    cluster.pod('a', { labels: ambient })
    await until('enabled', () => cluster.redirection('a') === 'enabled')
    for (const part of parts.splice(0).toReversed()) await part.stop()
    assert.strictEqual(await captured(), true, 'rules survive the agent')
    assert.deepStrictEqual(first.list(), [])

    const second = await agent()
    await until('taken over', () => second.list().length === 1)
    assert.strictEqual(cluster.redirection('a'), 'enabled', 'not downgraded before a proxy is back')
    assert.strictEqual(await captured(), true)
    await second.stop()
    parts.splice(0)

    cluster.pod('a', { annotations: { 'ambient.istio.io/redirection': 'enabled' } })
    await agent()
    await until('cleaned', () => cluster.redirection('a') === undefined)
    assert.strictEqual(await captured(), false)
  })

  it('pods of other nodes are left alone, unusable annotations are reported', async () => {
    const made = await agent({ nodeName: 'here' })
    sandboxes.set('uid-a', world.pod)
    const annotations = { 'ambient.istio.io/dns-capture': 'perhaps' }
    const elsewhere = {
      ...cluster.pod('a', { labels: ambient, annotations }),
      spec: { nodeName: 'there' },
    }
    cluster.pods.store(elsewhere)
    assert.strictEqual(await made.admit(elsewhere), 'excluded')
    const here = { ...elsewhere, spec: { nodeName: 'here' } }
    cluster.pods.store(here)
    assert.strictEqual(await made.admit(here), 'pending')
    assert.match(cluster.events.join(), /a InvalidAnnotation: .*dns-capture is "perhaps"/)
  })

  it('leaves no descriptor open', async () => {
    const openFds = (): number => readdirSync('/proc/self/fd').length
    const before = openFds()
    const made = await agent({ drainMs: 0 })
    const np = await proxy()
    sandboxes.set('uid-a', world.pod)
    cluster.pod('a', { labels: ambient })
    await until('enabled', () => cluster.redirection('a') === 'enabled')
    cluster.pods.remove('apps/a')
    await until('gone', () => np.log.includes('del uid-a'))
    await np.stop()
    await made.stop()
    parts.splice(0)
    assert.strictEqual(openFds(), before)
  })
})

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  assert.fail(`never happened: ${what}`)
}
