import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import test from 'node:test'
import type { Name } from '@peculiar/x509'
import { FakeClock, silentLogger } from '../base/index.ts'
import { resources } from '../kube/index.ts'
import {
  createCaCertificate,
  createCsr,
  generateEcKeyPair,
  issueCertificate,
  parseCertificate,
  readKeyPair,
  splitPem,
} from '../x509/index.ts'
import { loadOracle } from '../x509/oracle.ts'
import { MemoryKube } from './fixture.ts'
import { CertificateAuthority } from './index.ts'
import type { Secret } from './material.ts'
import { RateLimit } from './rate-limit.ts'

const identity = 'spiffe://cluster.local/ns/bookinfo/sa/reviews'
const dayMs = 86_400_000

function authority(kube: MemoryKube, clock = new FakeClock()) {
  const subject = new CertificateAuthority({
    client: kube.asClient(),
    namespace: 'istio-system',
    trustDomain: 'cluster.local',
    clock,
    logger: silentLogger,
  })
  return { subject, clock }
}

async function csr(uri = identity): Promise<string> {
  return createCsr(await generateEcKeyPair(), [uri])
}

test('the self-signed root is kept in its Secret and is the same after a restart', async () => {
  const kube = new MemoryKube()
  const { subject } = authority(kube)
  await subject.start()
  const secret = await kube.get<Secret>(resources.secrets, 'istio-system', 'istio-ca-secret')
  assert.equal(secret?.type, 'istio.io/ca-root')
  assert.deepEqual(Object.keys(secret?.data ?? {}).sort(), [
    'ca-cert.pem',
    'ca-key.pem',
    'cert-chain.pem',
    'key.pem',
    'root-cert.pem',
  ])
  assert.equal(
    Buffer.from(secret?.data?.['root-cert.pem'] ?? '', 'base64').toString(),
    subject.rootsPem,
  )
  const root = new X509Certificate(subject.rootsPem)
  assert.equal(root.publicKey.asymmetricKeyDetails?.modulusLength, 2048)
  assert.equal(root.subject, 'O=cluster.local')

  const other = authority(kube).subject
  await Promise.all([other.start(), authority(kube).subject.start()])
  assert.equal(other.rootsPem, subject.rootsPem)
  await subject.stop()
  await other.stop()
})

test('two replicas that start at once agree on one root', async () => {
  const kube = new MemoryKube()
  const [one, two] = [authority(kube).subject, authority(kube).subject]
  await Promise.all([one.start(), two.start()])
  assert.equal(one.rootsPem, two.rootsPem)
  await one.stop()
  await two.stop()
})

test('a certificate has the caller identity whatever the request names, from two minutes ago for a day', async () => {
  const { subject, clock } = authority(new MemoryKube())
  await subject.start()
  const chain = await subject.issue(
    await csr('spiffe://cluster.local/ns/kube-system/sa/admin'),
    identity,
  )
  assert.equal(chain.length, 2)
  const leaf = parseCertificate(chain[0] ?? '')
  assert.deepEqual(leaf.uriSans, [identity])
  assert.equal(leaf.notBefore, clock.now() - 120_000)
  assert.equal(leaf.notAfter, clock.now() + dayMs)
  assert.ok(
    new X509Certificate(chain[0] ?? '').verify(new X509Certificate(chain[1] ?? '').publicKey),
  )
  await subject.stop()
})

test('a lifetime over the maximum is refused, one over the issuer is cut', async () => {
  const kube = new MemoryKube()
  const { subject, clock } = authority(kube)
  // An operator's intermediate with ten days left.
  await kube.create(resources.secrets, await pluggedIn(clock.now(), 10))
  await subject.start()
  await assert.rejects(subject.issue(await csr(), identity, 91 * dayMs), { code: 'CA_TTL' })
  await assert.rejects(subject.issue('garbage', identity), { code: 'X509_MALFORMED' })
  const [leaf = ''] = await subject.issue(await csr(), identity, 30 * dayMs)
  assert.equal(parseCertificate(leaf).notAfter, clock.now() + 10 * dayMs)
  await subject.stop()
})

async function pluggedIn(
  now: number,
  days: number,
): Promise<Secret & { rootPem: string; caPem: string }> {
  const rootKeys = await generateEcKeyPair()
  const caKeys = await generateEcKeyPair()
  const rootPem = await createCaCertificate({
    keys: rootKeys,
    subject: { commonName: 'company root' },
    notBefore: now,
    notAfter: now + 1000 * dayMs,
  })
  const caPem = await issueCertificate({
    issuer: { certificatePem: rootPem, key: rootKeys.privateKey },
    publicKey: caKeys.publicKey,
    subject: { commonName: 'mesh intermediate' },
    ca: true,
    notBefore: now,
    notAfter: now + days * dayMs,
  })
  const encode = (text: string): string => Buffer.from(text).toString('base64')
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'cacerts', namespace: 'istio-system' },
    data: {
      'ca-cert.pem': encode(caPem),
      'ca-key.pem': encode(caKeys.privatePem),
      'cert-chain.pem': encode(caPem + rootPem),
      'root-cert.pem': encode(rootPem),
    },
    rootPem,
    caPem,
  }
}

test('a plugged-in intermediate is used; the chain holds it before the root', async () => {
  const kube = new MemoryKube()
  const { subject, clock } = authority(kube)
  const secret = await pluggedIn(clock.now(), 100)
  await kube.create(resources.secrets, secret)
  await subject.start()
  const chain = await subject.issue(await csr(), identity)
  assert.deepEqual(chain.slice(1), [secret.caPem, secret.rootPem])
  assert.ok(new X509Certificate(chain[0] ?? '').checkIssued(new X509Certificate(secret.caPem)))
  assert.equal(await kube.get(resources.secrets, 'istio-system', 'istio-ca-secret'), undefined)
  const serving = await subject.issueServing(['istiod.istio-system.svc'])
  assert.equal(splitPem(serving.chainPem).length, 2)
  await subject.stop()
})

test('plugged-in material that does not fit together is refused with its Secret and the reason', async () => {
  const { clock } = authority(new MemoryKube())
  const good = await pluggedIn(clock.now(), 100)
  const other = await pluggedIn(clock.now(), 100)
  const cases: [RegExp, Record<string, string>][] = [
    [/ca-key.pem does not belong/, { 'ca-key.pem': other.data?.['ca-key.pem'] ?? '' }],
    [/does not lead to any root/, { 'root-cert.pem': other.data?.['root-cert.pem'] ?? '' }],
    [/ca-cert.pem has no certificate/, { 'ca-cert.pem': '' }],
    [/private key/, { 'ca-key.pem': 'AAAA' }],
  ]
  for (const [reason, data] of cases) {
    const kube = new MemoryKube()
    await kube.create(resources.secrets, { ...good, data: { ...good.data, ...data } })
    await assert.rejects(authority(kube).subject.start(), (error: Error) => {
      return error.message.includes('istio-system/cacerts') && reason.test(error.message)
    })
  }
})

test('the root is replaced with a fifth of its life left; old certificates still verify', async () => {
  const kube = new MemoryKube()
  const { subject, clock } = authority(kube)
  await subject.start()
  const before = subject.rootsPem
  const [leaf = ''] = await subject.issue(await csr(), identity)
  let changes = 0
  subject.onChange(() => changes++)
  const replicaAfter = async (part: number): Promise<string> => {
    const later = new FakeClock(clock.now() + 3650 * dayMs * part)
    const replica = authority(kube, later).subject
    await replica.start()
    await replica.stop()
    return replica.rootsPem
  }
  assert.equal(await replicaAfter(0.79), before)
  const after = await replicaAfter(0.81)
  assert.notEqual(after, before)
  // Those who know only the old root, and those who know only the new one, trust each other.
  assert.equal(splitPem(after).length, 2)
  assert.ok(after.includes(before))
  assert.ok(new X509Certificate(leaf).verify(new X509Certificate(after).publicKey))
  // A replica that did not rotate itself learns of it at its own check.
  await subject.rotateIfNeeded()
  assert.equal(subject.rootsPem, after)
  assert.equal(changes, 1)
  await subject.stop()
})

test('an own root that expired while everything was off is replaced at the start', async () => {
  const kube = new MemoryKube()
  const first = authority(kube)
  await first.subject.start()
  await first.subject.stop()
  const later = new FakeClock(first.clock.now() + 4000 * dayMs)
  const { subject } = authority(kube, later)
  await subject.start()
  assert.ok(parseCertificate(subject.rootsPem).notAfter > later.now())
  await subject.stop()
})

test('an earlier root is trusted until it ends', async () => {
  const kube = new MemoryKube()
  const { subject, clock } = authority(kube)
  await subject.start()
  await subject.stop()
  const at = async (part: number): Promise<string> => {
    const replica = authority(kube, new FakeClock(clock.now() + 3650 * dayMs * part)).subject
    await replica.start()
    await replica.stop()
    return replica.rootsPem
  }
  const both = await at(0.9)
  assert.equal(splitPem(both).length, 2)
  const one = await at(1.01)
  assert.deepEqual(splitPem(one), splitPem(both).slice(0, 1))
})

test('a plugged-in authority is exchanged without a restart when trust goes on', async () => {
  const kube = new MemoryKube()
  const { subject, clock } = authority(kube)
  const [old, next] = [await pluggedIn(clock.now(), 100), await pluggedIn(clock.now(), 200)]
  await kube.create(resources.secrets, old)
  await subject.start()
  let changes = 0
  subject.onChange(() => changes++)
  await kube.update(resources.secrets, next)
  await assert.rejects(subject.refresh(), { code: 'CA_TRUST' })
  assert.equal(subject.rootsPem, old.rootPem)
  const both = Buffer.from(next.rootPem + old.rootPem).toString('base64')
  await kube.update(resources.secrets, { ...next, data: { ...next.data, 'root-cert.pem': both } })
  await subject.refresh()
  assert.equal(subject.rootsPem, next.rootPem + old.rootPem)
  assert.equal(changes, 1)
  const [leaf = '', intermediate = '', bundle] = await subject.issue(await csr(), identity)
  assert.ok(new X509Certificate(leaf).checkIssued(new X509Certificate(next.caPem)))
  assert.equal(intermediate, next.caPem)
  assert.equal(bundle, subject.rootsPem)
  // Broken material and a deleted Secret change nothing either.
  await kube.update(resources.secrets, { ...next, data: { ...next.data, 'ca-key.pem': 'AAAA' } })
  await assert.rejects(subject.refresh(), { code: 'CA_MATERIAL' })
  await kube.delete(resources.secrets, 'istio-system', 'cacerts')
  await subject.refresh()
  assert.equal(subject.rootsPem, next.rootPem + old.rootPem)
  await subject.stop()
})

test('the Secret of our own root is written again when somebody deletes it', async () => {
  const kube = new MemoryKube()
  const { subject } = authority(kube)
  await subject.start()
  const { rootsPem } = subject
  await kube.delete(resources.secrets, 'istio-system', 'istio-ca-secret')
  await subject.refresh()
  const replica = authority(kube).subject
  await replica.start()
  assert.equal(replica.rootsPem, rootsPem)
  await subject.stop()
  await replica.stop()
})

test('revocation lists of the chain are taken, others refused; who is on one is revoked', async () => {
  const x509 = await loadOracle()
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ])
  const now = Date.now()
  const caPem = async (): Promise<string> =>
    createCaCertificate({
      keys: readKeyPair(
        x509.PemConverter.encode(
          await crypto.subtle.exportKey('pkcs8', keys.privateKey),
          'PRIVATE KEY',
        ),
      ),
      subject: { commonName: 'company root' },
      notBefore: now - dayMs,
      notAfter: now + 100 * dayMs,
    })
  const rootPem = await caPem()
  const root = new x509.X509Certificate(rootPem).subjectName
  const listOf = async (issuer: Name, serial: string): Promise<string> => {
    const list = await x509.X509CrlGenerator.create({
      issuer,
      thisUpdate: new Date(now - 1000),
      nextUpdate: new Date(now + dayMs),
      entries: [{ serialNumber: serial }],
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      signingKey: keys.privateKey,
    })
    return x509.PemConverter.encode(list.rawData, 'X509 CRL')
  }
  const pem = x509.PemConverter.encode(
    await crypto.subtle.exportKey('pkcs8', keys.privateKey),
    'PRIVATE KEY',
  )
  const secret = (crl: string): Secret => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'cacerts', namespace: 'istio-system' },
    data: Object.fromEntries(
      Object.entries({
        'ca-cert.pem': rootPem,
        'ca-key.pem': pem,
        'root-cert.pem': rootPem,
        'ca-crl.pem': crl,
      }).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
    ),
  })
  const kube = new MemoryKube()
  await kube.create(resources.secrets, secret(''))
  const { subject } = authority(kube, new FakeClock(now))
  await subject.start()
  assert.equal(subject.crlPem, undefined)
  const [good = ''] = await subject.issue(await csr(), identity)
  const [bad = ''] = await subject.issue(await csr(), identity)
  await kube.update(
    resources.secrets,
    secret(await listOf(new x509.Name('CN=somebody else'), '01')),
  )
  await assert.rejects(subject.refresh(), /signed by no authority of the chain/)
  const { serial } = parseCertificate(bad)
  await kube.update(resources.secrets, secret(await listOf(root, serial)))
  await subject.refresh()
  assert.match(subject.crlPem ?? '', /BEGIN X509 CRL/)
  assert.equal(subject.isRevoked(new X509Certificate(bad).raw), true)
  assert.equal(subject.isRevoked(new X509Certificate(good).raw), false)
  const own = parseCertificate(rootPem).serial
  await kube.update(resources.secrets, secret(await listOf(root, own)))
  await assert.rejects(subject.refresh(), /its own chain is on the revocation list/)
  await subject.stop()
})

test('a caller that asks too often has to wait, others do not', () => {
  const clock = new FakeClock()
  const rate = new RateLimit(clock, 10, 3)
  assert.deepEqual(
    [1, 2, 3, 4].map(() => rate.take('one')),
    [true, true, true, false],
  )
  assert.equal(rate.take('two'), true)
  clock.advance(150)
  assert.deepEqual(
    [1, 2].map(() => rate.take('one')),
    [true, false],
  )
})
