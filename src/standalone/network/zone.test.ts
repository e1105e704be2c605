import assert from 'node:assert/strict'
import { Resolver } from 'node:dns/promises'
import test, { type TestContext } from 'node:test'
import { freePort } from '../../../test/free-port.ts'
import { silentLogger } from '../../base/index.ts'
import { addressRecord, answerMessage, decodeMessage, encodeMessage } from '../../dns/index.ts'
import { ClusterDns } from './cluster-dns.ts'
import { MemoryInformer } from './memory-informer.ts'
import type { EndpointSlice, Service } from './service-table.ts'
import { slicesByService } from './services.ts'
import { service, slice } from './testing.ts'

/** A resolver of the standard library against a cluster DNS with a small shop in it. */
async function shop(t: TestContext, hostAccess = false): Promise<Resolver> {
  const services = new MemoryInformer<Service>(
    service('cart', {
      clusterIP: '10.96.7.7',
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
    }),
    service('db', { clusterIP: 'None', ports: [{ name: 'sql', port: 5432, protocol: 'TCP' }] }),
    service('empty', { clusterIP: 'None', ports: [] }),
    service('outside', { type: 'ExternalName', externalName: 'www.example.org' }),
    service('inside', { type: 'ExternalName', externalName: 'cart.shop.svc.cluster.local' }),
  )
  const slices = new MemoryInformer<EndpointSlice>(
    slice('db', {
      addresses: ['10.244.0.20'],
      notReady: ['10.244.0.21'],
      port: 5432,
      portName: 'sql',
      hostname: 'db-0',
    }),
    slice('cart', { addresses: ['10.244.0.30'], port: 8080, portName: 'http' }),
  )
  slicesByService(slices)
  const port = await freePort()
  const dns = new ClusterDns({
    services,
    slices,
    hostAccess,
    logger: silentLogger,
    address: '127.0.0.1',
    port,
    door: {
      resolve: async (bytes) => {
        const query = decodeMessage(bytes)
        const name = query.questions[0]?.name ?? ''
        if (name.endsWith('.broken')) return undefined
        const answers = name === 'www.example.org' ? [addressRecord(name, '203.0.113.9', 60)] : []
        return encodeMessage(
          answerMessage(query, { answers, responseCode: answers.length > 0 ? 0 : 3 }),
        )
      },
    },
  })
  await dns.start()
  t.after(() => dns.stop())
  const resolver = new Resolver({ timeout: 2000, tries: 1 })
  resolver.setServers([`127.0.0.1:${port}`])
  return resolver
}

test('a Service has its cluster address, a headless one its ready pods, by any case', async (t) => {
  const resolver = await shop(t)
  assert.deepEqual(await resolver.resolve4('cart.shop.svc.cluster.local'), ['10.96.7.7'])
  assert.deepEqual(await resolver.resolve4('CART.shop.SVC.cluster.local'), ['10.96.7.7'])
  assert.deepEqual(await resolver.resolve4('db.shop.svc.cluster.local'), ['10.244.0.20'])
  assert.deepEqual(await resolver.resolve4('db-0.db.shop.svc.cluster.local'), ['10.244.0.20'])
  assert.deepEqual(await resolver.resolve4('10-244-0-30.shop.pod.cluster.local'), ['10.244.0.30'])
})

test('a name that exists without such records is told apart from one that does not exist', async (t) => {
  const resolver = await shop(t)
  await assert.rejects(resolver.resolve6('cart.shop.svc.cluster.local'), { code: 'ENODATA' })
  await assert.rejects(resolver.resolve4('shop.svc.cluster.local'), { code: 'ENODATA' })
  for (const name of [
    'cart.other.svc',
    'nothing.shop.svc',
    'empty.shop.svc',
    'db-1.db.shop.svc',
    'x.cart.shop.svc',
    'cart.shop.foo',
  ]) {
    await assert.rejects(resolver.resolve4(`${name}.cluster.local`), { code: 'ENOTFOUND' }, name)
  }
})

test('named ports have SRV records, with the pods behind a headless Service', async (t) => {
  const resolver = await shop(t)
  const [cart] = await resolver.resolveSrv('_http._tcp.cart.shop.svc.cluster.local')
  assert.deepEqual([cart?.name, cart?.port], ['cart.shop.svc.cluster.local', 80])
  const [db] = await resolver.resolveSrv('_sql._tcp.db.shop.svc.cluster.local')
  assert.deepEqual([db?.name, db?.port], ['db-0.db.shop.svc.cluster.local', 5432])
  await assert.rejects(resolver.resolveSrv('_http._udp.cart.shop.svc.cluster.local'), {
    code: 'ENOTFOUND',
  })
})

test('addresses have names again, those outside the cluster are left to the host', async (t) => {
  const resolver = await shop(t)
  assert.deepEqual(await resolver.reverse('10.96.7.7'), ['cart.shop.svc.cluster.local'])
  assert.deepEqual(await resolver.reverse('10.244.0.20'), ['db-0.db.shop.svc.cluster.local'])
  await assert.rejects(resolver.reverse('10.244.9.9'), { code: 'ENOTFOUND' })
})

test('an ExternalName Service is an alias, resolved on the host or in the cluster', async (t) => {
  const resolver = await shop(t)
  assert.deepEqual(await resolver.resolveCname('outside.shop.svc.cluster.local'), [
    'www.example.org',
  ])
  assert.deepEqual(await resolver.resolve4('outside.shop.svc.cluster.local'), ['203.0.113.9'])
  assert.deepEqual(await resolver.resolve4('inside.shop.svc.cluster.local'), ['10.96.7.7'])
})

test("other names are the host's business, and its silence is SERVFAIL", async (t) => {
  const resolver = await shop(t)
  assert.deepEqual(await resolver.resolve4('www.example.org'), ['203.0.113.9'])
  await assert.rejects(resolver.resolve4('no.example.org'), { code: 'ENOTFOUND' })
  await assert.rejects(resolver.resolve4('any.broken'), { code: 'ESERVFAIL' })
})

test('the host has a name only when it may be reached', async (t) => {
  await assert.rejects((await shop(t)).resolve4('host.weft.internal'), { code: 'ENOTFOUND' })
  assert.deepEqual(await (await shop(t, true)).resolve4('host.weft.internal'), ['169.254.1.2'])
})
