import assert from 'node:assert/strict'
import test from 'node:test'
import { createLogger, type LogLevel } from '../base/index.ts'
import { expose, MetricsRegistry } from '../metrics/index.ts'
import { type AccessEntry, AccessLog, type Traffic, TrafficMetrics } from './index.ts'

const traffic: Traffic = {
  reporter: 'source',
  source: { workloadName: 'sleep', namespace: 'default', canonicalName: 'sleep', clusterId: 'K' },
  service: { hostname: 'reviews.ns.svc.cluster.local', namespace: 'ns', name: 'reviews' },
  sourceIdentity: 'spiffe://cluster.local/ns/default/sa/sleep',
  mutualTls: true,
}

const entry: AccessEntry = {
  source: { address: '10.0.0.1:4711', workload: 'sleep-1', namespace: 'default', cluster: 'K' },
  destination: { address: '10.0.0.2:15008', workload: 'reviews-1', identity: 'spiffe://x' },
  hboneAddress: '10.0.0.2:9080',
  service: 'reviews.ns.svc.cluster.local',
  direction: 'outbound',
}

function accessLog(format: 'text' | 'json', level: LogLevel): { log: AccessLog; lines: string[] } {
  const lines: string[] = []
  const write = (line: string): void => void lines.push(line)
  const now = (): number => 0
  const logger = createLogger('access', { write, now, level })
  return { log: new AccessLog({ logger, write, now, format }), lines }
}

test('the labels of a connection have Istio’s names and order, and unknown for what is missing', () => {
  const labels = [
    'reporter="source"',
    'source_workload="sleep"',
    'source_canonical_service="sleep"',
    'source_canonical_revision="unknown"',
    'source_workload_namespace="default"',
    'source_principal="spiffe://cluster.local/ns/default/sa/sleep"',
    'source_app="sleep"',
    'source_version="unknown"',
    'source_cluster="K"',
    'destination_service="reviews.ns.svc.cluster.local"',
    'destination_service_namespace="ns"',
    'destination_service_name="reviews"',
    'destination_workload="unknown"',
    'destination_canonical_service="unknown"',
    'destination_canonical_revision="unknown"',
    'destination_workload_namespace="unknown"',
    'destination_principal="unknown"',
    'destination_app="unknown"',
    'destination_version="unknown"',
    'destination_cluster="unknown"',
    'request_protocol="tcp"',
    'response_flags="-"',
    'connection_security_policy="mutual_tls"',
    'source_region="unknown"',
    'source_zone="unknown"',
    'destination_region="unknown"',
    'destination_zone="unknown"',
  ]
  const registry = new MetricsRegistry()
  new TrafficMetrics(registry).open(traffic)
  const text = expose(registry.families(), 'prometheus')
  assert.ok(text.includes(`istio_tcp_connections_opened_total{${labels.join(',')}} 1\n`), text)
})

test('received is what the client sent, closed and failed are counted at the end', () => {
  const registry = new MetricsRegistry()
  const counters = new TrafficMetrics(registry).open(traffic)
  counters.addForward(10)
  counters.addBackward(300)
  counters.close('DENY')
  const text = expose(registry.families(), 'prometheus')
  assert.match(text, /^istio_tcp_received_bytes_total\{.*\} 10$/m)
  assert.match(text, /^istio_tcp_sent_bytes_total\{.*\} 300$/m)
  assert.match(text, /^istio_tcp_connections_closed_total\{.*response_flags="-".*\} 1$/m)
  assert.match(text, /^istio_tcp_connections_failed_total\{.*response_flags="DENY".*\} 1$/m)
})

test('a text line has addresses bare, strings quoted and fields in order', () => {
  const fields = [
    'src.addr=10.0.0.1:4711',
    'src.workload="sleep-1"',
    'src.namespace="default"',
    'src.cluster="K"',
    'dst.addr=10.0.0.2:15008',
    'dst.hbone_addr=10.0.0.2:9080',
    'dst.service="reviews.ns.svc.cluster.local"',
    'dst.workload="reviews-1"',
    'dst.identity="spiffe://x"',
    'direction="outbound"',
    'bytes_sent=84',
    'bytes_recv=358',
    'duration="15ms"',
  ]
  const { log, lines } = accessLog('text', 'info')
  log.opened(entry)
  log.complete(entry, { bytesSent: 84, bytesReceived: 358, durationMs: 14.6 })
  assert.deepEqual(lines, [
    `1970-01-01T00:00:00.000Z\tinfo\taccess\tconnection complete\t${fields.join(' ')}\n`,
  ])
})

test('a failed connection is an error with its cause, an early failure a warning', () => {
  const { log, lines } = accessLog('text', 'warn')
  log.complete(entry, { bytesSent: 0, bytesReceived: 0, durationMs: 1 })
  log.complete(entry, { bytesSent: 0, bytesReceived: 0, durationMs: 1, error: 'a "b"' })
  log.failed(entry, 'no endpoint')
  assert.equal(lines.length, 2)
  assert.match(lines[0] ?? '', /\terror\taccess\tconnection complete\t.* error="a \\"b\\""\n$/)
  assert.match(lines[1] ?? '', /\twarn\taccess\tconnection failed\t.* error="no endpoint"\n$/)
  assert.doesNotMatch(lines[1] ?? '', /bytes_sent/)
})

test('the JSON form has the same fields', () => {
  const { log, lines } = accessLog('json', 'debug')
  log.opened(entry)
  assert.deepEqual(JSON.parse(lines[0] ?? ''), {
    level: 'debug',
    time: '1970-01-01T00:00:00.000Z',
    scope: 'access',
    message: 'connection opened',
    'src.addr': '10.0.0.1:4711',
    'src.workload': 'sleep-1',
    'src.namespace': 'default',
    'src.cluster': 'K',
    'dst.addr': '10.0.0.2:15008',
    'dst.hbone_addr': '10.0.0.2:9080',
    'dst.service': 'reviews.ns.svc.cluster.local',
    'dst.workload': 'reviews-1',
    'dst.identity': 'spiffe://x',
    direction: 'outbound',
  })
})
