import assert from 'node:assert/strict'
import { after as afterAll, before, describe, test } from 'node:test'
import { systemClock } from '../base/index.ts'
import { TestServer } from './testing.ts'
import type { JsonMap } from './values.ts'

const maps = '/api/v1/namespaces/default/configmaps'
const merge = { headers: { 'content-type': 'application/merge-patch+json' } }

describe('lists and watches', () => {
  let server: TestServer
  before(async () => {
    // Waits pass ten times as fast.
    const after: typeof systemClock.after = (ms, callback, options) =>
      systemClock.after(ms / 10, callback, options)
    server = await new TestServer({ clock: { ...systemClock, after } }).start()
  })
  afterAll(() => server.stop())

  const version = async (): Promise<string> =>
    (await server.get(maps)).json.metadata.resourceVersion
  const names = (reply: { json: JsonMap }): unknown[] =>
    (reply.json.items as { metadata: { name: string } }[]).map(({ metadata }) => metadata.name)

  test('pages show one state although objects come and go meanwhile', async () => {
    for (const name of ['pa', 'pb', 'pc', 'pd', 'pe'])
      await server.configMap(name, {}, { labels: { page: 'x' } })
    const first = await server.get(`${maps}?limit=2&labelSelector=page`)
    assert.deepEqual(names(first), ['pa', 'pb'])
    await server.send('DELETE', `${maps}/pd`)
    await server.configMap('pcc', {}, { labels: { page: 'x' } })
    const { continue: token } = first.json.metadata
    const second = await server.get(`${maps}?limit=2&labelSelector=page&continue=${String(token)}`)
    assert.deepEqual(names(second), ['pc', 'pd'])
    assert.equal(second.json.metadata.resourceVersion, first.json.metadata.resourceVersion)
    const third = await server.get(
      `${maps}?labelSelector=page&continue=${String(second.json.metadata.continue)}`,
    )
    assert.deepEqual(names(third), ['pe'])
    assert.equal(third.json.metadata.continue, undefined)
  })

  test('remainingItemCount counts what is left, unless a selector makes it unknown', async () => {
    const plain = await server.get(`${maps}?limit=1`)
    const all = await server.get(maps)
    assert.equal(plain.json.metadata.remainingItemCount, names(all).length - 1)
    assert.equal(
      (await server.get(`${maps}?limit=1&labelSelector=page`)).json.metadata.remainingItemCount,
      undefined,
    )
  })

  test('an exact version shows the past, a future one is waited for and then refused', async () => {
    await server.configMap('past', { v: '1' })
    const then = await version()
    await server.send('PATCH', `${maps}/past`, { data: { v: '2' } }, merge)
    const exact = await server.get(`${maps}?resourceVersion=${then}&resourceVersionMatch=Exact`)
    const found = (exact.json.items as { metadata: { name: string }; data: JsonMap }[]).find(
      ({ metadata }) => metadata.name === 'past',
    )
    assert.equal(found?.data.v, '1')
    const coming = server.get(`${maps}?resourceVersion=${Number(await version()) + 1}`)
    await server.configMap('coming')
    assert.ok(names(await coming).includes('coming'))
    const never = await server.get(`${maps}?resourceVersion=999999`)
    assert.equal(never.code, 504)
    assert.match(String(never.json.message), /Too large resource version: 999999, current: \d+/)
    const refused = await server.get(`${maps}?resourceVersionMatch=Exact`)
    assert.equal(refused.code, 422)
  })

  test('field selectors match known fields and name the others', async () => {
    assert.deepEqual(names(await server.get(`${maps}?fieldSelector=metadata.name%3Dpast`)), [
      'past',
    ])
    const unknown = await server.get(`${maps}?fieldSelector=data.x%3D1`)
    assert.equal(unknown.code, 400)
    assert.match(
      String(unknown.json.message),
      /"data\.x" is not a known field selector: only "metadata\.name", "metadata\.namespace"/,
    )
    assert.equal((await server.get(`${maps}?labelSelector=a%20in%20x`)).code, 400)
  })

  test('a watch from a version gets what happened since, in order, then live events', async () => {
    const from = await version()
    await server.configMap('w1')
    await server.send('PATCH', `${maps}/w1`, { data: { a: '1' } }, merge)
    const watch = server.watch(`${maps}?watch=true&resourceVersion=${from}`)
    assert.deepEqual(await watch.take(2), ['ADDED w1', 'MODIFIED w1'])
    await server.send('DELETE', `${maps}/w1`)
    const event = await watch.next()
    assert.equal(event?.type, 'DELETED')
    assert.ok(Number(event.object.metadata.resourceVersion) > Number(from) + 2)
    watch.close()
  })

  test('an object that enters or leaves the selector is ADDED or DELETED', async () => {
    const watch = server.watch(
      `${maps}?watch=1&labelSelector=on%3Dyes&resourceVersion=${await version()}`,
    )
    await server.configMap('moves')
    await server.send('PATCH', `${maps}/moves`, { metadata: { labels: { on: 'yes' } } }, merge)
    await server.send('PATCH', `${maps}/moves`, { data: { a: '1' } }, merge)
    await server.send('PATCH', `${maps}/moves`, { metadata: { labels: { on: 'no' } } }, merge)
    assert.deepEqual(await watch.take(3), ['ADDED moves', 'MODIFIED moves', 'DELETED moves'])
    watch.close()
  })

  test('WatchList sends the present state, then the bookmark that ends it, then live events', async () => {
    await server.configMap('wl', {}, { labels: { wl: 'x' } })
    const query =
      'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true'
    const watch = server.watch(`${maps}?${query}&labelSelector=wl`)
    assert.deepEqual(await watch.take(1), ['ADDED wl'])
    const mark = await watch.next()
    assert.equal(mark?.type, 'BOOKMARK')
    assert.equal(mark.object.metadata.annotations?.['k8s.io/initial-events-end'], 'true')
    assert.equal(mark.object.metadata.resourceVersion, await version())
    await server.configMap('wl2', {}, { labels: { wl: 'x' } })
    assert.deepEqual(await watch.take(1), ['ADDED wl2'])
    watch.close()
    const refused = await server.get(`${maps}?watch=true&sendInitialEvents=true`)
    assert.equal(refused.code, 422)
  })

  test('a watch ends cleanly after timeoutSeconds, with a bookmark', async () => {
    const watch = server.watch(
      `${maps}?watch=1&resourceVersion=${await version()}&timeoutSeconds=1&allowWatchBookmarks=true`,
    )
    assert.equal((await watch.next())?.type, 'BOOKMARK')
    assert.equal(await watch.next(), undefined)
  })

  test('a table watch names its columns once', async () => {
    const watch = server.watch(`${maps}?watch=1&resourceVersion=${await version()}`, {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
    })
    await server.configMap('t1')
    await server.configMap('t2')
    const [first, second] = [await watch.next(), await watch.next()]
    assert.ok(Array.isArray(first?.object.columnDefinitions))
    assert.equal(second?.object.columnDefinitions, null)
    watch.close()
  })

  test('a watch that has missed more than its buffer still gets everything, in order', async () => {
    const from = await version()
    await server.configMap('big')
    for (let round = 0; round < 14; round++) {
      const data = { v: `${round} `.repeat(250_000).slice(0, 900_000) }
      assert.equal((await server.send('PATCH', `${maps}/big`, { data }, merge)).code, 200)
    }
    const watch = server.watch(`${maps}?watch=1&resourceVersion=${from}`)
    const seen = await watch.take(1)
    await server.send('PATCH', `${maps}/big`, { data: { v: 'last' } }, merge)
    seen.push(...(await watch.take(15)))
    assert.deepEqual(seen, ['ADDED big', ...Array.from({ length: 15 }, () => 'MODIFIED big')])
    watch.close()
  })

  test('what changes while the present state is being sent comes after its bookmark', async () => {
    const labels = { held: 'x' }
    const large = { v: 'x'.repeat(900_000) }
    for (let index = 0; index < 6; index++)
      await server.configMap(`held-${index}`, large, { labels })
    const query =
      'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true'
    const watch = server.watch(`${maps}?${query}&labelSelector=held`)
    // The client's window is small, so that most of the state is still to be sent now.
    const seen = await watch.take(1)
    await server.send('PATCH', `${maps}/held-0`, { data: { v: 'new' } }, merge)
    seen.push(...(await watch.take(5)))
    assert.deepEqual(
      seen,
      Array.from({ length: 6 }, (_, index) => `ADDED held-${index}`),
    )
    assert.equal((await watch.next())?.type, 'BOOKMARK')
    assert.deepEqual(await watch.take(1), ['MODIFIED held-0'])
    watch.close()
  })

  test('a table and the metadata of objects are cut from what is stored, whatever is in it', async () => {
    const odd = '{"a":"}]\\\\","managedFields":[1]} ü 💥'
    await server.configMap('odd', {}, { annotations: { odd }, labels: { odd: 'x' } })
    const only = `${maps}?labelSelector=odd`
    const kinds = { accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io' }
    const partial = (await server.get(only, kinds)).json.items as { metadata: JsonMap }[]
    const [whole] = (await server.get(only)).json.items as { metadata: JsonMap }[]
    assert.deepEqual(partial[0]?.metadata, whole?.metadata)
    assert.deepEqual(whole?.metadata.annotations, { odd })
    const table = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' }
    for (const [include, expected] of [
      ['Object', whole],
      ['None', null],
      ['Metadata', { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', ...partial[0] }],
    ] as const) {
      const reply = await server.get(`${only}&includeObject=${include}`, table)
      const [row] = reply.json.rows as { cells: unknown[]; object: unknown }[]
      assert.equal(row?.cells[0], 'odd')
      assert.deepEqual(row?.object, expected)
    }
  })

  test('a version from before a restart is too old, and versions go on counting', async () => {
    const dir = server.dir
    await server.configMap('before-restart')
    const last = Number(await version())
    const page = await server.get(`${maps}?limit=2`)
    await server.stop(true)
    server = await new TestServer({ dir }).start()
    assert.equal(Number(await version()), last)
    const watch = server.watch(`${maps}?watch=1&resourceVersion=${last - 1}`)
    const event = await watch.next()
    assert.equal(event?.type, 'ERROR')
    assert.equal((event.object as JsonMap).code, 410)
    assert.equal(await watch.next(), undefined)
    const made = await server.configMap('after-restart')
    const old = await server.get(`${maps}?limit=2&continue=${String(page.json.metadata.continue)}`)
    assert.equal(
      old.code,
      200,
      'nothing is lost while the last version is still the one of the page',
    )
    const token = Buffer.from(
      JSON.stringify({ v: 'meta.k8s.io/v1', rv: last - 2, start: 'default/pc' }),
    )
    const gone = await server.get(`${maps}?continue=${token.toString('base64url')}`)
    assert.equal(gone.json.reason, 'Expired')
    const rest = await server.get(`${maps}?continue=${String(gone.json.metadata.continue)}`)
    assert.equal(names(rest)[0], 'pc')
    assert.equal((await server.get(`${maps}?continue=nonsense`)).code, 400)
    assert.ok(Number(made.metadata.resourceVersion) > last)
  })
})
