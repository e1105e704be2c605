import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { cidrContains, parseCidr, parseIp } from '../base/index.ts'
import {
  type AddressClaim,
  type AllocatedAddress,
  allocateAddresses,
  defaultAddressPools,
} from './index.ts'

function claim(key: string, options: Partial<AddressClaim> = {}): AddressClaim {
  return { key, createdAt: 0, hosts: [`${key}.example.com`], taken: [], allocated: [], ...options }
}

function within(cidr: string, address: string): boolean {
  const [range, bytes] = [parseCidr(cidr), parseIp(address)]
  return range !== undefined && bytes !== undefined && cidrContains(range, bytes)
}

const anyClaims = fc.uniqueArray(
  fc.record({
    key: fc.integer({ min: 0, max: 30 }).map((number) => `ns/e${number}`),
    createdAt: fc.integer({ min: 0, max: 5 }),
    hosts: fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 }),
    taken: fc.constantFrom<string[]>([], ['240.240.0.5'], ['10.0.0.1']),
    allocated: fc.array(
      fc.record({
        host: fc.constantFrom('a', 'b', 'c'),
        value: fc.constantFrom('240.240.0.5', '240.240.0.6', '2001:2::7', '10.9.9.9', 'nonsense'),
      }),
      { maxLength: 4 },
    ),
  }),
  { selector: ({ key }) => key, maxLength: 12 },
)

test('every host gets one address of each family, nobody shares one, and asking again changes nothing', () => {
  fc.assert(
    fc.property(anyClaims, (claims) => {
      const result = allocateAddresses(claims)
      const all = [...result.values()].flat()
      assert.equal(new Set(all.map(({ value }) => value)).size, all.length)
      for (const { key, hosts, taken } of claims) {
        const own = result.get(key) ?? []
        assert.equal(own.length, hosts.length * 2)
        for (const host of hosts) {
          const [v4 = '', v6 = ''] = own.filter((item) => item.host === host).map((i) => i.value)
          assert.ok(within(defaultAddressPools.ipv4, v4), v4)
          assert.ok(within(defaultAddressPools.ipv6, v6), v6)
        }
        for (const address of taken) assert.ok(!all.some(({ value }) => value === address))
      }
      const again = claims.map((item) => ({ ...item, allocated: result.get(item.key) ?? [] }))
      assert.deepEqual(allocateAddresses(again), result)
    }),
  )
})

test('what was allocated before stays, whatever joins later and in whatever order', () => {
  const first = allocateAddresses([claim('a'), claim('b')])
  const known = (key: string): readonly AllocatedAddress[] => first.get(key) ?? []
  const more = allocateAddresses([
    claim('new', { createdAt: -1 }),
    claim('b', { allocated: known('b') }),
    claim('a', { allocated: known('a') }),
  ])
  assert.deepEqual(more.get('a'), known('a'))
  assert.deepEqual(more.get('b'), known('b'))
})

test('of two entries with the same address the older keeps it, and the younger gets another', () => {
  const shared = { host: 'x', value: '240.240.7.7' }
  const both = { hosts: ['x'], allocated: [shared] }
  const result = allocateAddresses([
    claim('younger', { ...both, createdAt: 2 }),
    claim('older', { ...both, createdAt: 1 }),
  ])
  assert.deepEqual(result.get('older')?.[0], shared)
  assert.notEqual(result.get('younger')?.[0]?.value, shared.value)
})

test('a full pool leaves hosts without an address, and the other family goes on', () => {
  const pools = { ipv4: '192.0.2.0/30', ipv6: '2001:db8::/48' }
  const result = allocateAddresses([claim('a'), claim('b'), claim('c')], pools)
  assert.equal(result.get('a')?.length, 2)
  assert.equal(result.get('b')?.length, 2)
  assert.deepEqual(
    result.get('c')?.map(({ value }) => value.includes(':')),
    [true],
  )
})
