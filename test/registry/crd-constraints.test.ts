/**
 * Every single constraint of every definition of Istio and of the Gateway API: an object against each, made from the
 * definition as the API returns it, sent to the API, refused at the right field for the right reason.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { builtinCrds } from '../../src/schema/index.ts'
import { type Answer, Client, causesOf, collectionOf } from './crd-client.ts'
import { type Breach, breachesOf, objectWith } from './crd-constraints.ts'
import type { Json } from './crd-corpus.ts'
import { RegistryHarness } from './harness.ts'

const writers = 16

describe('constraints of custom resources', () => {
  let harness: RegistryHarness
  let client: Client
  let count = 0

  before(async () => {
    harness = await RegistryHarness.start()
    client = new Client(harness)
  })
  after(async () => {
    client.close()
    await harness.stop()
  })

  for (const { metadata } of builtinCrds()) {
    test(`[B4] ${metadata.name}: each constraint refuses the value that breaks it`, async () => {
      const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${metadata.name}`
      const { body: crd } = await client.send('GET', path)
      const { group, names, versions } = crd['spec'] as {
        group: string
        names: { kind: string }
        versions: { name: string; storage: boolean; schema: { openAPIV3Schema: Json } }[]
      }
      const version = versions.find(({ storage }) => storage)
      const properties = version?.schema.openAPIV3Schema['properties'] as Json
      const apiVersion = `${group}/${version?.name}`
      const breaches = breachesOf(properties['spec'])
      assert.ok(breaches.length > 5)
      count += breaches.length
      const collection = `${collectionOf(crd, apiVersion)}?dryRun=All`
      const ask = async (breach: Breach): Promise<void> => {
        const spec = objectWith(properties['spec'], breach)
        const object = { apiVersion, kind: names.kind, metadata: { name: 'x' }, spec }
        expectRefusal(await client.send('POST', collection, object), breach, object)
      }
      const left = [...breaches]
      await Promise.all(
        Array.from({ length: writers }, async () => {
          for (let next = left.pop(); next !== undefined; next = left.pop()) await ask(next)
        }),
      )
    })
  }

  test('there are as many as the definitions have', () => assert.ok(count > 2500, `only ${count}`))
})

function expectRefusal(answer: Answer, breach: Breach, object: unknown): void {
  const { field, reason, constraint } = breach
  const about = `${constraint} of ${field}\n${JSON.stringify(object).slice(0, 600)}\n${answer.text.slice(0, 900)}`
  assert.equal(answer.code, 422, about)
  assert.ok(
    causesOf(answer).some((cause) => cause.field === field && cause.reason === reason),
    about,
  )
}
