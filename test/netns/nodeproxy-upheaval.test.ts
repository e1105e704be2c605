/**
 * The node proxy while the world around it changes under load: certificates expire and roots rotate, the
 * control plane is gone for an hour, policies flip, readers are slow, the file table is full. New
 * connections that fail are counted, and so are bytes lost or doubled.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { type Clock, FakeClock, systemClock } from '../../src/base/index.ts'
import type { CertificateSource } from '../../src/identity/index.ts'
import { runTool } from '../../src/linux/index.ts'
import { create, security, typeUrl } from '../../src/proto/index.ts'
import {
  createCaCertificate,
  generateEcKeyPair,
  issueCertificate,
  type KeyPair,
  parseCsr,
} from '../../src/x509/index.ts'
import { attempt, connected, keepTrying, Losses, transfer } from './nodeproxy-fault-kit.ts'
import {
  createAuthority,
  podAddress,
  readAll,
  refusal,
  TestMesh,
  type TestPod,
  until,
} from './nodeproxy-kit.ts'
import { ControlPlane, ProcessMesh, type Resources } from './nodeproxy-process-kit.ts'

const skip = refusal('test/netns/nodeproxy-upheaval.test.ts')
const soak = process.env.WEFT_SOAK === '1'
const { ALLOW, DENY } = security.Action

/** Certificates are looked at ten times as often; how long they are valid is real. */
const quickClock: Clock = {
  ...systemClock,
  after: (ms, callback, options) => systemClock.after(ms / 10, callback, options),
  every: (ms, callback, options) => systemClock.every(ms / 10, callback, options),
}

interface Root {
  readonly keys: KeyPair
  readonly pem: string
}

async function newRoot(name: string): Promise<Root> {
  const keys = await generateEcKeyPair()
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 }
  const pem = await createCaCertificate({ keys, subject: { organizations: [name] }, ...validity })
  return { keys, pem }
}

/** Signs for a few seconds at a time, with one root, and hands out several. */
class RotatingAuthority implements CertificateSource {
  lifeMs = 4_000
  signer: Root
  bundle: readonly Root[]
  away = false
  issued = 0

  constructor(root: Root) {
    this.signer = root
    this.bundle = [root]
  }

  async request(csrPem: string, identity: string): Promise<readonly string[]> {
    if (this.away) throw new Error('the authority is away')
    const { keys, pem } = this.signer
    const chain = await issueCertificate({
      issuer: { certificatePem: pem, key: keys.privateKey },
      publicKey: parseCsr(csrPem).publicKey,
      names: { uris: [identity] },
      notBefore: Date.now() - 1_000,
      notAfter: Date.now() + this.lifeMs,
    })
    this.issued++
    return [chain, this.bundle.map((root) => root.pem).join('')]
  }
}

describe('certificates under load', { skip }, () => {
  let mesh: TestMesh
  let client: TestPod
  let server: TestPod
  let losses: Losses
  let authority: RotatingAuthority
  let first: Root

  before(async () => {
    first = await newRoot('first')
    authority = new RotatingAuthority(first)
    mesh = await TestMesh.create({ authority, clock: quickClock })
    client = await mesh.pod('client')
    server = await mesh.pod('server')
    await mesh.serve(server, 9000, (socket) => socket.pipe(socket))
    losses = await Losses.create(mesh)
  })
  after(() => mesh?.close())

  const dial = (): Promise<net.Socket> => mesh.connect(client, server.ip, 9000)

  /** So that the next connection needs a handshake with the certificates of now. */
  async function cutTunnels(): Promise<void> {
    const open = await connected(await dial())
    const gone = new Promise<void>(
      (resolve) => void open.once('close', resolve).on('error', () => {}),
    )
    await losses.reset(server)
    open.write('x')
    await gone
    await losses.heal()
  }

  test('the root rotates in three steps: every new handshake succeeds, no connection is cut', async () => {
    const second = await newRoot('second')
    const long = await connected(await dial())
    const moving = transferSlowly(long)
    let made = 0
    const failed: string[] = []
    for (const [signer, bundle] of [
      [first, [first, second]],
      [second, [first, second]],
      [second, [second]],
    ] as const) {
      Object.assign(authority, { signer, bundle })
      const { issued } = authority
      await until('both pods have renewed', () => authority.issued >= issued + 2, 10_000)
      for (const who of [client, server]) {
        const other = await mesh.pod(`late-${made}-${who.name}`)
        const attempts = await attempt(() => mesh.connect(other, server.ip, 9000), 5, 2)
        made += attempts.made
        failed.push(...attempts.failed)
      }
    }
    assert.deepEqual(failed, [])
    assert.equal(made, 30)
    assert.deepEqual(await moving(), [])
    assert.deepEqual((await attempt(dial, 10)).failed, [])
  })

  test('certificates expire while the authority is away: nothing new is let through, and all is when it is back', async () => {
    authority.away = true
    await cutTunnels()
    // Old certificates serve until their last second.
    assert.deepEqual((await attempt(dial, 5)).failed, [])
    await new Promise((resolve) => setTimeout(resolve, authority.lifeMs + 500))
    await cutTunnels()
    const refused = await attempt(dial, 10)
    assert.equal(refused.failed.length, 10, 'it fails closed')
    authority.away = false
    let recovered = await attempt(dial, 1)
    const end = Date.now() + 20_000
    while (recovered.failed.length > 0 && Date.now() < end) recovered = await attempt(dial, 1)
    assert.deepEqual((await attempt(dial, 20)).failed, [])
  })
})

/** Says something now and then until told to stop; resolves with what went wrong. */
function transferSlowly(socket: net.Socket): () => Promise<string[]> {
  const wrong: string[] = []
  let running = true
  socket.on('close', () => running && wrong.push('the connection was cut'))
  const work = (async () => {
    for (let index = 0; running && wrong.length === 0; index++) {
      const text = `message ${index}`
      socket.write(text)
      const [answer] = (await once(socket, 'data')) as [Buffer]
      if (answer.toString() !== text) wrong.push(`${text}: ${answer.toString()}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  return async () => {
    running = false
    await work
    socket.destroy()
    return wrong
  }
}

test('policies flip under load: exactly those who are denied are cut and refused', {
  skip,
}, async () => {
  const mesh = await TestMesh.create()
  const good = await mesh.pod('good')
  const flipped = await mesh.pod('flipped')
  const server = await mesh.pod('server')
  await mesh.serve(server, 9000, (socket) => socket.pipe(socket))
  const dialGood = (): Promise<net.Socket> => mesh.connect(good, server.ip, 9000)
  const dial = (): Promise<net.Socket> => mesh.connect(flipped, server.ip, 9000)
  const bytes = (soak ? 512 : 32) << 20
  const bulk = dialGood().then((socket) => transfer(socket, bytes))
  const stop = keepTrying(dialGood)
  const principal = {
    matchType: { case: 'exact' as const, value: 'cluster.local/ns/default/sa/flipped' },
  }
  const rules = [{ clauses: [{ matches: [{ principals: [principal] }] }] }]
  let slowestMs = 0
  for (let flip = 0; flip < (soak ? 500 : 20); flip++) {
    const open = await connected(await dial())
    const cut = once(open, 'error')
    const startedAt = performance.now()
    mesh.policy({ name: 'flip', scope: security.Scope.NAMESPACE, action: DENY, rules })
    await cut
    slowestMs = Math.max(slowestMs, performance.now() - startedAt)
    const refused = await attempt(dial, 3)
    assert.equal(refused.failed.length, 3, 'denied connections are refused')
    mesh.proxy.store.removePolicy('default/flip')
    assert.deepEqual((await attempt(dial, 3)).failed, [])
  }
  assert.deepEqual(await bulk, { bytes, wrongAt: undefined, ended: true })
  const attempts = await stop()
  assert.deepEqual(attempts.failed, [])
  assert.ok(slowestMs < 2_000, `a denied connection lived for ${slowestMs} ms`)
  await mesh.close()
})

test('an hour without the control plane: state stays in force, nothing fails, and news is taken when it is back', {
  skip,
}, async () => {
  const clock = new FakeClock(Date.now())
  const authority = await createAuthority()
  const resources: Resources = { addresses: new Map(), policies: new Map() }
  const controlPlane = new ControlPlane(authority, resources)
  const xdsPort = await controlPlane.start()
  const mesh = await TestMesh.create({
    authority,
    clock,
    environment: {
      XDS_ADDRESS: `127.0.0.1:${xdsPort}`,
      ALT_XDS_HOSTNAME: 'istiod.istio-system.svc',
      XDS_ROOT_CA: authority.rootPem,
      AUTH_TOKEN: 'the-token',
    },
  })
  const [client, denied, server] = [
    await mesh.addPod('client'),
    await mesh.addPod('denied'),
    await mesh.addPod('server'),
  ]
  for (const pod of [client, denied, server]) {
    await mesh.enrol(pod)
    resources.addresses.set(pod.name, podAddress(pod))
  }
  const principal = {
    matchType: { case: 'exact' as const, value: 'cluster.local/ns/default/sa/denied' },
  }
  const policy = (action: security.Action) =>
    create(security.AuthorizationSchema, {
      name: 'p',
      namespace: 'default',
      scope: security.Scope.NAMESPACE,
      action,
      rules: [{ clauses: [{ matches: [{ principals: [principal] }] }] }],
    })
  resources.policies.set('default/p', policy(DENY))
  controlPlane.push(typeUrl.address)
  controlPlane.push(typeUrl.authorization)
  await mesh.serve(server, 9000, (socket) => socket.pipe(socket))
  await until('the state arrives', () => mesh.proxy.store.policyMessages.size === 1)
  const dial = (): Promise<net.Socket> => mesh.connect(client, server.ip, 9000)
  const long = await connected(await dial())
  const moving = transferSlowly(long)
  await controlPlane.stop()
  const failed: string[] = []
  let refused = 0
  for (let second = 0; second < 3_600; second += 10) {
    clock.advance(10_000)
    // The answers to PINGs come with the answer to this.
    failed.push(...(await attempt(dial, 1)).failed)
    if (second % 100 === 0) {
      const attempts = await attempt(() => mesh.connect(denied, server.ip, 9000), 1)
      refused += attempts.failed.length
    }
  }
  assert.deepEqual(failed, [])
  assert.equal(refused, 36, 'the last policy stays in force')
  assert.deepEqual(await moving(), [])
  resources.policies.set('default/p', policy(ALLOW))
  await controlPlane.start(xdsPort)
  const end = Date.now() + 20_000
  while ((await attempt(dial, 1)).failed.length === 0) {
    assert.ok(Date.now() < end, 'the new policy arrives')
    clock.advance(1_000)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.deepEqual((await attempt(() => mesh.connect(denied, server.ip, 9000), 3)).failed, [])
  await mesh.close()
  await controlPlane.stop()
})

describe('a node proxy short of memory and files', { skip }, () => {
  const stalledConnections = soak ? 200 : 40
  const stalledBytesMax = 6 << 20
  let mesh: ProcessMesh
  let client: TestPod
  let server: TestPod

  before(async () => {
    mesh = await ProcessMesh.create()
    const { network } = mesh
    client = await network.addPod('client')
    server = await network.addPod('server')
    for (const pod of [client, server]) {
      await network.enrol(pod)
      mesh.resources.addresses.set(pod.name, podAddress(pod))
    }
    mesh.controlPlane.push(typeUrl.address)
    await network.serve(server, 9000, (socket) => socket.pipe(socket))
    await network.serve(server, 9001, (socket) => void socket.pause())
    assert.deepEqual((await attempt(dial, 20)).failed, [])
  })
  after(() => mesh?.close())

  const dial = (): Promise<net.Socket> => mesh.network.connect(client, server.ip, 9000)

  test(`${stalledConnections} readers that read nothing: what is held for each is bounded, others are served`, async () => {
    const rssBefore = mesh.rss()
    const sockets: net.Socket[] = []
    for (let index = 0; index < stalledConnections; index++) {
      const socket = await mesh.network.connect(client, server.ip, 9001)
      socket.on('error', () => {})
      const chunk = Buffer.alloc(64 << 10)
      const push = (): void => {
        while (socket.write(chunk));
      }
      socket.on('drain', push)
      push()
      sockets.push(socket)
    }
    let taken = 0
    for (let last = -1; taken !== last; ) {
      last = taken
      await new Promise((resolve) => setTimeout(resolve, 500))
      taken = sockets.reduce(
        (sum, { bytesWritten, writableLength }) => sum + bytesWritten - writableLength,
        0,
      )
    }
    const held = (mesh.rss() - rssBefore) / stalledConnections
    process.stdout.write(
      `slow readers: ${(held / 1024).toFixed(0)} KiB held for each, ${(taken / stalledConnections / 1024).toFixed(0)} KiB taken from each writer\n`,
    )
    assert.ok(held < stalledBytesMax, `${held} bytes held for each`)
    const startedAt = performance.now()
    assert.deepEqual((await attempt(dial, 50)).failed, [])
    assert.ok(performance.now() - startedAt < 5_000, 'others are served at once')
    for (const socket of sockets) socket.destroy()
    assert.deepEqual((await attempt(dial, 20)).failed, [])
  })

  test('a full file table: the process lives, refuses, and serves again when there is room', async () => {
    const limit = async (files: number): Promise<void> => {
      const args = ['--pid', String(mesh.pid), `--nofile=${files}:20000`]
      const result = await runTool({ path: 'prlimit', args, timeoutMs: 5_000 })
      assert.equal(result.code, 0, result.stderr)
    }
    const kept = await connected(await dial())
    await limit(mesh.openFiles() + 6)
    const crowd = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const socket = await dial().catch(() => undefined)
        socket?.on('error', () => {}).write('x')
        return socket
      }),
    )
    await new Promise((resolve) => setTimeout(resolve, 300))
    kept.write('y')
    assert.equal(String((await once(kept, 'data'))[0]), 'y')
    for (const socket of crowd) socket?.destroy()
    await limit(10_000)
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.deepEqual((await attempt(dial, 20)).failed, [])
    kept.end('z')
    assert.equal((await readAll(kept)).toString(), 'z')
    assert.equal(mesh.child.exitCode, null)
  })
})
