/** Authorization by the node proxy on real connections. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, afterEach, before, describe, test } from 'node:test'
import { expose } from '../../src/metrics/index.ts'
import { security } from '../../src/proto/index.ts'
import { readAll, refusal, TestMesh, type TestPod, until } from './nodeproxy-kit.ts'

const skip = refusal('test/netns/nodeproxy-policy.test.ts')
const { ALLOW, DENY } = security.Action
const { NAMESPACE, WORKLOAD_SELECTOR } = security.Scope

const fromClient = {
  clauses: [
    {
      matches: [
        {
          principals: [
            { matchType: { case: 'exact' as const, value: 'cluster.local/ns/default/sa/client' } },
          ],
        },
      ],
    },
  ],
}

describe('policies of the node proxy', { skip }, () => {
  let mesh: TestMesh
  let client: TestPod
  let other: TestPod
  let server: TestPod
  let outsider: TestPod

  before(async () => {
    mesh = await TestMesh.create()
    client = await mesh.pod('client')
    other = await mesh.pod('other')
    server = await mesh.pod('server')
    outsider = await mesh.pod('outsider', { enrolled: false })
    await mesh.serve(server, 9000, (socket) => socket.pipe(socket))
    await mesh.serve(server, 9001, (socket) => socket.pipe(socket))
  })
  afterEach(() => {
    for (const key of mesh.proxy.store.policies.keys()) mesh.proxy.store.removePolicy(key)
    mesh.announce(server)
  })
  after(() => mesh.close())

  async function works(from: TestPod, port = 9000): Promise<boolean> {
    try {
      const socket = await mesh.connect(from, server.ip, port)
      socket.end('x')
      return (await readAll(socket)).toString() === 'x'
    } catch {
      return false
    }
  }

  test('an ALLOW policy for one principal refuses all others, and says so in log and metrics', async () => {
    mesh.policy({ scope: NAMESPACE, action: ALLOW, rules: [fromClient] })
    const from = mesh.accessLines.length
    assert.equal(await works(client), true)
    assert.equal(await works(other), false)
    assert.equal(await works(outsider), false)
    await until('the denial in the log', () =>
      mesh.accessLines
        .slice(from)
        .some(
          (line) =>
            line.includes('src.workload="other"') &&
            line.includes(
              'error="connection closed due to policy rejection: allow policies exist, but none allowed"',
            ),
        ),
    )
    assert.match(
      expose(mesh.proxy.metrics.families(), 'prometheus'),
      /istio_tcp_connections_failed_total\{reporter="destination",source_workload="other".*response_flags="DENY"/,
    )
  })

  test('a DENY policy by port leaves other ports alone and names itself', async () => {
    const rules = [{ clauses: [{ matches: [{ destinationPorts: [9001] }] }] }]
    mesh.policy({ name: 'no-9001', scope: NAMESPACE, action: DENY, rules })
    const from = mesh.accessLines.length
    assert.equal(await works(client, 9000), true)
    assert.equal(await works(client, 9001), false)
    await until('the denial in the log', () =>
      mesh.accessLines
        .slice(from)
        .some((line) => line.includes('explicitly denied by: default/no-9001"')),
    )
  })

  test('STRICT refuses plaintext from outside the mesh and accepts HBONE', async () => {
    assert.equal(await works(outsider), true)
    mesh.policy({
      name: 'istio_converted_static_strict',
      namespace: 'istio-system',
      scope: WORKLOAD_SELECTOR,
      action: DENY,
      rules: [
        {
          clauses: [
            { matches: [{ notPrincipals: [{ matchType: { case: 'presence', value: {} } }] }] },
          ],
        },
      ],
    })
    assert.equal(await works(outsider), true, 'the workload does not list it yet')
    mesh.announce(server, {
      authorizationPolicies: ['istio-system/istio_converted_static_strict'],
    })
    assert.equal(await works(outsider), false)
    assert.equal(await works(client), true)
  })

  test('a policy change closes live connections that it denies, within a second, and no others', async () => {
    const denied = await mesh.connect(other, server.ip, 9000)
    const plain = await mesh.connect(outsider, server.ip, 9000)
    const allowed = await mesh.connect(client, server.ip, 9000)
    for (const socket of [denied, plain, allowed]) {
      socket.write('x')
      await once(socket, 'data')
    }
    const from = mesh.accessLines.length
    const closed = Promise.all([once(denied, 'error'), once(plain, 'error')])
    const startedAt = Date.now()
    mesh.policy({ scope: NAMESPACE, action: ALLOW, rules: [fromClient] })
    await closed
    assert.ok(Date.now() - startedAt < 1000)
    allowed.end('y')
    assert.equal((await readAll(allowed)).toString(), 'y')
    await until('the reason in the log', () =>
      mesh.accessLines
        .slice(from)
        .some((line) => line.includes('error="connection closed due to policy change"')),
    )
  })

  test('a workload that comes to list a policy is judged by it at once', async () => {
    mesh.policy({ name: 'deny-all', scope: WORKLOAD_SELECTOR, action: DENY, rules: [{}] })
    const socket = await mesh.connect(client, server.ip, 9000)
    socket.write('x')
    await once(socket, 'data')
    const closed = once(socket, 'error')
    mesh.announce(server, { authorizationPolicies: ['default/deny-all'] })
    await closed
  })

  test('a dry-run policy only says in the log what it would do', async () => {
    mesh.policy({ name: 'try', scope: NAMESPACE, action: DENY, dryRun: true, rules: [{}] })
    assert.equal(await works(client), true)
  })
})
