/**
 * The JavaScript client of the Kubernetes project, unmodified: informers that survive a 410, apply, watch, logs,
 * exec, and its own dialect of port-forward.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import {
  AppsV1Api,
  Attach,
  CoreV1Api,
  CustomObjectsApi,
  Exec,
  KubeConfig,
  KubernetesObjectApi,
  Log,
  makeInformer,
  PatchStrategy,
  PortForward,
  type V1ConfigMap,
  type V1Status,
  Watch,
} from '@kubernetes/client-node'
import { silentLogger, systemClock } from '../../src/base/index.ts'
import { createRegistry } from '../../src/registry/index.ts'
import { eventually } from './controllers-kit.ts'
import { RegistryHarness } from './harness.ts'

const namespace = 'default'

/** A registry that can be stopped and started again on the same state and port. */
async function serve(
  dir: string,
  port: number,
): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const registry = createRegistry({
    dir,
    name: 'test',
    clock: systemClock,
    logger: silentLogger,
    version: '0.0.0',
  })
  await registry.start()
  const listener = createServer()
  registry.attach(listener)
  await new Promise<void>((resolve) => listener.listen(port, '127.0.0.1', resolve))
  const address = listener.address() as AddressInfo
  await registry.writeKubeconfig(join(dir, 'kubeconfig'), `https://127.0.0.1:${address.port}`)
  return {
    port: address.port,
    async stop() {
      listener.close()
      await registry.stop(0)
    },
  }
}

describe('@kubernetes/client-node', () => {
  let harness: RegistryHarness
  let config: KubeConfig
  let core: CoreV1Api
  before(async () => {
    harness = await RegistryHarness.start('1.35')
    config = new KubeConfig()
    config.loadFromFile(join(harness.dir, 'kubeconfig'))
    core = config.makeApiClient(CoreV1Api)
    await core.createNamespacedServiceAccount({ namespace, body: { metadata: { name: 'web' } } })
    const spec = { serviceAccountName: 'web', containers: [{ name: 'main', image: 'echo' }] }
    await core.createNamespacedPod({ namespace, body: { metadata: { name: 'solo' }, spec } })
  })
  after(() => harness.stop())

  const configMap = (name: string, value: string): V1ConfigMap => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace, labels: { app: 'informed' } },
    data: { value },
  })

  test('typed calls create, read, list, replace and delete; errors carry the Status', async () => {
    await core.createNamespacedConfigMap({ namespace, body: configMap('typed', '1') })
    const read = await core.readNamespacedConfigMap({ namespace, name: 'typed' })
    assert.ok(read.metadata?.creationTimestamp instanceof Date)
    await core.replaceNamespacedConfigMap({
      namespace,
      name: 'typed',
      body: {
        metadata: { name: 'typed', resourceVersion: read.metadata?.resourceVersion ?? '' },
        data: { value: '2' },
      },
    })
    await assert.rejects(
      core.replaceNamespacedConfigMap({ namespace, name: 'typed', body: read }),
      (error: { code?: number; body?: unknown }) =>
        error.code === 409 && /the object has been modified/.test(String(error.body)),
    )
    await core.deleteNamespacedConfigMap({ namespace, name: 'typed' })
    await assert.rejects(core.readNamespacedConfigMap({ namespace, name: 'typed' }), { code: 404 })
    const apps = config.makeApiClient(AppsV1Api)
    assert.deepEqual((await apps.listNamespacedDeployment({ namespace })).items, [])
  })

  test('server-side apply makes objects of any kind, and knows owners', async () => {
    const objects = KubernetesObjectApi.makeApiClient(config)
    const apply = (manager: string, value: string, force: boolean) =>
      objects.patch(
        configMap('applied', value),
        undefined,
        undefined,
        manager,
        force,
        PatchStrategy.ServerSideApply,
      )
    await apply('one', '1', false)
    await assert.rejects(apply('two', '2', false), (error: { code?: number; body?: unknown }) => {
      return error.code === 409 && /conflict with \\?"one\\?"/.test(String(error.body))
    })
    await apply('two', '2', true)
    const { data, metadata } = await core.readNamespacedConfigMap({ namespace, name: 'applied' })
    assert.deepEqual(data, { value: '2' })
    assert.ok(metadata?.managedFields?.some(({ manager }) => manager === 'two'))
    const custom = config.makeApiClient(CustomObjectsApi)
    const policies = { group: 'security.istio.io', version: 'v1', plural: 'authorizationpolicies' }
    await custom.createNamespacedCustomObject({
      ...policies,
      namespace,
      body: {
        apiVersion: 'security.istio.io/v1',
        kind: 'AuthorizationPolicy',
        metadata: { name: 'allow' },
        spec: { action: 'ALLOW' },
      },
    })
    const list = (await custom.listNamespacedCustomObject({ ...policies, namespace })) as {
      items: unknown[]
    }
    assert.equal(list.items.length, 1)
  })

  test('an informer keeps up, and goes on where it stopped', async () => {
    const seen: string[] = []
    const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'app=informed' })
    const path = `/api/v1/namespaces/${namespace}/configmaps`
    const informer = makeInformer(config, path, list, 'app=informed')
    for (const event of ['add', 'update', 'delete'] as const) {
      informer.on(event, (object) => {
        seen.push(`${event} ${object.metadata?.name} ${object.data?.['value']}`)
      })
    }
    await informer.start()
    await core.createNamespacedConfigMap({ namespace, body: configMap('watched', '1') })
    await eventually(() => assert.ok(seen.includes('add watched 1')))
    await core.replaceNamespacedConfigMap({
      namespace,
      name: 'watched',
      body: configMap('watched', '2'),
    })
    await eventually(() => assert.ok(seen.includes('update watched 2')))
    await informer.stop()
    await core.deleteNamespacedConfigMap({ namespace, name: 'watched' })
    await informer.start()
    await eventually(() => assert.ok(seen.includes('delete watched 2')))
    assert.equal(informer.get('watched', namespace), undefined)
    await informer.stop()
  })

  test('an informer lists anew when a restarted registry has forgotten its version', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'weft-informer-'))
    let serving = await serve(dir, 0)
    const { port } = serving
    const local = new KubeConfig()
    local.loadFromFile(join(dir, 'kubeconfig'))
    const api = local.makeApiClient(CoreV1Api)
    let lists = 0
    const list = () => {
      lists++
      return api.listNamespacedConfigMap({ namespace })
    }
    const informer = makeInformer(local, `/api/v1/namespaces/${namespace}/configmaps`, list)
    const broken = new Promise((resolve) => informer.on('error', resolve))
    try {
      await api.createNamespacedConfigMap({ namespace, body: configMap('first', '1') })
      await informer.start()
      assert.deepEqual([lists, informer.get('first', namespace)?.data], [1, { value: '1' }])
      for (const name of ['second', 'third']) {
        await serving.stop()
        serving = await serve(dir, port)
        await api.createNamespacedConfigMap({ namespace, body: configMap(name, '1') })
      }
      await api.deleteNamespacedConfigMap({ namespace, name: 'first' })
      await broken
      await informer.start()
      await eventually(() => {
        assert.equal(lists, 2)
        const names = new Set(informer.list().map(({ metadata }) => metadata?.name))
        assert.deepEqual(names, new Set(['second', 'third']))
      })
    } finally {
      await informer.stop()
      await serving.stop()
      await rm(dir, { recursive: true })
    }
  })

  test('a watch from a version that is forgotten is told 410', async () => {
    const watch = new Watch(config)
    const events: [string, { code?: number; reason?: string }][] = []
    const done = Promise.withResolvers<void>()
    await watch.watch(
      `/api/v1/namespaces/${namespace}/configmaps`,
      { resourceVersion: '1' },
      (phase, object) => events.push([phase, object]),
      () => done.resolve(),
    )
    await done.promise
    const told = events.map(([phase, { code, reason }]) => [phase, code, reason])
    assert.deepEqual(told, [['ERROR', 410, 'Expired']])
  })

  test('exec carries input to its end, both outputs, and the status', async () => {
    const stdin = new PassThrough()
    const [stdout, stderr] = [new PassThrough(), new PassThrough()]
    const [out, err] = [text(stdout), text(stderr)]
    const status = new Promise<V1Status>((resolve, reject) => {
      const command = ['sh', '-c', 'cat; echo oops >&2; exit 3']
      new Exec(config)
        .exec(namespace, 'solo', 'main', command, stdout, stderr, stdin, false, resolve)
        .catch(reject)
    })
    stdin.end('x'.repeat(200_000))
    const { reason, details } = await status
    assert.deepEqual([reason, details?.causes?.[0]?.message], ['NonZeroExitCode', '3'])
    assert.equal((await out).length, 200_000)
    assert.equal(await err, 'oops\n')
  })

  test('attach and log show the output of the container', async () => {
    const shown = new PassThrough()
    const attached = text(shown)
    await new Attach(config).attach(namespace, 'solo', 'main', shown, null, null, false)
    assert.equal(await attached, 'attached\n')
    const log = new PassThrough()
    const logged = text(log)
    await new Log(config).log(namespace, 'solo', 'main', log, { follow: true, tailLines: 1 })
    assert.equal(await logged, 'three\nfour\n')
  })

  test('port-forward in its dialect: data both ways, half-close, and the refusal as text', async () => {
    const upstream = createServer({ allowHalfOpen: true }, (socket) => {
      let size = 0
      socket.on('data', (chunk: Buffer) => (size += chunk.length))
      socket.on('end', () => socket.end(`got ${size}`))
      socket.on('error', () => {})
    })
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
    const { port } = upstream.address() as AddressInfo
    const forward = new PortForward(config)
    const ask = async (target: number, size: number): Promise<[string, string]> => {
      const [output, error, input] = [new PassThrough(), new PassThrough(), new PassThrough()]
      const socket = await forward.portForward(namespace, 'solo', [target], output, error, input)
      assert.ok('onclose' in socket)
      socket.onclose = () => {
        output.end()
        error.end()
      }
      input.end(Buffer.alloc(size, 'a'))
      return Promise.all([text(output), text(error)])
    }
    assert.deepEqual(await ask(port, 1_000_000), ['got 1000000', ''])
    upstream.close()
    await new Promise((resolve) => upstream.once('close', resolve))
    const [, refusal] = await ask(port, 1)
    assert.match(refusal, new RegExp(`error forwarding port ${port}: connect ECONNREFUSED`))
  })
})
