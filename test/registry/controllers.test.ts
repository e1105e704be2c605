/** The controllers against the real registry, over HTTPS, with a test in the role of the kubelet. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Component, silentLogger, systemClock } from '../../src/base/index.ts'
import { type ClosableKubeClient, createKubeClient } from '../../src/client/index.ts'
import { createControllers } from '../../src/controllers/index.ts'
import { type KubeObject, resources } from '../../src/kube/index.ts'
import { createRegistry, type Registry } from '../../src/registry/index.ts'

// Objects of many kinds, looked into by path.
type Loose = KubeObject<Record<string, unknown>, Record<string, unknown>>

describe('controllers', () => {
  let folder: string
  let registry: Registry
  let server: Server
  let client: ClosableKubeClient
  let controllers: Component

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'weft-controllers-'))
    registry = createRegistry({
      dir: folder,
      clock: systemClock,
      logger: silentLogger,
      version: '0.0.0',
      name: 'test',
    })
    await registry.start()
    server = createServer()
    registry.attach(server)
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const { port } = server.address() as { port: number }
    client = createKubeClient({
      server: `https://127.0.0.1:${port}`,
      caPem: () => registry.caCertificatePem,
      certificate: () => registry.adminCredentials,
      clock: systemClock,
    })
    controllers = createControllers({
      client,
      clock: systemClock,
      logger: silentLogger,
      caPem: registry.caCertificatePem,
    })
    await controllers.start()
  })

  after(async () => {
    await controllers?.stop()
    client?.close()
    await registry?.stop()
    server?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + 8_000
    for (;;) {
      try {
        return await attempt()
      } catch (error) {
        if (performance.now() > deadline) throw error
        await new Promise((done) => setTimeout(done, 20))
      }
    }
  }

  const podsOf = async (namespace: string, app: string): Promise<Loose[]> =>
    (
      await client.list<Loose>(resources.pods, { namespace, labelSelector: `app=${app}` })
    ).items.filter((pod) => pod.metadata.deletionTimestamp === undefined)

  async function makeReady(pod: Loose, ip: string): Promise<void> {
    const now = new Date().toISOString()
    await client.patch(
      resources.pods,
      pod.metadata.namespace,
      pod.metadata.name,
      'merge',
      {
        status: {
          phase: 'Running',
          podIP: ip,
          podIPs: [{ ip }],
          conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: now }],
        },
      },
      { subresource: 'status' },
    )
  }

  const deployment = (name: string, image: string, replicas = 2) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default' },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: { containers: [{ name: 'c', image, ports: [{ name: 'web', containerPort: 8080 }] }] },
      },
    },
  })

  test('a deployment makes pods, follows their readiness, and rolls to a new template without a gap', async () => {
    await client.create(resources.deployments, deployment('web', 'one:1'))
    const first = await eventually(async () => {
      const pods = await podsOf('default', 'web')
      assert.equal(pods.length, 2)
      return pods
    })
    await Promise.all(first.map((pod, index) => makeReady(pod, `10.244.1.${index + 1}`)))
    await eventually(async () => {
      const status = (await client.get<Loose>(resources.deployments, 'default', 'web'))?.status
      assert.equal(status?.availableReplicas, 2)
      const conditions = status.conditions as { type: string; status: string; reason: string }[]
      assert.equal(
        conditions.find((c) => c.type === 'Progressing')?.reason,
        'NewReplicaSetAvailable',
      )
    })
    await client.patch(resources.deployments, 'default', 'web', 'merge', {
      spec: { template: { spec: { containers: [{ name: 'c', image: 'two:1' }] } } },
    })
    // Kubernetes' defaults for two replicas: one more at a time, none unavailable.
    let most = 0
    let ip = 10
    const done = await eventually(async () => {
      const pods = await podsOf('default', 'web')
      most = Math.max(most, pods.length)
      const image = (pod: Loose): string =>
        (pod.spec?.containers as { image: string }[] | undefined)?.[0]?.image ?? ''
      const fresh = pods.filter((pod) => image(pod) === 'two:1')
      const ready = pods.filter((pod) => JSON.stringify(pod.status).includes('"Ready"'))
      assert.ok(ready.length >= 2, 'fewer than two pods were ready')
      const waiting = fresh.find((pod) => !JSON.stringify(pod.status).includes('"Ready"'))
      if (waiting !== undefined) await makeReady(waiting, `10.244.1.${ip++}`)
      assert.deepEqual(pods.map(image), ['two:1', 'two:1'])
      return pods
    })
    assert.equal(done.length, 2)
    assert.ok(most <= 3, `there were ${most} pods at once`)
    const sets = await client.list<Loose>(resources.replicasets, {
      namespace: 'default',
      labelSelector: 'app=web',
    })
    const revisions = sets.items.map(
      (set) => set.metadata.annotations?.['deployment.kubernetes.io/revision'],
    )
    assert.deepEqual(new Set(revisions), new Set(['1', '2']))
  })

  test('a deleted pod is replaced, and scaling down removes the ones that are not ready first', async () => {
    await client.create(resources.deployments, deployment('heal', 'one:1', 3))
    const pods = await eventually(async () => {
      const found = await podsOf('default', 'heal')
      assert.equal(found.length, 3)
      return found
    })
    const [first, second] = pods
    assert.ok(first && second)
    await client.delete(resources.pods, 'default', first.metadata.name, { gracePeriodSeconds: 0 })
    await eventually(async () => {
      const names = (await podsOf('default', 'heal')).map((pod) => pod.metadata.name)
      assert.equal(names.length, 3)
      assert.ok(!names.includes(first.metadata.name))
    })
    await makeReady(second, '10.244.2.1')
    await client.patch(resources.deployments, 'default', 'heal', 'merge', { spec: { replicas: 1 } })
    await eventually(async () => {
      const names = (await podsOf('default', 'heal')).map((pod) => pod.metadata.name)
      assert.deepEqual(names, [second.metadata.name])
    })
  })

  test('endpoints follow readiness, and a named port is resolved in each pod', async () => {
    await client.create(resources.deployments, deployment('backend', 'one:1'))
    await client.create(resources.services, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'backend', namespace: 'default' },
      spec: {
        selector: { app: 'backend' },
        ports: [{ name: 'http', port: 80, targetPort: 'web' }],
      },
    } as KubeObject)
    const pods = await eventually(async () => {
      const found = await podsOf('default', 'backend')
      assert.equal(found.length, 2)
      return found
    })
    await Promise.all(pods.map((pod, index) => makeReady(pod, `10.244.3.${index + 1}`)))
    await eventually(async () => {
      const { items } = await client.list(resources.endpointslices, {
        namespace: 'default',
        labelSelector: 'kubernetes.io/service-name=backend',
      })
      assert.equal(items.length, 1)
      const slice = items[0] as unknown as {
        ports: { port: number; name: string }[]
        endpoints: { addresses: string[]; conditions: { ready: boolean } }[]
      }
      assert.deepEqual(
        slice.ports.map((port) => [port.name, port.port]),
        [['http', 8080]],
      )
      assert.deepEqual(
        new Set(slice.endpoints.map((entry) => entry.addresses[0])),
        new Set(['10.244.3.1', '10.244.3.2']),
      )
      assert.ok(slice.endpoints.every((entry) => entry.conditions.ready))
    })
  })

  test('a daemon set runs one pod on the node and replaces it when its template changes', async () => {
    await client.create(resources.nodes, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'weft' },
    })
    const template = (image: string) => ({
      metadata: { labels: { app: 'agent' } },
      spec: { containers: [{ name: 'c', image }] },
    })
    await client.create(resources.daemonsets, {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'agent', namespace: 'default' },
      spec: { selector: { matchLabels: { app: 'agent' } }, template: template('one:1') },
    })
    const [pod] = await eventually(async () => {
      const pods = await podsOf('default', 'agent')
      assert.equal(pods.length, 1)
      return pods
    })
    assert.equal(pod?.spec?.nodeName, 'weft')
    await client.patch(resources.daemonsets, 'default', 'agent', 'merge', {
      spec: { template: template('two:1') },
    })
    await eventually(async () => {
      // The kubelet's part: a deleted pod goes when its processes are gone.
      for (const old of (await client.list<Loose>(resources.pods, { namespace: 'default' }))
        .items) {
        if (old.metadata.deletionTimestamp !== undefined) {
          await client.delete(resources.pods, 'default', old.metadata.name, {
            gracePeriodSeconds: 0,
          })
        }
      }
      const pods = await podsOf('default', 'agent')
      assert.equal(
        (pods[0]?.spec?.containers as { image: string }[] | undefined)?.[0]?.image,
        'two:1',
      )
    })
  })

  const owned = (name: string, owner: KubeObject): KubeObject => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name,
      namespace: 'default',
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          name: owner.metadata.name,
          uid: owner.metadata.uid ?? '',
          blockOwnerDeletion: true,
        },
      ],
    },
  })
  const configMap = (name: string): KubeObject => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'default' },
  })

  for (const [propagationPolicy, survives] of [
    ['Background', false],
    ['Foreground', false],
    ['Orphan', true],
  ] as const) {
    test(`deleting an owner (${propagationPolicy}) ${survives ? 'keeps' : 'removes'} what it owned`, async () => {
      const name = `owner-${propagationPolicy.toLowerCase()}`
      const owner = await client.create(resources.configmaps, configMap(name))
      await client.create(resources.configmaps, owned(`${name}-child`, owner))
      await client.delete(resources.configmaps, 'default', name, { propagationPolicy })
      await eventually(async () => {
        assert.equal(await client.get(resources.configmaps, 'default', name), undefined)
        const child = await client.get(resources.configmaps, 'default', `${name}-child`)
        assert.equal(child !== undefined, survives)
        assert.equal(child?.metadata.ownerReferences, undefined)
      })
    })
  }

  test('a deleted namespace goes with its content, and a new one has its account and root', async () => {
    await client.create(resources.namespaces, {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'brief' },
    })
    await eventually(async () => {
      assert.ok(await client.get(resources.serviceaccounts, 'brief', 'default'))
      const root = await client.get<KubeObject & { data: Record<string, string> }>(
        resources.configmaps,
        'brief',
        'kube-root-ca.crt',
      )
      assert.equal(root?.data['ca.crt'], registry.caCertificatePem)
    })
    await client.create(resources.deployments, {
      ...deployment('inside', 'one:1'),
      metadata: { name: 'inside', namespace: 'brief' },
    })
    await eventually(async () => assert.equal((await podsOf('brief', 'inside')).length, 2))
    await client.delete(resources.namespaces, undefined, 'brief')
    await eventually(async () => {
      assert.equal(await client.get(resources.namespaces, undefined, 'brief'), undefined)
      assert.equal((await podsOf('brief', 'inside')).length, 0)
    })
  })
})
