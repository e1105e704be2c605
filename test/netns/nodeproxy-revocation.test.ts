/** Certificates that are taken back, and roots that change, under open connections. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { silentLogger, systemClock } from '../../src/base/index.ts'
import { expose } from '../../src/metrics/index.ts'
import { CrlFile } from '../../src/nodeproxy/index.ts'
import { loadOracle } from '../../src/x509/oracle.ts'
import {
  createAuthority,
  readAll,
  refusal,
  type TestAuthority,
  TestMesh,
  type TestPod,
  until,
} from './nodeproxy-kit.ts'

const skip = refusal('test/netns/nodeproxy-revocation.test.ts')

/** A list of the authority's, signed by its key unless another one is given. */
async function listOf(
  authority: TestAuthority,
  serials: readonly string[],
  signer = authority,
): Promise<string> {
  const x509 = await loadOracle()
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const pkcs8 = signer.key.export({ type: 'pkcs8', format: 'der' })
  const signingKey = await crypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign'])
  const list = await x509.X509CrlGenerator.create({
    issuer: new x509.X509Certificate(authority.rootPem).subjectName,
    thisUpdate: new Date(Date.now() - 1000),
    entries: serials.map((serialNumber) => ({ serialNumber })),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    signingKey,
  })
  return x509.PemConverter.encode(list.rawData, 'X509 CRL')
}

describe('the node proxy and revoked certificates', { skip }, () => {
  let authority: TestAuthority
  let mesh: TestMesh
  let client: TestPod
  let server: TestPod
  /** Serial numbers by identity. */
  const serials = new Map<string, string>()

  before(async () => {
    authority = await createAuthority()
    mesh = await TestMesh.create({
      authority: {
        async request(csr, identity, ttl) {
          const chain = await authority.request(csr, identity, ttl)
          serials.set(identity, new X509Certificate(chain[0] ?? '').serialNumber)
          return chain
        },
      },
    })
    client = await mesh.pod('client')
    server = await mesh.pod('server')
    await mesh.serve(server, 9000, (socket) => void socket.pipe(socket))
  })
  after(() => mesh.close())

  const serialOf = (pod: TestPod): string =>
    serials.get(`spiffe://cluster.local/ns/default/sa/${pod.serviceAccount}`) ?? ''

  async function echo(): Promise<string> {
    const socket = await mesh.connect(client, server.ip, 9000)
    socket.end('hello')
    return (await readAll(socket)).toString()
  }

  const rejections = (): number => {
    const text = expose(mesh.proxy.metrics.families(), 'prometheus')
    const lines = text.match(/^istio_crl_policy_rejections_total\{.*\} (\d+)$/gm) ?? []
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  }

  test('a list that the issuer did not sign, or of an issuer that is not ours, counts for nothing', async () => {
    assert.equal(await echo(), 'hello')
    const stranger = await createAuthority()
    mesh.proxy.revocations.replace(await listOf(authority, [serialOf(server)], stranger))
    assert.equal(await echo(), 'hello')
    mesh.proxy.revocations.replace(await listOf(authority, ['01']))
    assert.equal(await echo(), 'hello')
    assert.equal(rejections(), 0)
  })

  test('open connections of a revoked peer end, new ones are refused, and a later list lets it in again', async () => {
    const path = join(mesh.folder, 'crl.pem')
    writeFileSync(path, await listOf(authority, [serialOf(server)]))
    const socket = await mesh.connect(client, server.ip, 9000)
    const closed = new Promise<void>((done) => socket.once('close', () => done()))
    socket.on('error', () => {})
    socket.write('x')
    await new Promise((done) => socket.once('data', done))

    const { revocations } = mesh.proxy
    const file = { path, revocations, clock: systemClock, logger: silentLogger }
    const reader = new CrlFile(file)
    await reader.start()
    await closed
    await assert.rejects(echo)
    assert.ok(rejections() >= 2)
    await until('the reason in the log', () =>
      mesh.accessLines.some((line) => /certificate \w+ of the peer is revoked/.test(line)),
    )
    assert.match(
      expose(mesh.proxy.metrics.families(), 'prometheus'),
      /response_flags="CERT_REVOKED"/,
    )
    writeFileSync(path, 'nonsense')
    await reader.stop()

    revocations.replace(await listOf(authority, []))
    assert.equal(await echo(), 'hello')
  })

  test('a broken list is refused, and the last good one goes on counting', async () => {
    const { revocations } = mesh.proxy
    revocations.replace(await listOf(authority, [serialOf(client)]))
    await assert.rejects(echo)
    const broken = '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n'
    assert.throws(() => revocations.replace(broken), /revocation list/)
    await assert.rejects(echo)
    revocations.replace('')
    assert.equal(await echo(), 'hello')
  })
})
