/**
 * Every rule that the definitions of Istio and of the Gateway API carry, on objects which keep it and objects which
 * break it, through a registry's API: it says which field is wrong and why.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { builtinCrds, type CrdObject } from '../../src/schema/index.ts'
import { type Answer, Client, causesOf, collectionOf } from './crd-client.ts'
import { type Case, type Corpus, type Json, placeOf, readCorpus, rulesOf } from './crd-corpus.ts'
import { RegistryHarness } from './harness.ts'

for (const channel of ['standard', 'experimental'] as const) {
  describe(`objects of the ${channel} channel and of Istio`, () => {
    const crds = builtinCrds({ gatewayChannel: channel })
    const corpora = readCorpus(channel)
    let harness: RegistryHarness
    let client: Client

    before(async () => {
      harness = await RegistryHarness.start()
      client = new Client(harness)
      if (channel === 'standard') await installAll(client, crds)
    })
    after(async () => {
      client.close()
      await harness.stop()
    })

    for (const corpus of corpora) {
      test(`[B4] ${corpus.file}: valid objects are taken, the others refused by field`, async () => {
        const run = new CorpusRun(client, definitionOf(crds, corpus), corpus)
        await run.prepare()
        for (const each of corpus.cases) await run.check(each)
      })
    }

    test('each rule of each definition has an object that breaks it', () => {
      const missing: string[] = []
      let count = 0
      for (const crd of crds) {
        const broken = corpora
          .filter((corpus) => definitionOf(crds, corpus) === crd)
          .flatMap(({ cases }) => cases.flatMap(({ refusal }) => refusal ?? []))
          .map(({ field, says }) => ({ path: placeOf(field), says }))
        for (const { path, rule, message } of rulesOf(crd)) {
          count++
          if (isImplied(rule)) continue
          const shown = broken.some((one) => one.path === path && message.includes(one.says))
          if (!shown) missing.push(`${crd.metadata.name} ${path}: ${message} (${rule})`)
        }
      }
      assert.ok(count > (channel === 'standard' ? 300 : 400), String(count))
      assert.deepEqual(missing, [])
    })
  })
}

/** The one rule that no object reaches: the enum of the same field refuses the value before. */
function isImplied(rule: string): boolean {
  return rule === "self.type in ['Exact','PathPrefix'] || self.type == 'RegularExpression'"
}

function definitionOf(crds: readonly CrdObject[], { base }: Corpus): CrdObject {
  const [group] = String(base['apiVersion']).split('/')
  const found = crds.find(({ spec }) => {
    const { group: own, names } = spec as { group: string; names: { kind: string } }
    return own === group && names.kind === base['kind']
  })
  assert.ok(found, `${base['apiVersion']} ${base['kind']}`)
  return found
}

/** Replaces the definitions with which a registry starts, as upgrading a channel does. */
async function installAll(client: Client, crds: readonly CrdObject[]): Promise<void> {
  const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
  for (const crd of crds) {
    const { body } = await client.send('GET', `${path}/${crd.metadata.name}`)
    const { resourceVersion } = body['metadata'] as { resourceVersion: string }
    const metadata = { ...crd.metadata, resourceVersion }
    const { code, text } = await client.send('PUT', `${path}/${crd.metadata.name}`, {
      ...crd,
      metadata,
    })
    assert.equal(code, 200, text)
  }
}

class CorpusRun {
  readonly #client: Client
  readonly #crd: Json
  readonly #corpus: Corpus
  #stored: Json = {}

  constructor(client: Client, crd: Json, corpus: Corpus) {
    this.#client = client
    this.#corpus = corpus
    this.#crd = crd
  }

  /** Stores the valid object, for those cases that change it. */
  async prepare(): Promise<void> {
    if (this.#corpus.cases.every(({ how }) => how === 'create')) return
    const { base } = this.#corpus
    const metadata = { ...(base['metadata'] as Json), name: 'stored' }
    const { code, body, text } = await this.#client.send('POST', this.#path(base), {
      ...base,
      metadata,
    })
    assert.equal(code, 201, text)
    this.#stored = body
  }

  async check(each: Case): Promise<void> {
    const answer = await this.#ask(each)
    const about = `${JSON.stringify(each.object)}\n${answer.text}`
    if (each.refusal === undefined) {
      assert.ok(answer.code < 300, about)
      return
    }
    const { field, says } = each.refusal
    assert.equal(answer.code, 422, `${field}: ${says}\n${about}`)
    const named = causesOf(answer).some(
      (cause) => cause.field === field && cause.message.includes(says),
    )
    assert.ok(named, `${field}: ${says}\n${about}`)
  }

  #path(object: Json): string {
    return collectionOf(this.#crd, String(object['apiVersion']))
  }

  #ask({ how, object }: Case): Promise<Answer> {
    const path = this.#path(object)
    if (how === 'create') return this.#client.send('POST', `${path}?dryRun=All`, object)
    const { name, resourceVersion } = this.#stored['metadata'] as Record<string, string>
    const part = how === 'status' ? '/status' : ''
    const metadata = { ...(object['metadata'] as Json), name, resourceVersion }
    return this.#client.send('PUT', `${path}/${name}${part}?dryRun=All`, {
      ...object,
      metadata,
    })
  }
}
