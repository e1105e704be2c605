import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import {
  parseRunEnv,
  parseRunLabels,
  parseRunPort,
  type RunRequest,
  runPod,
  runService,
} from './objects.ts'
import { isInside, localProgram, parseMount, podNameOf } from './program.ts'

function project(t: TestContext): { dir: string; tools: string } {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'weft-run-')))
  t.after(() => rmSync(root, { recursive: true }))
  const [dir, tools] = [join(root, 'app'), join(root, 'tools')]
  for (const folder of [dir, tools]) {
    mkdirSync(folder)
    writeFileSync(join(folder, 'tool'), '#!/bin/sh\n')
    chmodSync(join(folder, 'tool'), 0o755)
  }
  writeFileSync(join(dir, 'script.js'), '')
  return { dir, tools }
}

test('a program of the system or of the folder needs no mount, one from elsewhere is mounted alone', (t) => {
  const { dir, tools } = project(t)
  const place = { dir, searchPath: `${tools}:/usr/bin:/bin` }
  assert.deepEqual(localProgram(['./tool', '-v'], place), { command: ['./tool', '-v'], mounts: [] })
  const [shell = ''] = localProgram(['sh'], place).command
  assert.match(shell, /\/bin\/sh$/)
  const tool = join(tools, 'tool')
  assert.deepEqual(localProgram(['tool', 'x'], place), {
    command: [tool, 'x'],
    mounts: [{ host: tool, path: tool }],
  })
  assert.deepEqual(localProgram(['../tools/tool'], place).mounts, [{ host: tool, path: tool }])
})

test('what is no program is refused; node is there also when the machine has none', (t) => {
  const { dir } = project(t)
  const place = { dir, searchPath: '/nowhere' }
  assert.throws(() => localProgram(['tool'], place), {
    code: 'CLI_NO_PROGRAM',
    message: /"tool" on the PATH/,
  })
  assert.throws(() => localProgram(['./script.js'], place), {
    code: 'CLI_NO_PROGRAM',
    hint: /node \.\/script\.js/,
  })
  assert.throws(() => localProgram(['.'], { dir, searchPath: dir }), { code: 'CLI_NO_PROGRAM' })
  assert.deepEqual(localProgram(['node', 'x.js'], place), { command: ['node', 'x.js'], mounts: [] })
})

test('mounts are read-only unless they say rw, at the same path unless they name one', (t) => {
  const { dir, tools } = project(t)
  assert.deepEqual(parseMount(tools, dir), { host: tools, path: tools })
  assert.deepEqual(parseMount('../tools:rw', dir), { host: tools, path: tools, writable: true })
  assert.deepEqual(parseMount(`${tools}:/data:ro`, dir), { host: tools, path: '/data' })
  for (const bad of ['', ':/x', `${tools}:data`, `${tools}:/a:/b`, '/no/such']) {
    assert.throws(() => parseMount(bad, dir), { code: 'CLI_MOUNT' }, bad)
  }
})

test('every program gives a name that Services accept too', () => {
  const cases: [string, string][] = [
    ['node', 'node'],
    ['./My_Server.sh', 'my-server'],
    ['/usr/bin/python3.12', 'python3'],
    ['7zip', 'run-7zip'],
    ['...', 'run'],
  ]
  for (const [program, name] of cases) assert.equal(podNameOf(program), name)
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (program) => {
      assert.match(podNameOf(program), /^[a-z]([-a-z0-9]{0,43}[a-z0-9])?$/)
    }),
  )
})

test('ports are PORT, SERVICE:PORT and PORT/protocol, and nothing else', () => {
  assert.deepEqual(parseRunPort('8080'), { port: 8080, targetPort: 8080, protocol: undefined })
  assert.deepEqual(parseRunPort('80:8080/http'), { port: 80, targetPort: 8080, protocol: 'http' })
  for (const bad of ['', '0', '65536', '80:', ':80', '80/', '80/HTTP', 'http', '80:90:100', '-1']) {
    assert.equal(parseRunPort(bad), undefined, bad)
  }
})

test('variables are given or passed on, labels are pairs', () => {
  const env = parseRunEnv(['A=b=c', 'EMPTY=', 'OWN'], { OWN: 'mine' })
  assert.deepEqual(
    [...env],
    [
      ['A', 'b=c'],
      ['EMPTY', ''],
      ['OWN', 'mine'],
    ],
  )
  assert.throws(() => parseRunEnv(['GONE'], {}), { code: 'CLI_FLAGS', message: /GONE is not set/ })
  assert.throws(() => parseRunEnv(['=x'], {}), { code: 'CLI_FLAGS' })
  assert.deepEqual(parseRunLabels(['a=b', 'c=']), { a: 'b', c: '' })
  assert.throws(() => parseRunLabels(['a']), { code: 'CLI_FLAGS' })
})

test('the pod is enrolled by its own label, and its values are literal', () => {
  const request: RunRequest = {
    namespace: 'shop',
    name: 'web',
    image: 'weft.local/run/shop/web:1',
    ports: [{ port: 80, targetPort: 8080, protocol: 'http' }],
    env: new Map([['A', '$(B) $C']]),
    labels: { tier: 'front' },
    serviceAccount: 'web',
    meshed: true,
    detached: false,
    user: { uid: 1000, gid: 1000 },
  }
  const pod = runPod(request)
  assert.deepEqual(pod.metadata.labels, {
    app: 'web',
    'istio.io/dataplane-mode': 'ambient',
    tier: 'front',
  })
  const spec = pod.spec as { restartPolicy: string; containers: { env: unknown[] }[] }
  assert.equal(spec.restartPolicy, 'Never')
  assert.deepEqual(spec.containers[0]?.env, [{ name: 'A', value: '$$(B) $C' }])
  const off = runPod({ ...request, meshed: false, detached: true })
  assert.equal(off.metadata.labels?.['istio.io/dataplane-mode'], 'none')
  assert.equal((off.spec as { restartPolicy: string }).restartPolicy, 'Always')
  const service = runService(request, 'uid-1')
  assert.equal(service.metadata.ownerReferences?.[0]?.uid, 'uid-1')
  assert.deepEqual((service.spec as { ports: unknown[] }).ports, [
    { name: 'http-80', port: 80, targetPort: 8080, appProtocol: 'http' },
  ])
})

test('a path is inside a folder only at a border of names', () => {
  assert.equal(isInside('/a/b', '/a'), true)
  assert.equal(isInside('/a', '/a'), true)
  assert.equal(isInside('/ab', '/a'), false)
  assert.equal(isInside('/x', '/'), true)
})
