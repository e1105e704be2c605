import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import {
  type Baggage,
  encodeBaggage,
  formatForwarded,
  formatHostPort,
  formatTraceparent,
  parseAuthority,
  parseBaggage,
} from './index.ts'

test('authorities of addresses and of hosts are read', () => {
  const cases: Record<string, unknown> = {
    '10.0.0.1:80': { kind: 'ip', address: '10.0.0.1', port: 80 },
    '[FD00:0::1]:443': { kind: 'ip', address: 'fd00::1', port: 443 },
    '[::ffff:10.1.2.3]:1': { kind: 'ip', address: '10.1.2.3', port: 1 },
    'Reviews.bookinfo.svc:9080': { kind: 'host', host: 'reviews.bookinfo.svc', port: 9080 },
    '*.example.com:443': { kind: 'host', host: '*.example.com', port: 443 },
  }
  for (const [text, expected] of Object.entries(cases)) {
    assert.deepEqual(parseAuthority(text), expected, text)
  }
})

test('everything else is no authority', () => {
  const bad = [
    '',
    ':',
    ':80',
    'host',
    'host:',
    'host:0',
    'host:65536',
    'host:80x',
    'host:-1',
    'host: 80',
    '10.0.0:80',
    '10.0.0.256:80',
    'fd00::1:80',
    '[fd00::1:80',
    '[10.0.0.1]:80',
    '[fe80::1%eth0]:80',
    'a..b:80',
    '-a:80',
    'a/b:80',
    'user@host:80',
    'ho st:80',
    `${'a'.repeat(254)}:80`,
    'a.:80',
  ]
  for (const text of bad) assert.equal(parseAuthority(text), undefined, JSON.stringify(text))
})

test('an authority that is read can be written and read again', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()),
      fc.integer({ min: 1, max: 65_535 }),
      (host, port) => {
        const first = parseAuthority(formatHostPort(host, port))
        assert.ok(first, host)
        const back = first.kind === 'ip' ? first.address : first.host
        assert.deepEqual(parseAuthority(formatHostPort(back, port)), first)
      },
    ),
  )
})

test('no text makes a parser throw', () => {
  const piece = fc.constantFrom('[', ']', ':', '80', '.', 'a', '%', '=', ',', ';', 'k8s.', '%ff')
  const text = fc.oneof(
    fc.string(),
    fc.array(piece).map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(text, (value) => {
      const authority = parseAuthority(value)
      if (authority !== undefined) assert.ok(authority.port > 0 && authority.port < 65_536)
      parseBaggage(value)
    }),
    { numRuns: 3000 },
  )
})

test('baggage has the keys of the protocol in its order, without the empty ones', () => {
  const text = encodeBaggage({
    clusterId: 'Kubernetes',
    namespace: 'bookinfo',
    workloadType: 'pod',
    workloadName: 'reviews-v1',
    serviceName: 'reviews',
    revision: 'v1',
    region: '',
    zone: 'z1',
  })
  assert.equal(
    text,
    [
      'k8s.cluster.name=Kubernetes',
      'k8s.namespace.name=bookinfo',
      'k8s.pod.name=reviews-v1',
      'service.name=reviews',
      'service.version=v1',
      'cloud.availability_zone=z1',
    ].join(','),
  )
})

test('baggage is read from several lines, with spaces, properties and unknown keys', () => {
  assert.deepEqual(
    parseBaggage(['k8s.cluster.name = c1;p=1 , x=y', 'broken', 'k8s.job.name=j, service.name=']),
    { clusterId: 'c1', workloadType: 'job', workloadName: 'j' },
  )
  assert.deepEqual(parseBaggage('__proto__=x,constructor=y,k8s.namespace.name=n'), {
    namespace: 'n',
  })
})

test('any baggage survives the header and is a valid header', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  const baggage = fc.record({ clusterId: text, namespace: text, serviceName: text, zone: text })
  fc.assert(
    fc.property(baggage, (value: Baggage) => {
      const header = encodeBaggage(value)
      assert.match(header, /^[\x21-\x7e]+$/)
      assert.deepEqual(parseBaggage(header), { ...value })
    }),
  )
})

test('forwarded names the client, and the service when there is one', () => {
  assert.equal(formatForwarded('10.0.0.1', 99), 'for="10.0.0.1:99"')
  assert.equal(formatForwarded('fd00::1', 99, 's.n'), 'for="[fd00::1]:99";host=s.n')
})

test('a traceparent has 55 characters and is not sampled', () => {
  const text = formatTraceparent(new Uint8Array(24).fill(0xab))
  assert.equal(text, `00-${'ab'.repeat(16)}-${'ab'.repeat(8)}-00`)
  assert.equal(text.length, 55)
})
