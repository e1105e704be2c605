import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseIp } from '../../base/index.ts'
import { recordTypes } from '../../dns/index.ts'
import { create, workload } from '../../proto/index.ts'
import { Store } from '../state/store.ts'
import { answerName } from './answer.ts'
import { candidateNames, matchingHosts } from './candidates.ts'

const domain = 'cluster.local'

test('a short name means the service of the own namespace, longer ones name theirs', () => {
  const names = (name: string): string[] =>
    candidateNames(name, 'shop', domain).map((candidate) => candidate.name)
  assert.deepEqual(names('cart'), ['cart', 'cart.shop.svc.cluster.local'])
  assert.deepEqual(names('cart.other'), [
    'cart.other',
    'cart.other.svc.cluster.local',
    'cart.other.shop.svc.cluster.local',
  ])
  assert.ok(names('cart.other.svc').includes('cart.other.svc.cluster.local'))
  assert.ok(names('db-0.db.other.svc').includes('db-0.db.other.svc.cluster.local'))
})

test('what a resolver appended is taken off again, and marked', () => {
  const found = candidateNames('example.com.shop.svc.cluster.local', 'shop', domain)
  assert.deepEqual(
    found.find(({ name }) => name === 'example.com'),
    { name: 'example.com', stripped: true },
  )
  assert.equal(found[0]?.stripped, false)
})

test('wildcards are tried from the narrowest to the widest', () => {
  assert.deepEqual(
    [...matchingHosts('a.b.example.com')].map(({ host }) => host),
    ['a.b.example.com', '*.b.example.com', '*.example.com', '*.com'],
  )
})

interface Named {
  readonly hostname: string
  readonly namespace?: string
  readonly vips?: readonly string[]
  readonly canonical?: boolean
  readonly private?: boolean
}

function storeOf(
  services: readonly Named[],
  endpoints: Record<string, readonly string[]> = {},
): Store {
  const store = new Store()
  const bytes = (ip: string): Uint8Array => parseIp(ip) ?? new Uint8Array()
  for (const { hostname, namespace = 'shop', vips = [], canonical = false, ...rest } of services) {
    const value = create(workload.ServiceSchema, {
      name: hostname.split('.')[0] ?? '',
      namespace,
      hostname,
      canonical,
      addresses: vips.map((ip) => ({ network: '', address: bytes(ip) })),
      visibility:
        rest.private === true ? workload.Visibility.NAMESPACE : workload.Visibility.PUBLIC,
    })
    store.putAddress(create(workload.AddressSchema, { type: { case: 'service', value } }))
  }
  const pods = Object.entries({ ...endpoints, '': ['10.0.0.9'] })
  for (const [service, addresses] of pods) {
    for (const [index, address] of addresses.entries()) {
      const value = create(workload.WorkloadSchema, {
        uid: `Kubernetes//Pod/shop/${service}-${index}`,
        name: `${service}-${index}`,
        namespace: 'shop',
        addresses: [bytes(address)],
        services: service === '' ? {} : { [`shop/${service}`]: { ports: [] } },
        status:
          address === '10.0.0.66'
            ? workload.WorkloadStatus.UNHEALTHY
            : workload.WorkloadStatus.HEALTHY,
      })
      store.putAddress(create(workload.AddressSchema, { type: { case: 'workload', value } }))
    }
  }
  return store
}

function ask(store: Store, name: string, type: number = recordTypes.A, ipv6 = true) {
  const client = store.workloads.byPod('shop', '-0')
  assert.ok(client)
  const settings = { domain, preferredNamespace: 'favoured', ipv6, random: () => 0 }
  return answerName({ ...settings, store, client, name, type })?.map(({ name: owner, data }) => {
    assert.ok(data.kind === 'address' || data.kind === 'name')
    return `${owner} ${data.kind === 'address' ? data.address : data.name}`
  })
}

test('a service answers with its virtual addresses of the family that was asked for', () => {
  const store = storeOf([
    { hostname: 'cart.shop.svc.cluster.local', vips: ['10.96.0.7', 'fd00::7'] },
  ])
  assert.deepEqual(ask(store, 'Cart.shop'), ['Cart.shop 10.96.0.7'])
  assert.deepEqual(ask(store, 'cart.shop', recordTypes.AAAA), ['cart.shop fd00::7'])
  assert.deepEqual(ask(store, 'cart.shop', recordTypes.AAAA, false), [])
})

test('a headless service answers with its healthy endpoints, also when there are none', () => {
  const hostname = 'db.shop.svc.cluster.local'
  const store = storeOf([{ hostname }], { [hostname]: ['10.0.0.4', '10.0.0.66'] })
  assert.deepEqual(ask(store, hostname), [`${hostname} 10.0.0.4`])
  assert.deepEqual(ask(storeOf([{ hostname }]), hostname), [])
})

test('a host outside the cluster without an address of its own is left to the name servers', () => {
  const store = storeOf([{ hostname: 'api.example.com' }])
  assert.equal(ask(store, 'api.example.com'), undefined)
  assert.equal(ask(store, 'unknown.example.com'), undefined)
})

test('a search domain that was taken off is explained by a CNAME, but not for wildcards', () => {
  const store = storeOf([
    { hostname: 'api.example.com', vips: ['240.240.0.1'] },
    { hostname: '*.wild.com', vips: ['240.240.0.2'] },
  ])
  assert.deepEqual(ask(store, 'api.example.com.shop.svc.cluster.local'), [
    'api.example.com.shop.svc.cluster.local api.example.com',
    'api.example.com 240.240.0.1',
  ])
  assert.deepEqual(ask(store, 'a.wild.com.shop.svc.cluster.local'), [
    'a.wild.com.shop.svc.cluster.local 240.240.0.2',
  ])
})

test('among namesakes the own namespace wins, then the canonical, then the preferred one', () => {
  const hostname = 'api.example.com'
  const other = { hostname, namespace: 'zoo', vips: ['1.1.1.1'] }
  const favoured = { hostname, namespace: 'favoured', vips: ['2.2.2.2'] }
  const canonical = { hostname, namespace: 'b', vips: ['3.3.3.3'], canonical: true }
  const own = { hostname, vips: ['4.4.4.4'] }
  assert.deepEqual(ask(storeOf([other, favoured]), hostname), [`${hostname} 2.2.2.2`])
  assert.deepEqual(ask(storeOf([other, favoured, canonical]), hostname), [`${hostname} 3.3.3.3`])
  assert.deepEqual(ask(storeOf([other, canonical, own]), hostname), [`${hostname} 4.4.4.4`])
  assert.equal(ask(storeOf([{ ...other, private: true }]), hostname), undefined)
})
