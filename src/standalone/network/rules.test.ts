import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { AddressAllocator } from './allocator.ts'
import { baseTables, serviceTables } from './rules-iptables.ts'
import { difference, serviceRules } from './rules-nft.ts'
import { type VirtualPort, virtualKey, virtualPorts } from './service-table.ts'
import { service, slice } from './testing.ts'
import { installHint } from './tools.ts'

const cart = service('cart', {
  clusterIP: '10.96.7.7',
  ports: [
    { name: 'http', port: 80, protocol: 'TCP' },
    { name: 'dns', port: 53, protocol: 'UDP' },
    { name: 'x', port: 9, protocol: 'SCTP' },
  ],
})

function mapOf(...ports: VirtualPort[]): Map<string, VirtualPort> {
  return new Map(ports.map((port) => [virtualKey(port), port]))
}

test('a Service port leads to the ready endpoints of the slices with its name and protocol', () => {
  const slices = [
    slice('cart', {
      addresses: ['10.244.0.12', '10.244.0.11'],
      notReady: ['10.244.0.13'],
      port: 8080,
      portName: 'http',
    }),
    slice('cart', { addresses: ['10.244.0.14'], port: 8080, portName: 'other' }),
  ]
  assert.deepEqual(virtualPorts(cart, slices), [
    {
      address: '10.96.7.7',
      protocol: 'tcp',
      port: 80,
      targets: [
        { address: '10.244.0.11', port: 8080 },
        { address: '10.244.0.12', port: 8080 },
      ],
    },
    { address: '10.96.7.7', protocol: 'udp', port: 53, targets: [] },
  ])
  assert.deepEqual(virtualPorts(service('h', { clusterIP: 'None', ports: [{ port: 1 }] }), []), [])
})

test('only what changed is written, and a port without endpoints leaves the map', () => {
  const one: VirtualPort = {
    address: '10.96.0.5',
    protocol: 'tcp',
    port: 80,
    targets: [{ address: '10.244.0.11', port: 1 }],
  }
  const other: VirtualPort = { ...one, address: '10.96.0.6' }
  const two = { ...one, targets: [...one.targets, { address: '10.244.0.12', port: 1 }] }
  assert.equal(difference(mapOf(one, other), mapOf({ ...one }, other)).size, 0)
  const grown = serviceRules(difference(mapOf(one, other), mapOf(two, other)), mapOf(one, other))
  assert.match(
    grown,
    /numgen random mod 2 map \{ 0 : 10\.244\.0\.11 \. 1, 1 : 10\.244\.0\.12 \. 1 \}/,
  )
  assert.doesNotMatch(grown, /10\.96\.0\.6|element/)
  const emptied = serviceRules(difference(mapOf(one), mapOf({ ...one, targets: [] })), mapOf(one))
  assert.match(emptied, /^delete element ip weft services \{ 10\.96\.0\.5 \. tcp \. 80 \}/)
  assert.equal(difference(new Map(), mapOf({ ...one, targets: [] })).size, 0)
})

test('iptables chooses evenly: the probabilities of n endpoints are 1/n, 1/(n-1) ... 1', () => {
  const targets = [1, 2, 3].map((last) => ({ address: `10.244.0.${last}`, port: 5 }))
  const text = serviceTables(mapOf({ address: '10.96.0.5', protocol: 'udp', port: 53, targets }))
  const probabilities = [...text.matchAll(/--probability (\S+)/g)].map((match) => Number(match[1]))
  assert.deepEqual(probabilities, [0.33333333, 0.5])
  assert.equal(text.match(/-j DNAT/g)?.length, 3)
  assert.match(baseTables(4000), /-i pod\+ -p tcp -j DNAT --to-destination 10\.244\.0\.1:4000/)
})

test('a pod keeps its address over a restart, and no two pods ever share one', () => {
  const uid = fc.integer({ min: 0, max: 30 }).map(String)
  const step = fc.oneof(
    uid.map((value) => ({ kind: 'take' as const, uid: value })),
    uid.map((value) => ({ kind: 'free' as const, uid: value })),
    fc.constant({ kind: 'restart' as const, uid: '' }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let allocator = new AddressAllocator()
      const held = new Map<string, string>()
      for (const { kind, uid: pod } of steps) {
        if (kind === 'restart') allocator = new AddressAllocator(allocator.snapshot())
        else if (kind === 'free') {
          allocator.release(pod)
          held.delete(pod)
        } else {
          const address = allocator.allocate(pod)
          assert.equal(held.get(pod) ?? address, address)
          held.set(pod, address)
        }
        assert.equal(new Set(held.values()).size, held.size)
      }
    }),
  )
})

test('an address that was freed is not given to the next pod at once', () => {
  const allocator = new AddressAllocator()
  const first = allocator.allocate('a')
  allocator.release('a')
  assert.notEqual(allocator.allocate('b'), first)
  assert.equal(first, '10.244.0.10')
})

test('addresses remembered for pods that are gone are used before none is left', () => {
  const remembered = Object.fromEntries(
    Array.from({ length: 4000 }, (_, index) => [
      `old-${index}`,
      `10.244.${240 + (index >> 8)}.${index & 255}`,
    ]),
  )
  const allocator = new AddressAllocator(remembered)
  const all = new Set(
    Array.from({ length: 65_525 }, (_, index) => allocator.allocate(`new-${index}`)),
  )
  assert.equal(all.size, 65_525)
  assert.throws(() => allocator.allocate('one too many'), { code: 'NETWORK_ADDRESSES' })
})

test('the hint to install a package speaks the distribution’s language', () => {
  assert.equal(
    installHint('nftables', 'ID=ubuntu\nID_LIKE=debian\n'),
    'sudo apt-get install nftables',
  )
  assert.equal(
    installHint('iproute2', 'ID="rocky"\nID_LIKE="rhel centos fedora"\n'),
    'sudo dnf install iproute',
  )
  assert.match(installHint('nftables', 'ID=strange\n'), /distribution's package of nftables/)
})
