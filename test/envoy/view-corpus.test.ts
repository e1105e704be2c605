/**
 * A stock Envoy reads the listeners and clusters of every golden case of whole views: it must take all of
 * them, and must not warn of anything deprecated.
 */
import assert from 'node:assert/strict'
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
import { bootstrapOf, validate } from './validate-kit.ts'

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
      const { listeners, clusters } = readViewCase(name).translation.resources
      const messages = {
        listeners: listeners.map(viewMessage),
        clusters: clusters.map(viewMessage),
      }
      let text = JSON.stringify(bootstrapOf(messages)).replace(
        /,?"crl":\{"filename":"[^"]*"\}/g,
        '',
      )
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
