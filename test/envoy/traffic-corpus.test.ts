/**
 * A stock Envoy reads everything that the golden cases of traffic become, in one bootstrap: it must take
 * all of it, and must not warn of anything deprecated.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test from 'node:test'
import { typeUrl } from '../../src/proto/index.ts'
import { answerCase, messageOf } from '../../src/translate/envoy/fixture.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../../src/x509/index.ts'
import { envoyPath } from '../../tools/envoy.ts'

const folder = resolve(import.meta.dirname, '../../src/translate/envoy/testdata')

interface Corpus {
  readonly clusters: object[]
  readonly routes: object[]
  readonly proxies: object[]
}

/** Names are unique within a case only, so each gets its case's name before it. */
function readCorpus(): Corpus {
  const corpus: Corpus = { clusters: [], routes: [], proxies: [] }
  for (const name of readdirSync(folder)) {
    const read = (file: string): string => readFileSync(join(folder, name, file), 'utf8')
    const { resources, streams } = answerCase(read('input.yaml'), read('asked.yaml'))
    for (const resource of resources) {
      const message = messageOf(resource)
      const unique = `${name}/${resource.name}`
      if (resource.typeUrl === typeUrl.route) corpus.routes.push({ ...message, name: unique })
      if (resource.typeUrl === typeUrl.cluster) {
        const assignment = message.loadAssignment
        corpus.clusters.push({
          ...message,
          name: unique,
          ...(assignment === undefined
            ? {}
            : { loadAssignment: { ...assignment, clusterName: unique } }),
        })
      }
      if (resource.typeUrl === typeUrl.endpoint) {
        const loadAssignment = { ...message, clusterName: `${unique}/endpoints` }
        corpus.clusters.push({ name: `${unique}/endpoints`, type: 'STATIC', loadAssignment })
      }
    }
    for (const { proxy } of streams) if (proxy !== undefined) corpus.proxies.push(proxy as object)
  }
  return corpus
}

const extension = (path: string): string => `type.googleapis.com/envoy.extensions.${path}`

function httpFilter(name: string, type: string): object {
  return { name: `envoy.filters.http.${name}`, typedConfig: { '@type': extension(type) } }
}

function httpListener(routeConfig: object, portValue: number): object {
  const manager = {
    '@type': extension('filters.network.http_connection_manager.v3.HttpConnectionManager'),
    statPrefix: 'corpus',
    routeConfig,
    httpFilters: [
      httpFilter('cors', 'filters.http.cors.v3.Cors'),
      httpFilter('fault', 'filters.http.fault.v3.HTTPFault'),
      httpFilter('router', 'filters.http.router.v3.Router'),
    ],
  }
  return listener('envoy.filters.network.http_connection_manager', manager, portValue)
}

function tcpListener(proxy: object, portValue: number): object {
  const type = extension('filters.network.tcp_proxy.v3.TcpProxy')
  return listener('envoy.filters.network.tcp_proxy', { '@type': type, ...proxy }, portValue)
}

function listener(name: string, typedConfig: object, portValue: number): object {
  return {
    name: `listener ${portValue}`,
    address: { socketAddress: { address: '127.0.0.1', portValue } },
    filterChains: [{ filters: [{ name, typedConfig }] }],
  }
}

function agent(name: string): object {
  const http2 = {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': extension('upstreams.http.v3.HttpProtocolOptions'),
      explicitHttpConfig: { http2ProtocolOptions: {} },
    },
  }
  const loadAssignment = { clusterName: name }
  return { name, type: 'STATIC', loadAssignment, typedExtensionProtocolOptions: http2 }
}

/** Real files for those that DestinationRules name. */
async function certificates(folder: string): Promise<Record<string, string>> {
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
  const [keys, own] = [await generateEcKeyPair(), await generateEcKeyPair()]
  const ca = await createCaCertificate({ keys, subject: { commonName: 'test' }, ...validity })
  const certificate = await issueCertificate({
    issuer: { certificatePem: ca, key: keys.privateKey },
    publicKey: own.publicKey,
    names: { dns: ['client'] },
    ...validity,
  })
  const written: Record<string, string> = {}
  for (const [name, text] of Object.entries({
    '/etc/ca.pem': ca,
    '/etc/cert.pem': certificate,
    '/etc/key.pem': own.privatePem,
    '/etc/ssl/certs/ca-certificates.crt': ca,
  })) {
    written[name] = join(folder, name.replaceAll('/', '-'))
    writeFileSync(written[name], text)
  }
  return written
}

test('a stock Envoy takes what all golden cases of traffic become, without a warning', async () => {
  const envoy = await envoyPath()
  const home = mkdtempSync(join(tmpdir(), 'weft-envoy-'))
  try {
    const { clusters, routes, proxies } = readCorpus()
    assert.ok(clusters.length > 100 && routes.length > 30, 'every case is there')
    let port = 20_000
    const grpcServices = [{ envoyGrpc: { clusterName: 'xds' } }]
    const bootstrap = {
      node: { id: 'test', cluster: 'test' },
      dynamicResources: {
        adsConfig: { apiType: 'GRPC', transportApiVersion: 'V3', grpcServices },
      },
      bootstrapExtensions: [
        {
          name: 'envoy.bootstrap.internal_listener',
          typedConfig: { '@type': extension('bootstrap.internal_listener.v3.InternalListener') },
        },
      ],
      staticResources: {
        clusters: [agent('xds'), agent('sds-grpc'), ...clusters],
        listeners: [
          ...routes.map((route) => httpListener(route, port++)),
          ...proxies.map((proxy) => tcpListener(proxy, port++)),
        ],
      },
    }
    // A revocation list would have to be made first; the golden case shows that it is named.
    let text = JSON.stringify(bootstrap).replace(/"crl":\{"filename":"[^"]*"\},?/g, '')
    for (const [name, path] of Object.entries(await certificates(home))) {
      text = text.replaceAll(`"${name}"`, `"${path}"`)
    }
    const file = join(home, 'bootstrap.json')
    writeFileSync(file, text)
    const options = ['--mode', 'validate', '--log-level', 'warning', '--config-path', file]
    const { status, stdout, stderr } = spawnSync(envoy, options, {
      encoding: 'utf8',
      timeout: limitMs,
    })
    assert.equal(status, 0, `${stderr}${stdout}`.slice(-3000))
    assert.doesNotMatch(stderr, /deprecated/i)
  } finally {
    rmSync(home, { recursive: true })
  }
})

const limitMs = 60_000
