import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { cidrContains, formatIp, parseCidr, parseIp } from './index.ts'

test('an address read from its own text is the same address', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }).map((value) => {
      value[0] = 0xfd
      return value
    }),
  )
  fc.assert(fc.property(bytes, (value) => assert.deepEqual(parseIp(formatIp(value)), value)))
})

test('IPv6 text is canonical and mapped IPv4 becomes IPv4', () => {
  const cases: Record<string, string> = {
    '2001:DB8:0:0:1:0:0:1': '2001:db8::1:0:0:1',
    '::': '::',
    '::1': '::1',
    'fe80::1%eth0': 'fe80::1',
    '::ffff:10.1.2.3': '10.1.2.3',
    '64:ff9b::1.2.3.4': '64:ff9b::102:304',
  }
  for (const [input, expected] of Object.entries(cases)) {
    const bytes = parseIp(input)
    assert.ok(bytes, input)
    assert.equal(formatIp(bytes), expected)
  }
})

test('a CIDR holds its own range and nothing else', () => {
  const cidr = parseCidr('10.96.0.0/12')
  assert.ok(cidr)
  for (const [address, inside] of [
    ['10.96.0.1', true],
    ['10.111.255.255', true],
    ['10.112.0.0', false],
    ['::1', false],
  ] as const) {
    assert.equal(cidrContains(cidr, parseIp(address) ?? new Uint8Array()), inside, address)
  }
  for (const bad of ['10.0.0.0/33', '10.0.0/8', 'x', '10.0.0.0/', '10.0.0.0/-1']) {
    assert.equal(parseCidr(bad), undefined, bad)
  }
})
