import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { MeshError } from '../../base/index.ts'
import { readImageFile } from '../images/index.ts'
import { DefinedImages } from './images.ts'
import { limits } from './limits.ts'

function file(t: TestContext, name: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'weft-images-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return join(folder, name)
}

test('images of weft run are kept privately, replaced by name and forgotten', (t) => {
  const path = file(t, 'images.json')
  const images = new DefinedImages(path)
  images.load()
  assert.deepEqual(images.list(), [])
  images.define({ image: 'a/one', command: ['x'] })
  images.define({ image: 'a/two', command: ['y'], dir: '/srv', writable: true })
  images.define({ image: 'a/one', command: ['z'] })
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const later = new DefinedImages(path)
  later.load()
  assert.deepEqual(
    later.list().map(({ image, command }) => [image, command[0]]),
    [
      ['a/one', 'z'],
      ['a/two', 'y'],
    ],
  )
  later.forget('a/one')
  later.forget('a/three')
  assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), later.list())
  assert.equal(later.list().length, 1)
})

test('what is no mapping is refused, a damaged file is no obstacle, and a full disk changes nothing', (t) => {
  const path = file(t, 'images.json')
  const images = new DefinedImages(path)
  assert.throws(() => images.define({ image: 'A B', command: ['x'] }), {
    message: /weft run: images\[0\]\.image must be/,
  })
  writeFileSync(path, '[{"image": "a')
  images.load()
  assert.deepEqual(images.list(), [])
  symlinkSync('/dev/full', `${path}.new`)
  assert.throws(() => images.define({ image: 'a', command: ['x'] }), { code: 'STATE_DISK_FULL' })
  assert.deepEqual(images.list(), [])
})

test('the oldest are dropped when there are too many', (t) => {
  const images = new DefinedImages(file(t, 'images.json'))
  for (let index = 0; index < limits.definedImages + 2; index++) {
    images.define({ image: `a/i${index}`, command: ['x'] })
  }
  assert.equal(images.list().length, limits.definedImages)
  assert.equal(images.list().at(-1)?.image, 'a/i2')
})

test('a broken image file is refused with its path and the place', (t) => {
  const path = file(t, 'my.yaml')
  const cases: [string, RegExp][] = [
    ['images: [', /my\.yaml: .* at line 1, column \d+$/],
    ['- a', /my\.yaml: the file must be a map/],
    ['image: []', /my\.yaml: image is not known; known is images/],
    ['images: [{image: a}]', /my\.yaml: images\[0\]\.command must be/],
  ]
  for (const [text, message] of cases) {
    writeFileSync(path, text)
    assert.throws(
      () => readImageFile(path),
      (error) => error instanceof MeshError && message.test(error.message),
      text,
    )
  }
  writeFileSync(path, '# nothing yet\n')
  assert.deepEqual(readImageFile(path), [])
})
