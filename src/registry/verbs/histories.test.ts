/**
 * Random histories of several writers against the model of history-model.ts. One watch over everything tells
 * the order in which writes happened; every transition, every other watch, list and page must agree with it.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import type { KubeObject } from '../../kube/index.ts'
import { type Reply, TestServer, type TestWatch, type WatchFrame } from '../testing.ts'
import { type Operation, outcome, type State, sorted, stateOf } from './history-model.ts'

const soak = process.env.WEFT_SOAK === '1'
const seed = Number(process.env.WEFT_SEED ?? Date.now() % 2 ** 31)

let server: TestServer
before(async () => {
  server = await new TestServer().start()
})
after(() => server.stop())

/** What happened, as the watch over everything shows it. */
interface Happened {
  readonly type: string
  readonly name: string
  readonly revision: number
  /** For a deletion the last state. */
  readonly state: State
}

const names = ['a', 'b', 'c']
const name = fc.constantFrom(...names)
const manager = fc.constantFrom('x', 'y')
const fieldName = fc.constantFrom('d:k0', 'd:k1', 'd:k2', 'l:sel')
const value = fc.constantFrom('1', '2', '3')
const fields = fc.dictionary(fieldName, value, { maxKeys: 4, noNullPrototype: true })
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ do: fc.constant('create' as const), manager, fields }),
  fc.record({ do: fc.constant('put' as const), manager, fields, stale: fc.boolean() }),
  fc.record({
    do: fc.constant('patch' as const),
    manager,
    changes: fc.dictionary(fieldName, fc.option(value, { nil: undefined }), {
      maxKeys: 3,
      noNullPrototype: true,
    }),
  }),
  fc.record({ do: fc.constant('apply' as const), manager, fields, force: fc.boolean() }),
  fc.record({ do: fc.constant('delete' as const) }),
)
const selector = fc.constantFrom('', 'sel=1', 'sel!=2', '!sel')
const observation = fc.oneof(
  fc.record({ see: fc.constant('watch' as const), selector }),
  fc.record({ see: fc.constant('watchList' as const), selector }),
  fc.record({ see: fc.constant('list' as const), selector }),
  fc.record({ see: fc.constant('page' as const), selector }),
)
const round = fc.record({
  writes: fc.array(fc.tuple(name, operation), { minLength: 1, maxLength: 4 }),
  observe: fc.option(observation, { nil: undefined }),
})
type Observation = typeof observation extends fc.Arbitrary<infer T> ? T : never

const matches = (selected: string, state: State | undefined): boolean => {
  if (state === undefined) return false
  const label = state.fields['l:sel']
  if (selected === 'sel=1') return label === '1'
  if (selected === 'sel!=2') return label !== '2'
  return selected === '' || label === undefined
}

interface Written {
  readonly name: string
  readonly operation: Operation
  readonly reply: Reply
  /** The version that a PUT started from; 0: none. */
  readonly stale: number
  /** The version before a write that was alone, so that its outcome is certain. */
  readonly alone: number | undefined
}

/** One run in a namespace of its own. */
class Run {
  readonly #maps: string
  readonly #all: TestWatch
  readonly #expected: Written[] = []
  readonly #checks: ((history: readonly Happened[]) => Promise<void>)[] = []
  readonly #pages: { selector: string; revision: number; seen: string[]; token: string }[] = []

  private constructor(maps: string, all: TestWatch) {
    this.#maps = maps
    this.#all = all
  }

  static async begin(namespace: string): Promise<Run> {
    await server.send('POST', '/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace },
    })
    const maps = `/api/v1/namespaces/${namespace}/configmaps`
    const { resourceVersion } = (await server.get(maps)).json.metadata
    return new Run(maps, server.watch(`${maps}?watch=true&resourceVersion=${resourceVersion}`))
  }

  async write(target: string, operation: Operation, isAlone: boolean): Promise<void> {
    const { resourceVersion } = (await server.get(`${this.#maps}?limit=1`)).json.metadata
    const stale = operation.do === 'put' ? await this.#revisionFor(target, operation.stale) : 0
    const reply = await this.#send(target, operation, stale)
    assert.ok(reply.code < 500, reply.text)
    const alone = isAlone ? Number(resourceVersion) : undefined
    this.#expected.push({ name: target, operation, reply, stale, alone })
  }

  async #revisionFor(target: string, stale: boolean): Promise<number> {
    const { code, json } = await server.get(`${this.#maps}/${target}`)
    const revision = code === 200 ? Number(json.metadata.resourceVersion) : 0
    return stale && revision > 0 ? revision - 1 : revision
  }

  #send(target: string, operation: Operation, revision: number): Promise<Reply> {
    const path = `${this.#maps}/${target}`
    // An object that nobody owns a field of isn't tracked any further, so each has one that stays.
    const base = operation.do === 'patch' ? {} : { base: 'same' }
    const body = (fields: Readonly<Record<string, string | undefined>>, more: object = {}) => {
      const part = (prefix: string): object =>
        Object.fromEntries(
          Object.entries(fields)
            .filter(([field]) => field.startsWith(prefix))
            .map(([field, text]) => [field.slice(2), text ?? null]),
        )
      // An empty map is a value that an applier owns; here only the fields in it are of interest.
      const labels = part('l:')
      const labelled = Object.keys(labels).length === 0 ? {} : { labels }
      const metadata = { name: target, ...labelled, ...more }
      return { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { ...base, ...part('d:') } }
    }
    const type = (kind: string) => ({ headers: { 'content-type': `application/${kind}` } })
    switch (operation.do) {
      case 'create':
        return server.send(
          'POST',
          `${this.#maps}?fieldManager=${operation.manager}`,
          body(operation.fields),
        )
      case 'put': {
        const more = revision === 0 ? {} : { resourceVersion: String(revision) }
        return server.send(
          'PUT',
          `${path}?fieldManager=${operation.manager}`,
          body(operation.fields, more),
        )
      }
      case 'patch':
        return server.send(
          'PATCH',
          `${path}?fieldManager=${operation.manager}`,
          body(operation.changes),
          type('merge-patch+json'),
        )
      case 'apply': {
        const query = `fieldManager=${operation.manager}&force=${operation.force}`
        return server.send(
          'PATCH',
          `${path}?${query}`,
          body(operation.fields),
          type('apply-patch+yaml'),
        )
      }
      case 'delete':
        return server.send('DELETE', path)
    }
  }

  async observe(what: Observation): Promise<void> {
    const query = what.selector === '' ? '' : `&labelSelector=${encodeURIComponent(what.selector)}`
    switch (what.see) {
      case 'list': {
        const { json } = await server.get(`${this.#maps}?x=1${query}`)
        return this.#checkList(what.selector, Number(json.metadata.resourceVersion), namesOf(json))
      }
      case 'page': {
        const { json } = await server.get(`${this.#maps}?limit=1${query}`)
        const revision = Number(json.metadata.resourceVersion)
        const token = String(json.metadata.continue ?? '')
        this.#pages.push({ selector: what.selector, revision, seen: namesOf(json), token })
        return
      }
      case 'watch': {
        const { resourceVersion } = (await server.get(this.#maps)).json.metadata
        const watch = server.watch(
          `${this.#maps}?watch=true&resourceVersion=${resourceVersion}${query}`,
        )
        this.#checks.push((history) =>
          expectEvents(watch, history, what.selector, Number(resourceVersion)),
        )
        return
      }
      case 'watchList': {
        const watch = server.watch(
          `${this.#maps}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true` +
            `&resourceVersionMatch=NotOlderThan${query}`,
        )
        this.#checks.push((history) => expectWatchList(watch, history, what.selector))
      }
    }
  }

  #checkList(selected: string, revision: number, found: readonly string[]): void {
    this.#checks.push((history) => {
      const expected = [...stateAt(history, revision)]
        .filter(([, { state }]) => matches(selected, state))
        .map(([each, { revision: version }]) => `${each} ${version}`)
      assert.deepEqual(found, expected.toSorted(), `list of "${selected}" at ${revision}`)
      return Promise.resolve()
    })
  }

  /** Reads the next page of every list that is open. */
  async turnPages(): Promise<void> {
    for (const page of this.#pages) {
      if (page.token === '') continue
      const query = `limit=1&continue=${page.token}&labelSelector=${encodeURIComponent(page.selector)}`
      const { code, json, text } = await server.get(`${this.#maps}?${query}`)
      assert.equal(code, 200, text)
      assert.equal(Number(json.metadata.resourceVersion), page.revision)
      page.seen.push(...namesOf(json))
      page.token = String(json.metadata.continue ?? '')
    }
  }

  async end(): Promise<void> {
    while (this.#pages.some(({ token }) => token !== '')) await this.turnPages()
    for (const { selector: selected, revision, seen } of this.#pages) {
      this.#checkList(selected, revision, seen)
    }
    const history = await this.#history()
    this.#checkTransitions(history)
    for (const check of this.#checks) await check(history)
    const { json } = await server.get(this.#maps)
    const last = stateAt(history, Number.POSITIVE_INFINITY)
    for (const item of json.items as WatchFrame['object'][]) {
      assert.deepEqual(stateOf(item), last.get(item.metadata.name)?.state)
    }
    assert.equal((json.items as unknown[]).length, last.size)
  }

  /** Everything that happened: a last write marks the end. */
  async #history(): Promise<Happened[]> {
    const end = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'zz-end' } }
    await server.send('POST', `${this.#maps}?fieldManager=end`, end)
    const history: Happened[] = []
    for (;;) {
      const event = await this.#all.next()
      assert.ok(event, 'the watch over everything has ended')
      history.push(happened(event))
      if (event.object.metadata.name === 'zz-end') break
    }
    this.#all.close()
    const revisions = history.map(({ revision }) => revision)
    assert.deepEqual(
      revisions,
      [...new Set(revisions)].toSorted((a, b) => a - b),
    )
    return history
  }

  /** Each acknowledged write happened once, did what it means, and nothing else happened. */
  #checkTransitions(history: readonly Happened[]): void {
    const unexplained = new Map(history.map((event) => [event.revision, event]))
    const previous = (target: string, revision: number) =>
      stateAt(history, revision - 1).get(target)
    let deletions = 0
    for (const written of this.#expected) {
      const { name: target, operation, reply, stale, alone } = written
      if (alone !== undefined) checkAlone(written, stateAt(history, alone).get(target))
      if (operation.do === 'delete') {
        deletions += reply.code === 200 ? 1 : 0
        continue
      }
      if (reply.code >= 300) {
        this.#checkRefusal(operation, reply)
        continue
      }
      const revision = Number(reply.json.metadata.resourceVersion)
      const event = history.find((each) => each.revision === revision)
      assert.ok(event, `${operation.do} of ${target} answered ${revision}, which never happened`)
      const shown = stateOf(reply.json as unknown as KubeObject)
      assert.deepEqual(shown, event.state, `the answer of ${operation.do} differs from its event`)
      const already = previous(target, revision)
      const made = outcome(already?.state, operation)
      const changed = unexplained.get(revision)
      if (changed !== undefined && sameState(made, shown)) {
        unexplained.delete(revision)
        if (operation.do === 'put' && stale > 0) assert.equal(already?.revision, stale)
        if (operation.do === 'create') assert.equal(already, undefined)
      } else {
        // A write that changes nothing answers with the present version.
        const same = outcome(event.state, operation)
        assert.ok(
          sameState(same, shown),
          `${JSON.stringify(operation)} on ${target} made ${JSON.stringify(shown)} of ${JSON.stringify(already?.state)}`,
        )
      }
    }
    const left = [...unexplained.values()].filter(({ name: each }) => each !== 'zz-end')
    assert.equal(left.filter(({ type }) => type === 'DELETED').length, deletions)
    assert.deepEqual(
      left.filter(({ type }) => type !== 'DELETED'),
      [],
    )
  }

  #checkRefusal(operation: Operation, reply: Reply): void {
    const allowed: Record<Operation['do'], readonly number[]> = {
      create: [409],
      put: [404, 409],
      patch: [404, 409],
      apply: [409],
      delete: [404],
    }
    assert.ok(allowed[operation.do].includes(reply.code), `${operation.do}: ${reply.text}`)
    if (operation.do === 'apply') {
      assert.equal(operation.force, false, reply.text)
      assert.match(String(reply.json.message), /^Apply failed with \d+ conflict/)
    }
  }
}

/** Whether a write that met no other one was accepted or refused as the model says. */
function checkAlone({ operation, reply, stale }: Written, present: Happened | undefined): void {
  const made = outcome(present?.state, operation)
  let code = 200
  if (operation.do === 'create') code = present === undefined ? 201 : 409
  else if (operation.do === 'apply') code = present === undefined ? 201 : 200
  else if (present === undefined) code = 404
  else if (operation.do === 'put' && stale !== 0 && stale !== present.revision) code = 409
  if (made !== undefined && 'conflict' in made) {
    code = 409
    const { causes } = reply.json.details as { causes: { field: string }[] }
    const paths = made.conflict.map((field) =>
      field.replace('d:', '.data.').replace('l:', '.metadata.labels.'),
    )
    assert.deepEqual(causes.map(({ field }) => field).toSorted(), paths.toSorted())
  }
  assert.equal(reply.code, code, `${JSON.stringify(operation)}: ${reply.text}`)
}

function sameState(made: ReturnType<typeof outcome>, shown: State): boolean {
  if (made === undefined || 'conflict' in made) return false
  const text = (state: State): string => JSON.stringify([sorted(state.fields), state.owners])
  return text(made) === text(shown)
}

function happened({ type, object }: WatchFrame): Happened {
  const { name: target, resourceVersion } = object.metadata
  return { type, name: target, revision: Number(resourceVersion), state: stateOf(object) }
}

function stateAt(history: readonly Happened[], revision: number): Map<string, Happened> {
  const state = new Map<string, Happened>()
  for (const event of history) {
    if (event.revision > revision) break
    if (event.type === 'DELETED') state.delete(event.name)
    else state.set(event.name, event)
  }
  return state
}

function namesOf(json: Reply['json']): string[] {
  return (json.items as WatchFrame['object'][]).map(
    ({ metadata }) => `${metadata.name} ${metadata.resourceVersion}`,
  )
}

/** What a watch with a selector must show of a history. */
function eventsAfter(history: readonly Happened[], selected: string, revision: number): string[] {
  return history
    .filter((event) => event.revision > revision)
    .flatMap((event) => {
      const before = stateAt(history, event.revision - 1).get(event.name)?.state
      const was = matches(selected, before)
      const is = event.type !== 'DELETED' && matches(selected, event.state)
      if (!was && !is) return []
      const type = was && is ? 'MODIFIED' : is ? 'ADDED' : 'DELETED'
      return [`${type} ${event.name} ${event.revision}`]
    })
}

const label = ({ type, object }: WatchFrame): string =>
  `${type} ${object.metadata.name} ${object.metadata.resourceVersion}`

async function expectEvents(
  watch: TestWatch,
  history: readonly Happened[],
  selected: string,
  revision: number,
): Promise<void> {
  for (const expected of eventsAfter(history, selected, revision)) {
    const event = await watch.next()
    assert.ok(event, `the watch ended before ${expected}`)
    assert.equal(label(event), expected, `watch of "${selected}" from ${revision}`)
  }
  watch.close()
}

async function expectWatchList(
  watch: TestWatch,
  history: readonly Happened[],
  selected: string,
): Promise<void> {
  const initial: string[] = []
  for (;;) {
    const event = await watch.next()
    assert.ok(event, 'the watch ended before its bookmark')
    if (event.type === 'BOOKMARK') {
      const revision = Number(event.object.metadata.resourceVersion)
      const expected = [...stateAt(history, revision)]
        .filter(([, { state }]) => matches(selected, state))
        .map(([each, { revision: version }]) => `ADDED ${each} ${version}`)
      assert.deepEqual(initial, expected.toSorted(), `initial events of "${selected}"`)
      return expectEvents(watch, history, selected, revision)
    }
    initial.push(label(event))
  }
}

const options = { timeout: soak ? 1_800_000 : 120_000 }

test(`random histories agree with the model (seed ${seed})`, options, async () => {
  let count = 0
  await fc.assert(
    fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 12 }), async (rounds) => {
      const run = await Run.begin(`run-${++count}`)
      for (const { writes, observe } of rounds) {
        const observed = observe === undefined ? Promise.resolve() : run.observe(observe)
        const isAlone = writes.length === 1
        await Promise.all(
          writes.map(([target, operation]) => run.write(target, operation, isAlone)),
        )
        await observed
        await run.turnPages()
      }
      await run.end()
    }),
    { seed, numRuns: soak ? 1_000 : 60, includeErrorInReport: true },
  )
})
