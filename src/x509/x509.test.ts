import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { type webcrypto, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { before } from 'node:test'
import fc from 'fast-check'
import {
  createCaCertificate,
  createCsr,
  derToPem,
  formatSpiffeId,
  generateEcKeyPair,
  generateRsaKeyPair,
  issueCertificate,
  type KeyPair,
  parseCertificate,
  parseCsr,
  parseSpiffeId,
  pemToDer,
  readKeyPair,
  servesHost,
  splitPem,
  uriSans,
} from './index.ts'
import { loadOracle } from './oracle.ts'

const id = 'spiffe://cluster.local/ns/bookinfo/sa/reviews'
const now = Date.UTC(2026, 5, 1)
const hour = 3_600_000
let rootKeys: KeyPair
let leafKeys: KeyPair
let rootPem: string

before(async () => {
  rootKeys = await generateRsaKeyPair()
  leafKeys = await generateEcKeyPair()
  rootPem = await createCaCertificate({
    keys: rootKeys,
    subject: { organizations: ['cluster.local'] },
    notBefore: now,
    notAfter: Date.UTC(2056, 0, 1),
  })
})

function leaf(names: { uris?: string[]; dns?: string[]; ips?: string[] }): Promise<string> {
  return issueCertificate({
    issuer: { certificatePem: rootPem, key: rootKeys.privateKey },
    publicKey: leafKeys.publicKey,
    names,
    notBefore: now - 120_000,
    notAfter: now + 24 * hour,
  })
}

test('only the five-part shape is a SPIFFE id', () => {
  assert.deepEqual(parseSpiffeId(id), {
    trustDomain: 'cluster.local',
    namespace: 'bookinfo',
    serviceAccount: 'reviews',
  })
  for (const text of [
    '',
    'spiffe://td/ns/a/sa/',
    'spiffe://td/ns//sa/b',
    'spiffe:///ns/a/sa/b',
    'spiffe://td/ns/a/sa/b/',
    'spiffe://td/ns/a/sa/b/c',
    'spiffe://td/sa/b/ns/a',
    'spiffe://td/ns/a/sa/b?x',
    'spiffe://td/ns/a/sa/b\n',
    'spiffe://td/ns/a/sa/b\0',
    'spiffe://td/ns/%61/sa/b',
    'SPIFFE://td/ns/a/sa/b',
    'https://td/ns/a/sa/b',
    ` ${id}`,
    `spiffe://${'t'.repeat(3000)}/ns/a/sa/b`,
  ]) {
    assert.equal(parseSpiffeId(text), undefined, JSON.stringify(text))
  }
})

test('a SPIFFE id survives formatting, and what parses formats to itself', () => {
  const part = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,20}$/)
  fc.assert(
    fc.property(part, part, part, (trustDomain, namespace, serviceAccount) => {
      const value = { trustDomain, namespace, serviceAccount }
      assert.deepEqual(parseSpiffeId(formatSpiffeId(value)), value)
    }),
  )
  assert.throws(
    () => formatSpiffeId({ trustDomain: 'a/b', namespace: 'n', serviceAccount: 's' }),
    /SPIFFE/,
  )
})

test('openssl verifies a chain of ours and sees the critical name and the usages', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-x509-'))
  try {
    writeFileSync(join(folder, 'root.pem'), rootPem)
    writeFileSync(join(folder, 'leaf.pem'), await leaf({ uris: [id] }))
    const run = (...args: string[]): string =>
      execFileSync('openssl', args, { cwd: folder, encoding: 'utf8' })
    for (const purpose of ['sslserver', 'sslclient']) {
      const at = String(now / 1000)
      run(
        'verify',
        '-x509_strict',
        '-attime',
        at,
        '-purpose',
        purpose,
        '-CAfile',
        'root.pem',
        'leaf.pem',
      )
    }
    const text = run('x509', '-in', 'leaf.pem', '-noout', '-text')
    assert.match(text, /Subject: *\n/)
    assert.match(
      text,
      /Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster.local\/ns\/bookinfo/,
    )
    assert.match(text, /Key Usage: critical\s+Digital Signature, Key Encipherment\n/)
    assert.match(text, /TLS Web Server Authentication, TLS Web Client Authentication/)
    assert.match(run('x509', '-in', 'root.pem', '-noout', '-text'), /CA:TRUE/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('another implementation reads the same fields and verifies the signatures', async () => {
  const oracle = await loadOracle()
  const pem = await leaf({
    uris: [id, 'urn:x'],
    dns: ['istiod.istio-system.svc'],
    ips: ['10.0.0.1', 'fd00::1'],
  })
  const theirs = new oracle.X509Certificate(pem)
  const ours = parseCertificate(pem)
  assert.equal(ours.serial, theirs.serialNumber)
  assert.equal(ours.notBefore, theirs.notBefore.getTime())
  assert.equal(ours.notAfter, theirs.notAfter.getTime())
  assert.deepEqual(
    new oracle.SubjectAlternativeNameExtension(
      theirs.getExtension('2.5.29.17')?.rawData ?? new ArrayBuffer(0),
    ).names
      .toJSON()
      .map((name) => name.value),
    [id, 'urn:x', 'istiod.istio-system.svc', '10.0.0.1', 'fd00::1'],
  )
  assert.deepEqual(ours.uriSans, [id, 'urn:x'])
  assert.deepEqual(ours.dnsSans, ['istiod.istio-system.svc'])
  assert.deepEqual(ours.ipSans, ['10.0.0.1', 'fd00::1'])
  const root = new oracle.X509Certificate(rootPem)
  assert.ok(await theirs.verify({ publicKey: root.publicKey, signatureOnly: true }))
  assert.equal(parseCertificate(rootPem).notAfter, Date.UTC(2056, 0, 1))
  assert.equal(parseCertificate(rootPem).isCa, true)
  assert.equal(ours.isCa, false)

  const request = new oracle.Pkcs10CertificateRequest(await createCsr(leafKeys, [id]))
  assert.ok(await request.verify())
})

test('requests of the other implementation are read, in every supported key kind', async () => {
  const oracle = await loadOracle()
  for (const algorithm of [
    { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
    { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
    {
      name: 'RSASSA-PKCS1-v1_5',
      hash: 'SHA-256',
      modulusLength: 2048,
      publicExponent: new Uint8Array([1, 0, 1]),
    },
  ]) {
    const keys = (await crypto.subtle.generateKey(algorithm, true, [
      'sign',
      'verify',
    ])) as webcrypto.CryptoKeyPair
    const names = new oracle.SubjectAlternativeNameExtension([{ type: 'url', value: id }], true)
    const request = await oracle.Pkcs10CertificateRequestGenerator.create({
      name: 'O=x',
      keys,
      signingAlgorithm: algorithm,
      extensions: [names],
    })
    assert.deepEqual(parseCsr(request.toString('pem')).uriSans, [id])
  }
})

test('a request is refused when its signature, key or form is wrong', async () => {
  const der = pemToDer(await createCsr(leafKeys, [id]), 'CERTIFICATE REQUEST')
  const flipped = Buffer.from(der)
  flipped[der.indexOf('bookinfo')] = 0x63
  assert.throws(() => parseCsr(derToPem(flipped, 'CERTIFICATE REQUEST')), {
    code: 'X509_CSR_REFUSED',
  })
  const weak = await createCsr(await generateRsaKeyPair(1024), [id])
  assert.throws(() => parseCsr(weak), /too weak/)
  assert.throws(() => parseCsr('hello'), { code: 'X509_MALFORMED' })
  assert.throws(() => parseCsr('x'.repeat(1024 * 1024)), /refused/)
})

test('no mutation of a certificate or request makes the readers do anything but answer or refuse', async () => {
  const certificate = pemToDer(await leaf({ uris: [id], dns: ['a.b'] }))
  const request = pemToDer(await createCsr(leafKeys, [id]), 'CERTIFICATE REQUEST')
  const edits = fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { minLength: 1, maxLength: 4 })
  const refusal = (error: unknown): boolean =>
    ['X509_MALFORMED', 'X509_CSR_REFUSED'].includes((error as { code: string }).code)
  const judge = (act: () => unknown): void => {
    try {
      act()
    } catch (error) {
      if (!refusal(error)) throw error
    }
  }
  fc.assert(
    fc.property(edits, fc.nat(2000), (changes, cut) => {
      for (const source of [certificate, request]) {
        const bytes = Buffer.from(source)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        const shorter = bytes.subarray(0, cut % bytes.length)
        judge(() => uriSans(bytes))
        assert.throws(() => uriSans(shorter), refusal)
        judge(() => parseCsr(derToPem(bytes, 'CERTIFICATE REQUEST')))
      }
    }),
    { numRuns: 300 },
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => judge(() => uriSans(bytes))))
})

test('names that only look like another in text form are told apart', async () => {
  // In the text form of alternative names this reads like two entries.
  const tricky = `${id},URI:spiffe://cluster.local/ns/admin/sa/root`
  assert.deepEqual(uriSans(pemToDer(await leaf({ uris: [tricky] }))), [tricky])
  assert.equal(parseSpiffeId(tricky), undefined)
  const forged = pemToDer(await leaf({ uris: [id] }))
  forged[forged.indexOf('bookinfo')] = 0
  assert.throws(() => uriSans(forged), /printable ASCII/)
})

test('a root with the same key and name, but later, still verifies old leaves', async () => {
  const old = new X509Certificate(await leaf({ uris: [id] }))
  const successor = new X509Certificate(
    await createCaCertificate({
      keys: readKeyPair(rootKeys.privatePem),
      subject: { organizations: ['cluster.local'] },
      notBefore: now + hour,
      notAfter: Date.UTC(2066, 0, 1),
    }),
  )
  assert.ok(old.checkIssued(successor))
  assert.ok(old.verify(successor.publicKey))
})

test('a bundle is split into its certificates, whatever stands between them', async () => {
  const other = await leaf({ uris: [id] })
  const bundle = `# roots\r\n${rootPem.replaceAll('\n', '\r\n')}\n\n# second\n${other.trimEnd()}`
  assert.deepEqual(splitPem(bundle), [rootPem, other])
  assert.deepEqual(splitPem(leafKeys.privatePem), [])
  assert.throws(
    () => splitPem('-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----'),
    /base64/,
  )
})

test('a subject makes the alternative names uncritical, and an end before the begin is refused', async () => {
  const base = {
    issuer: { certificatePem: rootPem, key: rootKeys.privateKey },
    publicKey: leafKeys.publicKey,
    names: { dns: ['localhost'] },
    notBefore: now,
  }
  const subject = { organizations: ['system:masters'], commonName: 'admin' }
  const pem = await issueCertificate({ ...base, subject, notAfter: now + hour, usages: ['client'] })
  assert.equal(new X509Certificate(pem).subject, 'O=system:masters\nCN=admin')
  await assert.rejects(issueCertificate({ ...base, notAfter: now }), { code: 'X509_VALIDITY' })
})

test('a server answers only for the hosts in its alternative names', async () => {
  const info = parseCertificate(
    await leaf({ uris: ['a.b'], dns: ['Istiod.istio-system.svc', '*.c.d'], ips: ['::1'] }),
  )
  for (const [host, serves] of [
    ['istiod.istio-system.svc', true],
    ['ISTIOD.istio-system.svc.', true],
    ['istiod.istio-system', false],
    ['x.c.d', true],
    ['x.y.c.d', false],
    ['c.d', false],
    ['.c.d', false],
    ['a.b', false],
    ['0:0::1', true],
    ['127.0.0.1', false],
  ] as const) {
    assert.equal(servesHost(info, host), serves, host)
  }
})
