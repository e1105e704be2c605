import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { FakeClock, silentLogger } from '../../base/index.ts'
import type { KubeClient } from '../../client/index.ts'
import { PayloadWriter } from './payload.ts'
import { PodTokens } from './tokens.ts'
import type { DataObject, Pod, Volume } from './types.ts'
import { PodVolumes } from './volumes.ts'

const base = mkdtempSync(join(tmpdir(), 'weft-volumes-'))
after(() => rmSync(base, { recursive: true }))

const clock = new FakeClock()
let issued = 0
let refuse = false
/** Answers token requests as the registry does: one hour. */
const client = {
  createSubresource: async (
    _gvr: unknown,
    namespace: string,
    name: string,
    _sub: string,
    body: unknown,
  ) => {
    if (refuse) throw new Error('no server')
    const { audiences, boundObjectRef } = (
      body as { spec: { audiences: string[]; boundObjectRef: { uid: string } } }
    ).spec
    const expirationTimestamp = new Date(clock.now() + 3_600_000).toISOString()
    return {
      status: {
        token: `${namespace}/${name}/${audiences.join()}/${boundObjectRef.uid}/${++issued}`,
        expirationTimestamp,
      },
    }
  },
} as unknown as KubeClient

let settings: DataObject | undefined = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'settings' },
  data: { a: '1', b: '2' },
}

function volumesOf(
  volumes: Volume[],
  allowHostPaths: string[] = [],
): { volumes: PodVolumes; pod: Pod } {
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'ns', uid: 'u' },
    spec: { containers: [], volumes, serviceAccountName: 'robot' },
  }
  const folder = mkdtempSync(join(base, 'pod-'))
  const made = new PodVolumes({
    pod,
    sources: { configMap: async () => settings, secret: async () => undefined },
    tokens: new PodTokens(client, clock),
    addresses: () => ({ podIp: '10.0.0.9', hostIp: '10.0.0.1' }),
    runFolder: join(folder, 'run'),
    stateFolder: join(folder, 'state'),
    owner: undefined,
    allowHostPaths,
    logger: silentLogger,
  })
  return { volumes: made, pod }
}

async function pathOf(volume: Volume, allow: string[] = []): Promise<string> {
  const prepared = await volumesOf([volume], allow).volumes.prepare()
  return prepared.get(volume.name)?.hostPath ?? assert.fail('not made')
}

test('a payload changes as a whole, through one link', async () => {
  const folder = join(base, 'payload')
  const writer = new PayloadWriter(folder, undefined)
  const file = (text: string) => ({ content: Buffer.from(text), mode: 0o644 })
  assert.equal(
    await writer.write(
      new Map([
        ['a', file('1')],
        ['d/b', file('2')],
      ]),
    ),
    true,
  )
  const first = readlinkSync(join(folder, '..data'))
  assert.equal(
    await writer.write(
      new Map([
        ['a', file('1')],
        ['d/b', file('2')],
      ]),
    ),
    false,
  )
  assert.equal(await writer.write(new Map([['a', file('9')]])), true)
  assert.equal(readFileSync(join(folder, 'a'), 'utf8'), '9')
  assert.notEqual(readlinkSync(join(folder, '..data')), first)
  assert.equal(statSync(join(folder, 'd'), { throwIfNoEntry: false }), undefined)
  for (const bad of ['../x', '/x', 'a/../../x', '']) {
    await assert.rejects(writer.write(new Map([[bad, file('')]])), /items\[\]\.path/)
  }
})

test('items choose keys and modes; a key that is missing is named', async () => {
  const path = await pathOf({
    name: 'v',
    configMap: { name: 'settings', items: [{ key: 'b', path: 'deep/two', mode: 0o400 }] },
  })
  assert.equal(readFileSync(join(path, 'deep/two'), 'utf8'), '2')
  assert.equal(statSync(join(path, 'deep/two')).mode & 0o777, 0o400)
  assert.equal(statSync(join(path, 'a'), { throwIfNoEntry: false }), undefined)
  await assert.rejects(
    pathOf({ name: 'v', configMap: { name: 'settings', items: [{ key: 'z', path: 'z' }] } }),
    /no key "z"/,
  )
  await assert.rejects(
    pathOf({ name: 'v', secret: { secretName: 'gone' } }),
    /secret "gone" not found/,
  )
  await pathOf({ name: 'v', secret: { secretName: 'gone', optional: true } })
  await assert.rejects(pathOf({ name: 'v', nfs: {} }), /kind "nfs" is not supported/)
})

test('a token is bound to the pod, renewed at 80 % of its life, and kept while the server is away', async () => {
  const { volumes, pod } = volumesOf([
    {
      name: 't',
      projected: { sources: [{ serviceAccountToken: { path: 'token', audience: 'istio-ca' } }] },
    },
  ])
  const path = join((await volumes.prepare()).get('t')?.hostPath ?? '', 'token')
  const read = (): string => readFileSync(path, 'utf8')
  const first = read()
  assert.match(first, /^ns\/robot\/istio-ca\/u\/\d+$/)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  clock.advance(0.79 * 3_600_000)
  await volumes.refresh(pod)
  assert.equal(read(), first)
  clock.advance(0.02 * 3_600_000)
  refuse = true
  await volumes.refresh(pod)
  assert.equal(read(), first)
  refuse = false
  await volumes.refresh(pod)
  assert.notEqual(read(), first)
})

test('a changed ConfigMap arrives, a deleted one leaves the old content', async () => {
  const { volumes, pod } = volumesOf([{ name: 'v', configMap: { name: 'settings' } }])
  const folder = (await volumes.prepare()).get('v')?.hostPath ?? ''
  const present = settings ?? assert.fail()
  settings = { ...present, data: { a: 'new' } }
  await volumes.refresh(pod)
  assert.equal(readFileSync(join(folder, 'a'), 'utf8'), 'new')
  settings = undefined
  await volumes.refresh(pod)
  assert.equal(readFileSync(join(folder, 'a'), 'utf8'), 'new')
  settings = present
})

test('hostPath stays below the allowed prefixes, links included', async () => {
  const allowed = join(base, 'allowed')
  mkdirSync(join(allowed, 'in'), { recursive: true })
  symlinkSync('/etc', join(allowed, 'out'))
  assert.equal(
    await pathOf({ name: 'h', hostPath: { path: join(allowed, 'in') } }, [allowed]),
    join(allowed, 'in'),
  )
  for (const path of ['/etc', join(allowed, 'out'), `${allowed}-not`, join(allowed, '../x')]) {
    await assert.rejects(pathOf({ name: 'h', hostPath: { path } }, [allowed]), /hostPath/, path)
  }
  await assert.rejects(pathOf({ name: 'h', hostPath: { path: '/etc' } }), {
    hint: /--allow-host-path \/etc/,
  })
  const made = await pathOf(
    { name: 'h', hostPath: { path: join(allowed, 'new'), type: 'DirectoryOrCreate' } },
    [allowed],
  )
  assert.ok(statSync(made).isDirectory())
})
