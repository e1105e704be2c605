/**
 * A stock Envoy reads everything that the golden cases of policies and telemetry become, in one
 * bootstrap: it must take all of it, and must not warn of anything deprecated.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { accesslog, hcm, listenerComponents } from '../../src/proto/envoy.ts'
import {
  httpAuthorization,
  tcpAuthorization,
} from '../../src/translate/envoy/policies/authorization.ts'
import { extensionFilters } from '../../src/translate/envoy/policies/extensions.ts'
import { readable, readCase } from '../../src/translate/envoy/policies/fixture.ts'
import { connectAuthorityFilter } from '../../src/translate/envoy/policies/identity.ts'
import { requestAuthentication } from '../../src/translate/envoy/policies/request-authentication.ts'
import { accessLogs } from '../../src/translate/envoy/telemetry/access-log.ts'
import { httpMetrics, tcpMetrics } from '../../src/translate/envoy/telemetry/metrics.ts'
import { headerPeerFilters, tunnelPeerFilters } from '../../src/translate/envoy/telemetry/peer.ts'
import { tracing } from '../../src/translate/envoy/telemetry/tracing.ts'
import { envoyPath } from '../../tools/envoy.ts'

const translate = resolve(import.meta.dirname, '../../src/translate/envoy')
const router = {
  name: 'envoy.filters.http.router',
  typedConfig: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router',
  },
}

/** One listener with an HTTP and one with a TCP chain that have all of a case in them. */
function listeners(folder: string, name: string, port: number, clusters: Set<string>): object[] {
  const path = join(folder, name, 'input.yaml')
  const given = readCase(readFileSync(path, 'utf8'), path)
  const { reader, jwks } = given
  const policies = httpAuthorization(reader, given)
  const logs = accessLogs(reader, given, 'http')
  const spans = tracing(reader, given)
  const tcpPolicies = tcpAuthorization(reader, given)
  const tcpLogs = accessLogs(reader, given, 'tcp')
  const extensions = Object.values(extensionFilters(reader, given).http).flat()
  for (const { name: cluster } of [policies, logs, spans, tcpPolicies, tcpLogs].flatMap(
    (found) => found.clusters,
  )) {
    clusters.add(cluster)
  }
  const http = [
    ...(given.proxy.kind === 'waypoint'
      ? [...tunnelPeerFilters(), connectAuthorityFilter()]
      : headerPeerFilters()),
    ...policies.custom,
    ...[requestAuthentication(reader, given, jwks).filter].filter((one) => one !== undefined),
    ...policies.local,
    // Modules come by discovery, which a static bootstrap can't do.
    ...extensions.filter(({ configType }) => configType.case === 'typedConfig'),
  ].map((filter) => readable(hcm.HttpFilterSchema, filter))
  const log = (entry: accesslog.AccessLog): unknown => readable(accesslog.AccessLogSchema, entry)
  const manager = {
    '@type':
      'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    statPrefix: name,
    accessLog: [...logs.logs, ...httpMetrics(reader, given).logs].map(log),
    httpFilters: [...http, router],
    routeConfig: { name, virtualHosts: [] },
    ...(spans.block === undefined
      ? {}
      : { tracing: readable(hcm.HttpConnectionManager_TracingSchema, spans.block) }),
    ...(spans.requestId === undefined
      ? {}
      : { requestIdExtension: readable(hcm.RequestIDExtensionSchema, spans.requestId) }),
  }
  const tcpProxy = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
    statPrefix: name,
    cluster: 'nowhere',
    accessLog: [...tcpLogs.logs, ...tcpMetrics(reader, given).logs].map(log),
    accessLogOptions: { flushAccessLogOnConnected: true },
  }
  const networkFilters = [...tcpPolicies.custom, ...tcpPolicies.local].map((filter) =>
    readable(listenerComponents.FilterSchema, filter),
  )
  return [
    listener(`${name} http`, port, [{ name: 'http', typedConfig: manager }]),
    listener(`${name} tcp`, port + 1, [...networkFilters, { name: 'tcp', typedConfig: tcpProxy }]),
  ]
}

function listener(name: string, portValue: number, filters: readonly unknown[]): object {
  return {
    name,
    address: { socketAddress: { address: '127.0.0.1', portValue } },
    // The ports are of no use: nobody connects.
    bindToPort: false,
    filterChains: [{ filters }],
  }
}

function stub(name: string): object {
  return { name, connectTimeout: '1s', type: 'STATIC', loadAssignment: { clusterName: name } }
}

test('a stock Envoy takes what all golden cases of policies and telemetry become, without a warning', async () => {
  const envoy = await envoyPath()
  const clusters = new Set(['nowhere'])
  let port = 20_000
  const all = ['policies', 'telemetry'].flatMap((area) => {
    const folder = join(translate, area, 'testdata')
    return readdirSync(folder).flatMap((name) => {
      port += 2
      return listeners(folder, name, port, clusters)
    })
  })
  assert.ok(all.length > 100, 'every case is there')
  const home = mkdtempSync(join(tmpdir(), 'weft-envoy-'))
  try {
    const file = join(home, 'bootstrap.json')
    const staticResources = { listeners: all, clusters: [...clusters].map(stub) }
    writeFileSync(file, JSON.stringify({ staticResources }))
    const said = await startAndStop(envoy, file, join(home, 'output'))
    assert.match(said, /starting main dispatch loop/, said.slice(-3000))
    assert.doesNotMatch(said, /deprecated/i)
  } finally {
    rmSync(home, { recursive: true })
  }
})

/** Runs Envoy until it has taken its configuration or given up; returns what it said. */
async function startAndStop(envoy: string, file: string, log: string): Promise<string> {
  // Envoy opens /dev/stdout and /dev/stderr by name, which works for files and not for sockets.
  const output = openSync(log, 'w')
  const options = ['--config-path', file, '--concurrency', '1', '--use-dynamic-base-id']
  const levels = ['--log-level', 'warning', '--component-log-level', 'main:info']
  const child = spawn(envoy, [...options, ...levels], { stdio: ['ignore', output, output] })
  closeSync(output)
  const ended = once(child, 'exit')
  for (let waited = 0; waited < limitMs && child.exitCode === null; waited += stepMs) {
    await sleep(stepMs)
    if (readFileSync(log, 'utf8').includes('starting main dispatch loop')) break
  }
  child.kill('SIGKILL')
  await ended
  return readFileSync(log, 'utf8')
}

const limitMs = 30_000
const stepMs = 50
