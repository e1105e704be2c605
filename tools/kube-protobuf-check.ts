/**
 * Holds the protobuf decoder against the samples that k8s.io/api carries: `NAME.pb` and the JSON that
 * Go makes of the same object. Covers every kind there, not only those which Weft serves.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { ProtobufBundle } from '../src/schema/protobuf/bundle.ts'
import { protobufDecoder, readProtobufBundle } from '../src/schema/protobuf/index.ts'
import { messageOfKind, ProtobufSource } from './kube-protobuf-source.ts'

type Json = Record<string, unknown>

const folders = process.argv.slice(2)
const api = folders.find((folder) => /\/api@/.test(folder))
if (api === undefined) throw new Error('usage: kube-protobuf-check.ts MODULE_FOLDER...')
const samples = join(api, 'testdata/HEAD')
const names = readdirSync(samples)
  .filter((name) => name.endsWith('.pb'))
  .map((name) => name.slice(0, -3))
  // The one message without apiVersion and kind; it is never the body of a request.
  .filter((name) => name !== 'core.v1.WatchEvent')

/** Tables for everything that the samples need, under the kinds that they call themselves. */
function wholeBundle(): ProtobufBundle {
  const source = new ProtobufSource(folders)
  const kinds: Record<string, string> = {}
  for (const name of names) {
    const { apiVersion, kind } = sampleJson(name) as { apiVersion: string; kind: string }
    const own = messageOfKind(apiVersion, kind)
    const message = [own, `meta.v1.${kind}`, `apiserverinternal.v1alpha1.${kind}`].find(
      (candidate) => source.has(candidate),
    )
    if (message === undefined) throw new Error(`no message for ${name}`)
    kinds[`${apiVersion}/${kind}`] = message
  }
  return { provenance: '', kinds, metaKinds: {}, messages: source.reachable(Object.values(kinds)) }
}

function sampleJson(name: string): Json {
  return JSON.parse(readFileSync(join(samples, `${name}.json`), 'utf8')) as Json
}

/** Paths at which two values differ. */
function differences(left: unknown, right: unknown, path = ''): string[] {
  if (isDeepStrictEqual(left, right)) return []
  const object = (value: unknown): value is Json => typeof value === 'object' && value !== null
  if (!object(left) || !object(right)) {
    return [`${path}: ${JSON.stringify(left)} instead of ${JSON.stringify(right)}`]
  }
  const keys = new Set([...Object.keys(left), ...Object.keys(right)])
  return [...keys].flatMap((key) => differences(left[key], right[key], `${path}.${key}`))
}

function compare(title: string, bundle: ProtobufBundle): number {
  const decode = protobufDecoder(bundle)
  const counts = { equal: 0, different: 0, refused: 0, notServed: 0 }
  for (const name of names) {
    const wanted = sampleJson(name)
    if (
      bundle.kinds[`${String(wanted['apiVersion'])}/${String(wanted['kind'])}`] === undefined &&
      bundle.metaKinds[String(wanted['kind'])] === undefined
    ) {
      counts.notServed++
      continue
    }
    try {
      const found = differences(decode(readFileSync(join(samples, `${name}.pb`))), wanted)
      for (const text of found) console.log(`${name} ${text}`)
      counts[found.length === 0 ? 'equal' : 'different']++
    } catch (error) {
      console.log(`${name}: ${String(error)}`)
      counts.refused++
    }
  }
  console.log(`${title}: ${JSON.stringify(counts)} of ${names.length}`)
  return counts.different + counts.refused
}

const whole = compare('all kinds', wholeBundle())
const served = compare('served kinds', readProtobufBundle())
process.exitCode = whole + served > 0 ? 1 : 0
