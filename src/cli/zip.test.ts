import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { crc32, deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { readZipFiles } from './zip.ts'

interface Part {
  readonly name: string
  readonly content: Buffer
  readonly stored: boolean
}

/** A zip archive as the format's description has it. */
function zip(parts: readonly Part[], comment = ''): Buffer {
  const chunks: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const { name, content, stored } of parts) {
    const data = stored ? content : deflateRawSync(content)
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(stored ? 0 : 8, 4)
    common.writeUInt32LE(crc32(content), 10)
    common.writeUInt32LE(data.length, 14)
    common.writeUInt32LE(content.length, 18)
    common.writeUInt16LE(Buffer.byteLength(name), 22)
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, Buffer.from(name), data])
    const rest = Buffer.alloc(14)
    rest.writeUInt32LE(offset, 10)
    directory.push(
      Buffer.concat([Buffer.from('PK\x01\x02\x14\x00'), common, rest, Buffer.from(name)]),
    )
    chunks.push(local)
    offset += local.length
  }
  const entries = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06')
  end.writeUInt16LE(parts.length, 8)
  end.writeUInt16LE(parts.length, 10)
  end.writeUInt32LE(entries.length, 12)
  end.writeUInt32LE(offset, 16)
  end.writeUInt16LE(Buffer.byteLength(comment), 20)
  return Buffer.concat([...chunks, entries, end, Buffer.from(comment)])
}

test('wanted files come out as they went in, stored or deflated, whatever else is in the archive', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-zip-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'a.zip')
  const part = fc.record({
    name: fc.stringMatching(/^[a-z]{1,8}(\/[a-z]{1,8})?$/),
    content: fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)),
    stored: fc.boolean(),
  })
  const parts = fc.uniqueArray(part, { minLength: 1, maxLength: 6, selector: ({ name }) => name })
  fc.assert(
    fc.property(parts, fc.stringMatching(/^[a-z ]{0,40}$/), (list, comment) => {
      writeFileSync(path, zip(list, comment))
      const wanted = list.filter((_, index) => index % 2 === 0)
      const found = readZipFiles(
        path,
        wanted.map(({ name }) => name),
      )
      assert.deepEqual([...found.keys()].toSorted(), wanted.map(({ name }) => name).toSorted())
      for (const { name, content } of wanted) assert.deepEqual(found.get(name), content)
    }),
    { numRuns: 50 },
  )
})

test('an archive without the file, a cut one and no archive at all are refused by their path', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-zip-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'a.zip')
  const whole = zip([{ name: 'a', content: Buffer.from('x'), stored: true }])
  for (const [bytes, message] of [
    [whole, /a\.zip can't be unpacked: b is not in it/],
    [whole.subarray(0, whole.length - 22), /it has no directory/],
    [Buffer.alloc(100), /it has no directory/],
    [Buffer.alloc(0), /it has no directory/],
  ] as const) {
    writeFileSync(path, bytes)
    assert.throws(() => readZipFiles(path, ['b']), { code: 'CLI_ARCHIVE', message })
  }
})
