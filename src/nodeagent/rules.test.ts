import assert from 'node:assert'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { parseSave, renderIptables } from './render-iptables.ts'
import { renderNft } from './render-nft.ts'
import { type PodRuleOptions, rulesOf } from './rules.ts'

const testdata = join(import.meta.dirname, 'testdata')

function golden(path: string, actual: string): void {
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(path, actual)
  assert.strictEqual(actual, readFileSync(path, 'utf8'), path)
}

describe('rules of a pod', () => {
  for (const name of readdirSync(testdata)) {
    it(`case ${name}: the texts for iptables, ip6tables and nft are as recorded`, () => {
      const folder = join(testdata, name)
      // Our own file.
      const options = parse(readFileSync(join(folder, 'input.yaml'), 'utf8')) as PodRuleOptions
      const rules = rulesOf(options)
      golden(join(folder, 'expected.iptables'), renderIptables(rules, 4) ?? '')
      if (options.ipv6) golden(join(folder, 'expected.ip6tables'), renderIptables(rules, 6) ?? '')
      golden(join(folder, 'expected.nft'), renderNft(rules, options))
    })
  }

  const all: PodRuleOptions = { dns: true, inbound: true, ipv6: true, virtualInterfaces: [] }
  const save = parseSave

  it('iptables: jumps that are there are not added a second time', () => {
    const first = renderIptables(rulesOf(all), 4) ?? ''
    const second = renderIptables(rulesOf(all), 4, save(first)) ?? ''
    assert.match(first, /^-A PREROUTING -j ISTIO_PRERT$/m)
    assert.doesNotMatch(second, /^-A (PREROUTING|OUTPUT) /m)
    assert.match(second, /^:ISTIO_PRERT - \[0:0\]$/m, 'own chains are emptied and filled again')
  })

  it('iptables: switching DNS off takes the raw table away and leaves the others', () => {
    const installed = save(renderIptables(rulesOf(all), 4) ?? '')
    const text = renderIptables(rulesOf({ ...all, dns: false }), 4, installed) ?? ''
    const raw = text.slice(text.indexOf('*raw'))
    assert.deepStrictEqual(raw.trim().split('\n'), [
      '*raw',
      '-D PREROUTING -j ISTIO_PRERT',
      '-D OUTPUT -j ISTIO_OUTPUT',
      '-F ISTIO_PRERT',
      '-F ISTIO_OUTPUT',
      '-X ISTIO_PRERT',
      '-X ISTIO_OUTPUT',
      'COMMIT',
    ])
    assert.doesNotMatch(text, /--dport 53/)
  })

  it('iptables: removing from a namespace without our chains is nothing to do', () => {
    assert.strictEqual(renderIptables([], 4), undefined)
    const foreign = '*nat\n:PREROUTING ACCEPT [0:0]\n:MINE - [0:0]\n-A PREROUTING -j MINE\nCOMMIT\n'
    assert.strictEqual(renderIptables([], 4, parseSave(foreign)), undefined)
  })
})
