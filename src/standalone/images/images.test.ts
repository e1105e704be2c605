import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { MeshError } from '../../base/index.ts'
import { ImageCatalogue, parseImage, parseImageMappings } from './index.ts'

const files = { programRoot: process.cwd(), nodePath: process.execPath }

test('an image name is read into registry, repository and tag', () => {
  const cases: [string, string, string, string | undefined][] = [
    ['busybox', 'docker.io', 'busybox', undefined],
    ['library/busybox:1.36', 'docker.io', 'busybox', '1.36'],
    ['docker.io/istio/pilot:1.30.0', 'docker.io', 'istio/pilot', '1.30.0'],
    ['localhost:5000/a/b', 'localhost:5000', 'a/b', undefined],
    ['localhost/a', 'localhost', 'a', undefined],
    [`gcr.io/x/y:t@sha256:${'0'.repeat(64)}`, 'gcr.io', 'x/y', 't'],
  ]
  for (const [image, registry, repository, tag] of cases) {
    assert.deepEqual(parseImage(image), { registry, repository, tag }, image)
  }
  for (const bad of ['', 'A/B', 'a b', 'a:', '../x', '-a']) {
    assert.equal(parseImage(bad), undefined, bad)
  }
})

test('whatever registry, tag and digest are put around it, the repository is found', () => {
  const word = fc.stringMatching(/^[a-z0-9]{1,8}$/)
  const registry = fc.constantFrom('', 'docker.io/', 'localhost/', 'r.example:5000/')
  const tag = fc.constantFrom('', ':v1', ':latest', `@sha256:${'a'.repeat(64)}`)
  fc.assert(
    fc.property(registry, word, word, tag, (prefix, owner, name, suffix) => {
      if (owner === 'library') return
      assert.equal(parseImage(`${prefix}${owner}/${name}${suffix}`)?.repository, `${owner}/${name}`)
    }),
  )
})

test('samples and mesh programs work from any registry and with any tag', () => {
  const catalogue = new ImageCatalogue(files)
  const reviews = catalogue.resolve('docker.io/istio/examples-bookinfo-reviews-v3:1.20.3')
  assert.equal(reviews?.env?.STAR_COLOR, 'red')
  assert.equal(reviews?.command.at(-1), '/opt/weft/samples/bookinfo/src/reviews.ts')
  assert.equal(catalogue.resolve('gcr.io/istio-release/install-cni:1.30')?.builtin, 'node-agent')
  assert.equal(catalogue.resolve('istio/ztunnel')?.mesh?.runDir, true)
  assert.equal(catalogue.resolve('busybox')?.mesh, undefined)
  assert.equal(catalogue.resolve('ghcr.io/me/app'), undefined)
  assert.match(catalogue.unknownImageHint('ghcr.io/me/app:1'), /weft\.yaml.*image: me\/app/)
})

test("a user's mapping comes before a built-in image and may be narrower", () => {
  const mappings = parseImageMappings(
    [
      { image: 'quay.io/me/app', command: 'node server.js', dir: 'app', env: { PORT: 1 } },
      { image: 'busybox:special', command: ['/bin/true'] },
    ],
    '/srv/project',
  )
  const catalogue = new ImageCatalogue({ ...files, mappings })
  const app = catalogue.resolve('quay.io/me/app:7')
  assert.deepEqual(app?.command, ['node', 'server.js'])
  assert.equal(app?.workingDir, '/srv/project/app')
  assert.deepEqual(app?.env, { PORT: '1' })
  assert.equal(catalogue.resolve('docker.io/me/app'), undefined)
  assert.deepEqual(catalogue.resolve('busybox:special')?.command, ['/bin/true'])
  assert.deepEqual(catalogue.resolve('busybox:1')?.args, ['/bin/sh'])
  catalogue.setDefined([{ image: 'me/app', command: ['/bin/date'] }])
  assert.deepEqual(catalogue.resolve('docker.io/me/app')?.command, ['/bin/date'])
})

test('a bad entry of weft.yaml is refused with its field', () => {
  const cases: [unknown, RegExp][] = [
    ['x', /images must be a list/],
    [[{ image: 'a' }], /images\[0\]\.command/],
    [[{ image: 'A B', command: ['x'] }], /images\[0\]\.image/],
    [[{ image: 'a', comand: ['x'] }], /images\[0\]\.comand is not known/],
    [[{ image: 'a', command: ['x'], env: { A: {} } }], /images\[0\]\.env\.A/],
    [[{ image: 'a', command: ['x'], mounts: [{ host: 'b', path: 'c' }] }], /mounts\[0\]\.path/],
  ]
  for (const [value, message] of cases) {
    assert.throws(
      () => parseImageMappings(value, '/'),
      (error) => error instanceof MeshError && message.test(error.message),
    )
  }
})
