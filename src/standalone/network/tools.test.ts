import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { ensureNetTools } from './tools.ts'

test('nothing is fetched when the system has the tools, iptables being as good as nft', async () => {
  for (const system of [
    ['ip', 'nft'],
    ['ip', 'iptables'],
  ]) {
    const find = (name: string): string | undefined =>
      system.includes(name) ? `/usr/sbin/${name}` : undefined
    assert.deepEqual(await ensureNetTools({ caches: ['/nowhere'], find }), [])
  }
})

test('tools that were fetched before are used again', async () => {
  const find = (name: string, folders: readonly string[]): string | undefined =>
    name === 'ip' || folders.includes(join('/cache', 'usr/sbin')) ? `/x/${name}` : undefined
  const folders = await ensureNetTools({ caches: ['/cache'], find })
  assert.ok(folders.includes(join('/cache', 'usr/sbin')))
})

test('without apt the missing tools and their packages are named', async () => {
  const find = (): undefined => undefined
  await assert.rejects(ensureNetTools({ caches: ['/nowhere/x'], find }), (error: Error) => {
    assert.match(error.message, /no nft and no ip/)
    assert.match(String((error as { hint?: string }).hint), /nftables.*and.*iproute/)
    return true
  })
})

test('a fetch that fails leaves no half-filled cache and says how to install by hand', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-tools-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = process.env.PATH
  // No program of that name is found there, apt included.
  process.env.PATH = folder
  t.after(() => (process.env.PATH = path))
  const find = (name: string): string | undefined =>
    name === 'nft' || name === 'iptables' ? undefined : `/missing/${name}`
  const steps: string[] = []
  const options = {
    caches: [join(folder, 'net')],
    find,
    onProgress: (what: string) => steps.push(what),
  }
  await assert.rejects(ensureNetTools(options), { code: 'NETWORK_TOOLS_FETCH', hint: /nftables/ })
  assert.deepEqual(steps, ['fetching nft'])
})
