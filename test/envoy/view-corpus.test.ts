/**
 * A stock Envoy reads the listeners and clusters of every golden case of whole views: it must take all of
 * them, and must not warn of anything deprecated.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import {
  readViewCase,
  viewCases,
  viewMessage,
} from '../../src/translate/envoy/listeners/fixture.ts'
import { createCaCertificate, generateEcKeyPair, issueCertificate } from '../../src/x509/index.ts'
import { envoyPath } from '../../tools/envoy.ts'

const limitMs = 60_000
const extension = (path: string): string => `type.googleapis.com/envoy.extensions.${path}`

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

function bootstrapOf(name: string): object {
  const { translation } = readViewCase(name)
  const { listeners, clusters } = translation.resources
  return {
    node: { id: 'test', cluster: 'test' },
    dynamicResources: {
      adsConfig: {
        apiType: 'GRPC',
        transportApiVersion: 'V3',
        grpcServices: [{ envoyGrpc: { clusterName: 'xds' } }],
      },
    },
    bootstrapExtensions: [
      {
        name: 'envoy.bootstrap.internal_listener',
        typedConfig: { '@type': extension('bootstrap.internal_listener.v3.InternalListener') },
      },
    ],
    staticResources: {
      clusters: [agent('xds'), agent('sds-grpc'), ...clusters.map(viewMessage)],
      listeners: listeners.map(viewMessage),
    },
  }
}

/** Real files for those that servers name. */
async function files(folder: string): Promise<Record<string, string>> {
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
  const [keys, own] = [await generateEcKeyPair(), await generateEcKeyPair()]
  const ca = await createCaCertificate({ keys, subject: { commonName: 'test' }, ...validity })
  const certificate = await issueCertificate({
    issuer: { certificatePem: ca, key: keys.privateKey },
    publicKey: own.publicKey,
    names: { dns: ['server'] },
    ...validity,
  })
  const texts = { '/etc/ca.pem': ca, '/etc/cert.pem': certificate, '/etc/key.pem': own.privatePem }
  const written: Record<string, string> = {}
  for (const [name, text] of Object.entries(texts)) {
    written[name] = join(folder, name.replaceAll('/', '-'))
    writeFileSync(written[name], text)
  }
  return written
}

async function validate(envoy: string, file: string): Promise<string> {
  const options = ['--mode', 'validate', '--log-level', 'warning', '--config-path', file]
  const child = spawn(envoy, options, { stdio: ['ignore', 'pipe', 'pipe'], timeout: limitMs })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return code === 0 && !/deprecated/i.test(output) ? '' : output.slice(-2000)
}

test('a stock Envoy takes the listeners and clusters of all golden cases of views, without a warning', async () => {
  const envoy = await envoyPath()
  const home = mkdtempSync(join(tmpdir(), 'weft-envoy-'))
  try {
    const names = viewCases()
    assert.ok(names.length > 30, 'every case is there')
    const written = await files(home)
    const refused: Record<string, string> = {}
    for (const name of names) {
      // A revocation list would have to be made first; the golden case shows that it is named.
      let text = JSON.stringify(bootstrapOf(name)).replace(/,?"crl":\{"filename":"[^"]*"\}/g, '')
      // Only a terminal or a file can be opened by that name.
      text = text.replaceAll('/dev/stdout', '/dev/null')
      for (const [from, to] of Object.entries(written))
        text = text.replaceAll(`"${from}"`, `"${to}"`)
      const file = join(home, `${name}.json`)
      writeFileSync(file, text)
      const trouble = await validate(envoy, file)
      if (trouble !== '') refused[name] = trouble
    }
    assert.deepEqual(refused, {})
  } finally {
    rmSync(home, { recursive: true })
  }
})
