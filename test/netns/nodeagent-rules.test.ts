/**
 * The rules of a pod at work, with each backend that this machine has: real connections in throw-away
 * namespaces, and nothing left after removal.
 */
import assert from 'node:assert'
import { createSocket, type Socket as Datagrams } from 'node:dgram'
import { once } from 'node:events'
import { after, before, describe, it } from 'node:test'
import { silentLogger } from '../../src/base/index.ts'
import { findTool, runTool, udpSocket } from '../../src/linux/index.ts'
import { choosePodRules, type PodRules, type RuleBackend } from '../../src/nodeagent/index.ts'
import {
  ask,
  createWorld,
  peerAddress,
  podAddress,
  probeAddress,
  refusal,
  serve,
  type TestServer,
  type World,
} from './nodeagent-kit.ts'

const refused = refusal()
const everything = { dns: true, inbound: true, ipv6: true, virtualInterfaces: [] }
const proxyMark = 0x539

async function output(netnsFd: number, name: string, ...args: string[]): Promise<string> {
  const path = findTool(name)
  return path === undefined ? '' : (await runTool({ path, args, netnsFd })).stdout
}

/** Everything about redirection in a namespace that the kernel tells, counters left out. */
async function inventory(netnsFd: number): Promise<string> {
  const texts = await Promise.all([
    output(netnsFd, 'nft', '--stateless', 'list', 'ruleset'),
    output(netnsFd, 'iptables-save'),
    output(netnsFd, 'ip6tables-save'),
    output(netnsFd, 'ip', 'rule'),
    output(netnsFd, 'ip', '-6', 'rule'),
    output(netnsFd, 'ip', 'route', 'show', 'table', '100'),
    output(netnsFd, 'ip', '-6', 'route', 'show', 'table', '100'),
  ])
  return texts
    .flatMap((text) => text.split('\n'))
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.replace(/\[\d+:\d+\]/, ''))
    .join('\n')
}

/** iptables' nft variant shows in both listings, so each backend counts in its own. */
function countRules(text: string, backend: RuleBackend): number {
  const ours =
    backend === 'iptables' ? /^-A ISTIO_/ : /^\t\t.*(redirect to|accept$|mark set|zone set)/
  return text.split('\n').filter((line) => ours.test(line)).length
}

for (const backend of ['nft', 'iptables'] as const satisfies RuleBackend[]) {
  const missing = findTool(backend === 'nft' ? 'nft' : 'iptables-restore') === undefined
  const skip = refused ?? (missing ? `${backend} is not installed` : undefined)
  if (missing) process.stderr.write(`SKIPPED: ${backend} is not installed\n`)

  describe(`pod rules by ${backend}`, { skip }, () => {
    let world: World
    let rules: PodRules
    let outbound: TestServer
    let inbound: TestServer
    let app: TestServer
    const servers: TestServer[] = []
    const datagrams: Datagrams[] = []
    const withFamilies = async (check: (family: 4 | 6) => Promise<void>): Promise<void> => {
      for (const family of [4, 6] as const) await check(family)
    }

    before(async () => {
      world = await createWorld()
      rules = await choosePodRules({ tools: [], backend, logger: silentLogger })
      await rules.apply(world.pod, everything)
      const proxy = { mark: proxyMark, transparent: true }
      outbound = await serve(world.pod, 15001, 'outbound', proxy)
      inbound = await serve(world.pod, 15006, 'inbound', proxy)
      servers.push(outbound, inbound)
      servers.push(await serve(world.pod, 15008, 'hbone', proxy))
      servers.push(await serve(world.pod, 15053, 'dns', proxy))
      app = await serve(world.pod, 8080, 'app')
      servers.push(app)
      servers.push(await serve(world.peer, 80, 'peer'), await serve(world.peer, 53, 'peer dns'))
      servers.push(await serve(world.peer, 15008, 'peer hbone'))
    })
    after(async () => {
      for (const { server, sockets } of servers) {
        for (const socket of sockets) socket.destroy()
        server.close()
      }
      for (const socket of datagrams) socket.close()
      world.close()
    })

    it('what the pod sends out lands at 15001, which learns where it was going', async () => {
      await withFamilies(async (family) => {
        assert.strictEqual(await ask(world.pod, peerAddress[family], 80), 'outbound')
        assert.deepStrictEqual(outbound.accepted.at(-1)?.original, {
          address: peerAddress[family],
          port: 80,
          family,
        })
        // Also to HBONE's own port: only the way in spares it.
        assert.strictEqual(await ask(world.pod, peerAddress[family], 15008), 'outbound')
      })
    })

    it('plaintext that comes in lands at 15006, HBONE at 15008', async () => {
      await withFamilies(async (family) => {
        assert.strictEqual(await ask(world.peer, podAddress[family], 8080), 'inbound')
        assert.deepStrictEqual(inbound.accepted.at(-1), {
          remoteAddress: peerAddress[family],
          original: { address: podAddress[family], port: 8080, family },
        })
        assert.strictEqual(await ask(world.peer, podAddress[family], 15008), 'hbone')
      })
    })

    it('sockets of the proxy, known by their mark, go where they want', async () => {
      await withFamilies(async (family) => {
        const mark = { mark: proxyMark }
        assert.strictEqual(await ask(world.pod, peerAddress[family], 80, mark), 'peer')
        assert.strictEqual(await ask(world.pod, peerAddress[family], 15008, mark), 'peer hbone')
        assert.strictEqual(
          await ask(world.pod, peerAddress[family], 80, { mark: 0x53 }),
          'outbound',
        )
      })
    })

    it('loopback and the pod’s calls to itself are left alone', async () => {
      for (const host of ['127.0.0.1', '::1', podAddress[4], podAddress[6]]) {
        assert.strictEqual(await ask(world.pod, host, 8080), 'app', host)
      }
    })

    it('probes go straight to the application', async () => {
      const source = probeAddress
      assert.strictEqual(await ask(world.peer, podAddress[4], 8080, { source }), 'app')
    })

    it('the proxy reaches the application with the caller’s address, and gets the answers', async () => {
      await withFamilies(async (family) => {
        const answer = await ask(world.pod, podAddress[family], 8080, {
          mark: proxyMark,
          transparent: true,
          source: peerAddress[family],
        })
        assert.strictEqual(answer, 'app')
        assert.strictEqual(app.accepted.at(-1)?.remoteAddress, peerAddress[family])
      })
    })

    it('DNS of the pod goes to 15053, DNS of the proxy to the real server, from the same port', async () => {
      const bound = (netnsFd: number, address: string, port: number, mark?: number): Datagrams => {
        const socket = createSocket('udp4')
        const options = { netnsFd, family: 4, address, port } as const
        socket.bind({ fd: udpSocket(mark === undefined ? options : { ...options, mark }) })
        datagrams.push(socket)
        return socket
      }
      const answering = (socket: Datagrams, name: string): void =>
        void socket.on('message', (_, from) => socket.send(name, from.port, from.address))
      answering(bound(world.pod, '127.0.0.1', 15053, proxyMark), 'proxy')
      answering(bound(world.peer, peerAddress[4], 53), 'real')
      const query = async (socket: Datagrams): Promise<string> => {
        const answer = once(socket, 'message', { signal: AbortSignal.timeout(2000) })
        socket.send('?', 53, peerAddress[4])
        const [text, from] = (await answer) as [Buffer, { address: string; port: number }]
        return `${text} from ${from.address}:${from.port}`
      }
      const application = bound(world.pod, podAddress[4], 40_053)
      assert.strictEqual(await query(application), `proxy from ${peerAddress[4]}:53`)
      application.close()
      datagrams.splice(datagrams.indexOf(application), 1)
      const proxy = bound(world.pod, podAddress[4], 40_053, proxyMark)
      assert.strictEqual(await query(proxy), `real from ${peerAddress[4]}:53`)
      // Over TCP as well.
      assert.strictEqual(await ask(world.pod, peerAddress[4], 53), 'dns')
      assert.strictEqual(await ask(world.pod, peerAddress[4], 53, { mark: proxyMark }), 'peer dns')
    })

    it('without a proxy nothing gets out or in: fail closed', async () => {
      const lonely = await createWorld()
      try {
        await rules.apply(lonely.pod, everything)
        const peer = await serve(lonely.peer, 80, 'peer')
        const app = await serve(lonely.pod, 8080, 'app')
        await withFamilies(async (family) => {
          assert.strictEqual(await ask(lonely.pod, peerAddress[family], 80), 'ECONNREFUSED')
          assert.strictEqual(await ask(lonely.peer, podAddress[family], 8080), 'ECONNREFUSED')
        })
        await rules.remove(lonely.pod)
        await withFamilies(async (family) => {
          assert.strictEqual(await ask(lonely.pod, peerAddress[family], 80), 'peer')
          assert.strictEqual(await ask(lonely.peer, podAddress[family], 8080), 'app')
        })
        peer.server.close()
        app.server.close()
      } finally {
        lonely.close()
      }
    })

    it('repeating changes nothing, options switch parts, removal leaves nothing', async () => {
      const fresh = await createWorld()
      try {
        const untouched = await inventory(fresh.pod)
        await rules.remove(fresh.pod)
        assert.strictEqual(await inventory(fresh.pod), untouched, 'removing where nothing is')
        await rules.apply(fresh.pod, everything)
        const full = await inventory(fresh.pod)
        assert.strictEqual(countRules(full, backend), backend === 'nft' ? 18 : 24)
        await rules.apply(fresh.pod, everything)
        assert.strictEqual(await inventory(fresh.pod), full)
        await rules.apply(fresh.pod, { ...everything, dns: false, inbound: false })
        const reduced = await inventory(fresh.pod)
        assert.doesNotMatch(reduced, /15053|15006|zone/i)
        assert.strictEqual(countRules(reduced, backend), backend === 'nft' ? 9 : 12)
        await rules.apply(fresh.pod, { ...everything, virtualInterfaces: ['vnet0'] })
        assert.match(await inventory(fresh.pod), /vnet0/)
        await rules.remove(fresh.pod)
        const left = await inventory(fresh.pod)
        // iptables’ nft variant keeps its empty built-in tables; nothing of ours is in them.
        assert.doesNotMatch(left, /istio|15001|0x111|0x539/i)
        const foreign = (text: string): string[] =>
          text.split('\n').filter((line) => /^\d+:|^-A|^local|lookup/.test(line))
        assert.deepStrictEqual(foreign(left), foreign(untouched))
      } finally {
        fresh.close()
      }
    })

    it('rules of others in the pod survive', async () => {
      const fresh = await createWorld()
      try {
        const path = findTool(backend === 'nft' ? 'nft' : 'iptables') ?? ''
        const args =
          backend === 'nft'
            ? ['add table inet mine; add chain inet mine c']
            : ['-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '9', '-j', 'ACCEPT']
        await runTool({ path, args, netnsFd: fresh.pod })
        const before = await inventory(fresh.pod)
        await rules.apply(fresh.pod, everything)
        await rules.remove(fresh.pod)
        const mine = /mine|dport 9 /
        const linesOf = (text: string): string[] =>
          text.split('\n').filter((line) => mine.test(line))
        assert.ok(linesOf(before).length > 0)
        assert.deepStrictEqual(linesOf(await inventory(fresh.pod)), linesOf(before))
      } finally {
        fresh.close()
      }
    })
  })
}

describe('the choice of the backend', { skip: refused }, () => {
  it('is nft where it works', async () => {
    const rules = await choosePodRules({ tools: [], logger: silentLogger })
    assert.strictEqual(rules.backend, findTool('nft') === undefined ? 'iptables' : 'nft')
  })
})
