import assert from 'node:assert/strict'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'node:test'
import fc from 'fast-check'
import { expose, MetricsRegistry, serveMetrics } from './index.ts'

test('a counter keeps its suffix in 0.0.4 and loses it on the family in OpenMetrics', () => {
  const registry = new MetricsRegistry()
  const family = registry.counter('istio_hits_total', 'Hits.', { labels: ['who'] })
  family.child('a').inc()
  family.child('a').inc(2)
  assert.equal(
    expose(registry.families(), 'prometheus'),
    '# HELP istio_hits_total Hits.\n# TYPE istio_hits_total counter\nistio_hits_total{who="a"} 3\n',
  )
  assert.equal(
    expose(registry.families(), 'openmetrics'),
    '# HELP istio_hits Hits.\n# TYPE istio_hits counter\nistio_hits_total{who="a"} 3\n# EOF\n',
  )
})

test('a counter without the suffix is a counter for Prometheus and unknown for OpenMetrics', () => {
  const registry = new MetricsRegistry()
  registry.counter('citadel_server_csr_count', 'Requests.').child().inc()
  assert.equal(
    expose(registry.families(), 'prometheus'),
    '# HELP citadel_server_csr_count Requests.\n# TYPE citadel_server_csr_count counter\ncitadel_server_csr_count 1\n',
  )
  assert.equal(
    expose(registry.families(), 'openmetrics'),
    '# HELP citadel_server_csr_count Requests.\n# TYPE citadel_server_csr_count unknown\ncitadel_server_csr_count 1\n# EOF\n',
  )
})

test('a histogram has cumulative buckets, a sum and a count', () => {
  const registry = new MetricsRegistry()
  const child = registry.histogram('wait_seconds', 'Wait.', { bounds: [0.5, 1, 5] }).child()
  for (const value of [0.1, 0.5, 0.7, 100]) child.observe(value)
  const text = expose(registry.families(), 'openmetrics')
  for (const line of [
    'wait_seconds_bucket{le="0.5"} 2',
    'wait_seconds_bucket{le="1.0"} 3',
    'wait_seconds_bucket{le="5.0"} 3',
    'wait_seconds_bucket{le="+Inf"} 4',
    'wait_seconds_sum 101.3',
    'wait_seconds_count 4',
  ]) {
    assert.ok(text.includes(`${line}\n`), `${line} in ${text}`)
  }
  assert.match(expose(registry.families(), 'prometheus'), /le="1"\} 3\n/)
})

test('any label value survives the text form', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (value) => {
      const registry = new MetricsRegistry()
      registry
        .gauge('g', 'G', { labels: ['x'] })
        .child(value)
        .set(1)
      const text = expose(registry.families(), 'prometheus')
      const line = text.slice(text.indexOf('TYPE g gauge\n') + 'TYPE g gauge\n'.length, -1)
      assert.ok(!line.includes('\n'))
      const quoted = line.slice('g{x="'.length, -'"} 1'.length)
      const read = quoted.replaceAll(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char))
      assert.equal(read, value)
    }),
  )
})

test('an idle series expires, a held or a changing one stays', () => {
  const registry = new MetricsRegistry()
  const family = registry.counter('x_total', 'X.', { labels: ['l'] })
  family.child('idle').inc()
  const held = family.child('held').hold()
  const busy = family.child('busy')
  registry.expire()
  busy.inc()
  assert.equal(registry.expire(), 1)
  assert.deepEqual([...family.children()], [held, busy])
  held.release()
  registry.expire()
  registry.expire()
  assert.equal(family.size, 0)
})

test('a full family forgets its idlest series, and hides new ones when all are held', () => {
  const registry = new MetricsRegistry()
  const family = registry.counter('x_total', 'X.', { labels: ['l'], maxChildren: 2 })
  family.child('old')
  registry.expire()
  const a = family.child('a').hold()
  const b = family.child('b').hold()
  assert.deepEqual([...family.children()], [a, b])
  family.child('c').inc()
  assert.equal(family.size, 2)
  assert.equal(registry.overflowed, 1)
})

test('a scrape is answered in the form that Accept asks for', async () => {
  const registry = new MetricsRegistry()
  const gauge = registry.gauge('up', 'Up.')
  registry.onCollect(() => gauge.child().set(7))
  const server = createServer((request, response) => serveMetrics(registry, request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const fetchAs = (accept: string): Promise<[string, string]> =>
    new Promise((resolve, reject) => {
      get({ port, host: '127.0.0.1', headers: { accept } }, (response) => {
        let body = ''
        response.on('data', (chunk: Buffer) => (body += chunk.toString()))
        response.on('end', () => resolve([String(response.headers['content-type']), body]))
      }).on('error', reject)
    })
  try {
    const [plainType, plain] = await fetchAs('*/*')
    assert.match(plainType, /^text\/plain; version=0\.0\.4/)
    assert.match(plain, /^up 7$/m)
    const [openType, open] = await fetchAs('application/openmetrics-text;version=1.0.0,*/*;q=0.1')
    assert.match(openType, /^application\/openmetrics-text/)
    assert.ok(open.endsWith('# EOF\n'))
  } finally {
    server.close()
  }
})
