/** A stock Envoy gets its configuration from our ADS server, by both protocols. */
import assert from 'node:assert/strict'
import { request as httpsRequest } from 'node:https'
import { after, before, describe, test } from 'node:test'
import { typeUrl } from '../../src/proto/index.ts'
import { freePort } from '../free-port.ts'
import { type Protocol, World } from './ads-world.ts'
import { ask, type Envoy, until } from './envoy.ts'
import {
  abortFilter,
  backend,
  edsCluster,
  endpoints,
  httpListener,
  routes,
  tlsCertificate,
} from './resources.ts'

/** Asks again and again while something happens; returns the answers that were not 200. */
async function under<T>(port: number, action: () => Promise<T>): Promise<string[]> {
  const wrong: string[] = []
  let running = true
  const loop = async (): Promise<void> => {
    while (running) {
      const { status, body } = await ask(port)
      if (status !== 200) wrong.push(`${status} ${body}`)
    }
  }
  const loops = [loop(), loop()]
  await action()
  await new Promise((resolve) => setTimeout(resolve, 100))
  running = false
  await Promise.all(loops)
  return wrong
}

async function connectTimeout(envoy: Envoy, cluster: string): Promise<string | undefined> {
  const { body } = await envoy.admin('/config_dump?resource=dynamic_active_clusters')
  const dump = JSON.parse(body) as {
    configs?: { cluster: { name: string; connect_timeout: string } }[]
  }
  return dump.configs?.find((item) => item.cluster.name === cluster)?.cluster.connect_timeout
}

for (const protocol of ['GRPC', 'DELTA_GRPC'] satisfies Protocol[]) {
  describe(`Envoy over ${protocol}`, () => {
    let world: World
    let envoy: Envoy
    let port = 0
    const backends: Awaited<ReturnType<typeof backend>>[] = []
    const [one, two, three] = ['one', 'two', 'three'] as const

    before(async () => {
      world = await World.make()
      port = await freePort()
      for (const name of [one, two, three]) backends.push(await backend(name))
      world.put(
        edsCluster('a'),
        endpoints('a', [backends[0]?.port ?? 0]),
        httpListener('web', port, { routeName: 'web' }),
        routes('web', 'a'),
      )
      envoy = await world.startEnvoy(protocol)
    })

    after(async () => {
      await world.stop()
      for (const { close } of backends) close()
    })

    const portOf = (index: number): number => backends[index]?.port ?? 0
    const serves = (body: string, on = port): Promise<void> =>
      until(`traffic reaches ${body}`, async () => (await ask(on)).body === body)
    const synced = (type: string): Promise<void> =>
      until(`${type} is acknowledged`, () => {
        const state = world.state(type)
        return state !== undefined && state.nonceSent !== '' && state.nonceAcked === state.nonceSent
      })

    test('clusters, endpoints, listeners and routes arrive and serve traffic', async () => {
      await serves(one)
      for (const type of ['cluster', 'endpoint', 'listener', 'route'] as const) {
        await synced(typeUrl[type])
      }
      assert.deepEqual(world.nacks, [])
      const { body } = await envoy.admin('/stats?filter=control_plane.identifier')
      assert.match(body, /istiod-test/)
    })

    test('endpoints change under traffic without a failed request', async () => {
      const wrong = await under(port, async () => {
        world.put(endpoints('a', [portOf(1)]))
        await serves(two)
      })
      assert.deepEqual(wrong, [])
    })

    test('a changed cluster gets its endpoints again and is in use at once', async () => {
      const wrong = await under(port, async () => {
        world.put(edsCluster('a', { connectTimeout: '3s' }))
        // Without its endpoints Envoy keeps the new version aside for 15 s.
        await until(
          'the new version is active',
          async () => (await connectTimeout(envoy, 'a')) === '3s',
          3_000,
        )
      })
      assert.deepEqual(wrong, [])
    })

    test('clusters that change and appear in one round are all in use at once', async () => {
      world.put(
        edsCluster('a', { connectTimeout: '4s' }),
        edsCluster('b'),
        endpoints('b', [portOf(2)]),
      )
      await until(
        'both are active',
        async () =>
          (await connectTimeout(envoy, 'a')) === '4s' &&
          (await connectTimeout(envoy, 'b')) === '1s',
        3_000,
      )
    })

    test('traffic moves to a new cluster and the old one goes, without a failed request', async () => {
      const wrong = await under(port, async () => {
        for (let turn = 0; turn < 5; turn++) {
          const [old, next] = turn % 2 === 0 ? ['a', 'c'] : ['c', 'a']
          world.put(edsCluster(next), endpoints(next, [portOf(turn % 3)]), routes('web', next))
          if (protocol === 'DELTA_GRPC') world.source.delete(typeUrl.cluster, old)
          await serves([one, two, three][turn % 3] ?? '')
          // A state-of-the-world response can't say "not yet": there the old one goes a round later.
          if (protocol === 'GRPC') world.source.delete(typeUrl.cluster, old)
          await until('the old one is gone', async () => {
            return (await connectTimeout(envoy, old)) === undefined
          })
        }
      })
      assert.deepEqual(wrong, [])
    })

    test('a bad listener is rejected with its reason and the last good one stays', async () => {
      world.nacks.length = 0
      world.put(httpListener('web', port, { routeName: 'web', broken: true }))
      await until('the rejection', () => world.state(typeUrl.listener)?.error !== undefined)
      assert.match(world.state(typeUrl.listener)?.error ?? '', /weft\.no_such_filter/)
      assert.deepEqual(world.nacks, [typeUrl.listener])
      assert.equal((await ask(port)).status, 200)
      // Other types go on while one is rejected.
      world.put(edsCluster('d'), endpoints('d', [portOf(1)]), routes('web', 'd'))
      await serves(two)
      world.put(httpListener('web', port, { routeName: 'web' }))
      await until('it is cured', () => world.state(typeUrl.listener)?.error === undefined)
    })

    test('endpoints that do not exist hold up neither their cluster nor what comes after it', async () => {
      const other = await freePort()
      world.put(edsCluster('empty'), httpListener('other', other, { routeName: 'other' }))
      world.put(routes('other', 'empty'))
      await until('it answers for itself', async () => (await ask(other)).status === 503, 3_000)
      world.put(endpoints('empty', [portOf(0)]))
      await serves(one, other)
    })

    test('secrets and extension configurations arrive on the same stream', async () => {
      const { chainPem, keyPem, rootPem } = world.certificates
      const secure = await freePort()
      const wishes = { routeName: 'web', secret: 'serving', filter: 'teapot' }
      world.put(
        tlsCertificate('serving', chainPem, keyPem),
        abortFilter('teapot', 418),
        httpListener('secure', secure, wishes),
      )
      const status = (): Promise<number> =>
        new Promise((resolve) => {
          const options = {
            host: '127.0.0.1',
            port: secure,
            ca: rootPem,
            servername: 'istiod.istio-system.svc',
            agent: false as const,
          }
          const outgoing = httpsRequest(options, (response) => {
            response.resume()
            resolve(response.statusCode ?? 0)
          })
          outgoing.on('error', () => resolve(0))
          outgoing.end()
        })
      await until('the filter answers', async () => (await status()) === 418)
      world.put(abortFilter('teapot', 429))
      await until('the changed filter answers', async () => (await status()) === 429)
      for (const type of ['secret', 'extensionConfig'] as const) await synced(typeUrl[type])
    })

    test('a restart of the control plane changes nothing that did not change', async () => {
      const modified = async (): Promise<number[]> => [
        await envoy.stat('listener_manager.listener_modified'),
        await envoy.stat('cluster_manager.cluster_modified'),
        await envoy.stat('cluster_manager.cluster_removed'),
        await envoy.stat('cluster_manager.cds.update_rejected'),
        await envoy.stat('http.inbound.rds.web.config_reload'),
      ]
      const before = await modified()
      const wrong = await under(port, async () => {
        await world.down()
        await until(
          'Envoy noticed',
          async () => (await envoy.stat('control_plane.connected_state')) === 0,
        )
        world.put(edsCluster('new'), endpoints('new', [portOf(2)]), routes('other', 'new'))
        await world.up()
        await until('Envoy is back', async () => (await connectTimeout(envoy, 'new')) === '1s')
        for (const type of ['cluster', 'endpoint', 'listener', 'route'] as const) {
          await synced(typeUrl[type])
        }
      })
      assert.deepEqual(wrong, [])
      assert.deepEqual(await modified(), before)
    })

    test('Envoy reported nothing that it dislikes', () => {
      const lines = envoy.log
        .split('\n')
        .filter((line) => /\[(warning|error|critical)\]/.test(line))
        .filter(
          (line) =>
            !/active downstream connections|no_such_filter|StreamAggregated|DeltaAggregated|gRPC config stream/.test(
              line,
            ),
        )
      assert.deepEqual(lines, [])
    })
  })
}
