/** Several registries at once, in one process and in several: each has its own objects, and nobody shares a file. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { MeshError, silentLogger, systemClock } from '../../src/base/index.ts'
import { createKubeClient, type KubeClient, kubeconfigOptions } from '../../src/client/index.ts'
import { isApiError, resources } from '../../src/kube/index.ts'
import { createRegistry, type RegistryOptions } from '../../src/registry/index.ts'
import { RegistryChild } from './registry-child.ts'

const home = mkdtempSync(join(tmpdir(), 'weft-side-'))
after(() => rmSync(home, { recursive: true, force: true }))

interface Served {
  readonly client: KubeClient
  stop(): Promise<void>
}

const clientOf = (path: string) => createKubeClient(kubeconfigOptions(path, systemClock))

async function serve(name: string, more: Partial<RegistryOptions> = {}): Promise<Served> {
  const dir = join(home, name)
  const registry = createRegistry({
    dir,
    name,
    clock: systemClock,
    logger: silentLogger,
    version: '0.0.0',
    ...more,
  })
  const listener = createServer()
  registry.attach(listener)
  await registry.start()
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as AddressInfo
  await registry.writeKubeconfig(join(dir, 'kubeconfig'), `https://127.0.0.1:${port}`)
  const client = clientOf(join(dir, 'kubeconfig'))
  const stop = async (): Promise<void> => {
    client.close()
    listener.close()
    await registry.stop(100)
  }
  return { client, stop }
}

async function createMap(client: KubeClient, name: string, value = ''): Promise<void> {
  await client.create(resources.configmaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'default' },
    data: { value },
  } as never)
}

async function mapNames(client: KubeClient): Promise<string[]> {
  const { items } = await client.list(resources.configmaps, { namespace: 'default' })
  return items.map(({ metadata }) => metadata.name)
}

test('registries in one process keep their objects, authorities and ends apart', async () => {
  const names = ['one', 'two', 'three']
  const served = await Promise.all(names.map((name) => serve(name)))
  await Promise.all(
    served.flatMap(({ client }, index) =>
      Array.from({ length: 20 }, (_, round) => createMap(client, `${names[index]}-${round}`)),
    ),
  )
  for (const [index, { client }] of served.entries()) {
    const found = await mapNames(client)
    assert.equal(found.length, 20)
    assert.ok(found.every((name) => name.startsWith(`${names[index]}-`)))
  }
  const [first, second, third] = served as [Served, Served, Served]
  await first.stop()
  await createMap(second.client, 'later')
  const again = await serve('one')
  assert.equal((await mapNames(again.client)).length, 20)
  await Promise.all([again.stop(), second.stop(), third.stop()])
})

test('registries in several processes run side by side, but never on one directory', async () => {
  const dirs = ['a', 'b'].map((name) => join(home, name))
  const children = await Promise.all(dirs.map((dir) => RegistryChild.start(dir)))
  const [first, second] = children as [RegistryChild, RegistryChild]
  const clients = children.map(({ ready }) => clientOf(ready.kubeconfig))
  try {
    await Promise.all(clients.map((client, index) => createMap(client, `of-${index}`)))
    assert.deepEqual(await mapNames(clients[0] as KubeClient), ['of-0'])
    assert.deepEqual(await mapNames(clients[1] as KubeClient), ['of-1'])
    const held = new RegExp(`a/registry\\.db is in use by process ${first.pid}\\n.*--name`)
    await assert.rejects(RegistryChild.start(dirs[0] as string), held)
    const error = await serve('b').then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof MeshError)
    assert.match(error.message, new RegExp(`in use by process ${second.pid}`))
    await first.stop('SIGKILL')
    const heir = await RegistryChild.start(dirs[0] as string)
    const client = clientOf(heir.ready.kubeconfig)
    assert.deepEqual(await mapNames(client), ['of-0'])
    client.close()
    await heir.stop()
  } finally {
    for (const client of clients) client.close()
    await Promise.all(children.map((child) => child.stop()))
  }
})

test('a full registry says InsufficientStorage, reads and deletions go on', async () => {
  const { client, stop } = await serve('full', { stateBytesMax: 1_000_000 })
  const refused = await (async () => {
    for (let index = 0; ; index++) await createMap(client, `m-${index}`, 'x'.repeat(100_000))
  })().catch((error: unknown) => error)
  assert.ok(isApiError(refused, 'InsufficientStorage'), String(refused))
  assert.equal(refused.status.code, 507)
  assert.match(
    refused.status.message ?? '',
    /the registry is full: .* 1000000 bytes.*Delete objects/,
  )
  const found = await mapNames(client)
  assert.ok(found.length > 3 && found.length < 10)
  await client.delete(resources.configmaps, 'default', 'm-0')
  await createMap(client, 'fits-again', 'x'.repeat(90_000))
  await stop()
})
