/** Hash policies, rings and Maglev tables: the same request has to reach the same endpoint by both engines. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'node:test'
import {
  type BalancerState,
  compileCluster,
  compiledOrThrow,
  compileListener,
  createBalancer,
} from '../../src/decide/l7.ts'
import { cluster as clusterApi, listener as listenerApi } from '../../src/proto/envoy.ts'
import { freePort } from '../free-port.ts'
import { ask, decide, httpConfigOf, message, type Question } from './decide-kit.ts'
import { at, Envoy, manager, router } from './traffic-kit.ts'

const keys = process.env.WEFT_SOAK === '1' ? 3000 : 150

async function server() {
  const one = createServer((request, response) => {
    response.end(String(request.socket.localPort))
  })
  one.listen(0, '127.0.0.1')
  await once(one, 'listening')
  // A server on TCP has an address with a port.
  return { one, port: (one.address() as AddressInfo).port }
}

const calm: BalancerState = { health: () => 'healthy', active: () => 0, since: () => 0 }
const policies = {
  ring: { lbPolicy: 'RING_HASH' },
  small: { lbPolicy: 'RING_HASH', ringHashLbConfig: { minimumRingSize: 64 } },
  maglev: { lbPolicy: 'MAGLEV' },
  prime: { lbPolicy: 'MAGLEV', maglevLbConfig: { tableSize: 251 } },
}

test('a hash leads to the endpoint to which a stock Envoy sends it', async (context) => {
  const servers = await Promise.all(Array.from({ length: 5 }, server))
  context.after(() => {
    for (const { one } of servers) one.close()
  })
  const lbEndpoints = servers.map(({ port }, index) => ({
    endpoint: { address: at(port) },
    loadBalancingWeight: 1 + (index % 3),
  }))
  const clusters = Object.entries(policies).map(([name, policy]) => ({
    name,
    type: 'STATIC',
    connectTimeout: '1s',
    ...policy,
    loadAssignment: { clusterName: name, endpoints: [{ lbEndpoints }] },
  }))
  const port = await freePort()
  const routeConfig = {
    virtualHosts: Object.keys(policies).map((name) => ({
      name,
      domains: [name],
      routes: [
        {
          match: { prefix: '/' },
          route: {
            cluster: name,
            hashPolicy: [{ header: { headerName: 'x-key' } }, { queryParameter: { name: 'q' } }],
          },
        },
      ],
    })),
  }
  const filters = [manager({ routeConfig, httpFilters: [router], generateRequestId: false })]
  const json = { name: 'l', address: at(port), filterChains: [{ filters }] }
  await using envoy = new Envoy()
  await envoy.start({ staticResources: { listeners: [json], clusters } })
  const parsed = message(listenerApi.ListenerSchema, JSON.parse(JSON.stringify(json)))
  const config = httpConfigOf(compiledOrThrow(compileListener(parsed)))
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  context.after(() => agent.destroy())
  for (const each of clusters) {
    const schema = clusterApi.ClusterSchema
    const compiled = compiledOrThrow(
      compileCluster(message(schema, JSON.parse(JSON.stringify(each)))),
    )
    assert(compiled.endpoints !== undefined)
    const balancer = createBalancer(compiled, compiled.endpoints, calm)
    const seen = new Set<string>()
    for (let key = 0; key < keys; key++) {
      const headers: Record<string, string> = key % 3 === 0 ? {} : { 'x-key': `user ${key}` }
      const path = key % 2 === 0 && key % 3 !== 0 ? '/' : `/?q=${key}`
      const question: Question = { method: 'GET', path, authority: each.name, headers }
      const expected = (await ask(port, agent, question)).body
      const decision = decide(config, question, (name) => name in policies)
      assert(decision.kind === 'forward')
      const hash = decision.hash?.hash
      const found = balancer.choose({ random: () => 0, nowMs: 0, hash })
      assert.equal(found?.key, `127.0.0.1:${expected}`, `${each.name}, ${JSON.stringify(question)}`)
      seen.add(expected)
    }
    assert.equal(seen.size, servers.length)
  }
})
