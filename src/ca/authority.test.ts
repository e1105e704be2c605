import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import test from 'node:test'
import { FakeClock, silentLogger } from '../base/index.ts'
import { resources } from '../kube/index.ts'
import {
  createCaCertificate,
  createCsr,
  generateEcKeyPair,
  issueCertificate,
  parseCertificate,
  splitPem,
} from '../x509/index.ts'
import { MemoryKube } from './fixture.ts'
import { CertificateAuthority } from './index.ts'
import type { Secret } from './material.ts'

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
  await subject.start()
  await assert.rejects(subject.issue(await csr(), identity, 91 * dayMs), { code: 'CA_TTL' })
  await assert.rejects(subject.issue('garbage', identity), { code: 'X509_MALFORMED' })
  // An operator's intermediate with ten days left.
  await kube.create(resources.secrets, await pluggedIn(clock.now(), 10))
  await subject.rotateIfNeeded()
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
